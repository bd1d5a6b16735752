"""The image as tokens, for the cx-attn and both variants of the paper's Table 3.

Which encoder the paper's variants used is not in what we could read. Ours: VideoCrafter1's published CLIP tower and
projector, frozen, 16 tokens; the UNet's image keys and values are trained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from baselines.checkpoints import build, fetch, is_random, random_state, read_state, weight_record
from baselines.lvdm.pictures import for_clip
from baselines.lvdm.recipe import Recipe, tiny
from baselines.lvdm.resampler import Resampler
from baselines.lvdm.weights import networks, published_states
from baselines.videocrafter.settings import Settings, recipe

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class ImageTokens:
    """A picture to tokens that the network attends to."""

    vision: "CLIPVisionModelWithProjection"
    projector: Resampler
    record: Mapping[str, object]
    """What a sidecar says of the file."""

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, 16, D); mid-grey pictures stand for no image, as in VideoCrafter1."""
        shown = for_clip(pictures.float()).to(next(self.vision.parameters()).dtype)
        tokens: Tensor = self.projector(self.vision(shown).last_hidden_state)
        return tokens


def load_image_tokens(weights: str | None, small: bool, dtype: torch.dtype, device: str) -> ImageTokens:
    """VideoCrafter1's tower and projector.

    Args:
        weights: None for the published file; `random-tiny`, `random-full`; a folder that has VideoCrafter1's file too.
        small: whether the network is the toy one.
        dtype: of both.
        device: where they live.

    Raises:
        CheckpointError: the file is absent or not the expected one.
    """
    published: Recipe = recipe(Settings())
    chosen = tiny(published) if small else published
    made = networks(chosen.network)

    def part(factory: Callable[[], _Module], state: Mapping[str, Tensor]) -> _Module:
        return build(factory, state, expected=chosen.weights, dtype=dtype, device=device)

    if is_random(weights):
        states = {"image": random_state(made.image, 0), "resampler": random_state(made.resampler, 0)}
        record: Mapping[str, object] = {"random": weights, "seed": 0}
    else:
        path = fetch(chosen.weights, weights)
        states = published_states(read_state(path), chosen.network, chosen.weights)
        record = weight_record(chosen.weights, path)
    return ImageTokens(part(made.image, states["image"]), part(made.resampler, states["resampler"]), record)
