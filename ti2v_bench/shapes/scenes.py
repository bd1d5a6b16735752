"""Many scenes as one struct of arrays: a background, up to five objects, and what one of them does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes.words import MOTIONS

SLOTS = 5
"""Objects per scene at most; the last slot is the newcomer's, who is not in the first frame."""
NEWCOMER = SLOTS - 1

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

_MOTION = {name: index for index, name in enumerate(MOTIONS)}
_ACROSS = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "enter_left": (1, 0),
    "enter_right": (-1, 0),
}
_DIRECTION = np.array([_ACROSS.get(name, (0, 0)) for name in MOTIONS], np.float32)


@dataclass(frozen=True)
class Scenes:
    """N scenes. Places and lengths are fractions, so that one scene can be drawn at any size."""

    texture: Indices
    """(N,) index into TEXTURES."""
    seed: Indices
    """(N,) of the background's details, in [0, 2**31)."""
    kind: Indices
    """(N, SLOTS) index into KINDS."""
    colour: Indices
    """(N, SLOTS) index into COLOURS."""
    present: NDArray[np.bool_]
    """(N, SLOTS) whether the slot holds an object."""
    x: Floats
    """(N, SLOTS) centre in the first frame, fraction of the width from the left."""
    y: Floats
    """(N, SLOTS) centre in the first frame, fraction of the height from the top."""
    radius: Floats
    """(N, SLOTS) in the first frame, fraction of the shorter side."""
    angle: Floats
    """(N, SLOTS) in the first frame, radians clockwise."""
    actor: Indices
    """(N,) slot of the object that the prompt names; it alone changes."""
    motion: Indices
    """(N,) index into MOTIONS."""
    amount: Floats
    """(N,) how much by the last frame: distance (fraction of width or height), factor, radians, or opacity lost."""
    place: Indices
    """(N,) index into PLACES: which of several like objects is meant."""

    def __len__(self) -> int:
        return len(self.actor)

    def __getitem__(self, which: slice | NDArray[Any] | Sequence[int]) -> "Scenes":
        return Scenes(*(getattr(self, field.name)[which] for field in fields(self)))

    def of_actor(self, name: str) -> NDArray[Any]:
        """(N,) the actor's entry of one of the (N, SLOTS) arrays."""
        column: NDArray[Any] = getattr(self, name)
        return column[np.arange(len(self)), self.actor]

    def moves(self, *names: str) -> NDArray[np.bool_]:
        """(N,) whether the motion is one of these."""
        return np.isin(self.motion, [_MOTION[name] for name in names])


@dataclass(frozen=True)
class ActorPath:
    """What the actor of each of N scenes does over F frames; all (N, F) float32."""

    x: Floats
    """Centre, fraction of the width; outside [0, 1] while out of the frame."""
    y: Floats
    radius: Floats
    """Fraction of the shorter side."""
    angle: Floats
    """Radians clockwise."""
    opacity: Floats
    """0 to 1."""


def actor_path(scenes: Scenes, frames: int) -> ActorPath:
    """The actor's true path: every motion is even over time, from the first frame to the last."""
    time = np.linspace(0, 1, frames, dtype=np.float32) if frames > 1 else np.zeros(1, np.float32)
    progress = scenes.amount[:, None] * time
    direction = _DIRECTION[scenes.motion]
    sized = scenes.moves("grow", "shrink")[:, None]
    factor = np.where(sized, 1 + (scenes.amount[:, None] - 1) * time, np.float32(1))
    return ActorPath(
        x=scenes.of_actor("x")[:, None] + direction[:, :1] * progress,
        y=scenes.of_actor("y")[:, None] + direction[:, 1:] * progress,
        radius=scenes.of_actor("radius")[:, None] * factor,
        angle=scenes.of_actor("angle")[:, None] + np.where(scenes.moves("turn")[:, None], progress, np.float32(0)),
        opacity=1 - np.where(scenes.moves("fade")[:, None], progress, np.float32(0)),
    )


def join(parts: Sequence[Scenes]) -> Scenes:
    """Several batches of scenes as one."""
    return Scenes(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Scenes)))


def to_json(scenes: Scenes) -> list[dict[str, Any]]:
    """One JSON-ready dict per scene; `from_json` gives back the same arrays to the bit."""
    names = [field.name for field in fields(Scenes)]
    columns = [getattr(scenes, name).tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def from_json(rows: Sequence[Mapping[str, Any]]) -> Scenes:
    """The scenes that `to_json` wrote.

    Raises:
        KeyError: a field is missing.
    """
    kinds: dict[str, Any] = {"present": np.bool_} | dict.fromkeys(("x", "y", "radius", "angle", "amount"), np.float32)
    names = [field.name for field in fields(Scenes)]
    return Scenes(*(np.array([row[name] for row in rows], kinds.get(name, np.int64)) for name in names))
