"""Draws scenes: signed distances in pixels, so that every edge is anti-aliased at any size."""

from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes.scenes import NEWCOMER, ActorPath, Floats, Scenes, actor_path
from ti2v_bench.shapes.textures import backgrounds
from ti2v_bench.shapes.words import COLOURS, KINDS, ShapesError

_PAINT = np.array(list(COLOURS.values()), np.float32)
_OUTLINE = np.float32(0.11)
"""Width of the darker rim, as a part of the object's radius."""
_CACHE = 1 << 17
"""Pixels drawn at once: what keeps the working arrays inside a CPU's second-level cache."""


def render(scenes: Scenes, size: int | tuple[int, int], frames: int) -> NDArray[np.uint8]:
    """The true video of each scene.

    Args:
        scenes: N scenes.
        size: Side of the square frame in pixels, or (height, width).
        frames: F, at least 1; the motion always takes the whole clip.

    Returns:
        (N, F, height, width, 3) uint8, sRGB.

    Raises:
        ShapesError: a size below 8 pixels or less than one frame.
    """
    height, width = _checked(size, frames)
    path = actor_path(scenes, frames)
    out = np.empty((len(scenes), frames, height, width, 3), np.uint8)
    for part in _parts(len(scenes), max(1, 16 * _CACHE // (height * width))):
        _render_part(scenes[part], _cut(path, part), out[part])
    return out


def actor_alpha(scenes: Scenes, size: int | tuple[int, int], frames: int) -> Floats:
    """How much of each pixel the moving object covers, (N, F, height, width) float32 in [0, 1], its fading included."""
    height, width = _checked(size, frames)
    path = actor_path(scenes, frames)
    kind = scenes.of_actor("kind")
    out = np.empty((len(scenes), frames, height, width), np.float32)
    for index in range(len(KINDS)):
        for which in _groups(kind == index, frames * height * width):
            distance, _ = _distance(index, _cut(path, which), height, width)
            out[which] = (0.5 - distance).clip(0, 1) * path.opacity[which][..., None, None]
    return out


def _render_part(scenes: Scenes, path: ActorPath, out: NDArray[np.uint8]) -> None:
    _, frames, height, width, _ = out.shape
    canvas = backgrounds(scenes.texture, scenes.seed, height, width)
    for slot in range(NEWCOMER):
        still = _still(scenes, slot)
        drawn = scenes.present[:, slot] & (scenes.actor != slot)
        for index in range(len(KINDS)):
            for which in _groups(drawn & (scenes.kind[:, slot] == index), height * width):
                _paint(canvas, which, index, scenes.colour[which, slot], _cut(still, which), canvas[:, None])
    kind, colour = scenes.of_actor("kind"), scenes.of_actor("colour")
    for index in range(len(KINDS)):
        for which in _groups(kind == index, frames * height * width):
            _paint(canvas, which, index, colour[which], _cut(path, which), out)


def _still(scenes: Scenes, slot: int) -> ActorPath:
    """Where the object of this slot stands, as the path of a single frame."""
    x, y, radius, angle = (column[:, slot, None] for column in (scenes.x, scenes.y, scenes.radius, scenes.angle))
    return ActorPath(x, y, radius, angle, np.ones_like(x))


def _paint(
    canvas: Floats,
    which: NDArray[np.int64],
    kind: int,
    colour: NDArray[np.int64],
    path: ActorPath,
    out: NDArray[np.uint8] | Floats,
) -> None:
    """Draw one object of this kind over `canvas[which]`, into `out[which]` (n, F, H, W, 3)."""
    _, height, width, _ = canvas.shape
    distance, light = _distance(kind, path, height, width)
    alpha = (0.5 - distance).clip(0, 1)
    alpha *= path.opacity[..., None, None]
    rim = (distance + _OUTLINE * path.radius[..., None, None] * min(height, width) + 0.5).clip(0, 1)
    tone = (1 - 0.13 * light.clip(-1, 1)) * (1 - 0.45 * rim)
    for channel in range(3):
        ground = canvas[which, ..., channel][:, None]
        paint = (_PAINT[colour, channel][:, None, None, None] * tone).clip(None, 255)
        mixed = ground + alpha * (paint - ground)
        if out.dtype == np.uint8:
            mixed += np.float32(0.5)
        out[which, ..., channel] = mixed


def _distance(kind: int, path: ActorPath, height: int, width: int) -> tuple[Floats, Floats]:
    """Signed distance to the object's edge in pixels (negative inside), and height on it (-1 top, 1 bottom)."""
    radius = path.radius[..., None, None] * min(height, width)
    across = np.arange(0.5, width, dtype=np.float32) - path.x[..., None] * width
    down = np.arange(0.5, height, dtype=np.float32) - path.y[..., None] * height
    across, down = across[..., None, :] / radius, down[..., :, None] / radius
    cos, sin = np.cos(path.angle)[..., None, None], np.sin(path.angle)[..., None, None]
    u, v = across * cos + down * sin, down * cos - across * sin
    return _EDGES[kind](u, v) * radius, down


def _circle(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.sqrt(u * u + v * v) - np.float32(0.9))


def _square(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - np.float32(0.78))


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(v, np.abs(u) * np.float32(0.8660254) - v * np.float32(0.5)) - np.float32(0.55))


def _star(u: Floats, v: Floats) -> Floats:
    """A pentagram: inside where at most one of five half-planes is left, so the second largest distance counts."""
    most = np.full_like(u, -np.inf)
    second = most.copy()
    for turn in range(5):
        towards = np.float32(np.pi / 2 + turn * 2 * np.pi / 5)
        plane = u * np.cos(towards) + v * np.sin(towards)
        np.maximum(second, np.minimum(most, plane), out=second)
        np.maximum(most, plane, out=most)
    return np.asarray(second - np.float32(0.34))


def _diamond(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.abs(u) * np.float32(0.82) + np.abs(v) * np.float32(0.5724) - np.float32(0.58))


def _cross(u: Floats, v: Floats) -> Floats:
    long, short = np.maximum(np.abs(u), np.abs(v)), np.minimum(np.abs(u), np.abs(v))
    return np.asarray(np.maximum(long - np.float32(0.95), short - np.float32(0.34)))


def _ring(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.abs(np.sqrt(u * u + v * v) - np.float32(0.68)) - np.float32(0.25))


def _moon(u: Floats, v: Floats) -> Floats:
    bite = u - np.float32(0.55)
    return np.asarray(
        np.maximum(np.sqrt(u * u + v * v) - np.float32(0.95), np.float32(0.72) - np.sqrt(bite * bite + v * v)),
    )


_EDGES: tuple[Callable[[Floats, Floats], Floats], ...] = (
    _circle, _square, _triangle, _star, _diamond, _cross, _ring, _moon,
)  # fmt: skip
"""In the order of KINDS: signed distance for an object of radius 1 at the origin."""


def _checked(size: int | tuple[int, int], frames: int) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 8:
        raise ShapesError(f"A frame of {width}x{height} pixels is too small to draw; give at least 8x8.")
    if frames < 1:
        raise ShapesError(f"A clip of {frames} frames cannot be drawn; give at least 1.")
    return height, width


def _cut(path: ActorPath, which: slice | NDArray[np.int64]) -> ActorPath:
    return ActorPath(*(getattr(path, field.name)[which] for field in fields(ActorPath)))


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _groups(chosen: NDArray[np.bool_], pixels: int) -> Iterator[NDArray[np.int64]]:
    """Indices of the chosen scenes, so many at a time that their pixels stay in the cache."""
    indices = np.flatnonzero(chosen)
    step = max(1, _CACHE // pixels)
    return (indices[start : start + step] for start in range(0, len(indices), step))
