"""The vote table: its columns, how it is read, and every row that cannot be used, named."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from ti2v_bench.errors import TI2VError

REASONS = ("object_motion", "text_alignment", "image_alignment", "overall_quality")
CHOICES = ("left", "right", "tie", "both_bad")
KINDS = ("main", "gold", "repeat", "training")
REQUIRED = ("pair_id", "left", "right", "choice", "annotator")
TEXT_COLUMNS = ("pair_id", "left", "right", "choice", "annotator", "study", "image_id", "scenario", "kind")
OPTIONAL = ("vote_id", "study", "image_id", "scenario", "reasons", "kind", "shown_at", "answered_at", "simulated")
TIMES = ("shown_at", "answered_at")
DISTINCT = ("vote_id", *TIMES)
SHOWN_PROBLEMS = 50
"""How many bad rows an error message lists; `VotesError.problems` holds all of them."""

Mask = NDArray[np.bool_]
Cells = pd.Categorical | NDArray[np.object_]
"""One column as text: categories where values repeat, an object array where they do not (`vote_id`, times)."""


@dataclass(frozen=True)
class BadRow:
    """One cell that breaks the contract of the vote table."""

    row: int
    """Data row, counted from 1 (the header is not counted)."""
    column: str
    value: str
    problem: str

    def __str__(self) -> str:
        return f"row {self.row} (spreadsheet row {self.row + 1}), column {self.column!r}: {self.value!r} {self.problem}"


class VotesError(TI2VError):
    """The vote table cannot be used; `problems` names every bad row."""

    def __init__(self, message: str, problems: Sequence[BadRow] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def read_votes(path: str | Path) -> pd.DataFrame:
    """Read a vote table (`.csv` or `.parquet`) and check every row.

    Returns:
        The table as `check_votes` returns it.

    Raises:
        VotesError: no such file, another format, unreadable, a required column missing, or bad rows (all named).
    """
    path = Path(path)
    if not path.is_file():
        raise VotesError(f"No vote table at {path}. Name a .csv or .parquet file.")
    if path.suffix.lower() == ".csv":
        frame = _read_csv(path)
    elif path.suffix.lower() in (".parquet", ".pq"):
        frame = _read_parquet(path)
    else:
        raise VotesError(f"{path} is neither .csv nor .parquet. Save the vote table as one of the two.")
    return check_votes(frame, str(path))


def check_votes(frame: pd.DataFrame, source: str = "vote table") -> pd.DataFrame:
    """Check a vote table in memory, from wherever it came.

    Args:
        frame: Columns as in the vote table's contract; unknown columns are dropped.
        source: What an error message calls the table.

    Returns:
        The same rows in the same order: text columns as categories, `reasons` as text (`none` or a `;` list),
        times as UTC timestamps, `simulated` as bool. An optional column that is absent, or empty in every row,
        is absent.

    Raises:
        VotesError: a required column is missing, or bad rows, all named.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise VotesError(
            f"{source} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"It has: {', '.join(map(str, frame.columns)) or 'none'}. Required: {', '.join(REQUIRED)}."
        )
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in frame.columns]
    text = {name: _as_text(frame[name]) if name in DISTINCT else _as_category(frame[name]) for name in known}
    empty = {name for name in OPTIONAL if name in text and len(frame) and _is_empty(text[name]).all()}
    text = {name: column for name, column in text.items() if name not in empty}
    times = {name: _as_time(text[name]) for name in TIMES if name in text}
    problems = sorted(_problems(text, times), key=lambda bad: (bad.row, bad.column))
    if problems:
        raise VotesError(_message(source, problems), problems)
    return _typed(text, times, len(frame))


