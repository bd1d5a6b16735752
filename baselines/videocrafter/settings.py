"""VideoCrafter1 image-to-video at 320x512: official values, and what the card prints. No torch here."""

from dataclasses import dataclass

from baselines.lvdm.networks import VIDEOCRAFTER1
from baselines.lvdm.recipe import VOCABULARY, Recipe
from ti2v_bench.model import ModelCard, WeightFile

WEIGHTS = WeightFile(
    "VideoCrafter/Image2Video-512",
    "model.ckpt",
    licence="research and non-commercial use (official README)",
)


@dataclass(frozen=True)
class Settings:
    """Defaults of the official command, scripts/run_image2video.sh; its option stands beside each."""

    steps: int = 50
    """--ddim_steps."""
    eta: float = 1.0
    """Share of fresh noise at each step; --ddim_eta."""
    guidance: float = 12.0
    """--unconditional_guidance_scale."""
    embedded_fps: int = 8
    """Frame rate the network is told; --fps."""
    fps: int = 10
    """Frame rate of the video file; --savefps, its argparse default."""
    height: int = 320
    """Pixels; --height."""
    width: int = 512
    """Pixels; --width."""
    frames: int = 16
    """temporal_length of the configuration, since --frames is -1."""


def recipe(settings: Settings) -> Recipe:
    """What the family's sampler does for these settings."""
    return Recipe(
        name="videocrafter",
        network=VIDEOCRAFTER1,
        weights=WEIGHTS,
        picture="stretch",
        height=settings.height,
        width=settings.width,
        frames=settings.frames,
        steps=settings.steps,
        spacing="uniform",
        last_step=1000,
        eta=settings.eta,
        guidance=settings.guidance,
        image_guidance=None,
        guidance_rescale=0.0,
        embedded_fps=settings.embedded_fps,
        fps=settings.fps,
        precision="float32",
    )


CARD = ModelCard(
    name="videocrafter",
    title="VideoCrafter1",
    source="AILab-CVC/VideoCrafter @ 11bcd76fc62fb98b9715b994afe45b4fa081120c",
    licence="Apache-2.0 with a Tencent notice (code)",
    weights=(WEIGHTS, VOCABULARY),
    frames=16,
    fps=10,
    size="320x512",
    precision="float32",
    parameters=1438.84,
    fast=True,
    gpu_memory_gib=12.2,
    notes=(
        "The checkpoint holds 2.61 billion values, 10.4 GB if they are stored in float32 (counted from its shapes).",
        "The official code runs in float32; --fast and --precision float16 are faster, not the same.",
        "The picture is stretched to 320x512 and seen only through CLIP tokens, as published.",
        "The official scripts seed once and draw all videos from one stream; here every video has its own seed.",
    ),
)
