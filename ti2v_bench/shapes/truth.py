"""What is true of a drawn video: its prompt, which object moves, where, and by how much at every pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes.drawing import actor_alpha
from ti2v_bench.shapes.scenes import NEWCOMER, ActorPath, Floats, Scenes, actor_path
from ti2v_bench.shapes.words import COLOURS, KINDS, MOTIONS, PLACES

_COLOURS = tuple(COLOURS)
_MOTIONS = tuple(MOTIONS)


@dataclass(frozen=True)
class Truth:
    """What happens in each of N scenes over F frames."""

    colour: tuple[str, ...]
    kind: tuple[str, ...]
    motion: tuple[str, ...]
    place: tuple[str, ...]
    """Which of several like objects is meant; the empty word where it is the only one."""
    object: tuple[str, ...]
    """As a prompt names it, e.g. `the left red circle`."""
    path: ActorPath
    """Centre, radius, angle and opacity of that object in every frame, in fractions."""


def truth(scenes: Scenes, frames: int) -> Truth:
    """Which object each prompt names, what it does, and its path over so many frames."""
    return Truth(
        colour=tuple(_COLOURS[index] for index in scenes.of_actor("colour")),
        kind=tuple(KINDS[index] for index in scenes.of_actor("kind")),
        motion=tuple(_MOTIONS[index] for index in scenes.motion),
        place=tuple(PLACES[index] for index in scenes.place),
        object=tuple(_named(scenes)),
        path=actor_path(scenes, frames),
    )


def prompts(scenes: Scenes) -> list[str]:
    """One sentence per scene: one object and one motion, e.g. `The left red circle moves up.`"""
    return [
        f"{named[0].upper()}{named[1:]} {MOTIONS[_MOTIONS[motion]]}."
        for named, motion in zip(_named(scenes), scenes.motion, strict=True)
    ]


def displacement(scenes: Scenes, size: int | tuple[int, int], frames: int) -> Floats:
    """The true optical flow of the object that moves, from each frame to the next.

    Args:
        scenes: N scenes.
        size: Side of the square frame in pixels, or (height, width).
        frames: F, at least 2.

    Returns:
        (N, F - 1, 2, height, width) float32, pixels to the right and pixels down; 0 where the earlier frame shows
        less than half of the object, everywhere for an object that only fades.
    """
    height, width = (size, size) if isinstance(size, int) else size
    alpha = actor_alpha(scenes, size, frames)[:, :-1]
    path = actor_path(scenes, frames)
    now, after = slice(None, -1), slice(1, None)
    across = np.arange(0.5, width, dtype=np.float32)[None, :] - _pixels(path.x[:, now], width)
    down = np.arange(0.5, height, dtype=np.float32)[:, None] - _pixels(path.y[:, now], height)
    scale = (path.radius[:, after] / path.radius[:, now])[..., None, None]
    turned = (path.angle[:, after] - path.angle[:, now])[..., None, None]
    cos, sin = scale * np.cos(turned), scale * np.sin(turned)
    moved_x = _pixels(path.x[:, after] - path.x[:, now], width) + (cos - 1) * across - sin * down
    moved_y = _pixels(path.y[:, after] - path.y[:, now], height) + sin * across + (cos - 1) * down
    covered = alpha > 0.5 * path.opacity[:, now, None, None]
    return np.stack([moved_x * covered, moved_y * covered], axis=2).astype(np.float32)


def motion_mask(scenes: Scenes, size: int | tuple[int, int], frames: int) -> NDArray[np.bool_]:
    """(N, F, height, width): where the moving object is, in each frame."""
    opacity = actor_path(scenes, frames).opacity[..., None, None]
    covered: NDArray[np.bool_] = actor_alpha(scenes, size, frames) > 0.5 * opacity
    return covered


def _named(scenes: Scenes) -> list[str]:
    words = []
    columns = (scenes.actor, scenes.place, scenes.of_actor("colour"), scenes.of_actor("kind"))
    for actor, place, colour, kind in zip(*columns, strict=True):
        article = "a new" if actor == NEWCOMER else "the"
        words.append(" ".join(filter(None, (article, PLACES[place], _COLOURS[colour], KINDS[kind]))))
    return words


def _pixels(fraction: Floats, side: int) -> Floats:
    return (fraction * np.float32(side))[..., None, None]
