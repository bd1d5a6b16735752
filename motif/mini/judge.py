"""Did the named object do the named thing? Answered by synthesis: to which drawn alternative is the clip nearest?

For every test scene, each object in it is drawn doing each motion (several amounts, since prompts name none; several
heights for a newcomer, since prompts name none), plus the still picture. A generated clip counts as what its nearest
alternative does, by squared pixel distance on three frames. Pixels on which the alternatives agree cancel out, so
texture and noise do not decide. A random choice among object-motion pairs is right in about 1 of 25.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motif.mini.world import over_workers
from ti2v_bench.shapes import MOTIONS, Scenes, render
from ti2v_bench.shapes.scenes import NEWCOMER

LOOKED_AT = (3, 5, 7)
"""Frames of eight that are compared."""
STILL = -1
"""Motion index of the alternative in which nothing happens."""
_NAMES = tuple(MOTIONS)
_AMOUNTS = dict.fromkeys(("left", "right", "up", "down"), (0.3, 0.45, 0.6)) | {
    "grow": (1.5, 2.0),
    "shrink": (0.6, 0.35),
    "turn": (1.3, 2.0, 2.7),
    "fade": (0.5, 1.0),
    "enter_left": (0.6, 0.75, 0.9),
    "enter_right": (0.6, 0.75, 0.9),
}
_HEIGHTS = tuple(np.linspace(0.14, 0.86, 10))
_ROUND = (0, 6)
"""Circle and ring: turning them shows nothing."""

OUTCOMES = ("right", "wrong object", "wrong motion", "still", "other")


@dataclass(frozen=True)
class Case:
    """One test scene with its alternatives."""

    clips: NDArray[np.uint8]
    """(K, len(LOOKED_AT), H, W, 3)."""
    actor: NDArray[np.int64]
    """(K,) slot of the object that acts."""
    motion: NDArray[np.int64]
    """(K,) index into MOTIONS, or STILL."""
    still: NDArray[np.bool_]
    """(H, W): pixels that stay as they are in the true video and in every amount of what was asked."""


def cases(scenes: Scenes, size: int, frames: int, workers: int = 1) -> list[Case]:
    """The alternatives of each scene."""
    jobs = [(scenes[[index]], size, frames) for index in range(len(scenes))]
    return over_workers(_case, jobs, workers)


def _case(job: tuple[Scenes, int, int]) -> Case:
    scene, size, frames = job
    actor, motion, amount, x, y = (np.array(column) for column in zip(*_alternatives(scene), strict=True))
    many = scene[np.zeros(len(actor), np.int64)]
    many.x[:, NEWCOMER], many.y[:, NEWCOMER] = x, y
    clips = render(replace(many, actor=actor, motion=motion, amount=amount.astype(np.float32)), size, frames)
    true = render(scene, size, frames)
    asked = (actor == scene.actor[0]) & (motion == scene.motion[0])
    changed = np.concatenate([clips[asked], true]).astype(np.int16) - true[:, :1]
    still = np.abs(changed).max((0, 1, 4)) <= 6
    looked = clips[:, LOOKED_AT]
    nothing = np.repeat(true[:, :1], len(LOOKED_AT), axis=1)
    return Case(np.concatenate([looked, nothing]), np.append(actor, STILL), np.append(motion, STILL), _eroded(still))


def _alternatives(scene: Scenes) -> Iterator[tuple[int, int, float, float, float]]:
    """(actor, motion, amount, newcomer's x and y) of everything that could happen."""
    outside = 1.25 * float(scene.radius[0, NEWCOMER]) + 0.01
    for slot in np.flatnonzero(scene.present[0]):
        for motion, name in enumerate(_NAMES):
            entering = name.startswith("enter")
            if entering != (slot == NEWCOMER) or (name == "turn" and scene.kind[0, slot] in _ROUND):
                continue
            x = -outside if name == "enter_left" else 1 + outside
            for amount in _AMOUNTS[name]:
                for y in _HEIGHTS if entering else (0.5,):
                    yield int(slot), motion, amount, x, y


def _eroded(still: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without the two pixels around anything that changes; beyond the frame nothing does."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    result: NDArray[np.bool_] = cv2.erode(still.astype(np.uint8), cross, iterations=2).astype(np.bool_)
    return result


@dataclass(frozen=True)
class Verdicts:
    """What N generated clips show; arrays of length N."""

    outcome: NDArray[np.int64]
    """Index into OUTCOMES."""
    first_psnr: NDArray[np.float64]
    """First frame against the given image, dB."""
    still_psnr: NDArray[np.float64]
    """All frames against the given image where nothing should change, dB; NaN where everything may."""


class Judge:
    """The alternatives of a fixed set of test scenes, on the device where clips are judged."""

    def __init__(self, scenes: Scenes, against: list[Case], image: Tensor) -> None:
        """`against` is `cases(scenes)`; `image` the given first frames (N, 3, H, W) uint8."""
        self.scenes, self.against, self.image = scenes, against, image.float()
        device = image.device
        self._drawn = [torch.from_numpy(case.clips).to(device).permute(0, 4, 1, 2, 3) for case in against]
        self._still = [torch.from_numpy(case.still).to(device) for case in against]

    def __call__(self, clips: Tensor) -> Verdicts:
        """What each generated clip shows; `clips` are (N, 3, F, H, W) uint8 on the same device."""
        nearest, errors = [], []
        for index, (drawn, still) in enumerate(zip(self._drawn, self._still, strict=True)):
            shown = clips[index].float()
            looked = shown[:, list(LOOKED_AT)]
            nearest.append((drawn.float() - looked).square().flatten(1).sum(1).argmin())
            error = (shown - self.image[index, :, None]).square()
            errors.append(torch.stack([error[:, 0].mean(), (error * still).mean() / still.float().mean()]))
        psnr = 10 * torch.log10(255**2 / torch.stack(errors).clamp_min(1e-2))  # NaN where nothing is still
        first, still_psnr = psnr.double().cpu().numpy().T
        shown_by = torch.stack(nearest).tolist()
        return Verdicts(np.array([self._outcome(i, at) for i, at in enumerate(shown_by)]), first, still_psnr)

    def _outcome(self, index: int, nearest: int) -> int:
        case = self.against[index]
        if case.motion[nearest] == STILL:
            return OUTCOMES.index("still")
        same = (
            bool(case.actor[nearest] == self.scenes.actor[index]),
            bool(case.motion[nearest] == self.scenes.motion[index]),
        )
        names = {(True, True): "right", (False, True): "wrong object", (True, False): "wrong motion"}
        return OUTCOMES.index(names.get(same, "other"))
