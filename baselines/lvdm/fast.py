"""The same network with its repeated blocks compiled: other kernels and roundings, same mathematics."""

import torch
from torch import nn

from baselines.lvdm.attention import SpatialTransformer, TemporalTransformer
from baselines.lvdm.blocks import ResBlock
from baselines.lvdm.unet import UNet


def channels_last(module: nn.Module) -> None:
    """Keep convolution weights with channels last in memory, the layout the GPU's kernels compute in."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d):
            layout = torch.channels_last if isinstance(part, nn.Conv2d) else torch.channels_last_3d
            part.weight.data = part.weight.data.contiguous(memory_format=layout)


def compile_blocks(unet: UNet) -> None:
    """Compile each residual block and transformer by itself on its first call.

    Blocks of one kind and shape share their compiled code, which takes a fraction of the time that compiling the whole
    network does. Batch sizes and picture sizes other than the first recompile.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    channels_last(unet)
    for module in unet.modules():
        if isinstance(module, ResBlock | SpatialTransformer | TemporalTransformer):
            module.compile(dynamic=False)
