"""How one model of the family turns a picture and a prompt into a video: all that its sampler needs. No torch here."""

from dataclasses import dataclass, replace
from typing import Literal

from baselines.lvdm.settings import (
    AutoencoderSettings,
    ImageEncoderSettings,
    NetworkSettings,
    ResamplerSettings,
    TextEncoderSettings,
)
from baselines.sampling.spacing import Spacing
from ti2v_bench.model import WeightFile

Picture = Literal["stretch", "crop_or_pad", "stretch_antialiased"]
"""How a picture is brought to the model's size; `baselines.lvdm.pictures` says how each works."""

VOCABULARY = WeightFile(
    "openai/clip-vit-large-patch14",
    "merges.txt",
    revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
    licence="MIT (openai/CLIP)",
)
"""CLIP's byte-pair merges; the same list as OpenCLIP's `bpe_simple_vocab_16e6.txt.gz`."""


@dataclass(frozen=True)
class Recipe:
    """One published way to sample one published checkpoint."""

    name: str
    network: NetworkSettings
    weights: WeightFile
    picture: Picture
    height: int
    width: int
    frames: int
    steps: int
    spacing: Spacing
    last_step: int
    """Training steps 0 … last_step - 1 are used; 1000 is all of them."""
    eta: float
    guidance: float
    image_guidance: float | None
    """Weight of the image alone, with three network calls per step; None guides by text and image together."""
    guidance_rescale: float
    embedded_fps: int
    """Frame rate or stride handed to the network."""
    fps: int
    """Frame rate of the video that is written."""
    precision: str
    """Official precision on a GPU: `float16` (the authors ran float16 autocast) or `float32`."""
    initial_noise: WeightFile | None = None
    """Statistics for Analytic-Init; None starts from plain noise."""
    initial_step: int = 1000
    """Training step (counted from 1) whose noise level Analytic-Init meets."""

    @property
    def latent_shape(self) -> tuple[int, int, int, int, int]:
        """Shape of one video's latent, (1, C, F, h, w)."""
        cell = self.network.autoencoder.downsampling
        return 1, self.network.unet.out_channels, self.frames, self.height // cell, self.width // cell

    @property
    def condition_concatenated(self) -> bool:
        """Whether the picture's latent joins the network's input."""
        return self.network.unet.in_channels > self.network.unet.out_channels


def tiny(recipe: Recipe) -> Recipe:
    """The same recipe with a tiny network and a small picture: every path, no quality."""
    network = recipe.network
    unet = replace(
        network.unet, model_channels=64, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(1,),
        num_head_channels=32, context_dim=32,
    )  # fmt: skip
    text = TextEncoderSettings(width=32, layers=2, heads=2)
    image = ImageEncoderSettings(patch=56, width=32, layers=1, heads=2, projected=32)
    resampler = ResamplerSettings(
        dim=32, depth=1, dim_head=16, heads=2, embedding_dim=32, output_dim=32,
        num_queries=network.resampler.num_queries if network.resampler else 0,
    )  # fmt: skip
    autoencoder = AutoencoderSettings(widths=(32, 32, 32, 32), layers=1)
    small = replace(
        network, unet=unet, text=text, autoencoder=autoencoder,
        image=image if network.image else None, resampler=resampler if network.resampler else None,
    )  # fmt: skip
    return replace(recipe, network=small, height=64, width=64 * recipe.width // recipe.height // 16 * 16)
