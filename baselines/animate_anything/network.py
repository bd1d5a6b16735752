"""AnimateAnything's network on diffusers' class.

Shapes: B videos, F frames (the condition frame not counted), H x W latent cells.
"""

from collections.abc import Mapping

import torch
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor


def to_diffusers(state: Mapping[str, Tensor], mask: bool = True) -> dict[str, Tensor]:
    """The published state dict for diffusers' class.

    The file holds two input convolutions; with a mask the second is used, on [mask, latent]. `motion_embedding` is
    in the file and never used: the strength enters through `time_embedding.cond_proj`.
    """
    used, other = ("conv_in2.", "conv_in.") if mask else ("conv_in.", "conv_in2.")
    return {
        "conv_in." + key.removeprefix(used) if key.startswith(used) else key: value
        for key, value in state.items()
        if not key.startswith((other, "motion_embedding."))
    }


def predict(
    unet: UNet3DConditionModel,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    first: Tensor,
    mask: Tensor | None,
    strength: Tensor | None,
) -> Tensor:
    """The network's noise for the frames behind the condition frame.

    Args:
        unet: `build_text_unet(shape, 5, strength=True)`; 4 channels if `mask` is None.
        x: Noisy latents, (B, 4, F, H, W).
        t: Timestep, () or (B,).
        text: Text states, (B, L, D).
        first: Latents of the picture, (B, 4, 1, H, W); put in front, in time, and dropped from the output.
        mask: (B or 1, 1, 1, H, W), 1 where it may move; every frame gets it, the condition frame too.
        strength: Motion strength, (B,) or (1,).
    """
    sample = torch.cat([first, x], dim=2)
    if mask is not None:
        batch, _, frames, height, width = sample.shape
        sample = torch.cat([mask.expand(batch, 1, frames, height, width).to(sample), sample], dim=1)
    condition = None if strength is None else unet.time_proj(strength).to(unet.dtype)
    output: Tensor = unet(sample.to(unet.dtype), t, text, timestep_cond=condition, return_dict=False)[0]
    return output[:, :, 1:].to(x)
