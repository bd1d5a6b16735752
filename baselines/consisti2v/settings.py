"""What ConsistI2V is run with, where each number is from, and its card. No torch here."""

from dataclasses import dataclass
from typing import Literal

from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "TIGER-AI-Lab/ConsistI2V @ 152102b"
REPO = "TIGER-Lab/ConsistI2V"
_LICENCE = "not stated where we could read it; base model CreativeML Open RAIL++-M"

UNET = WeightFile(REPO, "unet/diffusion_pytorch_model.safetensors", bytes=5_000_000_000, licence=_LICENCE)
UNET_CONFIG = WeightFile(REPO, "unet/config.json", licence=_LICENCE)
VAE = WeightFile(REPO, "vae/diffusion_pytorch_model.safetensors", licence=_LICENCE)
VAE_CONFIG = WeightFile(REPO, "vae/config.json", licence=_LICENCE)
TEXT = WeightFile(REPO, "text_encoder/model.safetensors", licence=_LICENCE)
TEXT_CONFIG = WeightFile(REPO, "text_encoder/config.json", licence=_LICENCE)
VOCABULARY = WeightFile(REPO, "tokenizer/merges.txt", licence=_LICENCE)

Filter = Literal["gaussian", "butterworth", "ideal", "box"]
"""Form of FrameInit's low-pass filter."""
NoiseKind = Literal["pyoco_mixed", "pyoco_progressive", "vanilla"]
"""What the frames' noises have in common."""


@dataclass(frozen=True)
class Settings:
    """Defaults of `scripts/animate.py` with configs/inference/inference.yaml."""

    height: int = 256
    """configs/inference/inference.yaml, height."""
    width: int = 256
    """Same file, width."""
    steps: int = 50
    """Same file, num_inference_steps."""
    guidance: float = 7.5
    """Same file, guidance_scale_txt."""
    image_guidance: float = 1.0
    """Same file, guidance_scale_img; above 1 there are three branches, guided by text and first frame."""
    guidance_rescale: float = 0.0
    """Same file, guidance_rescale; only with image_guidance 1."""
    frame_stride: int = 3
    """Same file, frame_stride; 1 to 5 in training."""
    noise: NoiseKind = "pyoco_mixed"
    """Same file, noise_sampling_method."""
    noise_share: float = 1.0
    """Same file, noise_alpha; the common part has variance a^2 / (1 + a^2)."""
    frame_init: bool = True
    """Same file, use_frameinit."""
    filter: Filter = "gaussian"
    """Same file, filter_params.method."""
    stop_spatial: float = 0.25
    """Same file, filter_params.d_s."""
    stop_temporal: float = 0.25
    """Same file, filter_params.d_t."""
    filter_order: int = 4
    """Of the Butterworth filter; default of the filter's function, the file has none."""
    noise_level: int = 850
    """Same file, frameinit_noise_level: training step to which the first frame is noised."""
    negative_prompt: str = ""
    """Same file, n_prompt."""
    fps: int = 8
    """Of the written video; scripts/animate.py."""
    decode_at_once: int = 8
    """Frames that the autoencoder decodes together; the official code decodes one at a time, which is slower."""

    def __post_init__(self) -> None:
        if self.height % 8 or self.width % 8 or min(self.height, self.width) < 8:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 8")
        if not 1 <= self.steps <= 999:
            raise ValueError(f"steps {self.steps} is not in 1 to 999")
        if self.image_guidance > 1 and self.guidance_rescale > 0:
            raise ValueError("guidance_rescale works only with image_guidance 1; the official code stops there, too")
        if not 0 <= self.noise_level <= 999:
            raise ValueError(f"noise_level {self.noise_level} is not in 0 to 999")
        for name in ("guidance_rescale", "stop_spatial", "stop_temporal"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} is not in 0 to 1")
        if min(self.frame_stride, self.fps, self.decode_at_once, self.filter_order) < 1:
            raise ValueError("frame_stride, fps, decode_at_once and filter_order must be at least 1")


CARD = ModelCard(
    name="consisti2v",
    title="ConsistI2V",
    source=f"{OFFICIAL} (Ren et al., 2024, ConsistI2V: Enhancing Visual Consistency for Image-to-Video Generation)",
    licence="code MIT; weights not stated where we could read it, base model CreativeML Open RAIL++-M",
    weights=(UNET, UNET_CONFIG, VAE, VAE_CONFIG, TEXT, TEXT_CONFIG, VOCABULARY),
    frames=16,
    fps=8,
    size="256x256",
    precision="float32",
    parameters=1250.0,
    fast=True,
    gpu_memory_gib=7.4,
    notes=(
        "Float32 is the official precision; --precision float16 is what the authors' app uses. --fast keeps float32 "
        "weights and rounds the factors of matrix products, as torch's default does for convolutions.",
        "Guidance by text alone is the published default (guidance_scale_img 1.0); --set image_guidance=2.0 turns the "
        "library's two-way guidance on, at three network calls per step.",
        "The shorter side of the picture becomes the height, and the centre is cropped, as scripts/animate.py does; "
        "the authors' app crops first.",
        "Camera motion and the long-video mode are left out: off by default, and in part broken as published.",
        "Published configurations are read and compared with what is written here; a difference is an error.",
        "Where the repository has no .safetensors, the .bin of the same weights is taken.",
        "The first frame of the video is the autoencoder's reconstruction of the picture.",
    ),
)
