"""What SEINE is run with, where each number is from, and its card. No torch here."""

from dataclasses import dataclass
from typing import Literal

from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "Vchitect/SEINE @ bd8d519"
BASE = "CompVis/stable-diffusion-v1-4"
_BASE_LICENCE = "CreativeML Open RAIL-M"

UNET = WeightFile("xinyuanc91/SEINE", "seine.pt", licence="open for research; commercial use on application (README)")
VAE = WeightFile(BASE, "vae/diffusion_pytorch_model.safetensors", licence=_BASE_LICENCE)
TEXT = WeightFile(BASE, "text_encoder/model.safetensors", licence=_BASE_LICENCE)
VOCABULARY = WeightFile(BASE, "tokenizer/merges.txt", licence=_BASE_LICENCE)


@dataclass(frozen=True)
class Settings:
    """Defaults of `sample_scripts/with_mask_sample.py` with configs/sample_i2v.yaml."""

    height: int = 240
    """configs/sample_i2v.yaml, image_size; its comments offer 320 and 512, too."""
    width: int = 560
    """Same; the comments offer 512. The picture is stretched to it."""
    frames: int = 16
    """Same file, num_frames."""
    method: Literal["ddpm", "ddim"] = "ddpm"
    """Same file, sample_method."""
    steps: int = 250
    """Same file, num_sampling_steps. `method=ddim steps=50` takes a fifth of the time; not the authors' choice."""
    guidance: float = 8.0
    """Same file, cfg_scale."""
    addition: str = ", slow motion."
    """Same file, additional_prompt: put after every prompt."""
    negative_prompt: str = ""
    """Same file, negative_prompt."""
    fps: int = 8
    """Of the written video; fixed in the script."""
    decode_at_once: int = 16
    """Frames that the autoencoder decodes together; the script decodes all. Fewer need less memory."""

    def __post_init__(self) -> None:
        if self.height % 8 or self.width % 8 or min(self.height, self.width) < 8:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 8")
        if not 2 <= self.steps <= 1000:
            raise ValueError(f"steps {self.steps} is not in 2 to 1000")
        if min(self.frames, self.fps, self.decode_at_once) < 1:
            raise ValueError("frames, fps and decode_at_once must be at least 1")


CARD = ModelCard(
    name="seine",
    title="SEINE",
    source=f"{OFFICIAL} (Chen et al., 2023, SEINE: Short-to-Long Video Diffusion Model)",
    licence="code Apache-2.0; weights open for research, commercial use on application to the authors",
    weights=(UNET, VAE, TEXT, VOCABULARY),
    frames=16,
    fps=8,
    size="240x560",
    precision="float16",
    parameters=909.1,
    fast=True,
    gpu_memory_gib=3.3,
    notes=(
        "The picture is stretched to 240x560 whatever its shape, as the published command does; "
        "--set height=320 --set width=512 is the other size its configuration names.",
        'The published command puts ", slow motion." after every prompt; --set addition= leaves it away.',
        "250 DDPM steps are the published default; --set method=ddim --set steps=50 takes a fifth of the time.",
        "Greyscale and transparent pictures are read as RGB; the official script stops at them.",
        "Published seeds cannot be met: noise is drawn on the CPU here, so that a seed means the same on every device.",
        f"The files of {BASE} are named as the diffusers library names them; we could not look at the repository. "
        "Where there is no .safetensors, the .bin of the same weights is taken.",
    ),
)
