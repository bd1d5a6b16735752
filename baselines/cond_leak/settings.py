"""Cond-leak: official values of its variants, and what the card prints. No torch here.

Source of all values: thu-ml/cond-image-leakage @ 5075e25, examples/{DynamiCrafter,VideoCrafter}/scripts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from baselines.lvdm.networks import DYNAMICRAFTER_512, DYNAMICRAFTER_1024, VIDEOCRAFTER1
from baselines.lvdm.recipe import VOCABULARY, Picture, Recipe
from baselines.lvdm.settings import NetworkSettings
from baselines.sampling.spacing import Spacing
from ti2v_bench.model import ModelCard, WeightFile

_LICENCE = "not stated where we could read it (code: Apache-2.0)"


@dataclass(frozen=True)
class Parent:
    """What both training-free and fine-tuned variants take from the model they stand on."""

    network: NetworkSettings
    height: int
    width: int
    picture: Picture
    spacing: Spacing
    guidance: float
    guidance_rescale: float
    precision: str
    last_step_follows_start: bool
    """Whether the sampler starts from the start time M. Published: VideoCrafter's sampler ignores it and starts from
    the last step, so that M sets nothing but the level of the initial noise."""
    statistics: WeightFile | None


def _statistics(repo: str) -> WeightFile:
    return WeightFile(repo, "initial_noise_512.pt", licence=_LICENCE)


_DYNAMICRAFTER = Parent(
    DYNAMICRAFTER_512, 320, 512, "stretch_antialiased", "uniform_trailing", 7.5, 0.7, "float16", True,
    _statistics("GraceZhao/DynamiCrafter-Analytic-Init"),
)  # fmt: skip
_DYNAMICRAFTER_1024 = Parent(
    DYNAMICRAFTER_1024, 576, 1024, "stretch_antialiased", "uniform_trailing", 7.5, 0.7, "float16", True,
    WeightFile("GraceZhao/DynamiCrafter-Analytic-Init", "initial_noise_1024.pt", licence=_LICENCE),
)  # fmt: skip
_VIDEOCRAFTER = Parent(
    VIDEOCRAFTER1, 320, 512, "stretch", "uniform", 12.0, 0.0, "float32", False,
    _statistics("GraceZhao/VideoCrafter-Analytic-Init"),
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One checkpoint and the start time its script gives."""

    parent: Parent
    weights: WeightFile
    start_time: int


def _cil(repo: str, file: str) -> WeightFile:
    return WeightFile(repo, file, licence=_LICENCE)


VARIANTS: Mapping[str, Variant] = {
    "dynamicrafter-cil": Variant(_DYNAMICRAFTER, _cil("GraceZhao/DynamiCrafter-CIL-512", "timenoise.ckpt"), 1000),
    "dynamicrafter-cil-no-watermark": Variant(
        _DYNAMICRAFTER, _cil("GraceZhao/DynamiCrafter-CIL-512-no-watermark", "timenoise.ckpt"), 1000
    ),
    "dynamicrafter-cil-1024": Variant(
        _DYNAMICRAFTER_1024, _cil("GraceZhao/DynamiCrafter-CIL-1024", "timenoise.ckpt"), 1000
    ),
    "dynamicrafter": Variant(_DYNAMICRAFTER, _cil("Doubiiu/DynamiCrafter_512", "model.ckpt"), 940),
    "videocrafter-cil": Variant(_VIDEOCRAFTER, _cil("GraceZhao/VideoCrafter1-CIL-512", "model.ckpt"), 940),
    "videocrafter": Variant(_VIDEOCRAFTER, _cil("VideoCrafter/Image2Video-512", "model.ckpt"), 940),
}
"""Fine-tuned (cil) and training-free ways. File names: README, scripts and the authors' demo; some of them we could not
check on the Hub, so a name that is not there must be given with --weights."""


@dataclass(frozen=True)
class Settings:
    """Defaults of the official commands, scripts/inference*.sh; None takes the variant's own official value."""

    variant: Literal[
        "dynamicrafter-cil",
        "dynamicrafter-cil-no-watermark",
        "dynamicrafter-cil-1024",
        "dynamicrafter",
        "videocrafter-cil",
        "videocrafter",
    ] = "dynamicrafter-cil"
    """Which checkpoint, on which parent."""
    start_time: int | None = None
    """M: 1000 for the fine-tuned DynamiCrafter, 940 otherwise."""
    analytic_init: bool = True
    """Initial noise from the statistics of the training data; at M = 1000 with zero terminal SNR it is plain noise."""
    steps: int = 50
    """--ddim_steps."""
    eta: float = 1.0
    """--ddim_eta."""
    guidance: float | None = None
    """--unconditional_guidance_scale: 7.5 (DynamiCrafter), 12.0 (VideoCrafter)."""
    guidance_rescale: float | None = None
    """--guidance_rescale: 0.7 (DynamiCrafter), none (VideoCrafter)."""
    embedded_fps: int = 24
    """FS of all scripts, also where the parents take another."""
    fps: int = 8
    """Frame rate of the video file; --savefps."""
    frames: int = 16
    """--video_length."""


def recipe(settings: Settings) -> Recipe:
    """What the family's sampler does for these settings."""
    variant = VARIANTS[settings.variant]
    parent = variant.parent
    start = variant.start_time if settings.start_time is None else settings.start_time
    # With zero terminal SNR nothing of the data is left at step 1000: the statistics would not be used.
    plain = start == 1000 and parent.network.diffusion.zero_terminal_snr
    return Recipe(
        name="cond_leak",
        network=parent.network,
        weights=variant.weights,
        picture=parent.picture,
        height=parent.height,
        width=parent.width,
        frames=settings.frames,
        steps=settings.steps,
        spacing=parent.spacing,
        last_step=start if parent.last_step_follows_start else 1000,
        eta=settings.eta,
        guidance=parent.guidance if settings.guidance is None else settings.guidance,
        image_guidance=None,
        guidance_rescale=parent.guidance_rescale if settings.guidance_rescale is None else settings.guidance_rescale,
        embedded_fps=settings.embedded_fps,
        fps=settings.fps,
        precision=parent.precision,
        initial_noise=parent.statistics if settings.analytic_init and not plain else None,
        initial_step=start,
    )


CARD = ModelCard(
    name="cond_leak",
    title="Cond-leak",
    source="thu-ml/cond-image-leakage @ 5075e25d6a10ffe7f12f08836f6988a2850a40d3",
    licence="Apache-2.0 (code)",
    weights=(VARIANTS["dynamicrafter-cil"].weights, VOCABULARY),
    frames=16,
    fps=8,
    size="320x512",
    precision="float16 (autocast)",
    parameters=1438.85,
    fast=True,
    gpu_memory_gib=6.1,
    notes=(
        "The checkpoint holds 2.61 billion values, 10.4 GB if they are stored in float32 (counted from its shapes).",
        "Which of the published variants stood in MotiF's comparison is not known; the default is the fine-tuned "
        "DynamiCrafter at 320x512. Others: --set variant=NAME of " + ", ".join(VARIANTS) + ".",
        "VideoCrafter variants start from the last step whatever the start time, as the published sampler does.",
        "The file timenoise.ckpt of the 512 model is named by the authors' demo; other file names come from scripts.",
    ),
)
