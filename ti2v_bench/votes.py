"""The vote table: its columns, how it is read, and every row that cannot be used, named."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
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
SHOWN_TEXT = 100
"""How many bad rows an error message lists, and how much of a cell; `VotesError.problems` holds all."""

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
        value = self.value if len(self.value) <= SHOWN_TEXT else self.value[:SHOWN_TEXT] + "…"
        return f"row {self.row} (spreadsheet row {self.row + 1}), column {self.column!r}: {value!r} {self.problem}"


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
    if path.is_dir():
        raise VotesError(f"{path} is a folder. Name a .csv or .parquet file.")
    if not path.is_file():
        raise VotesError(f"No vote table at {path}. Name a .csv or .parquet file.")
    ragged: list[BadRow] = []
    try:
        if path.suffix.lower() == ".csv":
            frame, ragged = _read_csv(path)
        elif path.suffix.lower() in (".parquet", ".pq"):
            frame = _read_parquet(path)
        else:
            raise VotesError(f"{path} is neither .csv nor .parquet. Save the vote table as one of the two.")
    except OSError as error:
        raise VotesError(
            f"{path} cannot be read: {error.strerror or _one_line(error)}. Check its permissions."
        ) from error
    return _check(frame, str(path), ragged)


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
    return _check(frame, source, [])


def _check(frame: pd.DataFrame, source: str, ragged: Sequence[BadRow]) -> pd.DataFrame:
    """`check_votes`; `ragged` are rows of the file that are not in the frame, for having too few or too many cells."""
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise VotesError(
            f"{source} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            f"It has: {', '.join(repr(str(name)) for name in frame.columns) or 'none'}."
            f"{_separator(frame.columns)} Required: {', '.join(REQUIRED)}."
        )
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in frame.columns]
    for name in known:
        _refuse_structures(frame[name], name, source)
    text = {name: _as_text(frame[name]) if name in DISTINCT else _as_category(frame[name]) for name in known}
    empty = {name for name in OPTIONAL if name in text and len(frame) and _is_empty(text[name]).all()}
    text = {name: column for name, column in text.items() if name not in empty}
    times = {name: _as_time(text[name]) for name in TIMES if name in text}
    problems = _numbered(_problems(text, times), len(frame), ragged)
    if problems:
        raise VotesError(_message(source, problems), problems)
    return _typed(text, times, len(frame))


def _numbered(problems: Iterable[BadRow], n: int, ragged: Sequence[BadRow]) -> list[BadRow]:
    """All bad rows in the order of the file, numbered as in the file, where ragged rows stand between the others."""
    found = list(problems)
    if ragged:
        rows = np.setdiff1d(np.arange(1, n + len(ragged) + 1), [bad.row for bad in ragged])
        found = [*ragged, *(replace(bad, row=int(rows[bad.row - 1])) for bad in found)]
    return sorted(found, key=lambda bad: (bad.row, bad.column))


def _separator(columns: "pd.Index[str]") -> str:
    """A hint where a whole header was taken for one name."""
    only = str(columns[0]) if len(columns) == 1 else ""
    mark = next((mark for mark in (";", "\t", "|") if mark in only), None)
    return f" Its columns are separated by {mark!r}; save it with commas." if mark else ""


def _refuse_structures(column: "pd.Series[str]", name: str, source: str) -> None:
    """A list in place of a name, as parquet can hold it, is no text; only reasons may be lists."""
    if column.dtype != object:
        return
    cells: NDArray[np.object_] = column.to_numpy(dtype=object)
    for row, cell in enumerate(cells):
        allowed = (list, tuple, np.ndarray) if name == "reasons" else ()
        if isinstance(cell, dict | list | tuple | set | np.ndarray) and not isinstance(cell, allowed):
            problem = f"is a {type(cell).__name__}; the column must hold text"
            bad = BadRow(row + 1, name, str(cell), problem)
            raise VotesError(_message(source, [bad]), [bad])


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """The table as text, and the rows that have too few or too many cells."""
    ragged: list[BadRow] = []

    def keep(row: pa.csv.InvalidRow) -> str:
        problem = f"has {row.actual_columns} cells, not {row.expected_columns}"
        ragged.append(BadRow(row.number - 1, "(whole row)", row.text, problem))  # Arrow counts the header as line 1
        return "skip"

    _refuse_other_encodings(path)
    with path.open("rb") as file:
        header = file.readline()
    if not header.strip(b"\xef\xbb\xbf\r\n \t"):
        what = "is empty" if path.stat().st_size == len(header) else "begins with an empty line"
        raise VotesError(f"{path} {what}. Its first line must name the columns: {', '.join(REQUIRED)}.")
    if not header.endswith(b"\n") and b"\r" not in header:
        source: Path | BytesIO = BytesIO(header + b"\n")  # a header alone, which Arrow wants closed
    else:
        source = path
    try:
        table = pa.csv.read_csv(
            source,
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=_lines(keep),
            convert_options=_all_text(source),
        )
    except pa.ArrowInvalid as error:
        raise VotesError(f"{path} cannot be read as csv: {_one_line(error)}. Save it again as csv.") from error
    return _to_pandas(_without_empty_end(table), str(path)), ragged


def _refuse_other_encodings(path: Path) -> None:
    done = 0
    with path.open("rb") as file:
        while lines := file.readlines(2**20):
            try:
                b"".join(lines).decode()
            except UnicodeDecodeError as error:
                line = done + error.object[: error.start].count(b"\n") + 1
                byte = f"byte {error.object[error.start]:#04x} in line {line}"
                raise VotesError(f"{path} is not UTF-8 text: {byte}. Save it again as csv, in UTF-8.") from error
            done += len(lines)


def _lines(ragged: Callable[[pa.csv.InvalidRow], str]) -> pa.csv.ParseOptions:
    """Empty lines count as rows, so that the rows keep the numbers that a spreadsheet shows."""
    return pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=ragged)


def _all_text(source: Path | BytesIO) -> pa.csv.ConvertOptions:
    with pa.csv.open_csv(source, parse_options=_lines(lambda _: "skip")) as reader:
        names = reader.schema.names
    if isinstance(source, BytesIO):
        source.seek(0)
    kinds = {name: pa.string() if name == "vote_id" else pa.dictionary(pa.int32(), pa.string()) for name in names}
    return pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False, null_values=[])


def _without_empty_end(table: pa.Table) -> pa.Table:
    """Spreadsheets leave empty rows below the last one."""
    end = len(table)
    while end and not any(column[end - 1].as_py() for column in table.columns):
        end -= 1
    return table.slice(0, end)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(path, use_threads=False)
    except pa.ArrowException as error:
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
    frame: pd.DataFrame = table.select(wanted).to_pandas(ignore_metadata=True)  # a saved index is a column too
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
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
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
    nothing = np.logical_and.reduce([_is_empty(column) for column in text.values()])
    yield from _rows(nothing, "(whole row)", text["pair_id"], "is empty")
    for name, column in text.items():
        if isinstance(column, pd.Categorical):
            yield from _bad_cells(name, column, _rule(name), ~nothing)
    for name, moments in times.items():
        unreadable = moments.isna().to_numpy() & ~_is_empty(text[name])
        yield from _rows(unreadable, name, text[name], "is not an ISO 8601 time")
    if len(times) == 2:
        early = (times["answered_at"] < times["shown_at"]).to_numpy()
        yield from _rows(early, "answered_at", text["answered_at"], "is before shown_at")
    same = np.asarray(text["left"], dtype=object) == np.asarray(text["right"], dtype=object)
    yield from _rows(same & ~_is_empty(text["left"]), "right", text["right"], "is also the left model")
    if "vote_id" in text:
        yield from _rows(_is_empty(text["vote_id"]) & ~nothing, "vote_id", text["vote_id"], "is empty")
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


def _bad_cells(name: str, column: pd.Categorical, rule: Callable[[str], str | None], asked: Mask) -> Iterator[BadRow]:
    for code, value in enumerate(column.categories):
        problem = rule(value)
        if problem:
            yield from _rows(np.asarray(column.codes == code) & asked, name, column, problem)


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
