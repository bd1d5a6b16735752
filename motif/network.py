"""VideoCrafter2's UNet widened for an image: at step 0 it gives exactly what VideoCrafter2 gives.

Published: VideoCrafter2 as the base, the first frame's latent concatenated on channels. Not published: how the new
channels begin. Zero is our choice, and the usual one.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from baselines.lvdm.settings import UNetSettings
from baselines.lvdm.unet import UNet

FIRST = "input_blocks.0.0.weight"


def widened(state: Mapping[str, Tensor], settings: UNetSettings) -> dict[str, Tensor]:
    """A VideoCrafter2 UNet state for a network with more input channels and, where it has them, image keys and values.

    Args:
        state: VideoCrafter2's UNet, keys without `model.diffusion_model.`.
        settings: the network to be filled.

    Returns:
        The same tensors; `input_blocks.0.0.weight` padded with zeros, `to_k_ip` copied from `to_k`, `to_v_ip` zero, so
        that neither condition changes the output yet.
    """
    result = dict(state)
    first = state[FIRST]
    extra = settings.in_channels - first.shape[1]
    result[FIRST] = torch.cat([first, first.new_zeros(first.shape[0], extra, *first.shape[2:])], dim=1)
    if settings.image_attention:
        for key, value in state.items():
            if ".attn2.to_k.weight" in key and value.shape[1] == settings.context_dim and _spatial(key, state):
                result[key.replace("to_k", "to_k_ip")] = value.clone()
                result[key.replace("to_k", "to_v_ip")] = torch.zeros_like(value)
    return result


def _spatial(key: str, state: Mapping[str, Tensor]) -> bool:
    """Whether this attn2 looks at the text (in temporal blocks it looks at its own tokens, as wide as its queries)."""
    own = key.replace("to_k", "to_q")
    number = key.split(".transformer_blocks.")[0].rsplit(".", 1)[1]
    return number == "1" and own in state


def with_image(noisy: Tensor, image: Tensor, settings: UNetSettings) -> Tensor:
    """The network's input: noisy latents (B, 4, F, h, w), and on channels the image's (B, 4, h, w) for every frame."""
    if settings.in_channels == noisy.shape[1]:
        return noisy
    return torch.cat([noisy, image.unsqueeze(2).expand(-1, -1, noisy.shape[2], -1, -1)], dim=1)


def place(unet: UNet, device: torch.device, channels_last: bool | None = None) -> UNet:
    """Move to the device that trains it, in place.

    Args:
        unet: the network.
        device: where to.
        channels_last: memory format of its 2-D convolutions; None takes what is fastest there.
    """
    unet.to(device)
    if device.type == "cuda" if channels_last is None else channels_last:
        for parameter in unet.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return unet


def checkpointed(unet: UNet) -> UNet:
    """Make every block recompute its activations in the backward pass; changes `unet` in place and returns it."""
    for stage in (*unet.input_blocks, unet.init_attn, unet.middle_block, *unet.output_blocks):
        inner = stage.forward
        stage.forward = partial(_recomputed, inner, stage)
    return unet


def _recomputed(inner: nn.Module, stage: nn.Module, *inputs: object) -> object:
    if not (stage.training and torch.is_grad_enabled()):
        return inner(*inputs)
    return checkpoint(inner, *inputs, use_reentrant=False)
