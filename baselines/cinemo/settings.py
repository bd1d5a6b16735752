"""What Cinemo is run with, where each number is from, and its card. No torch here."""

from dataclasses import dataclass

from ti2v_bench.model import ModelCard, WeightFile

OFFICIAL = "maxin-cn/Cinemo @ 7cd7f27"
REPO = "maxin-cn/Cinemo"
_LICENCE = "Apache-2.0 (README)"

UNET = WeightFile(REPO, "unet/diffusion_pytorch_model.safetensors", licence=_LICENCE)
UNET_CONFIG = WeightFile(REPO, "unet/config.json", licence=_LICENCE)
VAE = WeightFile(REPO, "vae_temporal_decoder/diffusion_pytorch_model.safetensors", licence=_LICENCE)
VAE_CONFIG = WeightFile(REPO, "vae_temporal_decoder/config.json", licence=_LICENCE)
TEXT = WeightFile(REPO, "text_encoder/model.safetensors", licence=_LICENCE)
TEXT_CONFIG = WeightFile(REPO, "text_encoder/config.json", licence=_LICENCE)
VOCABULARY = WeightFile(REPO, "tokenizer/merges.txt", licence=_LICENCE)
SCHEDULER = WeightFile(REPO, "scheduler/scheduler_config.json", licence=_LICENCE)


@dataclass(frozen=True)
class Settings:
    """Defaults of `pipelines/animation.py` with configs/sample.yaml, but for `motion`."""

    height: int = 320
    """configs/sample.yaml, image_size."""
    width: int = 512
    """Same."""
    residual_frames: int = 15
    """Same file, video_length: frames after the picture's own; the video has one more."""
    steps: int = 50
    """Same file, num_sampling_steps."""
    guidance: float = 7.5
    """Same file, guidance_scale."""
    motion: float = 92.0
    """What the network is given; larger is less motion. Same file says motion_bucket_id 8 and "larger = larger motion":
    that is the app's slider (network value = 100 - slider, 80 to 99), but the script passes 8 on as it is."""
    dct_start: bool = True
    """Same file, use_dct: start from noise with the picture's low frequencies; false starts from plain noise."""
    noise_level: int = 975
    """pipelines/animation.py, diffuse_timesteps: training step to which the picture is noised for the start."""
    dct_share: float = 0.23
    """pipelines/animation.py, percentage: part of each axis' frequencies that the picture gives."""
    negative_prompt: str = ""
    """The script passes none."""
    fps: int = 8
    """Of the written video; fixed in the script."""
    decode_at_once: int = 14
    """pipelines/pipeline_videogen.py, decode_chunk_size; the temporal decoder does not look beyond a chunk."""

    def __post_init__(self) -> None:
        if self.height % 8 or self.width % 8 or min(self.height, self.width) < 8:
            raise ValueError(f"height {self.height} and width {self.width} must be multiples of 8")
        if not 1 <= self.steps <= 999:
            raise ValueError(f"steps {self.steps} is not in 1 to 999")
        if not (0 <= self.noise_level <= 999 and 0 <= self.dct_share <= 1):
            raise ValueError(
                f"noise_level {self.noise_level} is not in 0 to 999, or dct_share {self.dct_share} in 0 to 1"
            )
        if min(self.residual_frames, self.fps, self.decode_at_once) < 1:
            raise ValueError("residual_frames, fps and decode_at_once must be at least 1")


CARD = ModelCard(
    name="cinemo",
    title="Cinemo",
    source=f"{OFFICIAL} (Ma et al., 2024, Consistent and Controllable Image Animation with Motion Diffusion Models)",
    licence="Apache-2.0 (code and weights, README)",
    weights=(UNET, UNET_CONFIG, VAE, VAE_CONFIG, TEXT, TEXT_CONFIG, VOCABULARY, SCHEDULER),
    frames=16,
    fps=8,
    size="320x512",
    precision="float16",
    parameters=911.1,
    fast=True,
    gpu_memory_gib=3.8,
    notes=(
        "Motion: what was published contradicts itself. The configuration says motion_bucket_id 8, larger = more "
        "motion, and the script gives the network 8; the app gives it 100 - slider, 80 to 99; earlier configurations "
        "said 95. Here it is 92 = 100 - 8, the reading that fits comment, app and history; --set motion=8 is the "
        "literal command. Which one the authors of the published comparison used is unknown.",
        "The published configurations (config.json, scheduler_config.json) are read and compared with what is written "
        "here; a difference is an error, since we could not look at them. set_alpha_to_one is taken as published.",
        "The picture is encoded in float64 and the temporal decoder runs in chunks of 14 frames, as published.",
        "The weights' file names are the diffusers library's; we could not look at the repository. Where there is no "
        ".safetensors, the .bin of the same weights is taken.",
    ),
)
