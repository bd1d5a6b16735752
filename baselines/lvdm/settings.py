"""What distinguishes the networks and samplers of the LVDM family. No torch here.

Sources: AILab-CVC/VideoCrafter @ 11bcd76, Doubiiu/DynamiCrafter @ c453369; the files named at each field.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class UNetSettings:
    """The denoising network; defaults are VideoCrafter2's (configs/inference_t2v_512_v2.0.yaml)."""

    in_channels: int = 4
    """4 noisy latent channels, then the condition's where it is concatenated (DynamiCrafter: 8)."""
    out_channels: int = 4
    model_channels: int = 320
    """Channels at full resolution; at least 64, since its norms have 32 groups."""
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    """Downsampling rates that have attention; the coarsest level (8) has none outside the middle."""
    num_head_channels: int = 64
    transformer_depth: int = 1
    temporal_transformer_depth: int = 1
    """Of the temporal transformers in the blocks; the one behind the first convolution has `transformer_depth`."""
    context_dim: int = 1024
    dropout: float = 0.0
    image_attention: bool = False
    """Tokens after the first 77 are of the image and have keys and values of their own."""
    image_scale_learnable: bool = False
    """The image branch is weighted by tanh(alpha) + 1 (DynamiCrafter 256) instead of 1."""
    image_tokens_per_frame: int | None = None
    """Where the image tokens are so many for each frame, every frame sees its own (DynamiCrafter: 16)."""
    default_fps: int = 16
    """Frame rate (or stride) that is embedded when none is given."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """The Stable Diffusion autoencoder (first_stage_config of all configs)."""

    widths: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    latent_channels: int = 4

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell along an edge."""
        return 1 << (len(self.widths) - 1)


@dataclass(frozen=True)
class TextEncoderSettings:
    """OpenCLIP ViT-H/14, text tower (cond_stage_config)."""

    width: int = 1024
    heads: int = 16
    layers: int = 24


@dataclass(frozen=True)
class ImageEncoderSettings:
    """OpenCLIP ViT-H/14, vision tower (img_cond_stage_config)."""

    width: int = 1280
    heads: int = 16
    layers: int = 32
    patch: int = 14
    projected: int = 1024
    """Width of the embedding that the published file has a matrix for; nothing here is projected."""


@dataclass(frozen=True)
class ResamplerSettings:
    """Projector from image tokens to the UNet's context (image_proj_stage_config of all image configs)."""

    dim: int = 1024
    depth: int = 4
    dim_head: int = 64
    heads: int = 12
    num_queries: int = 16
    """Queries in all: 16, or 16 for each of DynamiCrafter's 16 frames."""
    embedding_dim: int = 1280
    output_dim: int = 1024
    ff_mult: int = 4


@dataclass(frozen=True)
class DiffusionSettings:
    """Training schedule and what the network predicts."""

    prediction: Literal["eps", "v"]
    zero_terminal_snr: bool
    scaling: Literal["none", "input", "dynamic"]
    """How clean latents are scaled in time: `input` = VideoCrafter's use_scale, `dynamic` = DynamiCrafter's rescale."""
    scale_base: float
    """Scale of clean latents from training step 400 on; it falls linearly from 1 before."""


@dataclass(frozen=True)
class NetworkSettings:
    """Everything one published checkpoint holds."""

    unet: UNetSettings
    diffusion: DiffusionSettings
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    text: TextEncoderSettings = TextEncoderSettings()
    image: ImageEncoderSettings | None = None
    resampler: ResamplerSettings | None = None
