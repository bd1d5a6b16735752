"""Reads `prompt.csv` in any of the forms it comes in: with a header or without, any separator, any column order."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ti2v_bench.bench.images import ImageFolder
from ti2v_bench.errors import TI2VError

TABLE = "prompt.csv"
_SEPARATORS = (",", ";", "\t", "|")
_PROMPT_HEADERS = ("prompt", "prompts", "text", "text_prompt", "caption", "description", "prompt_en")


class BenchError(TI2VError):
    """A bench folder or its table cannot be used."""


@dataclass(frozen=True)
class Row:
    """One row of the table, cut to what a pair needs."""

    number: int
    """Counted from 1, header and blank rows included, as a spreadsheet counts."""
    image: str
    prompt: str
    problem: str | None = None
    """What is wrong with the row's form, or None."""


def read_table(path: Path, images: ImageFolder) -> list[Row]:
    """All rows of `path` that are not blank and not the header.

    The image column is the one whose cells most often name pictures that are here; failing that, the one whose
    cells most often end as picture names do. The prompt column is the one that the header calls so, else the one
    with the longest texts.

    Raises:
        BenchError: not UTF-8 (line named), no rows, or no column that names pictures.
    """
    text = _decode(path)
    separator, cells = max(
        ((separator, _cells(text, separator, path)) for separator in _SEPARATORS),
        key=lambda candidate: _score(candidate[1], images),
    )
    filled = [(number, row) for number, row in enumerate(cells, 1) if any(row)]
    if not filled:
        raise BenchError(f"{path} has no rows; expected one line 'image,prompt' per pair.")
    column = _image_column([row for _, row in filled], images)
    if column is None:
        raise BenchError(
            f"No column of {path} names picture files; expected one line 'image,prompt' per pair, e.g. "
            f"'images/horse4.jpeg,A horse jumping.'"
        )
    header = None if _is_image(filled[0][1], column, images) else filled.pop(0)[1]
    width = len(header) if header is not None else _usual_width([row for _, row in filled])
    prompts = _prompt_column(header, [row for _, row in filled], column, width)
    return [_row(number, row, column, prompts, width, separator) for number, row in filled]


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"{path} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}; save the file as UTF-8."
        ) from error


def _cells(text: str, separator: str, path: Path) -> list[list[str]]:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        return [[cell.strip() for cell in row] for row in rows]
    except csv.Error as error:
        raise BenchError(f"{path} cannot be read as a table: {error}; is a quote left open?") from error


def _score(rows: Sequence[Sequence[str]], images: ImageFolder) -> tuple[int, int]:
    """How well a separator fits: cells that name pictures here, then cells that look like picture names."""
    return (
        sum(any(images.names_image(cell) for cell in row) for row in rows if len(row) > 1),
        sum(any(images.looks_like_image(cell) for cell in row) for row in rows if len(row) > 1),
    )


def _image_column(rows: Sequence[Sequence[str]], images: ImageFolder) -> int | None:
    for is_image in (images.names_image, images.looks_like_image):
        hits = [
            sum(is_image(row[column]) for row in rows if column < len(row)) for column in range(max(map(len, rows)))
        ]
        if max(hits) > 0:
            return hits.index(max(hits))
    return None


def _is_image(row: Sequence[str], column: int, images: ImageFolder) -> bool:
    """Whether the first row is data. A header's cell is a bare word; a missing picture still has its suffix."""
    cell = row[column] if column < len(row) else ""
    return images.names_image(cell) or images.looks_like_image(cell)


def _usual_width(rows: Sequence[Sequence[str]]) -> int:
    widths = [len(row) for row in rows]
    return max(set(widths), key=widths.count) if widths else 0


def _prompt_column(header: Sequence[str] | None, rows: Sequence[Sequence[str]], image: int, width: int) -> int:
    """Index of the prompt column, never the image column."""
    named = [title.casefold().replace(" ", "_") for title in header or ()]
    for title in _PROMPT_HEADERS:
        if title in named and named.index(title) != image:
            return named.index(title)
    others = [column for column in range(max(width, 2)) if column != image]
    return max(others, key=lambda column: sum(len(row[column]) for row in rows if column < len(row)))


def _row(number: int, cells: Sequence[str], image: int, prompt: int, width: int, separator: str) -> Row:
    problem = None
    if any(cells[width:]):
        problem = f"{len(cells)} columns where {width} are expected; put a prompt with {separator!r} in double quotes"
    filled = [*cells, *[""] * (max(image, prompt) + 1 - len(cells))]
    return Row(number, filled[image], filled[prompt], problem)
