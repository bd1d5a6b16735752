"""Takes an annotator's votes out of the count, and back in. The votes themselves are never touched."""

from sqlalchemy import Connection, select, update

from annotation_app.assignment import give_back
from annotation_app.events import Event, record
from annotation_app.schema import AnnotatorRow, ComparisonRow, TaskRow
from annotation_app.settings import StudyError
from annotation_app.tasks import release


def exclude(connection: Connection, pseudonym: str, reason: str, now: int) -> None:
    """Exclude an annotator: their places in comparisons become free for others.

    Raises:
        StudyError: no such annotator, no reason, or already excluded.
    """
    number, excluded = _annotator(connection, pseudonym)
    if excluded is not None:
        raise StudyError(f"Annotator {pseudonym} is excluded already: {excluded}.")
    if not reason.strip():
        raise StudyError("An exclusion needs a reason, which is kept with the study.")
    for row in _tasks(connection, number, ("open", "ready")):
        release(connection, row[0], "returned")
    for _, comparison, kind, first_left in _tasks(connection, number, ("answered",)):
        give_back(connection, comparison, kind, first_left, answered=kind == "main")
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == number).values(excluded=reason.strip()[:300]))
    record(connection, [Event("annotator.excluded", number, detail={"reason": reason.strip()[:300]})], now)


def include(connection: Connection, pseudonym: str, now: int) -> None:
    """Let an excluded annotator's votes count again; comparisons that were refilled meanwhile get more votes then.

    Raises:
        StudyError: no such annotator, or not excluded.
    """
    number, excluded = _annotator(connection, pseudonym)
    if excluded is None:
        raise StudyError(f"Annotator {pseudonym} is not excluded.")
    for _, comparison, kind, first_left in _tasks(connection, number, ("answered",)):
        if kind != "repeat":
            _take_back(connection, comparison, kind, bool(first_left))
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == number).values(excluded=None))
    record(connection, [Event("annotator.included", number)], now)


def _take_back(connection: Connection, comparison: int, kind: str, first_left: bool) -> None:
    row = connection.execute(
        select(ComparisonRow.taken, ComparisonRow.first_left, ComparisonRow.wanted)
        .where(ComparisonRow.id == comparison)
        .with_for_update()
    ).one()
    taken, left = row.taken + 1, row.first_left + int(first_left)
    values: dict[str, object] = {"taken": taken, "first_left": left}
    if kind == "main":
        values["done"] = ComparisonRow.done + 1
        values["wanted"] = max(row.wanted, taken, 2 * max(left, taken - left) - 1)
    connection.execute(update(ComparisonRow).where(ComparisonRow.id == comparison).values(**values))


def _annotator(connection: Connection, pseudonym: str) -> tuple[int, str | None]:
    row = connection.execute(
        select(AnnotatorRow.id, AnnotatorRow.excluded).where(AnnotatorRow.pseudonym == pseudonym).with_for_update()
    ).one_or_none()
    if row is None:
        raise StudyError(f"There is no annotator {pseudonym!r}. Copy the code from the admin page or the vote table.")
    return row.id, row.excluded


def _tasks(connection: Connection, annotator: int, statuses: tuple[str, ...]) -> list[tuple[int, int, str, bool]]:
    found = select(TaskRow.id, TaskRow.comparison, TaskRow.kind, TaskRow.first_left).where(
        TaskRow.annotator == annotator, TaskRow.status.in_(statuses)
    )
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(found.order_by(TaskRow.comparison))]
