"""OpenCLIP's text and vision towers (ViT-H/14), as far as the family uses them.

Written here under the published key names rather than taken from transformers, whose own names for these weights change
between releases. Source: open_clip 2.22.0, open_clip/transformer.py.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lvdm.settings import ImageEncoderSettings, TextEncoderSettings


class _SelfAttention(nn.Module):
    """Multi-head self-attention with one matrix for queries, keys and values (torch's MultiheadAttention's keys)."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, C) to the same."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = torch.unflatten(qkv, 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        result: Tensor = self.out_proj(out.transpose(1, 2).flatten(2))
        return result


class _Block(nn.Module):
    """Attention and a two-layer perceptron with exact GELU, each behind a norm and beside an identity."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _SelfAttention(width, heads, causal)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=nn.GELU(), c_proj=nn.Linear(4 * width, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, C) to the same."""
        x = x + self.attn(self.ln_1(x))
        result: Tensor = x + self.mlp(self.ln_2(x))
        return result


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(_Block(width, heads, causal) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.resblocks(x)
        return result


class TextEncoder(nn.Module):
    """All tokens after the last block but one and the final norm ("penultimate"); the last block is not built."""

    def __init__(self, settings: TextEncoderSettings) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(settings.context_length, settings.width))
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.transformer = _Transformer(settings.width, settings.layers - 1, settings.heads, causal=True)
        self.ln_final = nn.LayerNorm(settings.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (N, 77), int64, padded with 0, to (N, 77, C); padding is attended to like any token."""
        x = self.token_embedding(tokens) + self.positional_embedding
        result: Tensor = self.ln_final(self.transformer(x))
        return result


def unused_text_keys(settings: TextEncoderSettings) -> tuple[str, ...]:
    """Patterns of the published text tower's keys that no output depends on."""
    return (r"^text_projection$", r"^logit_scale$", rf"^transformer\.resblocks\.{settings.layers - 1}\.")


class ImageEncoder(nn.Module):
    """All tokens after the last block, without the final norm and projection."""

    def __init__(self, settings: ImageEncoderSettings) -> None:
        super().__init__()
        width, patch = settings.width, settings.patch_size
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((settings.image_size // patch) ** 2 + 1, width))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Transformer(width, settings.layers, settings.heads, causal=False)

    def forward(self, picture: Tensor) -> Tensor:
        """Preprocessed pictures (N, 3, 224, 224) to (N, 1 + patches, C), class token first."""
        patches = self.conv1(picture).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        result: Tensor = self.transformer(x)
        return result


UNUSED_IMAGE_KEYS = (r"^proj$", r"^ln_post\.")
"""Patterns of the published vision tower's keys that no output depends on."""
UNUSED_BESIDE_IMAGE = ("token_embedding.weight", "positional_embedding", "ln_final.weight", "ln_final.bias",
                       "text_projection", "logit_scale")  # fmt: skip
"""Leftovers of the text side that lie beside the vision tower in the published files."""
