"""DynamiCrafter: official values of its three checkpoints, and what the card prints. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from baselines.lvdm.networks import DYNAMICRAFTER_256, DYNAMICRAFTER_512, DYNAMICRAFTER_1024
from baselines.lvdm.recipe import VOCABULARY, Recipe
from baselines.lvdm.settings import NetworkSettings
from baselines.sampling.spacing import Spacing
from ti2v_bench.model import ModelCard, WeightFile


@dataclass(frozen=True)
class Variant:
    """What differs between the published checkpoints (configs/inference_*_v1.0.yaml and scripts/run.sh)."""

    repo: str
    network: NetworkSettings
    height: int
    width: int
    spacing: Spacing
    guidance_rescale: float
    frame_stride: int

    @property
    def weights(self) -> WeightFile:
        """The published file."""
        return WeightFile(self.repo, "model.ckpt", licence="not stated where we could read it (code: Apache-2.0)")


VARIANTS: Mapping[str, Variant] = {
    "256": Variant("Doubiiu/DynamiCrafter", DYNAMICRAFTER_256, 256, 256, "uniform", 0.0, 3),
    "512": Variant("Doubiiu/DynamiCrafter_512", DYNAMICRAFTER_512, 320, 512, "uniform_trailing", 0.7, 24),
    "1024": Variant("Doubiiu/DynamiCrafter_1024", DYNAMICRAFTER_1024, 576, 1024, "uniform_trailing", 0.7, 10),
}


@dataclass(frozen=True)
class Settings:
    """Defaults of the official command, scripts/run.sh; None takes the variant's own official value."""

    variant: Literal["256", "512", "1024"] = "512"
    """Which checkpoint, and with it the size of the video."""
    steps: int = 50
    """--ddim_steps."""
    eta: float = 1.0
    """--ddim_eta."""
    guidance: float = 7.5
    """--unconditional_guidance_scale."""
    guidance_rescale: float | None = None
    """--guidance_rescale: 0.7, or 0.0 for 256."""
    image_guidance: float | None = None
    """--cfg_img with --multiple_cond_cfg, which are off by default; three network calls per step."""
    spacing: Spacing | None = None
    """--timestep_spacing: uniform_trailing, or uniform for 256."""
    frame_stride: int | None = None
    """--frame_stride: frames per second (24; for 1024 10; fewer = more motion), for 256 a stride (3; more = more)."""
    fps: int = 8
    """Frame rate of the video file; --savefps."""
    frames: int = 16
    """--video_length."""


def recipe(settings: Settings) -> Recipe:
    """What the family's sampler does for these settings."""
    variant = VARIANTS[settings.variant]
    rescale, stride = settings.guidance_rescale, settings.frame_stride
    return Recipe(
        name="dynamicrafter",
        network=variant.network,
        weights=variant.weights,
        picture="crop_or_pad",
        height=variant.height,
        width=variant.width,
        frames=settings.frames,
        steps=settings.steps,
        spacing=settings.spacing or variant.spacing,
        last_step=1000,
        eta=settings.eta,
        guidance=settings.guidance,
        image_guidance=settings.image_guidance,
        guidance_rescale=variant.guidance_rescale if rescale is None else rescale,
        embedded_fps=variant.frame_stride if stride is None else stride,
        fps=settings.fps,
        precision="float16",
    )


CARD = ModelCard(
    name="dynamicrafter",
    title="DynamiCrafter",
    source="Doubiiu/DynamiCrafter @ c453369367122d7fbb0aa38f124e76dc8fe2a91c",
    licence="Apache-2.0 (code)",
    weights=(VARIANTS["512"].weights, VOCABULARY),
    frames=16,
    fps=8,
    size="320x512",
    precision="float16 (autocast)",
    parameters=1438.85,
    fast=True,
    gpu_memory_gib=6.1,
    notes=(
        "The checkpoint holds 2.61 billion values, 10.4 GB if they are stored in float32 (counted from its shapes).",
        "Other checkpoints: --set variant=256 (256x256) or --set variant=1024 (576x1024).",
        "Pictures narrower than the target are padded with black, as the official centre crop does.",
        "Weights are kept in float16, to which the official code casts them at every call; on the CPU all is float32.",
        "Where the official sampler returns NaN (eta 1 and e.g. 20 or 25 steps), a rounding error is taken as zero.",
    ),
)
