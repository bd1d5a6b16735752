"""The overall choice is kept with the task, before its reasons are given."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Both databases add a column with its rule in place; the table and its partial indexes stay as they are.
    op.execute(
        "ALTER TABLE task ADD COLUMN choice VARCHAR "
        "CONSTRAINT task_choice CHECK (choice IN ('left', 'right', 'tie', 'both_bad'))"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE task DROP COLUMN choice")
