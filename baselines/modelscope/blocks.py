"""The trunk's blocks with the same weights and mathematics as diffusers', and fewer passes over memory.

Activations are (B * F, C, H, W) between blocks, with k guidance branches (k * B * F, C, H, W). diffusers lays them
out anew (channels first) behind every transformer, and convolves over time in three dimensions; here whatever layout
comes in stays, so that a network stored channels-last runs channels-last from end to end, and the convolution over
time is a two-dimensional one over (F, H * W).
"""

import torch
import torch.nn.functional as F
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from baselines.nn.attention import fused_attention
from baselines.nn.branches import added_in_branches, beside, in_branches
from baselines.nn.clip_norm import clip_norm
from baselines.nn.feedforward import added_projection, gated_gelu
from baselines.nn.final_norm import FinalNorm
from baselines.nn.folding import frame_convolution

BLOCKS = (
    ResnetBlock2D,
    TemporalConvLayer,
    Transformer2DModel,
    TransformerTemporalModel,
    Downsample2D,
    Upsample2D,
    FinalNorm,
)
"""What the networks are made of, most of it over and over: worth compiling."""


class ImageResidual(ResnetBlock2D):  # type: ignore[misc]  # diffusers is not typed
    """Two convolutions with the time between them, beside an identity; diffusers divides the sum by 1 at the end."""

    def forward(self, x: Tensor, time: Tensor, frames: int, skip: Tensor | None = None) -> Tensor:
        """(k * B * F, C, H, W) and the time (B, T), the same for all branches, to (k * B * F, C', H, W).

        A skip (k * B * F or B * F, C, H, W) is taken beside the input first.
        """
        x = beside(x, skip)
        shift = self.time_emb_proj(F.silu(time)).repeat_interleave(frames, dim=0)
        y = self.conv1(F.silu(self.norm1(x))) + in_branches(shift, len(x))[:, :, None, None]
        y = self.conv2(F.silu(self.norm2(y)))
        result: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + y
        return result


class TimeConvolution(TemporalConvLayer):  # type: ignore[misc]
    """Four stages of norm, SiLU and a convolution over three frames, beside an identity."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B * F, C, H, W) to the same."""
        height = x.shape[2]
        x = torch.unflatten(x, 0, (-1, frames)).transpose(1, 2).flatten(3)  # (B, C, F, H * W)
        y = x
        for stage in (self.conv1, self.conv2, self.conv3, self.conv4):
            norm, convolution = stage[0], stage[-1]
            y = frame_convolution(F.silu(clip_norm(norm, y)), convolution.weight, convolution.bias)
        return torch.unflatten(x + y, 3, (height, -1)).transpose(1, 2).flatten(0, 1)


class SpaceBlock(BasicTransformerBlock):  # type: ignore[misc]
    """Self-attention, attention to the text, feed-forward; each behind a norm and beside an identity."""

    def forward(self, tokens: Tensor, text: Tensor, frames: int) -> Tensor:
        """(B * F, N, C) to (k * B * F, N, C), k times as many as there were if there are k texts for each clip.

        The text is (k * B, L, D): all frames of a clip ask the same, and its keys and values are made once.
        """
        cells, width = tokens.shape[1:]
        tokens = _attended(self.attn1, tokens, self.norm1(tokens))
        clips = in_branches(tokens.reshape(-1, frames * cells, width), len(text))
        clips = _attended(self.attn2, clips, self.norm2(clips), text)
        return _fed_forward(self, clips).view(-1, cells, width)


class TimeBlock(BasicTransformerBlock):  # type: ignore[misc]
    """Self-attention twice, then feed-forward; each behind a norm and beside an identity."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, F, C) to the same."""
        tokens = _attended(self.attn1, tokens, self.norm1(tokens))
        tokens = _attended(self.attn2, tokens, self.norm2(tokens))
        return _fed_forward(self, tokens)


def _attended(attention: Attention, tokens: Tensor, normed: Tensor, text: Tensor | None = None) -> Tensor:
    return added_projection(tokens, _mixed(attention, normed, text), attention.to_out[0])


