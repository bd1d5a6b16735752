"""Projector from CLIP's image tokens to the network's context (`image_proj_model`): learned queries that look at them.

Source: lvdm/modules/encoders/ip_resampler.py (VideoCrafter) and resampler.py (DynamiCrafter), which differ in the
number of queries only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lvdm.settings import ResamplerSettings


class _Perceiver(nn.Module):
    """Queries attend to the image tokens and to themselves."""

    def __init__(self, settings: ResamplerSettings) -> None:
        super().__init__()
        inner = settings.heads * settings.dim_head
        self.heads = settings.heads
        self.norm1 = nn.LayerNorm(settings.dim)
        self.norm2 = nn.LayerNorm(settings.dim)
        self.to_q = nn.Linear(settings.dim, inner, bias=False)
        self.to_kv = nn.Linear(settings.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, settings.dim, bias=False)

    def forward(self, image: Tensor, queries: Tensor) -> Tensor:
        """(N, S, dim) and (N, Q, dim) to (N, Q, dim)."""
        queries = self.norm2(queries)
        k, v = self.to_kv(torch.cat([self.norm1(image), queries], dim=1)).chunk(2, dim=-1)
        q, k, v = (torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2) for x in (self.to_q(queries), k, v))
        result: Tensor = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return result


def _feed_forward(dim: int, mult: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, mult * dim, bias=False), nn.GELU(), nn.Linear(mult * dim, dim, bias=False)
    )


class Resampler(nn.Module):
    """A fixed number of context tokens from any number of image tokens."""

    def __init__(self, settings: ResamplerSettings) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(1, settings.num_queries, settings.dim))
        self.proj_in = nn.Linear(settings.embedding_dim, settings.dim)
        self.proj_out = nn.Linear(settings.dim, settings.output_dim)
        self.norm_out = nn.LayerNorm(settings.output_dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([_Perceiver(settings), _feed_forward(settings.dim, settings.ff_mult)])
            for _ in range(settings.depth)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, S, embedding_dim) to (N, queries, output_dim)."""
        image = self.proj_in(image)
        queries = self.latents.expand(len(image), -1, -1)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            queries = layer[0](image, queries) + queries
            queries = layer[1](queries) + queries
        result: Tensor = self.norm_out(self.proj_out(queries))
        return result
