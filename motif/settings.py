"""MotiF's settings: what is published stands beside its source, what is not is called our choice. No torch here.

Paper: "MotiF: Making Text Count in Image Animation with Motion Focal Loss", arXiv 2412.16153. No code or weights are
public; numbers come from public write-ups of the paper, which is why some of them are marked as conflicting.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from baselines.lvdm.networks import VIDEOCRAFTER2
from baselines.lvdm.settings import UNetSettings
from ti2v_bench.model import WeightFile
from ti2v_bench.motion.settings import HeatmapSettings

BASE = WeightFile("VideoCrafter/VideoCrafter2", "model.ckpt", licence="Apache-2.0 with a Tencent notice (code)")
"""Text-to-video checkpoint that MotiF is trained from; published. Its revision is in no source that we could read."""
Conditioning = Literal["x-cat", "cx-attn", "both"]
"""x-cat: the first frame's latent on channels (published choice). cx-attn: image tokens in cross-attention. both."""
Prediction = Literal["v", "epsilon"]


@dataclass(frozen=True)
class MotifSettings:
    """The network and what it was trained to do; stored with every checkpoint."""

    frames: int = 16
    """Published."""
    height: int = 320
    """Published as 320x512 by one write-up, as 512x512 by another."""
    width: int = 512
    prediction: Prediction = "v"
    """Published."""
    conditioning: Conditioning = "x-cat"
    """Published (Table 3: x-cat was preferred to both others)."""
    unet: UNetSettings = field(default_factory=lambda: VIDEOCRAFTER2.unet)
    """The base, VideoCrafter2's; published. Input channels and image attention follow from `conditioning`."""
    tiny: bool = False
    """A toy network and toy encoders: every path, no quality."""

    def __post_init__(self) -> None:
        step = 8 * 2 ** (len(self.unet.channel_mult) - 1)
        if self.frames < 2 or self.height < step or self.width < step or self.height % step or self.width % step:
            raise ValueError(
                f"frames={self.frames} must be at least 2, height={self.height} and width={self.width} multiples of "
                f"{step}"
            )

    def network(self) -> UNetSettings:
        """The UNet with what the conditioning adds."""
        return replace(
            self.unet,
            in_channels=4 if self.conditioning == "cx-attn" else 8,
            image_attention=self.conditioning != "x-cat",
        )


@dataclass(frozen=True)
class SampleSettings:
    """How videos are drawn."""

    steps: int = 50
    """DDIM; published."""
    guidance: float = 7.5
    """Published."""
    eta: float = 0.0
    """Not published; our choice (VideoCrafter2's own command uses 1.0)."""
    fps: int = 8
    """Embedded frame rate, and that of the file: the project page's clips play at 8. Our choice."""


@dataclass(frozen=True)
class TrainSettings:
    """Training; defaults are the paper's where it says, the usual where it does not."""

    learning_rate: float = 5e-5
    """Published."""
    batch: int = 64
    """Clips per step over all processes; published."""
    per_device: int = 1
    """Clips per process and forward pass; the rest is gradient accumulation."""
    steps: int = 32_000
    """Published."""
    text_drop: float = 0.1
    """Share of clips trained with the empty prompt, for guidance; published."""
    image_drop: float = 0.0
    """Only text drop is mentioned in what we could read."""
    motion_weight: float = 1.0
    """lambda; published."""
    heatmap: HeatmapSettings = field(default_factory=HeatmapSettings)
    optimizer: Literal["adamw"] = "adamw"
    """Not published; usual."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    warmup: int = 0
    """Steps of linear warm-up; not published, none assumed."""
    clip: float = 1.0
    """Largest gradient norm; not published."""
    ema: float = 0.9999
    """Not published; 0 keeps no average."""
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    """Of the forward pass; weights stay float32. Ours."""
    checkpointing: bool = True
    """Recompute activations in the backward pass. Ours."""
    seed: int = 0
    save_every: int = 1000
    keep: int = 2
    """Checkpoints kept besides the newest."""
    sample_every: int = 0
    """Steps between sample grids and the Figure 6 measure; 0 for neither."""
    workers: int = 2
    """Processes that decode clips."""
    held_out: int = 4
    """Clips kept out of training for sample grids and the Figure 6 measure, a tenth of the source at most."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch", "per_device", "steps", "save_every", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("motion_weight", "weight_decay", "warmup", "keep", "sample_every", "workers", "held_out", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be 0 or more")
        for name in ("text_drop", "image_drop", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie between 0 and 1")


FREE = ("steps", "per_device", "checkpointing", "save_every", "keep", "sample_every", "workers")
"""Training settings that a resumed run may change: they alter its weights by rounding at most."""
