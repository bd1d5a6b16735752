"""Convolutional blocks of the LVDM family.

Shapes: B clips, F frames, C channels, H x W latent cells; frames are folded into the batch, frame index fastest.
Attribute names follow the published checkpoints, so weights load without renaming.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lvdm.attention import SpatialTransformer, TemporalTransformer
from baselines.nn.branches import beside, in_branches
from baselines.nn.clip_norm import ClipNorm
from baselines.nn.folding import frame_convolution


def _norm_act(channels: int, norm: type[nn.GroupNorm] = nn.GroupNorm) -> tuple[nn.Module, nn.Module]:
    return norm(32, channels, eps=1e-5), nn.SiLU()


class FrameConv(nn.Conv3d):
    """Convolution over three successive frames, each latent cell by itself."""

    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, F, HW) to the same."""
        return frame_convolution(input, self.weight, self.bias)


class TemporalConv(nn.Module):
    """Four normed frame convolutions beside an identity; the norms see all frames of a clip at once."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_norm_act(channels, ClipNorm), FrameConv(channels))
        self.conv2, self.conv3, self.conv4 = (
            nn.Sequential(*_norm_act(channels, ClipNorm), nn.Dropout(dropout), FrameConv(channels)) for _ in range(3)
        )

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B F, C, H, W) to the same."""
        clips = torch.unflatten(x, 0, (-1, frames))  # B F C H W
        y = clips.transpose(1, 2).flatten(3)  # B C F HW: with channels last in memory, a view
        y = self.conv4(self.conv3(self.conv2(self.conv1(y))))
        return (clips + torch.unflatten(y, 3, clips.shape[3:]).transpose(1, 2)).flatten(0, 1)


class ResBlock(nn.Module):
    """Two convolutions beside a skip, the embedding added between them; then the temporal convolutions."""

    def __init__(self, channels: int, out_channels: int, emb_channels: int, dropout: float) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(*_norm_act(channels), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, out_channels))
        self.out_layers = nn.Sequential(
            *_norm_act(out_channels), nn.Dropout(dropout), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)
        # Published under this misspelt name.
        self.temopral_conv = TemporalConv(out_channels, dropout)

    def forward(self, x: Tensor, emb: Tensor, frames: int, skip: Tensor | None = None) -> Tensor:
        """(k B F, C, H, W) and the embedding (B, E), the same for all k branches, to (k B F, C', H, W).

        A skip (k B F or B F, C, H, W) is taken beside the input first.
        """
        x = beside(x, skip)
        h = self.in_layers(x)
        h = h + in_branches(self.emb_layers(emb).repeat_interleave(frames, dim=0), len(h))[:, :, None, None]
        h = self.out_layers(h)
        result: Tensor = self.temopral_conv(self.skip_connection(x) + h, frames)
        return result


class Down(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2)."""
        result: Tensor = self.op(x)
        return result


class Up(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H, 2W)."""
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


class Stage(nn.Sequential):
    """Modules in a row, each given what it takes of embedding and context."""

    def forward(  # type: ignore[override]
        self, x: Tensor, emb: Tensor, text: Tensor, image: Tensor | None, frames: int, skip: Tensor | None = None
    ) -> Tensor:
        """(B F, C, H, W) to (B F, C', H', W'), or to (k B F, ...) where k texts per clip first come in.

        On the way up, `skip` goes into the first module, a ResBlock.
        """
        for module in self:
            if isinstance(module, ResBlock):
                x, skip = module(x, emb, frames, skip), None
            elif isinstance(module, SpatialTransformer):
                x = module(x, text, image, frames)
            elif isinstance(module, TemporalTransformer):
                x = module(x, frames)
            else:
                x = module(x)
        return x
