"""A bench folder, row by row: `check_bench` names what is wrong, `load_bench` refuses it."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ti2v_bench.bench.images import ImageError, ImageFolder
from ti2v_bench.bench.names import pair_id, scenario_of, slug
from ti2v_bench.bench.table import TABLE, BenchError, Row, read_table
from ti2v_bench.records import Pair

_LONGEST_ID = 200
"""Bytes of a pair's id: its video's file name, with seed and suffixes, must fit in the usual 255."""
_BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that no prompt may have: control characters, halves of characters, line and paragraph ends."""


@dataclass(frozen=True)
class Counts:
    """How large a bench is. Prompts that differ only in capitals and punctuation count once."""

    pairs: int
    images: int
    prompts: int
    scenarios: int

    def __str__(self) -> str:
        return f"{self.pairs} pairs, {self.images} images, {self.prompts} prompts, {self.scenarios} scenarios"


@dataclass(frozen=True)
class Problem:
    """One bad row of `prompt.csv`."""

    row: int
    """Counted from 1, header and blank rows included, as a spreadsheet counts."""
    message: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.message}"


@dataclass(frozen=True)
class Bench:
    """An ordered set of pairs in a folder."""

    root: Path
    """Absolute path of the folder that holds `prompt.csv`."""
    pairs: tuple[Pair, ...]
    """In the order of `prompt.csv`; ids are unique."""

    def counts(self) -> Counts:
        """Pairs, images, prompts and scenarios."""
        return _counts(self.pairs)


@dataclass(frozen=True)
class BenchReport:
    """What `check_bench` found: the good pairs, and every bad row with its reason."""

    root: Path
    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]

    def counts(self) -> Counts:
        """Counts of the good pairs."""
        return _counts(self.pairs)


def load_bench(folder: Path) -> Bench:
    """The bench in `folder`: `prompt.csv` and its images.

    Raises:
        BenchError: no such folder or table, or any bad row; all bad rows are named.
    """
    report = check_bench(folder)
    if report.problems:
        rows, count = "; ".join(map(str, report.problems)), len(report.problems)
        raise BenchError(f"{report.root / TABLE} has {count} bad row{'s' * (count > 1)}: {rows}")
    return Bench(report.root, report.pairs)


def check_bench(folder: Path) -> BenchReport:
    """Read every row of `folder`'s `prompt.csv` and decode every image that it names.

    Raises:
        BenchError: no such folder or table, a table that is not UTF-8, or one without a column of images.
    """
    root = _root(folder)
    images = ImageFolder(root)
    good: dict[str, tuple[Pair, int]] = {}
    pictures: dict[str, Path] = {}
    problems: list[Problem] = []
    for row in read_table(root / TABLE, images):
        try:
            pair = _pair(row, images)
            _refuse_twin(pair, good, pictures)
        except (ImageError, ValueError) as error:
            problems.append(Problem(row.number, str(error)))
        else:
            good[pair.id] = (pair, row.number)
            pictures[pair.image_id] = pair.image
    return BenchReport(root, tuple(pair for pair, _ in good.values()), tuple(problems))


def _root(folder: Path) -> Path:
    root = folder.resolve()
    if not root.exists():
        raise BenchError(f"There is no folder {folder}. Give a folder that holds {TABLE} and its images.")
    if not root.is_dir():
        raise BenchError(f"{folder} is a file. Give the folder that holds {TABLE} and its images.")
    if not (root / TABLE).is_file():
        above = (root.parent / TABLE).is_file()
        hint = f"{root.parent} has one: give that folder." if above else "Give a folder that holds it and its images."
        raise BenchError(f"There is no {TABLE} in {folder}. {hint}")
    return root


def _pair(row: Row, images: ImageFolder) -> Pair:
    """The row's pair.

    Raises:
        ImageError: its image is unusable.
        ValueError: its prompt, or the row as a whole, is.
    """
    if row.problem is not None:
        raise ValueError(row.problem)
    if not row.prompt:
        raise ValueError("the prompt is empty")
    if any(unicodedata.category(character) in _BREAKS for character in row.prompt):
        raise ValueError(
            f"the prompt {_short(row.prompt)} has a line break or control character; is a quote left open?"
        )
    if not slug(row.prompt):
        raise ValueError(f"the prompt {_short(row.prompt)} has no letter or digit")
    image = images.find(row.image)
    if image.stem.startswith(".") or not image.stem.isprintable():
        raise ValueError(f"the picture's name {image.name!r} cannot begin the name of a video; rename the file")
    identity = pair_id(image.stem, row.prompt)
    if len(identity.encode()) > _LONGEST_ID:
        raise ValueError(
            f"the pair's id, {_short(identity)}, has {len(identity.encode())} bytes; videos are named by it and "
            f"{_LONGEST_ID} is the most: shorten the prompt or the image's name"
        )
    return Pair(identity, image.stem, scenario_of(image.stem), row.prompt, image)


def _refuse_twin(pair: Pair, good: dict[str, tuple[Pair, int]], pictures: dict[str, Path]) -> None:
    """A row must not repeat an earlier one, nor share its id, nor its image's name with another picture."""
    if pair.id in good:
        twin, row = good[pair.id]
        if (twin.image, twin.prompt) == (pair.image, pair.prompt):
            raise ValueError(f"the same pair as row {row} ({pair.id})")
        raise ValueError(
            f"{pair.image.name} with {_short(pair.prompt)} gives the same pair id as row {row} "
            f"({twin.image.name} with {_short(twin.prompt)}): {pair.id}; change one of them"
        )
    other = pictures.get(pair.image_id, pair.image)
    if other != pair.image:
        raise ValueError(f"two pictures are called {pair.image_id!r}: {other} and {pair.image}; rename one")


def _counts(pairs: Iterable[Pair]) -> Counts:
    pairs = tuple(pairs)
    return Counts(
        pairs=len(pairs),
        images=len({pair.image_id for pair in pairs}),
        prompts=len({slug(pair.prompt) for pair in pairs}),
        scenarios=len({pair.scenario for pair in pairs}),
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
