"""Tables of a study's database. The rules of a study live here, so that no code path can break them.

Times are integer milliseconds since 1970 UTC, which SQLite and PostgreSQL store and compare alike.
A comparison's two videos have a fixed order, `first` and `second`; a task says which of them is on the left.
"""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

LIVE = "status IN ('ready', 'open', 'answered', 'broken')"
"""Tasks that hold their annotator's one place in a comparison."""

VERSION = "0002"
"""The newest of the migrations, which lead to what is written here."""

CHOICES = "('left', 'right', 'tie', 'both_bad')"
KINDS = "('main', 'gold', 'repeat', 'training')"


class Base(DeclarativeBase):
    """All tables of a study."""

    type_annotation_map = {int: BigInteger}  # noqa: RUF012


def _id() -> Mapped[int]:
    # SQLite numbers only INTEGER keys by itself.
    return mapped_column(Integer, primary_key=True, autoincrement=True)


class StudyRow(Base):
    """The one study of this database."""

    __tablename__ = "study"
    __table_args__ = (CheckConstraint("id = 1", name="one_study"), CheckConstraint("votes >= 1", name="votes"))
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    created_at: Mapped[int]
    design: Mapped[str]
    star: Mapped[str | None]
    votes: Mapped[int]
    settings: Mapped[str]
    """StudySettings as JSON."""
    media: Mapped[str]
    """Folder of the presentation files; relative to an SQLite file, else absolute."""
    key_check: Mapped[str]
    """Tells whether a key file is this study's; reveals nothing about the key."""
    paused: Mapped[bool] = mapped_column(default=False)


class ModelRow(Base):
    """A model in the study."""

    __tablename__ = "model"
    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(unique=True)


class PairRow(Base):
    """An image and a prompt of the bench, with the image in presentation form."""

    __tablename__ = "pair"
    id: Mapped[int] = _id()
    pair_id: Mapped[str] = mapped_column(unique=True)
    image_id: Mapped[str]
    scenario: Mapped[str]
    prompt: Mapped[str]
    image_file: Mapped[str]
    """Name below the media folder, random."""


class VideoRow(Base):
    """One clip in presentation form; the hash leads back to the file it was made from and to its sidecar."""

    __tablename__ = "video"
    __table_args__ = (UniqueConstraint("pair", "model", "seed", name="one_video"),)
    id: Mapped[int] = _id()
    pair: Mapped[int] = mapped_column(ForeignKey("pair.id"))
    model: Mapped[int] = mapped_column(ForeignKey("model.id"))
    seed: Mapped[int]
    file: Mapped[str] = mapped_column(unique=True)
    millis: Mapped[int]
    source_sha256: Mapped[str]


class ComparisonRow(Base):
    """Two videos that annotators are to compare, and how many places in it are taken."""

    __tablename__ = "comparison"
    __table_args__ = (
        CheckConstraint("kind IN ('main', 'gold', 'training')", name="kind"),
        CheckConstraint("first <> second", name="two_videos"),
        CheckConstraint("(kind = 'main') = (wanted IS NOT NULL)", name="wanted_of_main"),
        CheckConstraint("(kind = 'main') = (expected IS NULL)", name="expected_of_gold"),
        CheckConstraint("expected IS NULL OR expected IN ('first', 'second')", name="expected"),
        CheckConstraint("done >= 0 AND taken >= done AND first_left >= 0 AND first_left <= taken", name="counts"),
        # The guarantee of exactly `wanted` annotators with sides balanced lies here, not in the code.
        CheckConstraint("kind <> 'main' OR taken <= wanted", name="never_over_assigned"),
        CheckConstraint(
            "kind <> 'main' OR (first_left <= (wanted + 1) / 2 AND taken - first_left <= (wanted + 1) / 2)",
            name="sides_balanced",
        ),
        UniqueConstraint("kind", "first", "second", name="one_comparison"),
        Index("by_need", "kind", "taken", "shuffle"),
    )
    id: Mapped[int] = _id()
    kind: Mapped[str]
    pair: Mapped[int] = mapped_column(ForeignKey("pair.id"))
    first: Mapped[int] = mapped_column(ForeignKey("video.id"))
    second: Mapped[int] = mapped_column(ForeignKey("video.id"))
    expected: Mapped[str | None]
    """Which video every attentive person prefers (gold and training)."""
    note: Mapped[str | None]
    """Feedback of a training item."""
    wanted: Mapped[int | None]
    """Annotators asked for."""
    done: Mapped[int] = mapped_column(default=0)
    """Votes that count."""
    taken: Mapped[int] = mapped_column(default=0)
    """Votes and leases."""
    first_left: Mapped[int] = mapped_column(default=0)
    """How many of `taken` show the first video on the left."""
    shuffle: Mapped[int] = mapped_column(default=0)
    """Random rank among comparisons that are equally needed; drawn anew at each assignment."""


