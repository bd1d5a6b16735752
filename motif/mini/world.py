"""The study's data: drawn clips, prompts, and flow *estimated* from the pixels, made by several CPU workers."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motif.mini.text import encode
from ti2v_bench.motion.heatmap import HeatmapSettings, heatmap, to_grid
from ti2v_bench.shapes import Scenes, Vocabulary, join, motion_mask, prompts, render, sample_scenes

Item = TypeVar("Item")
Result = TypeVar("Result")

HELD_OUT = 0.15
"""Share of all (colour, kind, motion) combinations that no training prompt names."""
WORDS = {
    "full": Vocabulary(),
    "small": Vocabulary(
        kinds=("circle", "square", "triangle", "star"),
        colours=("red", "yellow", "green", "blue", "white"),
        motions=("left", "right", "up", "down", "grow", "fade", "enter_left", "enter_right"),
        textures=("brick", "stone", "wood", "water"),
    ),
    "tiny": Vocabulary(
        kinds=("circle", "square", "triangle"),
        colours=("red", "yellow", "blue", "white"),
        motions=("left", "right", "up", "down"),
        textures=("stone", "wood"),
    ),
}
"""`full`: everything the drawn world has; the others: less to learn, for shorter runs."""
_CHUNK = 128


@dataclass(frozen=True)
class Clips:
    """N clips with what is known and what was estimated of them; arrays on the CPU."""

    scenes: Scenes
    frames: NDArray[np.uint8]
    """(N, F, H, W, 3)."""
    flow: NDArray[np.float16]
    """(N, F-1, 2, h, w) in pixels of the frames it was estimated on, DIS."""
    mask: NDArray[np.bool_]
    """(N, F, H, W): the moving object, from the drawing itself."""
    ids: NDArray[np.int64]
    """(N, L) words."""


def vocabularies(words: str, seed: int = 0) -> tuple[Vocabulary, Vocabulary]:
    """Words to learn from, and the held-out combinations of the same words; `words` is a key of WORDS."""
    return WORDS[words].split(HELD_OUT, seed)


def draw_clips(
    count: int, seed: int, words: Vocabulary, size: int, frames: int, workers: int = 1, flow_size: int | None = None
) -> Clips:
    """`count` random clips with their estimated flow; same arguments, same clips, however many workers.

    Flow is estimated on frames of `flow_size` (None: `size`), since below 64 pixels it finds little.
    """
    sizes = [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))
    work = partial(_draw_chunk, words=words, size=size, frames=frames, flow_size=flow_size or size)
    parts = over_workers(work, list(zip(sizes, seeds, strict=True)), workers)
    columns = [np.concatenate([getattr(p, name) for p in parts]) for name in ("frames", "flow", "mask", "ids")]
    return Clips(join([p.scenes for p in parts]), *columns)


def over_workers(work: Callable[[Item], Result], items: list[Item], workers: int) -> list[Result]:
    """`[work(item) for item in items]` in processes."""
    if workers <= 1:
        return [work(item) for item in items]
    context = get_context("forkserver")  # a plain fork copies the locks of torch's threads
    context.set_forkserver_preload(["motif.mini.judge"])
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(work, items))


def _draw_chunk(
    job: tuple[int, np.random.SeedSequence], words: Vocabulary, size: int, frames: int, flow_size: int
) -> Clips:
    import cv2

    from ti2v_bench.motion.dis import DisFlow

    cv2.setNumThreads(1)
    count, seed = job
    scenes = sample_scenes(count, np.random.default_rng(seed), words)
    video = render(scenes, size, frames)
    larger = video if flow_size == size else render(scenes, flow_size, frames)
    dis = DisFlow()
    flow = np.stack([dis.flow(clip) for clip in larger]).astype(np.float16)
    return Clips(scenes, video, flow, motion_mask(scenes, size, frames), encode(prompts(scenes)))


def on_device(frames: NDArray[np.uint8], device: str) -> Tensor:
    """(N, F, H, W, 3) uint8 array to (N, 3, F, H, W) on the device."""
    return torch.from_numpy(frames).to(device).permute(0, 4, 1, 2, 3).contiguous()


def heat_bytes(flow: Tensor, settings: HeatmapSettings, size: int) -> Tensor:
    """Heatmap times 255 as uint8, (N, F, size, size), of flow (N, F-1, 2, H, W) on any device."""
    parts = []
    for part in torch.split(flow, 1024):
        heat = to_grid(heatmap(part, settings), (size, size))
        parts.append((heat * 255).round().to(torch.uint8))
    return torch.cat(parts)
