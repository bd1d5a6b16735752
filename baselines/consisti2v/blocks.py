"""Convolutional blocks of ConsistI2V: Stable Diffusion 2's per frame, each followed by one over frames.

Shapes: frames are folded, (B x F, C, H, W), channels last in memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.consisti2v.attention import SpatialTransformer, TemporalTransformer, blend, neighbours
from baselines.consisti2v.config import ConsistConfig
from baselines.nn.branches import beside, in_branches
from baselines.nn.folding import FrameConv, Resample


class ResNet(nn.Module):
    """Two normed 3 x 3 convolutions per frame with the step embedding between them, added to the (projected) input."""

    def __init__(self, config: ConsistConfig, width: int, out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.groups, width, eps=config.eps)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config.channels[0], out)
        self.norm2 = nn.GroupNorm(config.groups, out, eps=config.eps)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width, out, 1) if width != out else None

    def forward(self, x: Tensor, step: Tensor, frames: int, skip: Tensor | None = None) -> Tensor:
        """Frames (k B x F, C, H, W); `step` (B, E) is the step embedding after its SiLU, of all k branches.

        A skip (k B x F or B x F, C, H, W) is taken beside the input first.
        """
        x = beside(x, skip)
        hidden = self.conv1(F.silu(self.norm1(x)))
        shift = in_branches(self.time_emb_proj(step).repeat_interleave(frames, dim=0), len(x))
        hidden = self.conv2(F.silu(self.norm2(hidden + shift[:, :, None, None])))
        out: Tensor = hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return out


class TemporalResNet(nn.Module):
    """Two convolutions over three frames, normed per frame, blended with the input by a trained weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.norm1 = nn.GroupNorm(32, width, eps=1e-6)  # Published: 32 groups whatever the configuration says
        self.conv1 = FrameConv(width)
        self.time_emb_proj = nn.Linear(512, width)  # Published: in the checkpoint, but no embedding is ever passed
        self.norm2 = nn.GroupNorm(32, width, eps=1e-6)
        self.conv2 = FrameConv(width)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Frames (B x F, C, H, W) -> same."""
        hidden = self.conv1(F.silu(self.norm1(x)), frames)
        hidden = self.conv2(F.silu(self.norm2(hidden)), frames)
        return blend(self.alpha, x, hidden)


class Level(nn.Module):
    """The layers of one resolution: ResNet, temporal ResNet, and the two transformers where the level has them."""

    def __init__(self, config: ConsistConfig, level: int, widths: list[int]) -> None:
        super().__init__()
        out, context, groups = config.channels[level], config.context, config.groups
        self.attention = config.attention[level]
        if self.attention:
            heads = config.heads[level]
            self.attentions = nn.ModuleList(SpatialTransformer(out, heads, context, groups) for _ in widths)
            self.tempo_attns = nn.ModuleList(
                TemporalTransformer(out, config.temporal_heads, context, groups) for _ in widths
            )
        self.resnets = nn.ModuleList(ResNet(config, width, out) for width in widths)
        self.conv3ds = nn.ModuleList(TemporalResNet(out) for _ in widths)

    def layer(
        self,
        i: int,
        x: Tensor,
        step: Tensor,
        text: Tensor,
        frames: int,
        around: Tensor | None,
        skip: Tensor | None = None,
    ) -> Tensor:
        """Everything with index i; the ResNet takes the skip."""
        x = self.conv3ds[i](self.resnets[i](x, step, frames, skip), frames)
        if around is None:
            return x
        out: Tensor = self.tempo_attns[i](self.attentions[i](x, text, frames), text, frames, around)
        return out

    def around(self, size: Sequence[int], device: torch.device) -> Tensor | None:
        """`neighbours` for the level's transformers, if it has them; made once for all of them."""
        return neighbours(size[0], size[1], device) if self.attention else None


class Down(Level):
    """A level on the way down; every output is a skip for the way up."""

    def __init__(self, config: ConsistConfig, level: int) -> None:
        out = config.channels[level]
        super().__init__(config, level, [config.channels[max(level - 1, 0)]] + [out] * (config.layers - 1))
        last = level == len(config.channels) - 1
        self.downsamplers = nn.ModuleList([] if last else [Resample(out, stride=2)])

    def forward(self, x: Tensor, step: Tensor, text: Tensor, frames: int) -> list[Tensor]:
        """All outputs in order; the last one goes on."""
        outputs, around = [], self.around(x.shape[-2:], x.device)
        for i in range(len(self.resnets)):
            x = self.layer(i, x, step, text, frames, around)
            outputs.append(x)
        for downsample in self.downsamplers:
            outputs.append(downsample(outputs[-1]))
        return outputs


class Middle(nn.Module):
    """ResNets around a spatial transformer at the coarsest resolution. Published: no temporal attention here."""

    def __init__(self, config: ConsistConfig) -> None:
        super().__init__()
        width = config.channels[-1]
        self.attentions = nn.ModuleList([SpatialTransformer(width, config.heads[-1], config.context, config.groups)])
        self.resnets = nn.ModuleList(ResNet(config, width, width) for _ in range(2))
        self.conv3ds = nn.ModuleList(TemporalResNet(width) for _ in range(2))

    def forward(self, x: Tensor, step: Tensor, text: Tensor, frames: int) -> Tensor:
        """(B x F, C, H, W) -> same."""
        x = self.conv3ds[0](self.resnets[0](x, step, frames), frames)
        x = self.attentions[0](x, text, frames)
        out: Tensor = self.conv3ds[1](self.resnets[1](x, step, frames), frames)
        return out


class Up(Level):
    """A level on the way up; each layer first takes the newest skip beside its input."""

    def __init__(self, config: ConsistConfig, level: int) -> None:
        out = config.channels[level]
        above = config.channels[min(level + 1, len(config.channels) - 1)]
        below = config.channels[max(level - 1, 0)]
        inputs = [above] + [out] * config.layers
        skips = [out] * config.layers + [below]
        super().__init__(config, level, [width + skip for width, skip in zip(inputs, skips, strict=True)])
        self.upsamplers = nn.ModuleList([] if level == 0 else [Resample(out, stride=1)])

    def forward(self, x: Tensor, skips: list[Tensor], step: Tensor, text: Tensor, frames: int) -> Tensor:
        """Consumes its skips from the end of `skips`."""
        around = self.around(x.shape[-2:], x.device)
        for i in range(len(self.resnets)):
            x = self.layer(i, x, step, text, frames, around, skips.pop())
        for upsample in self.upsamplers:
            # Published: twice the size, or the next skip's where the latent is no multiple of 8. Both are its size.
            x = upsample(x, skips[-1].shape[-2:])
        return x
