"""Network outputs by name: which network, of what, prepared how. Made for several clips at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ti2v_bench.metrics import resize
from ti2v_bench.metrics.clip import Clip, Picture
from ti2v_bench.metrics.networks import ClipNetwork, Embedder


@dataclass(frozen=True)
class Feature:
    """One kind of network output."""

    network: str
    """`align` stands for the network of the alignment settings."""
    of: str
    """`frames`, `image` or `prompt`."""
    transform: Callable[[Tensor], Tensor] | None = None
    """Frames (N, 3, H, W) in 0-255, on any device, to the network's input."""
    early: Callable[[Clip], Tensor] | None = None
    """A clip to the network's input by one picture after another on the CPU, and so best where the clip is decoded;
    for frames only where the network runs on the CPU too."""

    def is_early(self, device: str) -> bool:
        """Whether the input is made by `early`, of the networks on `device`."""
        return self.early is not None and not (self.transform is not None and _on_gpu(device))


def _on_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"


def clip_through_pillow(pictures: Sequence[Picture]) -> Tensor:
    """transformers' CLIP preparation with Pillow: shorter side 224 bicubic, middle 224 x 224, normalised."""
    prepared = []
    for picture in pictures:
        height, width = resize.shorter_side(picture.shape[:2], 224)
        small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (height - 224) // 2, (width - 224) // 2
        prepared.append(small[top : top + 224, left : left + 224])
    return resize.normalise(resize.as_tensor(np.stack(prepared)) / 255, resize.CLIP)


FEATURES = {
    "dino": Feature("dino-b16", "frames", resize.dino_input),
    "dino-i2v": Feature("dino-b16", "frames", resize.dino_i2v_input),
    "dino-i2v-image": Feature("dino-b16", "image", early=lambda clip: resize.dino_i2v_image(clip.image)),
    "clip-b32": Feature("clip-b32", "frames", resize.clip_input),
    "clip-l14": Feature("clip-l14", "frames", resize.clip_input),
    "dreamsim": Feature("dreamsim", "frames", resize.dreamsim_input),
    "dreamsim-image": Feature("dreamsim", "image", early=lambda clip: resize.dreamsim_image(clip.image)),
    "align-frames": Feature(
        "align", "frames", resize.pillow_clip_input, lambda clip: clip_through_pillow(list(clip.frames))
    ),
    "align-image": Feature("align", "image", early=lambda clip: clip_through_pillow([clip.image])),
    "align-text": Feature("align", "prompt"),
}


def prepare_early(clip: Clip, names: Sequence[str], device: str) -> None:
    """Make what needs one CPU thread and no network, for `make_features` to take up; frames go to a GPU once."""
    for name in names:
        feature = FEATURES[name]
        if feature.early is not None and feature.is_early(device):
            clip.prepared[name] = feature.early(clip)
    if _on_gpu(device) and any(FEATURES[name].of == "frames" for name in names):
        clip.prepared[_FRAMES] = resize.levels(clip.frames, device)


_PIXELS = 2**24
"""Prepared at once; in float64, as Pillow's resampling is on a GPU, 384 MiB."""
_FRAMES = "frames"
"""The clip's frames as they are, among what was prepared."""


def make_features(
    clips: Sequence[Clip], names: Sequence[str], networks: Mapping[str, Embedder], prefix: str, batch: int, device: str
) -> None:
    """Run the networks and put their outputs into each clip's `features`, on the CPU.

    Args:
        clips: Any number; pictures of equal size share a batch.
        names: In FEATURES.
        networks: By the names that the features state.
        prefix: Put before each prompt.
        batch: Pictures per call of a network.
        device: Where frames are prepared.
    """
    for name in names:
        feature = FEATURES[name]
        network = networks[feature.network]
        if feature.of == "prompt":
            texts = [prefix + clip.prompt for clip in clips]
            found = list(torch.split(cast("ClipNetwork", network).embed_texts(texts).cpu(), 1))
        elif feature.early is not None and feature.is_early(device):
            early = [clip.prepared.pop(name, None) for clip in clips]
            inputs = [feature.early(clip) if x is None else x for clip, x in zip(clips, early, strict=True)]
            found = _embedded(inputs, network.embed, batch)
        else:
            assert feature.transform is not None
            frames = [clip.prepared.get(_FRAMES) for clip in clips]
            levels = [resize.levels(c.frames, device) if x is None else x for c, x in zip(clips, frames, strict=True)]
            found = _embedded(levels, _of_levels(feature.transform, network), batch)
        for clip, vectors in zip(clips, found, strict=True):
            clip.features = {**clip.features, name: vectors}


def _of_levels(transform: Callable[[Tensor], Tensor], network: Embedder) -> Callable[[Tensor], Tensor]:
    """Frames (N, H, W, 3) uint8 to (N, D)."""

    def embed(frames: Tensor) -> Tensor:
        few = max(1, _PIXELS // frames[0, ..., 0].numel())
        parts = [transform(resize.of_levels(part)) for part in torch.split(frames, few)]
        return network.embed(torch.cat(parts))

    return embed


def _embedded(inputs: Sequence[Tensor], embed: Callable[[Tensor], Tensor], batch: int) -> list[Tensor]:
    """One (F, D) on the CPU per input (F, ...); inputs of one size go through the network, and back, together."""
    found: list[Tensor | None] = [None] * len(inputs)
    for size in {tuple(x.shape[1:]) for x in inputs}:
        which = [at for at, x in enumerate(inputs) if tuple(x.shape[1:]) == size]
        together = torch.cat([inputs[at] for at in which])
        vectors = torch.cat([embed(part) for part in torch.split(together, batch)]).cpu()
        for at, part in zip(which, torch.split(vectors, [len(inputs[at]) for at in which]), strict=True):
            found[at] = part
    return cast("list[Tensor]", found)
