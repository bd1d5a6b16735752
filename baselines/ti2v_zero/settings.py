"""What TI2V-Zero is run with, where each number is from, and its card. No torch here."""

from dataclasses import dataclass

from baselines.lvdm.recipe import VOCABULARY
from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "merlresearch/TI2V-Zero@4a89bef"
REPO = "damo-vilab/modelscope-damo-text-to-video-synthesis"
LICENCE = "CC-BY-NC-4.0"

UNET = WeightFile(REPO, "text2video_pytorch_model.pth", licence=LICENCE)
VAE = WeightFile(REPO, "VQGAN_autoencoder.pth", licence=LICENCE)
CLIP = WeightFile(REPO, "open_clip_pytorch_model.bin", licence=f"{LICENCE} (OpenCLIP ViT-H-14: MIT)")


@dataclass(frozen=True)
class Settings:
    """Sampling settings; defaults are the constants of demo_img2vid.py."""

    size: int = 256
    """Side of the square video in pixels; demo_img2vid.py, IMG_H and IMG_W (its latents are fixed at 32x32)."""
    known: int = 15
    """Condition frames, each new frame sees so many before it; NUM_COND_FRAMES."""
    new: int = 15
    """Frames that are made; NUM_NEW_FRAMES. The video has one more: the picture itself."""
    steps: int = 10
    """DDIM steps per new frame; NUM_INFERENCE_STEPS. gen_video_ucf.py: 50."""
    resamples: int = 4
    """Extra updates per step; RESAMPLE_ITER. gen_video_ucf.py: 2."""
    guidance: float = 9.0
    """Guidance weight of ModelScope's pipeline, left as it is."""
    eta: float = 0.0
    """Noise of every update, 0 to 1; modelscope_t2v.py, eta."""
    inversion: bool = True
    """Start each new frame from the noised last one; USE_DDPM_INVERSION."""
    fps: int = 8
    """Of the written video."""

    def __post_init__(self) -> None:
        if self.size < 8 or self.size % 8:
            raise ValueError(f"size {self.size} is no multiple of 8")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps {self.steps} are not between 1 and 1000, the steps of training")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta {self.eta} is not between 0 and 1")
        if min(self.known, self.new, self.fps) < 1 or self.resamples < 0:
            raise ValueError("known, new and fps must be at least 1, resamples at least 0")


CARD = ModelCard(
    name="ti2v_zero",
    title="TI2V-Zero",
    source=f"{OFFICIAL} (Ni et al., CVPR 2024) on ModelScope text-to-video 1.7B, without training",
    licence="code AGPL-3.0-or-later (ours is written from its description); weights CC-BY-NC-4.0",
    weights=(UNET, VAE, CLIP, VOCABULARY),
    frames=16,
    fps=8,
    size="256x256",
    precision="float16",
    parameters=1411.2,
    fast=True,
    gpu_memory_gib=4.8,
    notes=(
        "Settings of demo_img2vid.py: 10 steps, 4 resamples; gen_video_ucf.py has 50 and 2. One video is 750 guided "
        "network calls of 16 frames.",
        "The picture is cut to its middle square; frame 0 of the video is the resized picture itself.",
        "New frames are fed back as decoded, neither clamped nor quantised, as published.",
        "Official precision is float16 autocast of float32 weights; here the network's weights are float16, and "
        "latents, sampling, autoencoder and text stay float32.",
        "The official code draws its noise on CPU and GPU and sets no seed in the demo; here all of it comes from one "
        "CPU generator per video, in the official order of draws.",
    ),
)