class AnnotatorRow(Base):
    """A person behind a keyed pseudonym; nothing else about them is stored."""

    __tablename__ = "annotator"
    __table_args__ = (
        CheckConstraint("door IN ('open', 'invite', 'prolific', 'mturk', 'simulated')", name="door"),
        CheckConstraint(
            "stage IN ('consent', 'instructions', 'training', 'check', 'main', 'finished', 'screened', 'declined')",
            name="stage",
        ),
    )
    id: Mapped[int] = _id()
    pseudonym: Mapped[str] = mapped_column(unique=True)
    door: Mapped[str]
    stage: Mapped[str] = mapped_column(default="consent")
    attempts: Mapped[int] = mapped_column(default=0)
    """Comprehension checks tried."""
    goal: Mapped[int] = mapped_column(default=0)
    """Tasks of the main stage, gold and repeats included; set when it begins."""
    block: Mapped[str] = mapped_column(default="")
    """Sides of the running block of ten main tasks: L where the first video was on the left."""
    excluded: Mapped[str | None]
    """Reason why this annotator's votes do not count."""
    simulated: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int]
    seen_at: Mapped[int]


class TaskRow(Base):
    """One comparison leased to one annotator. `ready` is the preloaded next task, `open` the one on the screen."""

    __tablename__ = "task"
    __table_args__ = (
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint("status IN ('ready', 'open', 'answered', 'broken', 'expired', 'returned')", name="status"),
        CheckConstraint("status IN ('ready', 'expired', 'returned') OR served_at IS NOT NULL", name="served"),
        CheckConstraint(f"choice IN {CHOICES}", name="task_choice"),
        Index(
            "one_place",
            "annotator",
            "comparison",
            "kind",
            unique=True,
            sqlite_where=text(LIVE),
            postgresql_where=text(LIVE),
        ),
        Index(
            "one_open",
            "annotator",
            unique=True,
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
        Index(
            "one_ready",
            "annotator",
            unique=True,
            sqlite_where=text("status = 'ready'"),
            postgresql_where=text("status = 'ready'"),
        ),
        Index("by_lease", "status", "lease_until"),
        Index("by_annotator", "annotator", "comparison"),
    )
    id: Mapped[int] = _id()
    token: Mapped[str] = mapped_column(unique=True)
    """What a vote must show; new after an undo."""
    media: Mapped[str] = mapped_column(unique=True)
    """Random part of this task's three media addresses."""
    annotator: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    comparison: Mapped[int] = mapped_column(ForeignKey("comparison.id"))
    kind: Mapped[str]
    first_left: Mapped[bool]
    position: Mapped[int]
    status: Mapped[str]
    served_at: Mapped[int | None]
    lease_until: Mapped[int]
    choice: Mapped[str | None]
    """The overall choice, committed before any reason is taken; the vote repeats it."""


class VoteRow(Base):
    """One annotator's answer to one task; the database refuses a second."""

    __tablename__ = "vote"
    __table_args__ = (
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"choice IN {CHOICES}", name="choice"),
        CheckConstraint("left_model <> right_model", name="two_models"),
        CheckConstraint("answered_at >= shown_at", name="order_of_times"),
        UniqueConstraint("annotator", "comparison", "kind", name="one_vote"),
        Index("by_comparison", "comparison", "kind"),
    )
    id: Mapped[int] = _id()
    vote_id: Mapped[str] = mapped_column(unique=True)
    task: Mapped[int] = mapped_column(ForeignKey("task.id"), unique=True)
    annotator: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    comparison: Mapped[int] = mapped_column(ForeignKey("comparison.id"))
    kind: Mapped[str]
    left_model: Mapped[str]
    right_model: Mapped[str]
    choice: Mapped[str]
    reasons: Mapped[str]
    """Joined by `;`, or `none`."""
    shown_at: Mapped[int]
    answered_at: Mapped[int]
    loops: Mapped[int]
    """How often the pair had played, by the page's count."""
    simulated: Mapped[bool]


class InviteRow(Base):
    """An invitation; only a keyed hash of its token is kept."""

    __tablename__ = "invite"
    id: Mapped[int] = _id()
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int]
    revoked: Mapped[bool] = mapped_column(default=False)


class EventRow(Base):
    """A change of state, appended and never changed: triggers refuse UPDATE and DELETE."""

    __tablename__ = "event"
    id: Mapped[int] = _id()
    at: Mapped[int]
    what: Mapped[str]
    annotator: Mapped[int | None]
    task: Mapped[int | None]
    detail: Mapped[str]
    """JSON."""
