"""The paper's ablations in miniature: `python -m motif.mini --out FOLDER --cache FOLDER --minutes M` on one GPU.

Draws, chooses a world that is neither too easy nor too hard for the plain loss, then trains and measures cell by cell.
The same command goes on where it was stopped.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import cv2
import torch

from motif.folder import as_json
from motif.mini.cells import CELLS, StudySettings
from motif.mini.drawn import World, draw_world
from motif.mini.runs import PAIR, RUNS, Order, StudyError, carry_out, read_runs, right_share
from motif.mini.study import Study
from motif.mini.training import TrainSettings
from motif.mini.world import WORDS
from ti2v_bench.errors import TI2VError
from ti2v_bench.files import write_bytes

PILOT_SEED, ENOUGH = 100, 0.4
"""A world is taken if the plain loss is right this often at its last checkpoint; this seed is in no comparison."""
HARDEST_FIRST, SHIPPED_WORDS = ("full", "small", "tiny"), "full"


def main() -> None:
    """Draw, choose, train, measure, write."""
    began = time.perf_counter()
    args = _arguments()
    try:
        left = _study(args, began, began + 60 * args.minutes)
    except TI2VError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{left} runs are still missing, {time.perf_counter() - began:.1f} s", flush=True)


def _study(args: argparse.Namespace, began: float, until: float) -> int:
    for folder in args.done:
        if not folder.is_dir():
            raise StudyError(f"--done names {folder}, which is no folder. Name a study or a report of one.")
    base = StudySettings(
        clips=args.clips, tests=args.tests, tiny=args.tiny, size=args.size, checkpoints=args.checkpoints,
        flow_size=max(args.size, StudySettings.flow_size), channels=args.channels,
        train=TrainSettings(batch=args.batch, learning_rate=args.learning_rate),
    )  # fmt: skip
    words = args.words or _chosen((args.out, *args.done))
    ladder = (words,) if words else HARDEST_FIRST
    needed = dict.fromkeys((*ladder, *((SHIPPED_WORDS,) if args.pair else ())))
    worlds = Worlds(base, tuple(needed), args.workers, args.cache)
    study = _prepared(replace(base, words=ladder[0]), worlds, args)
    print(f"ready with words {ladder[0]} after {time.perf_counter() - began:.1f} s", flush=True)
    settings = _settled(study, ladder, worlds, args) if words is None else study.settings
    _same_as_before(args.out, settings)
    _about(args, settings, study)
    done = tuple(folder / RUNS for folder in args.done)
    if args.pair:
        worlds.show(study, SHIPPED_WORDS)
        pair = Order(args.out / PAIR, until, ("lambda-1", "plain"), (0,), args.pair, keep_at=args.pair[-1:])
        carry_out(study, pair)
        worlds.show(study, settings.words)
    order = Order(args.out / RUNS, until, args.cells, args.seeds, settings.checkpoints, done, args.share)
    left = carry_out(study, order)
    worlds.close()
    return left


class Worlds:
    """The worlds that a command needs: the first is drawn here, the others meanwhile in processes of their own."""

    def __init__(self, base: StudySettings, words: tuple[str, ...], workers: int, cache: Path) -> None:
        self.base, self.workers, self.cache = base, workers, cache
        context = get_context("forkserver")
        self._drawing = {
            name: context.Process(target=draw_world, args=(replace(base, words=name), workers, cache))
            for name in words[1:]
        }
        for process in self._drawing.values():
            process.start()

    def get(self, words: str) -> World:
        """Wait until it is drawn."""
        if words in self._drawing:
            self._drawing.pop(words).join()
        return draw_world(replace(self.base, words=words), self.workers, self.cache)

    def show(self, study: Study, words: str) -> None:
        """Make it the world of the study."""
        if study.settings.words != words:
            study.settings = replace(study.settings, words=words)
            study.load(self.get(words))

    def close(self) -> None:
        """Wait for what is still being drawn: ended early, it would leave its own workers behind."""
        for process in self._drawing.values():
            process.join()


def _settled(study: Study, ladder: tuple[str, ...], worlds: Worlds, args: argparse.Namespace) -> StudySettings:
    """The hardest world in which the plain loss gets somewhere; the last one if there is none."""
    for words in ladder:
        worlds.show(study, words)
        pilot = Order(args.out / "pilot" / words, float("inf"), ("plain",), (PILOT_SEED,), study.settings.checkpoints)
        carry_out(study, pilot)
        reached = right_share(read_runs([pilot.folder])[-1])
        if reached >= ENOUGH:
            break
    print(f"words {words}: the plain loss reaches {reached:.2f}", flush=True)
    return study.settings


def _prepared(settings: StudySettings, worlds: Worlds, args: argparse.Namespace) -> Study:
    world = worlds.get(settings.words)
    try:
        return Study(settings, world, args.device, args.compile)
    except Exception as error:  # the compiler is a convenience; the study must not die of it
        if not args.compile:
            raise
        print(f"compiling failed, going on without: {str(error)[:2000]}", flush=True)
        return Study(settings, world, args.device, False)


def _chosen(folders: tuple[Path, ...]) -> str | None:
    """The words that an earlier command settled on."""
    for folder in folders:
        if (folder / "about.json").is_file():
            return str(json.loads((folder / "about.json").read_text())["settings"]["words"])
    return None


def _same_as_before(out: Path, settings: StudySettings) -> None:
    path = out / "about.json"
    if not path.is_file():
        return
    before, now = json.loads(path.read_text())["settings"], as_json(asdict(settings))
    changed = [f"{name} {before.get(name)} there and {value} here" for name, value in now.items()
               if before.get(name) != value]  # fmt: skip
    if changed:
        raise StudyError(f"{out} holds a study with other settings: {'; '.join(changed)}. Choose another --out.")


def _about(args: argparse.Namespace, settings: StudySettings, study: Study) -> None:
    about = {
        "settings": asdict(settings),
        "machine": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "opencv": cv2.__version__,  # flow is estimated by it
        "parameters": study.flat.numel(),
        "compiled": args.compile,
    }
    write_bytes(args.out / "about.json", json.dumps(about, indent=1).encode())


def _arguments() -> argparse.Namespace:
    def ints(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(",") if part)

    def cells(text: str) -> tuple[str, ...]:
        names = tuple(part for part in text.split(",") if part)
        unknown = [name for name in names if name not in CELLS]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no cell {unknown[0]!r}; known: {', '.join(CELLS)}")
        return names

    def share(text: str) -> tuple[int, int]:
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form I/N with I below N, e.g. 0/2")
        return int(index), int(count)

    parser = argparse.ArgumentParser(prog="python -m motif.mini", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of runs/, pilot/, pair/ and about.json")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the drawn clips, 5 GB each")
    parser.add_argument("--minutes", type=float, default=9.0, help="no run is begun that would end later")
    parser.add_argument("--done", type=Path, nargs="*", default=[], help="other studies, or reports, whose runs count")
    parser.add_argument("--share", type=share, default=(0, 1), help="I/N: every N-th missing run, for N processes")
    parser.add_argument("--cells", type=cells, default=tuple(CELLS))
    parser.add_argument("--seeds", type=ints, default=(0, 1, 2, 3, 4))
    parser.add_argument("--checkpoints", type=ints, default=StudySettings.checkpoints, help="steps measured at")
    parser.add_argument("--pair", type=ints, default=(), help="first train the two to be shipped to these steps")
    parser.add_argument("--words", choices=tuple(WORDS), help="the world; default: by a pilot run of the plain loss")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clips", type=int, default=StudySettings.clips)
    parser.add_argument("--tests", type=int, default=StudySettings.tests)
    parser.add_argument("--size", type=int, default=StudySettings.size)
    parser.add_argument("--channels", type=ints, default=StudySettings.channels, help="of the network's levels")
    parser.add_argument("--batch", type=int, default=TrainSettings.batch)
    parser.add_argument("--learning-rate", type=float, default=TrainSettings.learning_rate)
    parser.add_argument("--tiny", action="store_true", help="a toy network, to try the study on a CPU")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
