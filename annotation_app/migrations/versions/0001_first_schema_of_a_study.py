"""First schema of a study, with triggers that keep events as they were written."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "annotator",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("door", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("goal", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.String(), nullable=False),
        sa.Column("excluded", sa.String(), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("door IN ('open', 'invite', 'prolific', 'mturk', 'simulated')", name="door"),
        sa.CheckConstraint(
            "stage IN ('consent', 'instructions', 'training', 'check', 'main', 'finished', 'screened', 'declined')",
            name="stage",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pseudonym"),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("annotator", sa.BigInteger(), nullable=True),
        sa.Column("task", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "invite",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "pair",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("pair_id", sa.String(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("scenario", sa.String(), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("image_file", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pair_id"),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("design", sa.String(), nullable=False),
        sa.Column("star", sa.String(), nullable=True),
        sa.Column("votes", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.String(), nullable=False),
        sa.Column("media", sa.String(), nullable=False),
        sa.Column("key_check", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.CheckConstraint("id = 1", name="one_study"),
        sa.CheckConstraint("votes >= 1", name="votes"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "video",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("pair", sa.Integer(), nullable=False),
        sa.Column("model", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("millis", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model"],
            ["model.id"],
        ),
        sa.ForeignKeyConstraint(
            ["pair"],
            ["pair.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("file"),
        sa.UniqueConstraint("pair", "model", "seed", name="one_video"),
    )
    op.create_table(
        "comparison",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("pair", sa.Integer(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("second", sa.Integer(), nullable=False),
        sa.Column("expected", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("wanted", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.Column("first_left", sa.BigInteger(), nullable=False),
        sa.Column("shuffle", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(kind = 'main') = (expected IS NULL)", name="expected_of_gold"),
        sa.CheckConstraint("(kind = 'main') = (wanted IS NOT NULL)", name="wanted_of_main"),
        sa.CheckConstraint("expected IS NULL OR expected IN ('first', 'second')", name="expected"),
        sa.CheckConstraint(
            "kind <> 'main' OR (first_left <= (wanted + 1) / 2 AND taken - first_left <= (wanted + 1) / 2)",
            name="sides_balanced",
        ),
        sa.CheckConstraint("kind <> 'main' OR taken <= wanted", name="never_over_assigned"),
        sa.CheckConstraint("kind IN ('main', 'gold', 'training')", name="kind"),
        sa.CheckConstraint("done >= 0 AND taken >= done AND first_left >= 0 AND first_left <= taken", name="counts"),
        sa.CheckConstraint("first <> second", name="two_videos"),
        sa.ForeignKeyConstraint(
            ["first"],
            ["video.id"],
        ),
        sa.ForeignKeyConstraint(
            ["pair"],
            ["pair.id"],
        ),
        sa.ForeignKeyConstraint(
            ["second"],
            ["video.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "first", "second", name="one_comparison"),
    )
    with op.batch_alter_table("comparison", schema=None) as batch_op:
        batch_op.create_index("by_need", ["kind", "taken", "shuffle"], unique=False)

    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("media", sa.String(), nullable=False),
        sa.Column("annotator", sa.Integer(), nullable=False),
        sa.Column("comparison", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("first_left", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("served_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('main', 'gold', 'repeat', 'training')", name="kind"),
        sa.CheckConstraint("status IN ('ready', 'expired', 'returned') OR served_at IS NOT NULL", name="served"),
        sa.CheckConstraint("status IN ('ready', 'open', 'answered', 'broken', 'expired', 'returned')", name="status"),
        sa.ForeignKeyConstraint(
            ["annotator"],
            ["annotator.id"],
        ),
        sa.ForeignKeyConstraint(
            ["comparison"],
            ["comparison.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("media"),
        sa.UniqueConstraint("token"),
    )
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.create_index("by_annotator", ["annotator", "comparison"], unique=False)
        batch_op.create_index("by_lease", ["status", "lease_until"], unique=False)
        batch_op.create_index(
            "one_open",
            ["annotator"],
            unique=True,
            sqlite_where=sa.text("status = 'open'"),
            postgresql_where=sa.text("status = 'open'"),
        )
        batch_op.create_index(
            "one_place",
            ["annotator", "comparison", "kind"],
            unique=True,
            sqlite_where=sa.text("status IN ('ready', 'open', 'answered', 'broken')"),
            postgresql_where=sa.text("status IN ('ready', 'open', 'answered', 'broken')"),
        )
        batch_op.create_index(
            "one_ready",
            ["annotator"],
            unique=True,
            sqlite_where=sa.text("status = 'ready'"),
            postgresql_where=sa.text("status = 'ready'"),
        )

    op.create_table(
        "vote",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("vote_id", sa.String(), nullable=False),
        sa.Column("task", sa.Integer(), nullable=False),
        sa.Column("annotator", sa.Integer(), nullable=False),
        sa.Column("comparison", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("left_model", sa.String(), nullable=False),
        sa.Column("right_model", sa.String(), nullable=False),
        sa.Column("choice", sa.String(), nullable=False),
        sa.Column("reasons", sa.String(), nullable=False),
        sa.Column("shown_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.Column("loops", sa.BigInteger(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.CheckConstraint("choice IN ('left', 'right', 'tie', 'both_bad')", name="choice"),
        sa.CheckConstraint("kind IN ('main', 'gold', 'repeat', 'training')", name="kind"),
        sa.CheckConstraint("answered_at >= shown_at", name="order_of_times"),
        sa.CheckConstraint("left_model <> right_model", name="two_models"),
        sa.ForeignKeyConstraint(
            ["annotator"],
            ["annotator.id"],
        ),
        sa.ForeignKeyConstraint(
            ["comparison"],
            ["comparison.id"],
        ),
        sa.ForeignKeyConstraint(
            ["task"],
            ["task.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("annotator", "comparison", "kind", name="one_vote"),
        sa.UniqueConstraint("task"),
        sa.UniqueConstraint("vote_id"),
    )
    with op.batch_alter_table("vote", schema=None) as batch_op:
        batch_op.create_index("by_comparison", ["comparison", "kind"], unique=False)

    _keep_events()


def downgrade() -> None:
    with op.batch_alter_table("vote", schema=None) as batch_op:
        batch_op.drop_index("by_comparison")

    op.drop_table("vote")
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.drop_index(
            "one_ready", sqlite_where=sa.text("status = 'ready'"), postgresql_where=sa.text("status = 'ready'")
        )
        batch_op.drop_index(
            "one_place",
            sqlite_where=sa.text("status IN ('ready', 'open', 'answered', 'broken')"),
            postgresql_where=sa.text("status IN ('ready', 'open', 'answered', 'broken')"),
        )
        batch_op.drop_index(
            "one_open", sqlite_where=sa.text("status = 'open'"), postgresql_where=sa.text("status = 'open'")
        )
        batch_op.drop_index("by_lease")
        batch_op.drop_index("by_annotator")

    op.drop_table("task")
    with op.batch_alter_table("comparison", schema=None) as batch_op:
        batch_op.drop_index("by_need")

    op.drop_table("comparison")
    op.drop_table("video")
    op.drop_table("study")
    op.drop_table("pair")
    op.drop_table("model")
    op.drop_table("invite")
    op.drop_table("event")
    op.drop_table("annotator")


def _keep_events() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER event_no_{verb.lower()} BEFORE {verb} ON event "
                "BEGIN SELECT RAISE(ABORT, 'events are never changed'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION event_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are never changed'; END $$"
    )
    op.execute(
        "CREATE TRIGGER event_is_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION event_is_kept()"
    )
