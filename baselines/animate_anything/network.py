"""AnimateAnything's network.

Shapes: B videos, F frames (the condition frame not counted), H x W latent cells.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.modelscope.adapter import both
from baselines.modelscope.unet import TextUnet
from baselines.sampling.guidance import guided


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
    unet: TextUnet,
    x: Tensor,
    t: Tensor,
    text: Tensor,
    first: Tensor,
    mask: Tensor | None,
    strength: Tensor | None,
) -> Tensor:
    """The network's noise for the frames behind the condition frame, (k B, 4, F, H, W).

    Args:
        unet: `build_text_unet(shape, 5, strength=True)`; 4 channels if `mask` is None.
        x: Noisy latents, (B, 4, F, H, W).
        t: Timestep, () or (B,).
        text: Text states of k guidance branches, (k B, L, D).
        first: Latents of the picture, (B, 4, 1, H, W); put in front, in time, and dropped from the output.
        mask: (N, 1, 1, H, W), N a divisor of B, 1 where it may move; every frame gets it, the condition frame too.
        strength: Motion strength, (B,) or (1,).
    """
    sample = torch.cat([first, x], dim=2)
    if mask is not None:
        batch, _, frames, _, _ = sample.shape
        sample = torch.cat([mask.repeat(batch // len(mask), 1, frames, 1, 1).to(sample), sample], dim=1)
    condition = None if strength is None else unet.time_proj(strength).to(unet.dtype)
    output: Tensor = unet(sample.to(unet.dtype), t, text, condition)
    return output[:, :, 1:].to(x)


def predict_guided(
    unet: TextUnet,
    x: Tensor,
    t: Tensor,
    texts: tuple[Tensor, Tensor],
    first: Tensor,
    mask: Tensor,
    strength: Tensor,
    guidance: float,
) -> Tensor:
    """Guided noise of B videos; arguments as of `predict`, but two `texts`: of the empty text and of the prompt.

    Published: a guidance of 1 or less is none, so that the prompt counts in full.
    """
    if guidance <= 1:
        return predict(unet, x, t, texts[1], first, mask, strength)
    without, with_prompt = both(predict(unet, x, t, torch.cat(texts), first, mask, strength))
    return guided(with_prompt, without, guidance)
