"""What AnimateAnything is run with, where each number is from, and its card. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "alibaba/animate-anything@dca2412"
MIRROR = "Pupba/animate-anything-512-v1.02"
"""Third-party copy on the Hub; the authors publish a tar on another host only."""

LICENCE = "not stated; base model CC-BY-NC-4.0"


def _either(folder: str, stem: str) -> tuple[WeightFile, ...]:
    """A network's file under each name that diffusers may have written; the first that is there is taken."""
    names = (f"{stem}.safetensors", f"{stem}.bin", f"{stem}.fp16.safetensors", f"{stem}.fp16.bin")
    return tuple(WeightFile(MIRROR, f"{folder}/{name}", licence=LICENCE) for name in names)


UNET = _either("unet", "diffusion_pytorch_model")
VAE = _either("vae", "diffusion_pytorch_model")
TEXT = (
    WeightFile(MIRROR, "text_encoder/model.safetensors", licence=LICENCE),
    WeightFile(MIRROR, "text_encoder/pytorch_model.bin", licence=LICENCE),
    WeightFile(MIRROR, "text_encoder/model.fp16.safetensors", licence=LICENCE),
    WeightFile(MIRROR, "text_encoder/pytorch_model.fp16.bin", licence=LICENCE),
)
TOKENIZER = tuple(
    WeightFile(MIRROR, f"tokenizer/{name}", licence=LICENCE)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
)
SCHEDULER = WeightFile(MIRROR, "scheduler/scheduler_config.json", licence=LICENCE)
UNET_CONFIG = WeightFile(MIRROR, "unet/config.json", licence=LICENCE)
VAE_CONFIG = WeightFile(MIRROR, "vae/config.json", licence=LICENCE)
TEXT_CONFIG = WeightFile(MIRROR, "text_encoder/config.json", licence=LICENCE)


@dataclass(frozen=True)
class Settings:
    """Sampling settings; defaults are those of `train.py --eval` with example/train_mask_motion.yaml."""

    area: int = 512 * 512
    """Pixels that a frame is to have about; example/train_mask_motion.yaml, height x width."""
    frames: int = 16
    """Same file, num_frames; the condition frame in front of them is not counted."""
    steps: int = 25
    """Same file, num_inference_steps."""
    guidance: float = 9.0
    """Same file, guidance_scale."""
    fps: int = 8
    """Same file, fps; of the written video only."""
    strength: float | None = None
    """Motion strength; None: by `strength_rule`. train.py `main_eval`, validation_data.strength."""
    strength_rule: Literal["eval", "app"] = "eval"
    """`eval`: iteration + 3 (train.py). `app`: slider x mean of the mask (app.py). They agree on neither default."""
    iteration: int = 0
    """Which of the six videos of `main_eval` (0-5) is made; it also sets how often the size is re-derived."""
    slider: float = 5.0
    """app.py, default of the motion slider."""
    mask: Path | None = None
    """Picture whose non-zero pixels may move; None: all of them, as train.py does without one."""
    spacing: Literal["checkpoint", "linspace", "leading", "trailing"] = "checkpoint"
    """Timestep spacing; `checkpoint`: as its scheduler_config.json says, `linspace` where that is silent or absent."""

    def __post_init__(self) -> None:
        if not 0 <= self.iteration <= 5:
            raise ValueError(f"iteration {self.iteration} is not one of main_eval's six, 0 to 5")
        if min(self.area, self.frames, self.steps, self.fps) < 1:
            raise ValueError("area, frames, steps and fps must be at least 1")


CARD = ModelCard(
    name="animate_anything",
    title="AnimateAnything",
    source=f"{OFFICIAL} (Dai et al., 2023, Fine-Grained Open Domain Image Animation with Motion Guidance)",
    licence="code MIT; weights not stated, base model ModelScope text-to-video CC-BY-NC-4.0",
    weights=(UNET[0], VAE[0], TEXT[0], *TOKENIZER, SCHEDULER, UNET_CONFIG, VAE_CONFIG, TEXT_CONFIG),
    frames=16,
    fps=8,
    size="area of 512x512, picture's own aspect",
    precision="float16",
    parameters=1413.4,
    fast=True,
    gpu_memory_gib=5.6,
    notes=(
        "The authors publish a tar outside the Hub (README, animate_anything_512_v1.02.tar): unpack it and name the "
        "folder with --weights. The default is a third-party copy whose file names and licence we could not see.",
        "Motion strength: train.py --eval makes six videos with strengths 3 to 8, app.py multiplies a slider (5) by "
        "the mask's mean. Default here: the first of the six, 3; see the settings strength, strength_rule, iteration.",
        "Timestep spacing hangs on the checkpoint's scheduler_config.json, which we could not see: it is read where "
        "present, and linspace taken where it is silent; the setting spacing overrides it.",
        "The checkpoint's unet/config.json must switch mask and strength on for the official code; here both are on, "
        "and a file that says otherwise is refused.",
        "Official: everything is float16, latents and solver too. Here networks are float16 and latents, noise and "
        "solver float32.",
    ),
)