def _read_csv(path: Path) -> pd.DataFrame:
    ragged: list[pa.csv.InvalidRow] = []

    def keep(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    try:
        with path.open("rb") as file:
            header = file.readline().decode("utf-8-sig").strip()
        if not header:
            raise VotesError(f"{path} is empty. Required columns: {', '.join(REQUIRED)}.")
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep),
            convert_options=_all_text(path),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise VotesError(f"{path} cannot be read as UTF-8 csv: {_one_line(error)}. Save it again as csv.") from error
    if ragged:
        problems = [
            # Arrow counts the header as line 1
            BadRow(
                row.number - 1, "(whole row)", row.text, f"has {row.actual_columns} cells, not {row.expected_columns}"
            )
            for row in ragged
        ]
        raise VotesError(_message(str(path), problems), problems)
    return _to_pandas(table, str(path))


def _ragged(row: pa.csv.InvalidRow) -> BadRow:
    problem = f"has {row.actual_columns} cells, not {row.expected_columns}"
    return BadRow(row.number - 1, "(whole row)", row.text, problem)  # Arrow counts the header as line 1


def _all_text(path: Path) -> pa.csv.ConvertOptions:
    lenient = pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip")
    with pa.csv.open_csv(path, parse_options=lenient) as reader:
        names = reader.schema.names
    kinds = {name: pa.string() if name == "vote_id" else pa.dictionary(pa.int32(), pa.string()) for name in names}
    return pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False, null_values=[])


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(path, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise VotesError(f"{path} cannot be read as parquet: {_one_line(error)}.") from error
    return _to_pandas(table, str(path))


def _to_pandas(table: pa.Table, source: str) -> pd.DataFrame:
    names = table.column_names
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise VotesError(f"{source} has the column {double[0]!r} {names.count(double[0])} times. Keep one of them.")
    wanted = [name for name in names if name in (*REQUIRED, *OPTIONAL)]
    if set(REQUIRED) - set(wanted):
        wanted = names  # check_votes tells what is missing, and what is there
    frame: pd.DataFrame = table.select(wanted).to_pandas()
    return frame


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _as_category(column: "pd.Series[str]") -> pd.Categorical:
    """Text categories in sorted order; missing cells become empty text."""
    try:
        codes, found = pd.factorize(column)
    except TypeError:  # lists, as parquet may hold reasons
        codes, found = pd.factorize(column.map(_joined))
    names = found.categories[found.codes] if isinstance(found, pd.CategoricalIndex) else found
    text = np.array([*map(_text, names), ""], dtype=object)
    values, inverse = np.unique(text, return_inverse=True)
    used = inverse[codes]  # code -1, a missing cell, takes the last entry: empty
    kept, final = np.unique(used, return_inverse=True)
    return pd.Categorical.from_codes(final, pd.Index(values[kept], dtype=object))


def _joined(value: object) -> object:
    return ";".join(map(str, value)) if isinstance(value, list | tuple | np.ndarray) else value


def _as_text(column: "pd.Series[str]") -> NDArray[np.object_]:
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
        categories = _as_category(column)
        text: NDArray[np.object_] = np.asarray(categories.categories, dtype=object)[categories.codes]
        return text
    missing = column.isna().to_numpy()
    if isinstance(column.dtype, pd.StringDtype):
        text = column.to_numpy(dtype=object)
    else:
        text = np.array([_text(cell) for cell in column], dtype=object)
    return np.where(missing, "", text)


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # an id column of numbers with gaps
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)


def _is_empty(column: Cells) -> Mask:
    if isinstance(column, pd.Categorical):
        return np.isin(column.codes, np.flatnonzero(column.categories == ""))
    return np.asarray(column == "", dtype=bool)


def _as_time(cells: Cells) -> "pd.Series[pd.Timestamp]":
    """UTC times; a time without an offset is taken as UTC; empty or unreadable cells are NaT."""
    text = pd.Series(np.asarray(cells, dtype=object), dtype=object)
    return pd.to_datetime(text.where(text != "", None), utc=True, errors="coerce", format="ISO8601")


