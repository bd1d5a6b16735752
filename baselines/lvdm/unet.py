"""The denoising network of VideoCrafter, DynamiCrafter, Cond-leak and MotiF: one class, told apart by settings.

Source: lvdm/modules/networks/openaimodel3d.py of AILab-CVC/VideoCrafter @ 11bcd76 and Doubiiu/DynamiCrafter @ c453369.
"""

import torch
from torch import Tensor, nn

from baselines.lvdm.attention import TEXT_TOKENS, SpatialTransformer, TemporalTransformer
from baselines.lvdm.blocks import Down, ResBlock, Stage, Up
from baselines.lvdm.settings import UNetSettings
from baselines.nn.embedding import sinusoid
from baselines.nn.final_norm import FinalNorm

REPEATED = (ResBlock, SpatialTransformer, TemporalTransformer, Down, Up, FinalNorm)
"""What the network is made of, most of it over and over: worth compiling."""


class UNet(nn.Module):
    """Predicts noise or v of a video latent from text, image tokens, step and frame rate."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        base, width = settings.model_channels, 4 * settings.model_channels
        self.time_embed = _embedding_mlp(base, width)
        self.fps_embedding = _embedding_mlp(base, width)
        self.input_blocks, skips = _input_blocks(settings)
        # Published: always 8 heads, so that the inner width is 8 heads wide instead of `base`.
        inner = 8 * settings.num_head_channels
        first = TemporalTransformer(base, inner, 8, settings.transformer_depth, stored_as_conv=True)
        self.init_attn = Stage(first)
        self.middle_block = _middle_block(skips[-1], settings)
        self.output_blocks = _output_blocks(skips, settings)
        self.out = nn.Sequential(
            FinalNorm(32, base, eps=1e-5), nn.Identity(), nn.Conv2d(base, settings.out_channels, 3, padding=1)
        )

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, fps: Tensor | None = None) -> Tensor:
        """The prediction for each clip.

        Args:
            x: noisy latent and, in networks with more input channels, the condition: (B, C, F, H, W).
            timesteps: training steps, (B,) int64.
            context: text tokens, then image tokens, (k B, N, D): of k guidance branches, one after another.
            fps: frame rate, or DynamiCrafter 256's frame stride, (B,) int64; None embeds the default.

        Returns:
            (k B, out channels, F, H, W).
        """
        frames = x.shape[2]
        if fps is None:
            fps = torch.full_like(timesteps, self.settings.default_fps)
        emb = self._embed(self.time_embed, timesteps) + self._embed(self.fps_embedding, fps)
        text, image = self._split(context, frames)
        h = x.transpose(1, 2).flatten(0, 1)
        skips = []
        for index, stage in enumerate(self.input_blocks):
            h = stage(h, emb, text, image, frames)
            if index == 0:
                h = self.init_attn(h, emb, text, image, frames)
            skips.append(h)
        h = self.middle_block(h, emb, text, image, frames)
        for stage in self.output_blocks:
            h = stage(h, emb, text, image, frames, skips.pop())
        return torch.unflatten(self.out(h), 0, (-1, frames)).transpose(1, 2)

    def _embed(self, mlp: nn.Module, value: Tensor) -> Tensor:
        weight: Tensor = next(mlp.parameters())
        result: Tensor = mlp(sinusoid(value, self.settings.model_channels).to(weight.dtype))
        return result

    def _split(self, context: Tensor, frames: int) -> tuple[Tensor, Tensor | None]:
        """Text tokens (B, 77, D) and image tokens, the latter (B F, T, D) where every frame has its own."""
        if not self.settings.image_attention:
            return context, None
        text, image = context[:, :TEXT_TOKENS], context[:, TEXT_TOKENS:]
        each = self.settings.image_tokens_per_frame
        if each is not None and image.shape[1] == each * frames:
            image = torch.unflatten(image, 1, (frames, each)).flatten(0, 1)
        return text, image


def _embedding_mlp(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))


def _attention(channels: int, settings: UNetSettings) -> tuple[nn.Module, nn.Module]:
    heads = channels // settings.num_head_channels
    temporal = TemporalTransformer(channels, channels, heads, settings.temporal_transformer_depth)
    return SpatialTransformer(channels, settings), temporal


def _res_block(channels: int, out_channels: int, settings: UNetSettings) -> ResBlock:
    return ResBlock(channels, out_channels, 4 * settings.model_channels, settings.dropout)


def _input_blocks(settings: UNetSettings) -> tuple[nn.ModuleList, list[int]]:
    """The way down, and the channels of what each block leaves for the way up."""
    channels = settings.model_channels
    stages = nn.ModuleList([Stage(nn.Conv2d(settings.in_channels, channels, 3, padding=1))])
    skips = [channels]
    for level, mult in enumerate(settings.channel_mult):
        for _ in range(settings.num_res_blocks):
            layers: list[nn.Module] = [_res_block(channels, mult * settings.model_channels, settings)]
            channels = mult * settings.model_channels
            if 2**level in settings.attention_resolutions:
                layers += _attention(channels, settings)
            stages.append(Stage(*layers))
            skips.append(channels)
        if level + 1 < len(settings.channel_mult):
            stages.append(Stage(Down(channels)))
            skips.append(channels)
    return stages, skips


def _middle_block(channels: int, settings: UNetSettings) -> Stage:
    return Stage(
        _res_block(channels, channels, settings),
        *_attention(channels, settings),
        _res_block(channels, channels, settings),
    )


def _output_blocks(skips: list[int], settings: UNetSettings) -> nn.ModuleList:
    stages = nn.ModuleList()
    left = list(skips)
    channels = left[-1]
    for level, mult in reversed(list(enumerate(settings.channel_mult))):
        for index in range(settings.num_res_blocks + 1):
            layers: list[nn.Module] = [_res_block(channels + left.pop(), mult * settings.model_channels, settings)]
            channels = mult * settings.model_channels
            if 2**level in settings.attention_resolutions:
                layers += _attention(channels, settings)
            if level > 0 and index == settings.num_res_blocks:
                layers.append(Up(channels))
            stages.append(Stage(*layers))
    return stages
