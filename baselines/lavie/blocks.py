"""Convolutional blocks of the LaVie family: Stable Diffusion's, applied frame by frame.

Shapes: frames are folded, (B x F, C, H, W), channels last in memory: convolutions see one frame each, tokens are views.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lavie.attention import FramePositions, RotaryFrequencies, Transformer
from baselines.lavie.config import LavieConfig
from baselines.nn.branches import beside, in_branches
from baselines.nn.clip_norm import ClipNorm
from baselines.nn.folding import Resample


class ClipNormSiLU(ClipNorm):
    """Group norm over whole clips, followed by SiLU; of frames that are folded into the batch."""

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]
        """(B x F, C, H, W) -> same."""
        n, c, h, w = x.shape
        clips = x.view(-1, frames, c, h, w).transpose(1, 2)  # B C F H W
        normed = F.silu(super().forward(clips))
        return normed.permute(0, 2, 3, 4, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class FinalClipNorm(ClipNormSiLU):
    """The one before the last convolution; a class of its own since it is compiled by itself."""


class ResNet(nn.Module):
    """Two normed 3 x 3 convolutions with the step embedding between them, added to the (projected) input."""

    def __init__(self, config: LavieConfig, width: int, out: int) -> None:
        super().__init__()
        self.norm1 = ClipNormSiLU(config.groups, width, eps=config.eps)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config.channels[0], out)
        self.norm2 = ClipNormSiLU(config.groups, out, eps=config.eps)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width, out, 1) if width != out else None

    def forward(self, x: Tensor, step: Tensor, frames: int, skip: Tensor | None = None) -> Tensor:
        """Frames (k B x F, C, H, W); `step` (B, E) is the step embedding after its SiLU, of all k branches.

        A skip (k B x F or B x F, C, H, W) is taken beside the input first.
        """
        x = beside(x, skip)
        hidden = self.conv1(self.norm1(x, frames))
        shift = in_branches(self.time_emb_proj(step).repeat_interleave(frames, dim=0), len(x))
        hidden = self.conv2(self.norm2(hidden + shift[:, :, None, None], frames))
        out: Tensor = hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return out


class Level(nn.Module):
    """The layers of one resolution: ResNets, each followed by a transformer where the level has them."""

    def __init__(
        self, config: LavieConfig, widths: list[int], out: int, attention: bool, rotary: RotaryFrequencies
    ) -> None:
        super().__init__()
        if attention:
            self.attentions = nn.ModuleList(
                Transformer(out, config.heads, config.context, config.groups, rotary) for _ in widths
            )
        self.attention = attention
        self.resnets = nn.ModuleList(ResNet(config, width, out) for width in widths)

    def layer(
        self, i: int, x: Tensor, step: Tensor, text: Tensor, positions: FramePositions, skip: Tensor | None = None
    ) -> Tensor:
        """ResNet i, which takes the skip, then transformer i."""
        x = self.resnets[i](x, step, positions.buckets.shape[0], skip)
        return self.attentions[i](x, text, positions) if self.attention else x


class Down(Level):
    """A level on the way down; every output is a skip for the way up."""

    def __init__(self, config: LavieConfig, level: int, rotary: RotaryFrequencies) -> None:
        out = config.channels[level]
        widths = [config.channels[max(level - 1, 0)]] + [out] * (config.layers - 1)
        super().__init__(config, widths, out, config.attention[level], rotary)
        last = level == len(config.channels) - 1
        self.downsamplers = nn.ModuleList([] if last else [Resample(out, stride=2)])

    def forward(self, x: Tensor, step: Tensor, text: Tensor, positions: FramePositions) -> list[Tensor]:
        """All outputs in order; the last one goes on."""
        outputs = []
        for i in range(len(self.resnets)):
            x = self.layer(i, x, step, text, positions)
            outputs.append(x)
        for downsample in self.downsamplers:
            outputs.append(downsample(outputs[-1]))
        return outputs


class Middle(nn.Module):
    """ResNet, transformer, ResNet at the coarsest resolution."""

    def __init__(self, config: LavieConfig, rotary: RotaryFrequencies) -> None:
        super().__init__()
        width = config.channels[-1]
        self.attentions = nn.ModuleList([Transformer(width, config.heads, config.context, config.groups, rotary)])
        self.resnets = nn.ModuleList(ResNet(config, width, width) for _ in range(2))

    @property
    def rotary(self) -> RotaryFrequencies:
        """The one that all temporal attentions share."""
        shared = self.get_submodule("attentions.0.transformer_blocks.0.attn_temp.rotary_emb")
        assert isinstance(shared, RotaryFrequencies)
        return shared

    def forward(self, x: Tensor, step: Tensor, text: Tensor, positions: FramePositions) -> Tensor:
        """(B x F, C, H, W) -> same."""
        frames = positions.buckets.shape[0]
        x = self.attentions[0](self.resnets[0](x, step, frames), text, positions)
        out: Tensor = self.resnets[1](x, step, frames)
        return out


class Up(Level):
    """A level on the way up; each layer first takes the newest skip beside its input."""

    def __init__(self, config: LavieConfig, level: int, rotary: RotaryFrequencies) -> None:
        out = config.channels[level]
        above = config.channels[min(level + 1, len(config.channels) - 1)]
        below = config.channels[max(level - 1, 0)]
        inputs = [above] + [out] * config.layers
        skips = [out] * config.layers + [below]
        widths = [width + skip for width, skip in zip(inputs, skips, strict=True)]
        super().__init__(config, widths, out, config.attention[level], rotary)
        self.upsamplers = nn.ModuleList([] if level == 0 else [Resample(out, stride=1)])

    def forward(self, x: Tensor, skips: list[Tensor], step: Tensor, text: Tensor, positions: FramePositions) -> Tensor:
        """Consumes its skips from the end of `skips`."""
        for i in range(len(self.resnets)):
            x = self.layer(i, x, step, text, positions, skips.pop())
        for upsample in self.upsamplers:
            # Published: twice the size, or the next skip's where the latent is no multiple of 8. Both are its size.
            x = upsample(x, skips[-1].shape[-2:])
        return x