def _fed_forward(block: BasicTransformerBlock, tokens: Tensor) -> Tensor:
    gate, _, projection = block.ff.net  # between them a dropout, for training
    return added_projection(tokens, gate(block.norm3(tokens)), projection)


class SpaceTransformer(Transformer2DModel):  # type: ignore[misc]
    """Attention within each frame, and to the text."""

    def forward(self, x: Tensor, text: Tensor, frames: int) -> Tensor:
        """(B * F, C, H, W) to (k * B * F, C, H, W); the text is (k * B, L, D)."""
        height = x.shape[2]
        tokens = self.proj_in(self.norm(x).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, frames)
        added: Tensor = self.proj_out(tokens).transpose(1, 2).unflatten(2, (height, -1))
        return added_in_branches(x, added)


class TimeTransformer(TransformerTemporalModel):  # type: ignore[misc]
    """Attention between frames, each latent cell by itself; its norm is taken over all frames together."""

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B * F, C, H, W) to the same."""
        clips = torch.unflatten(x, 0, (-1, frames)).transpose(1, 2)  # (B, C, F, H, W)
        batch, channels, _, height, width = clips.shape
        tokens = self.proj_in(clip_norm(self.norm, clips).permute(0, 3, 4, 2, 1).reshape(-1, frames, channels))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        rows = self.proj_out(tokens).view(batch, height * width, frames, channels).transpose(1, 2)
        images = rows.reshape(batch * frames, height, width, channels).permute(0, 3, 1, 2)
        result: Tensor = x + images
        return result


class GatedGELU(GEGLU):  # type: ignore[misc]
    """The projection and gate of a feed-forward layer."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Tokens (N, L, C) to (N, L, 4 C)."""
        return gated_gelu(hidden_states, self.proj)


class Attend:
    """diffusers' attention without its division of the result by 1; a processor in diffusers' words."""

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: object
    ) -> Tensor:
        """Tokens (N, L, C) to the same, from themselves or from (N, M, D)."""
        result: Tensor = attn.to_out[0](_mixed(attn, hidden_states, encoder_hidden_states))
        return result


def _mixed(attention: Attention, tokens: Tensor, text: Tensor | None) -> Tensor:
    """Values (N, L, C) from the tokens themselves or from (N, M, D), before the projection of the result."""
    if hasattr(attention, "to_qkv"):
        projected = torch.unflatten(attention.to_qkv(tokens), -1, (3, attention.heads, -1)).unbind(2)
    else:
        source = tokens if text is None else text
        each = (attention.to_q(tokens), attention.to_k(source), attention.to_v(source))
        projected = tuple(torch.unflatten(part, -1, (attention.heads, -1)) for part in each)
    q, k, v = (part.transpose(1, 2) for part in projected)
    return fused_attention(q, k, v).transpose(1, 2).flatten(2)


_OURS = {
    GEGLU: GatedGELU,
    ResnetBlock2D: ImageResidual,
    TemporalConvLayer: TimeConvolution,
    Transformer2DModel: SpaceTransformer,
    TransformerTemporalModel: TimeTransformer,
}


def with_our_blocks(network: nn.Module) -> None:
    """Let every block of the network compute as written here; parameters and their names stay."""
    for module in network.modules():
        ours = _OURS.get(type(module))
        if ours is not None:
            module.__class__ = ours  # type: ignore[assignment]
        if isinstance(module, SpaceTransformer | TimeTransformer):
            for block in module.transformer_blocks:
                block.__class__ = SpaceBlock if isinstance(module, SpaceTransformer) else TimeBlock
        if isinstance(module, Attention):
            module.set_processor(Attend())


def join_projections(network: nn.Module) -> None:
    """One matrix for queries, keys and values of every self-attention, once the weights are there.

    The state dict has other names from then on.
    """
    for module in network.modules():
        if isinstance(module, Attention) and not module.is_cross_attention:
            parts = (module.to_q, module.to_k, module.to_v)
            assert all(part.bias is None for part in parts)
            weight = torch.cat([part.weight for part in parts])
            joined = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            joined.weight = nn.Parameter(weight, requires_grad=False)
            module.to_qkv = joined
            del module.to_q, module.to_k, module.to_v
