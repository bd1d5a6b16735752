"""Runs of a study as files: one per cell and seed, whole or absent, so that a command goes on where others stopped."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motif.mini.study import Study
from ti2v_bench.errors import TI2VError
from ti2v_bench.files import write_bytes

RUNS, PAIR = "runs", "pair"
"""Folders below a study's: the ablation, and the two networks that ship."""
Record = dict[str, object]


class StudyError(TI2VError):
    """Arguments or files that do not go on with a study as it was begun."""


@dataclass(frozen=True)
class Order:
    """Which runs, where to, until when."""

    folder: Path
    """Of the files `<cell>-<seed>.jsonl`, one line per checkpoint."""
    until: float
    """No run is begun that would end after this time of `time.perf_counter`."""
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    checkpoints: tuple[int, ...]
    done: tuple[Path, ...] = ()
    """Other folders of that kind, or in their place a `<folder>.jsonl` of the report; their runs are not repeated."""
    share: tuple[int, int] = (0, 1)
    """(i, n): of the missing runs, every n-th from the i-th on; for n processes on n devices."""
    keep_at: tuple[int, ...] = ()
    """Checkpoints at which the weights are written beside the run's file."""

    def missing(self) -> list[tuple[str, int]]:
        """(cell, seed) of this share, seed by seed: a study cut short still compares all cells on the same seeds."""
        everything = [(cell, seed) for seed in self.seeds for cell in self.cells][self.share[0] :: self.share[1]]
        places = (place for folder in self.done for place in (folder, folder.with_suffix(".jsonl")))
        made = {(r["cell"], r["seed"]) for r in read_runs(place for place in places if place.exists())}
        return [(c, s) for c, s in everything if (c, s) not in made and not (self.folder / _name(c, s)).is_file()]


def carry_out(study: Study, order: Order) -> int:
    """Make the missing runs until the time is up; how many are still missing. Killing it loses one run."""
    todo, longest = order.missing(), 0.0
    for count, (cell, seed) in enumerate(todo):
        started = time.perf_counter()
        if started + longest > order.until:
            print(f"time is up: {count} of {len(todo)} missing runs made; the same command goes on", flush=True)
            return len(todo) - count
        records = _one(study, order, cell, seed)
        write_bytes(order.folder / _name(cell, seed), "".join(json.dumps(r) + "\n" for r in records).encode())
        longest = max(longest, time.perf_counter() - started)
    return 0


def _one(study: Study, order: Order, cell: str, seed: int) -> list[Record]:
    records = []
    order.folder.mkdir(parents=True, exist_ok=True)
    for record, clips in study.run(cell, seed, order.checkpoints):
        records.append(record)
        print(line(record), flush=True)
        step = int(str(record["step"]))
        if step in order.keep_at:
            about = {"cell": cell, "seed": str(seed), "step": str(step), "words": study.settings.words}
            study.save(order.folder / f"{cell}-{seed}-{step}.safetensors", about)
        if step == order.checkpoints[-1] and seed == order.seeds[0]:
            np.save(order.folder / f"{cell}-{seed}.npy", clips[:: max(1, len(clips) // 6)][:6].cpu().numpy())
    return records


def _name(cell: str, seed: int) -> str:
    return f"{cell}-{seed}.jsonl"


def read_runs(places: Iterable[Path]) -> list[Record]:
    """The records of files, or of all files in folders; a run that stands in several places counts once.

    Raises:
        StudyError: a line is no record, as where a file was copied in part; names file and line.
    """
    files: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.glob("*.jsonl")) if place.is_dir() else [place]:
            files.setdefault(path.name if place.is_dir() else str(path), path)
    return [record for path in files.values() for record in _records(path)]


def _records(path: Path) -> Iterator[Record]:
    for number, text in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError:
            record = None
        if not (isinstance(record, dict) and record.keys() >= {"cell", "seed", "step"}):
            raise StudyError(
                f"{path}, line {number} is no record of a run ({text[:40]!r}). Copy the file anew, or delete it and "
                "its runs are made again."
            )
        yield record


def right_share(record: Record) -> float:
    """Share of test scenes in which the named object did the named thing."""
    outcomes = str(record["outcomes"])
    return outcomes.count("0") / len(outcomes)


def line(record: Record) -> str:
    """One checkpoint for a reader of the terminal."""
    text = str(record["outcomes"])
    half = len(text) // 2
    seen, held_out = (part.count("0") / max(1, len(part)) for part in (text[:half], text[half:]))
    psnr = float(np.nanmean(np.array(record["still_psnr"], float)))
    ratios = [round(v, 1) for v in record["error_ratio"].values()]  # type: ignore[attr-defined]
    return (
        f"{record['cell']:>12} seed {record['seed']} step {record['step']:>5}: right {seen:.3f} seen {held_out:.3f} "
        f"held out, still {text.count('3') / len(text):.2f}, PSNR {psnr:.1f} dB, ratio {ratios}, "
        f"loss {record['loss']:.4f}, {record['seconds']}"
    )


def montage(folders: Sequence[Path], cells: Iterable[str], seed: int, scenes: int) -> NDArray[np.uint8] | None:
    """Frames of some test scenes side by side, the cells of one scene below each other; None without any clips."""
    found = [path for cell in cells if (path := _first(folders, f"{cell}-{seed}.npy")) is not None]
    if not found:
        return None
    shown = [np.load(path)[:scenes] for path in found]
    rows = [np.concatenate(list(row), axis=1) for row in _rows(shown)]
    return np.concatenate(rows)


def _rows(shown: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for index in range(min(len(clips) for clips in shown)):
        for clips in shown:
            yield clips[index].transpose(1, 2, 3, 0)


def _first(folders: Sequence[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
