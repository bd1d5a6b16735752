"""A small pixel-space video UNet with the image on channels (x-cat), through attention (cx-attn), or both.

Shapes: B clips, F frames, C channels, h x w cells after patching, N = F h w tokens, L words. Frames of one clip stay
next to each other in the batch axis: (B F, C, h, w). Frames exchange information by shifting a quarter of the channels
from either neighbour before every block's second convolution (Lin et al., "TSM", ICCV 2019), and by attention over all
tokens of the clip on the coarser grids.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conditioning = Literal["x-cat", "cx-attn", "both"]
_TOKENS = 8
"""The image's own tokens form an 8 x 8 grid."""


@dataclass(frozen=True)
class MiniSettings:
    """Size of the network; its input is `frames` x `size` x `size` RGB in [-1, 1]."""

    vocabulary: int
    """Number of word ids; id 0 is padding and the empty prompt."""
    words: int = 16
    """Longest prompt in words."""
    size: int = 64
    frames: int = 8
    patch: int = 2
    """Pixels per side that one cell of the finest grid holds."""
    channels: tuple[int, ...] = (32, 64, 128, 192)
    """Per level, finest first; each level halves the grid."""
    attention: tuple[bool, ...] = (False, False, True, True)
    """Levels with attention over the clip's tokens and to the text."""
    width: int = 128
    """Of text and image tokens."""
    conditioning: Conditioning = "x-cat"
    direct: bool = False
    """Whether the output has a linear path from the noisy pixels and the image, one gain each for every timestep."""


def shift_frames(x: Tensor, frames: int) -> Tensor:
    """Take a quarter of the channels from the frame before, a quarter from the one after; zeros beyond the ends."""
    clips = x.reshape(-1, frames, *x.shape[1:])
    quarter = x.shape[1] // 4
    before = F.pad(clips[:, :-1, :quarter], (0, 0, 0, 0, 0, 0, 1, 0))
    after = F.pad(clips[:, 1:, quarter : 2 * quarter], (0, 0, 0, 0, 0, 0, 0, 1))
    return torch.cat([before, after, clips[:, :, 2 * quarter :]], dim=2).flatten(0, 1)


class ResBlock(nn.Module):
    """Two 3x3 convolutions; the embedding scales and shifts between them."""

    def __init__(self, inputs: int, outputs: int, embedding: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * outputs)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B F, inputs, h, w) and (B F, embedding) to (B F, outputs, h, w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        result: Tensor = self.skip(x) + self.conv2(shift_frames(h, self.frames))
        return result


def _attend(q: Tensor, keys_values: Tensor, heads: int) -> Tensor:
    """Attention of q (B, N, C) to keys and values (B, M, 2C), with `heads` heads."""
    q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, *keys_values.chunk(2, dim=-1)))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class AttentionBlock(nn.Module):
    """Tokens of the whole clip attend to each other, then to the words (and, gated, to the image); then an MLP."""

    def __init__(self, channels: int, width: int, tokens: int) -> None:
        super().__init__()
        self.heads = channels // 32
        self.position = nn.Parameter(torch.randn(1, tokens, channels) * 0.02)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.cross_q = nn.Linear(channels, channels, bias=False)
        self.cross_kv = nn.Linear(width, 2 * channels, bias=False)
        self.image_kv = nn.Linear(width, 2 * channels, bias=False)
        self.cross_out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor, words: Tensor, image: Tensor, gate: Tensor) -> Tensor:
        """(B F, C, h, w) with words (B, L, width), image (B, 64, width) and its gate (scalar) to the same shape."""
        clips = words.shape[0]
        tokens = x.reshape(clips, -1, *x.shape[1:]).permute(0, 1, 3, 4, 2)
        grid = tokens.shape
        tokens = tokens.flatten(1, 3) + self.position
        q, kv = self.to_qkv(self.norm1(tokens)).tensor_split([x.shape[1]], dim=-1)
        tokens = tokens + self.to_out(_attend(q, kv, self.heads))
        q = self.cross_q(self.norm2(tokens))
        said = _attend(q, self.cross_kv(words), self.heads)
        seen = _attend(q, self.image_kv(image), self.heads)
        tokens = tokens + self.cross_out(said + gate * seen)
        tokens = tokens + self.mlp(self.norm3(tokens))
        result: Tensor = tokens.reshape(grid).permute(0, 1, 4, 2, 3).flatten(0, 1)
        return result


class TextEncoder(nn.Module):
    """Word embeddings, positions, two pre-norm transformer layers."""

    def __init__(self, vocabulary: int, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(1, words, width) * 0.02)
        self.layers = nn.ModuleList(TextLayer(width) for _ in range(2))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) word ids to (B, L, width)."""
        h = self.embedding(ids) + self.position
        for layer in self.layers:
            h = layer(h)
        result: Tensor = h
        return result


class TextLayer(nn.Module):
    """Self-attention over the words and an MLP, pre-norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """(B, L, width) to the same."""
        q, kv = self.to_qkv(self.norm1(h)).tensor_split([h.shape[-1]], dim=-1)
        h = h + self.to_out(_attend(q, kv, heads=4))
        result: Tensor = h + self.mlp(self.norm2(h))
        return result


