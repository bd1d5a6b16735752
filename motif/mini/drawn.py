"""Everything that is drawn for a study, once for all runs, and kept on disk for the next command."""

import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from motif.mini.cells import StudySettings
from motif.mini.judge import Case, cases
from motif.mini.world import Clips, draw_clips, vocabularies
from ti2v_bench.shapes import join


@dataclass
class World:
    """Training and test clips, drawn once for all runs."""

    train: Clips
    test: Clips
    against: list[Case]


def draw_world(settings: StudySettings, workers: int, cache: Path | None = None) -> World:
    """Draw everything on the CPU, or read it from a former call's cache; call before CUDA is touched.

    Args:
        settings: words, sizes and counts.
        workers: processes that draw.
        cache: folder for what was drawn, 5 GB a world at the default settings.
    """
    sizes = (settings.size, settings.flow_size, settings.frames, settings.clips, settings.tests)
    key = f"{settings.words}-{'-'.join(map(str, sizes))}.pickle"
    path = cache / key if cache else None
    if path and path.exists():
        world: World = pickle.loads(path.read_bytes())
        return world
    seen, unseen = vocabularies(settings.words)
    half = settings.tests // 2
    draw = partial(
        draw_clips, size=settings.size, frames=settings.frames, workers=workers, flow_size=settings.flow_size
    )
    train = draw(settings.clips, 1, seen)
    parts = [draw(half, 2, seen), draw(settings.tests - half, 3, unseen)]
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("frames", "flow", "mask", "ids")]
    test = Clips(join([p.scenes for p in parts]), *columns)
    world = World(train, test, cases(test.scenes, settings.size, settings.frames, workers))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".partial")
        unfinished.write_bytes(pickle.dumps(world, protocol=5))
        unfinished.replace(path)
    return world
