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
    prepare: Callable[[Clip, str], Tensor] | None = None
    """(clip, device) to the network's input; None for prompts."""
    early: bool = False
    """Whether its input is made on the CPU by one picture after another, and so best where the clip is decoded."""


def clip_through_pillow(pictures: Sequence[Picture]) -> Tensor:
    """transformers' CLIP preparation with Pillow: shorter side 224 bicubic, middle 224 x 224, normalised."""
    prepared = []
    for picture in pictures:
        height, width = resize.shorter_side(picture.shape[:2], 224)
        small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (height - 224) // 2, (width - 224) // 2
        prepared.append(small[top : top + 224, left : left + 224])
    return resize.normalise(resize.as_tensor(np.stack(prepared)) / 255, resize.CLIP)


def _of_frames(transform: Callable[[Tensor], Tensor]) -> Callable[[Clip, str], Tensor]:
    return lambda clip, device: transform(resize.as_tensor(clip.frames, device))


FEATURES = {
    "dino": Feature("dino-b16", "frames", _of_frames(resize.dino_input)),
    "dino-i2v": Feature("dino-b16", "frames", _of_frames(resize.dino_i2v_input)),
    "dino-i2v-image": Feature("dino-b16", "image", lambda clip, _: resize.dino_i2v_image(clip.image), True),
    "clip-b32": Feature("clip-b32", "frames", _of_frames(resize.clip_input)),
    "clip-l14": Feature("clip-l14", "frames", _of_frames(resize.clip_input)),
    "dreamsim": Feature("dreamsim", "frames", _of_frames(resize.dreamsim_input)),
    "dreamsim-image": Feature("dreamsim", "image", lambda clip, _: resize.dreamsim_image(clip.image), True),
    "align-frames": Feature("align", "frames", lambda clip, _: clip_through_pillow(list(clip.frames)), True),
    "align-image": Feature("align", "image", lambda clip, _: clip_through_pillow([clip.image]), True),
    "align-text": Feature("align", "prompt"),
}


def prepare_early(clip: Clip, names: Sequence[str], device: str) -> None:
    """Make the inputs that need one CPU thread and no network, for `make_features` to take up on `device`."""
    for name in names:
        feature = FEATURES[name]
        if feature.early and feature.prepare is not None:
            clip.prepared[name] = feature.prepare(clip, "cpu").to(device)


def make_features(
    clips: Sequence[Clip], names: Sequence[str], networks: Mapping[str, Embedder], prefix: str, batch: int, device: str
) -> None:
    """Run the networks and put their outputs into each clip's `features`, on the CPU.

    Args:
        clips: Any number; pictures of equal prepared size share a batch.
        names: In FEATURES.
        networks: By the names that the features state.
        prefix: Put before each prompt.
        batch: Pictures per call of a network.
        device: Where frames are prepared.
    """
    for name in names:
        feature = FEATURES[name]
        network = networks[feature.network]
        if feature.prepare is None:
            texts = [prefix + clip.prompt for clip in clips]
            found = list(torch.split(cast("ClipNetwork", network).embed_texts(texts).cpu(), 1))
        else:
            early = [clip.prepared.pop(name, None) for clip in clips]
            inputs = [feature.prepare(c, device) if x is None else x for c, x in zip(clips, early, strict=True)]
            found = _embedded(inputs, network, batch)
        for clip, vectors in zip(clips, found, strict=True):
            clip.features = {**clip.features, name: vectors}


def _embedded(inputs: Sequence[Tensor], network: Embedder, batch: int) -> list[Tensor]:
    """One (F, D) on the CPU per input (F, 3, H, W); inputs of one size go through the network, and back, together."""
    found: list[Tensor | None] = [None] * len(inputs)
    for size in {tuple(x.shape[1:]) for x in inputs}:
        which = [at for at, x in enumerate(inputs) if tuple(x.shape[1:]) == size]
        together = torch.cat([inputs[at] for at in which])
        vectors = torch.cat([network.embed(part) for part in torch.split(together, batch)]).cpu()
        for at, part in zip(which, torch.split(vectors, [len(inputs[at]) for at in which]), strict=True):
            found[at] = part
    return cast("list[Tensor]", found)