def _problems(text: dict[str, Cells], times: "dict[str, pd.Series[pd.Timestamp]]") -> Iterator[BadRow]:
    for name, column in text.items():
        if isinstance(column, pd.Categorical):
            yield from _bad_cells(name, column, _rule(name))
    for name, moments in times.items():
        unreadable = moments.isna().to_numpy() & ~_is_empty(text[name])
        yield from _rows(unreadable, name, text[name], "is not an ISO 8601 time")
    if len(times) == 2:
        early = (times["answered_at"] < times["shown_at"]).to_numpy()
        yield from _rows(early, "answered_at", text["answered_at"], "is before shown_at")
    same = np.asarray(text["left"], dtype=object) == np.asarray(text["right"], dtype=object)
    yield from _rows(same & ~_is_empty(text["left"]), "right", text["right"], "is also the left model")
    if "vote_id" in text:
        yield from _rows(_is_empty(text["vote_id"]), "vote_id", text["vote_id"], "is empty")
        again = pd.Series(text["vote_id"]).duplicated().to_numpy() & ~_is_empty(text["vote_id"])
        yield from _rows(again, "vote_id", text["vote_id"], "occurs in an earlier row")
    for name in ("image_id", "scenario"):
        if name in text:
            yield from _contradictions(name, text[name], text["pair_id"])


def _contradictions(name: str, column: Cells, pair: Cells) -> Iterator[BadRow]:
    """A pair has one image and one scenario; the first row that names it decides."""
    codes = pd.Series(pd.factorize(np.asarray(column, dtype=object))[0])
    first = codes.groupby(pd.factorize(np.asarray(pair, dtype=object))[0]).transform("first")
    yield from _rows((codes != first).to_numpy(), name, column, "differs from an earlier row of the same pair_id")


def _rule(name: str) -> Callable[[str], str | None]:
    """What is wrong with one value of a column, or None."""
    booleans = ("true", "false", "True", "False", "TRUE", "FALSE", "1", "0")
    allowed = {"choice": CHOICES, "kind": KINDS, "simulated": booleans}
    if name == "reasons":
        return _wrong_reasons
    if name in allowed:
        return lambda value: None if value in allowed[name] else f"is not one of {', '.join(allowed[name][:4])}"
    return _wrong_name


def _wrong_name(value: str) -> str | None:
    if not value.strip():
        return "is empty"
    return "begins or ends with a space" if value != value.strip() else None


def _wrong_reasons(value: str) -> str | None:
    if value in ("", "none"):
        return None
    parts = value.split(";")
    unknown = [part for part in parts if part not in REASONS]
    if unknown:
        return f"holds {unknown[0]!r}, which is none of {', '.join(REASONS)} (joined by ';'), or none alone"
    return "names a reason twice" if len(set(parts)) < len(parts) else None


def _bad_cells(name: str, column: pd.Categorical, rule: Callable[[str], str | None]) -> Iterator[BadRow]:
    for code, value in enumerate(column.categories):
        problem = rule(value)
        if problem:
            yield from _rows(np.asarray(column.codes == code), name, column, problem)


def _rows(bad: Mask, name: str, column: Cells, problem: str) -> Iterator[BadRow]:
    for row in np.flatnonzero(bad):
        yield BadRow(int(row) + 1, name, str(column[row]), problem)


def _message(source: str, problems: Sequence[BadRow]) -> str:
    lines = [str(bad) for bad in problems[:SHOWN_PROBLEMS]]
    rows = len({bad.row for bad in problems})
    more = len(problems) - len(lines)
    rest = [f"and {more} more"] if more else []
    return "\n  ".join([f"{source} has {rows} bad row{'s' if rows > 1 else ''}; mend or remove them:", *lines, *rest])


def _typed(text: dict[str, Cells], times: "dict[str, pd.Series[pd.Timestamp]]", n: int) -> pd.DataFrame:
    frame = pd.DataFrame({name: text[name] for name in TEXT_COLUMNS if name in text}, index=pd.RangeIndex(n))
    if "vote_id" in text:
        frame["vote_id"] = np.asarray(text["vote_id"], dtype=object)
    if "reasons" in text:
        frame["reasons"] = text["reasons"]
    for name, moments in times.items():
        frame[name] = moments
    if "simulated" in text:
        frame["simulated"] = pd.Series(text["simulated"]).isin(("true", "True", "TRUE", "1"))
    return frame
