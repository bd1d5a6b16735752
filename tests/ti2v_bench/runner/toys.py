"""Models that fail, wait or die on command; `TOYS` names the folder where they talk with their test."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ti2v_bench.model import Frames
from ti2v_bench.records import Pair


def folder() -> Path:
    return Path(os.environ["TOYS"])


def frames_of(pair: Pair, seed: int) -> Frames:
    """Flat frames whose grey level follows from pair and seed."""
    level = 30 + (sum(pair.id.encode()) + 7 * seed) % 180
    return np.full((4, 32, 32, 3), level, np.uint8)


def log(event: str, pair: Pair) -> None:
    """One line per event, appended in one write, so that several processes can share the file."""
    with (folder() / "log").open("a") as file:
        file.write(f"{event} {pair.id} {os.getpid()}\n")


def publish(name: str, text: str) -> None:
    """A file that is whole as soon as it is there: tests wait for its name and then read it."""
    partial = folder() / f".{name}.{os.getpid()}"
    partial.write_text(text)
    partial.replace(folder() / name)


class Plain:
    name = "plain"
    fps = 8

    def generate(self, pair: Pair, seed: int) -> Frames:
        log("made", pair)
        return frames_of(pair, seed)


class Picky(Plain):
    """Fails on every pair whose id contains a word in the file `fail`."""

    name = "picky"

    def generate(self, pair: Pair, seed: int) -> Frames:
        if any(word in pair.id for word in (folder() / "fail").read_text().split()):
            raise ZeroDivisionError(f"no\nluck with {pair.id}")
        return super().generate(pair, seed)


class Waiting(Plain):
    """Says that it has started a pair, then waits until the test writes `go` or `go_<pair id>`."""

    name = "waiting"

    def generate(self, pair: Pair, seed: int) -> Frames:
        publish(f"started_{pair.id}", str(os.getpid()))
        while not ((folder() / "go").exists() or (folder() / f"go_{pair.id}").exists()):
            time.sleep(0.01)
        return super().generate(pair, seed)


class Dying(Plain):
    """Its process dies at once on pairs named in `die`; each name is used up unless it ends in `!`."""

    name = "dying"

    def generate(self, pair: Pair, seed: int) -> Frames:
        note = folder() / f"die_{pair.id}"
        if note.exists():
            if note.read_text() == "once":
                note.unlink()
            os.kill(os.getpid(), 9)
        return super().generate(pair, seed)


class Batched(Plain):
    """Takes several pairs, but runs out of memory above `room`."""

    name = "batched"

    def __init__(self, batch: str = "8", room: str = "3") -> None:
        self.batch, self.room = int(batch), int(room)

    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        with (folder() / "batches").open("a") as file:
            file.write(f"{len(pairs)}\n")
        if len(pairs) > self.room:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return [self.generate(pair, seed) for pair, seed in zip(pairs, seeds, strict=True)]


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class Greedy(Batched):
    """Does not even fit one pair."""

    name = "greedy"

    def generate(self, pair: Pair, seed: int) -> Frames:
        raise MemoryError("unable to allocate")


class Odd(Plain):
    """Returns what is in the file `returns`, as Python."""

    name = "odd"

    def generate(self, pair: Pair, seed: int) -> Frames:
        value: Frames = eval((folder() / "returns").read_text(), {"np": np})
        return value


class Told(Plain):
    """Has settings and says so."""

    name = "told"

    def __init__(self, steps: str = "50") -> None:
        self.steps = int(steps)

    def provenance(self) -> dict[str, object]:
        return {"settings": {"steps": self.steps}, "weights": [], "precision": "float32", "device": "cpu", "extra": 1}


class Broken(Plain):
    """Cannot be loaded."""

    name = "broken"

    def __init__(self) -> None:
        raise RuntimeError("weights are upside down")


class Stillborn(Plain):
    """Its process ends while it is loaded."""

    name = "stillborn"

    def __init__(self) -> None:
        os._exit(9)


class Poisoned(Plain):
    """Meets a CUDA error once; from then on every call in that process fails, as with the real thing."""

    name = "poisoned"
    poisoned = False

    def generate(self, pair: Pair, seed: int) -> Frames:
        try:
            (folder() / "poison").unlink()
            self.poisoned = True
        except FileNotFoundError:
            pass
        if self.poisoned:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().generate(pair, seed)
