"""The trunk's blocks with the same weights and mathematics as diffusers', and less copying.

Activations are (B * F, C, H, W) between blocks. diffusers lays them out anew (channels first) behind every
transformer, and convolves over time in three dimensions; here whatever layout comes in stays, so that a network
stored channels-last runs channels-last from end to end, and the convolution over time is a two-dimensional one
over (F, H * W).
"""

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

BLOCKS = (ResnetBlock2D, TemporalConvLayer, Transformer2DModel, TransformerTemporalModel)
"""What the networks are made of, over and over: worth compiling."""

MOST_SEQUENCES = 49152
"""Latent cells that one call of attention over time takes; CUDA's fused kernels launch at most 65535 sequences."""


class TimeConvolution(TemporalConvLayer):  # type: ignore[misc]  # diffusers is not typed
    """Four stages of norm, SiLU and a convolution over three frames, beside an identity."""

    def forward(self, hidden_states: Tensor, num_frames: int = 1) -> Tensor:
        """(B * F, C, H, W) to the same."""
        height = hidden_states.shape[2]
        x = torch.unflatten(hidden_states, 0, (-1, num_frames)).transpose(1, 2).flatten(3)  # (B, C, F, H * W)
        y = x
        for stage in (self.conv1, self.conv2, self.conv3, self.conv4):
            norm, convolution = stage[0], stage[-1]
            y = F.conv2d(F.silu(norm(y)), convolution.weight.squeeze(-1), convolution.bias, padding=(1, 0))
        return torch.unflatten(x + y, 3, (height, -1)).transpose(1, 2).flatten(0, 1)


class SpaceTransformer(Transformer2DModel):  # type: ignore[misc]
    """Attention within each frame, and to the text."""

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: object) -> tuple[Tensor]:
        """(B * F, C, H, W) to the same; the text is (B * F, L, D)."""
        height = hidden_states.shape[2]
        tokens = self.proj_in(self.norm(hidden_states).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, encoder_hidden_states=encoder_hidden_states)
        return (hidden_states + self.proj_out(tokens).transpose(1, 2).unflatten(2, (height, -1)),)


class TimeTransformer(TransformerTemporalModel):  # type: ignore[misc]
    """Attention between frames, each latent cell by itself; its norm is taken over all frames together."""

    def forward(self, hidden_states: Tensor, num_frames: int = 1, **_: object) -> tuple[Tensor]:
        """(B * F, C, H, W) to the same."""
        x = torch.unflatten(hidden_states, 0, (-1, num_frames)).transpose(1, 2)  # (B, C, F, H, W)
        batch, channels, frames, height, width = x.shape
        tokens = self.proj_in(self.norm(x).permute(0, 3, 4, 2, 1).reshape(-1, frames, channels))
        for block in self.transformer_blocks:
            if len(tokens) > MOST_SEQUENCES:
                tokens = torch.cat([block(part) for part in tokens.split(MOST_SEQUENCES)])
            else:
                tokens = block(tokens)
        rows = self.proj_out(tokens).view(batch, height * width, frames, channels).transpose(1, 2)
        images = rows.reshape(batch * frames, height, width, channels).permute(0, 3, 1, 2)
        return (hidden_states + images,)


_OURS = {
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
