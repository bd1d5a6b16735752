"""What I2VGen-XL is run with, where each number is from, and its card. No torch here."""

import math
from dataclasses import dataclass
from typing import Literal

from baselines.lvdm.recipe import VOCABULARY
from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "ali-vilab/VGen@4014d1f"
REPO = "ali-vilab/i2vgen-xl"
LICENCE = "MIT by its model card; research and non-commercial only by VGen's README"

UNET = WeightFile(REPO, "i2vgen_xl_00854500.pth", licence=LICENCE)
UNET_OF_HUB = WeightFile(REPO, "unet/diffusion_pytorch_model.safetensors", licence=LICENCE)
CLIP = WeightFile(REPO, "open_clip_pytorch_model.bin", licence=LICENCE)
VAE = WeightFile(REPO, "v2-1_512-ema-pruned.ckpt", licence="CreativeML Open RAIL++-M (Stable Diffusion 2.1)")

NEGATIVE = (
    "Distorted, discontinuous, Ugly, blurry, low resolution, motionless, static, disfigured, disconnected limbs, "
    "Ugly faces, incomplete arms"
)
"""tools/modules/config.py, negative_prompt."""


@dataclass(frozen=True)
class Behaviour:
    """Where the official code and the diffusers folders of the Hub's repository differ."""

    image_factor: float
    """Weight of the image branch in the network's input."""
    latent_scale: float
    """Of the autoencoder's latents."""
    last_alpha: float | None
    """Where the last step ends; None: the alpha of training step 0."""
    negative_prompt: str
    least_guidance: float
    """A smaller weight counts as this one; diffusers leaves guidance out at 1 or less, which is a weight of 1."""


BEHAVIOURS = {
    "official": Behaviour(
        image_factor=2.0, latent_scale=0.18215, last_alpha=None, negative_prompt=NEGATIVE, least_guidance=-math.inf
    ),
    "hub": Behaviour(image_factor=1.0, latent_scale=0.18125, last_alpha=1.0, negative_prompt="", least_guidance=1.0),
}
"""`hub`: vae/config.json says 0.18125 (sic), scheduler_config.json `set_alpha_to_one`, the pipeline no prompt."""


@dataclass(frozen=True)
class Settings:
    """Sampling settings; defaults are those of configs/i2vgen_xl_infer.yaml where no other file is named."""

    height: int = 704
    """configs/i2vgen_xl_train.yaml, resolution: [1280, 704], width first."""
    width: int = 1280
    frames: int = 16
    """max_frames."""
    steps: int = 50
    """tools/modules/config.py, ddim_timesteps."""
    guidance: float = 9.0
    """guide_scale."""
    target_fps: int = 16
    """target_fps: told to the network, not the rate of the file."""
    fps: int = 8
    """utils/video_op.py, save_fps: of the written video."""
    negative_prompt: str | None = None
    """None: by `behaviour`."""
    behaviour: Literal["official", "hub"] = "official"
    """Which of the two published readings is followed; see BEHAVIOURS."""
    drop_grey_end: bool = True
    """The official code leaves the last frame out of the file where more than 40 % of its values lie in 117..137."""
    decode_at_once: int = 2
    """Frames per call of the decoder; decoder_bs."""

    def __post_init__(self) -> None:
        if self.height % 8 or self.width % 8 or min(self.height, self.width) < 8:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 8")
        if min(self.frames, self.steps, self.decode_at_once, self.fps) < 1:
            raise ValueError("frames, steps, decode_at_once and fps must be at least 1")
        stride = 1000 // self.steps if self.steps <= 1000 else 0
        if stride == 0 or 1 + 999 // stride * stride >= 999:  # the schedule has no signal at 999: a division by zero
            raise ValueError(f"{self.steps} steps would begin at training step 999; use a divisor of 1000 up to 250")


CARD = ModelCard(
    name="i2vgen_xl",
    title="I2VGen-XL",
    source=f"{OFFICIAL} (Zhang et al., 2023), first stage; no second stage is released",
    licence=LICENCE,
    weights=(UNET, VAE, CLIP, VOCABULARY),
    frames=16,
    fps=8,
    size="704x1280",
    precision="float16",
    parameters=1420.5,
    fast=True,
    gpu_memory_gib=13.6,
    notes=(
        "The image branch counts twice in the official network. Whether the Hub's diffusers weights already contain "
        "the factor could not be checked; settings behaviour=hub runs those weights as diffusers does, with the "
        "Hub's latent scale 0.18125, a last step that ends without noise, and no negative prompt.",
        "One black column can stand at the left of the picture (or a row at the top): the official crop divides with "
        "a floor. Common sizes such as 512x512 and 1024x576 show it.",
        "A last frame that is mostly grey is left out, as in the official file: such a video has 15 frames.",
        "Official precision is float16 autocast of float32 weights; here the network's weights are float16, and "
        "latents, sampling, autoencoder and encoders stay float32.",
        "The official seed 8888 is set before the networks are made, which uses up the generator: its noise cannot be "
        "reproduced by seeding.",
    ),
)