class MiniUNet(nn.Module):
    """Predicts v of a short clip from its noisy pixels, its first frame and the words."""

    gate_cat: Tensor
    gate_cross: Tensor

    def __init__(self, settings: MiniSettings) -> None:
        super().__init__()
        self.settings = settings
        levels, emb = settings.channels, 256
        cell = 3 * settings.patch**2
        grids = [settings.size // settings.patch // 2**level for level in range(len(levels))]
        # Gates and not branches: every ablation runs the same graph, and nothing flows where a gate is 0.
        self.register_buffer("gate_cat", torch.tensor(float(settings.conditioning != "cx-attn")), persistent=False)
        self.register_buffer("gate_cross", torch.tensor(float(settings.conditioning != "x-cat")), persistent=False)
        self.time = nn.Sequential(nn.Linear(128, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.frame = nn.Parameter(torch.randn(settings.frames, emb) * 0.02)
        self.text = TextEncoder(settings.vocabulary, settings.words, settings.width)
        self.pooled = nn.Linear(settings.width, emb)
        self.look = nn.Conv2d(3, settings.width, settings.size // _TOKENS, settings.size // _TOKENS)
        self.look_position = nn.Parameter(torch.randn(1, _TOKENS**2, settings.width) * 0.02)
        self.enter = nn.Conv2d(2 * cell, levels[0], 3, padding=1)
        before = (levels[0], *levels[:-1])
        self.down = nn.ModuleList(ResBlock(i, o, emb, settings.frames) for i, o in zip(before, levels, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(c, c, 3, 2, 1) for c in levels[:-1])
        self.middle = ResBlock(levels[-1], levels[-1], emb, settings.frames)
        self.up = nn.ModuleList(ResBlock(2 * c, c, emb, settings.frames) for c in levels)
        self.grow = nn.ModuleList(nn.Conv2d(c, b, 3, padding=1) for b, c in pairwise(levels))
        self.attend_down, self.attend_up = (
            nn.ModuleList(
                AttentionBlock(c, settings.width, settings.frames * g**2) if wanted else nn.Identity()
                for c, g, wanted in zip(levels, grids, settings.attention, strict=True)
            )
            for _ in range(2)
        )
        self.norm = nn.GroupNorm(8, levels[0])
        self.leave = nn.Conv2d(levels[0], cell, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        self.gains = nn.Linear(emb, 2) if settings.direct else None
        if self.gains is not None:
            nn.init.zeros_(self.gains.weight)
            nn.init.zeros_(self.gains.bias)

    def _wave(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        # In float32 whatever the network's type: a rounded frequency is another angle at large timesteps.
        frequencies = torch.exp(torch.arange(64, device=timestep.device, dtype=torch.float32) * (-9.21034 / 64))
        angle = timestep.float()[:, None] * frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1).to(dtype)

    def forward(self, noisy: Tensor, timestep: Tensor, image: Tensor, ids: Tensor) -> Tensor:
        """Predict v.

        Args:
            noisy: (B, 3, F, H, W).
            timestep: (B,) in [0, 1000).
            image: first frame, (B, 3, H, W) in [-1, 1].
            ids: word ids (B, L); all zero is the empty prompt.

        Returns:
            (B, 3, F, H, W).
        """
        frames, patch = self.settings.frames, self.settings.patch
        clips = noisy.shape[0]
        words = self.text(ids)
        time = self.time(self._wave(timestep, words.dtype))
        emb = F.silu((time + self.pooled(words.mean(1)))[:, None] + self.frame.to(time.dtype)).flatten(0, 1)
        seen = self.look(image).flatten(2).transpose(1, 2) + self.look_position
        given = F.pixel_unshuffle(image * self.gate_cat, patch).repeat_interleave(frames, dim=0)
        cells = F.pixel_unshuffle(noisy.transpose(1, 2).flatten(0, 1), patch)
        h = self.enter(torch.cat([cells, given], dim=1))
        skips = []
        for level, block in enumerate(self.down):
            h = block(h, emb)
            h = self._attention(self.attend_down[level], h, words, seen)
            skips.append(h)
            h = self.shrink[level](h) if level < len(self.shrink) else h
        h = self.middle(h, emb)
        for level in reversed(range(len(self.up))):
            if level < len(self.grow):
                h = self.grow[level](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            h = self.up[level](torch.cat([h, skips[level]], dim=1), emb)
            h = self._attention(self.attend_up[level], h, words, seen)
        out = F.pixel_shuffle(self.leave(F.silu(self.norm(h))), patch)
        deep = out.reshape(clips, frames, *out.shape[1:]).transpose(1, 2)
        if self.gains is None:
            return deep
        gain, given_gain = self.gains(F.silu(time))[:, :, None, None, None, None].unbind(1)
        both: Tensor = deep + gain * noisy + given_gain * (self.gate_cat * image)[:, :, None]
        return both

    def _attention(self, block: nn.Module, h: Tensor, words: Tensor, seen: Tensor) -> Tensor:
        result: Tensor = block(h, words, seen, self.gate_cross) if isinstance(block, AttentionBlock) else h
        return result
