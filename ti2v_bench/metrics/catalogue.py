"""Every metric by name: what it says, what it needs, whose it is. Plain text, so that listing them imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ti2v_bench.errors import TI2VError

VBENCH = "Vchitect/VBench at 45e79ec"


class MetricError(TI2VError):
    """A metric, a network or a table that cannot be had."""


@dataclass(frozen=True)
class MetricCard:
    """What a reader needs to know of one metric."""

    name: str
    title: str
    group: str
    """`fidelity`, `alignment`, `vbench` or `motion`."""
    build: str
    """`module:Class` below `ti2v_bench.metrics`."""
    unit: str
    low: float | None
    high: float | None
    """Range, None where there is no bound."""
    better: str
    """`higher`, or `more` where a higher number means more of something that is good only to a point."""
    source: str
    features: tuple[str, ...] = ()
    """Network outputs that it needs (`features.FEATURES`)."""
    flow: bool = False
    part: str | None = None
    """A network of its own that it is built with: `aesthetic-head`, or the name of a plug-in."""
    weights: str = "none"
    licence: str = "Apache-2.0"
    opt_in: bool = False
    """Asked for by name only: its weights or package are not for everyone."""
    scale: float = 1.0
    """What the published tables multiply it by."""
    binary: bool = False
    """1 or 0 for each video, so that its mean is a share."""
    undefined: str = ""
    """Why TI2V-Bench has no such number, where it has none."""

    @property
    def free(self) -> bool:
        """Whether it needs no weights (with flow by DIS)."""
        return not self.features and self.part is None


_DINO, _B32, _L14 = "facebook/dino-vitb16", "openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14"

METRICS: dict[str, MetricCard] = {
    card.name: card
    for card in (
        MetricCard("psnr", "First-frame PSNR", "fidelity", "fidelity:FirstFramePSNR", "dB", 0, 100, "higher",
                   "first frame against the input image; equal pictures count as 100 dB"),
        MetricCard("ssim", "First-frame SSIM", "fidelity", "fidelity:FirstFrameSSIM", "1", -1, 1, "higher",
                   "Wang et al. 2004, through torchmetrics"),
        MetricCard("ms_ssim", "First-frame MS-SSIM", "fidelity", "fidelity:FirstFrameMSSSIM", "1", 0, 1, "higher",
                   "Wang et al. 2003, through torchmetrics"),
        MetricCard("image_alignment", "Image alignment", "alignment", "alignment:ImageAlignment", "100·cos", 0, 100,
                   "higher", "MotiF Table 4's form; scale is a hypothesis", ("align-frames", "align-image"),
                   weights=_B32, licence="MIT"),
        MetricCard("text_alignment", "Text alignment", "alignment", "alignment:TextAlignment", "250·cos", 0, 250,
                   "higher", "MotiF Table 4's form; scale is a hypothesis", ("align-frames", "align-text"),
                   weights=_B32, licence="MIT"),
        MetricCard("image_alignment_cos", "Image alignment, raw", "alignment", "alignment:ImageCosine", "cos", -1, 1,
                   "higher", "mean cosine of frames and input image", ("align-frames", "align-image"),
                   weights=_B32, licence="MIT"),
        MetricCard("text_alignment_cos", "Text alignment, raw", "alignment", "alignment:TextCosine", "cos", -1, 1,
                   "higher", "mean cosine of frames and prompt", ("align-frames", "align-text"),
                   weights=_B32, licence="MIT"),
        MetricCard("subject_consistency", "Subject consistency", "vbench", "vbench.consistency:SubjectConsistency",
                   "1", 0, 1, "higher", VBENCH, ("dino",), weights=_DINO, scale=100),
        MetricCard("background_consistency", "Background consistency", "vbench",
                   "vbench.consistency:BackgroundConsistency", "1", 0, 1, "higher", VBENCH, ("clip-b32",),
                   weights=_B32, licence="MIT", scale=100),
        MetricCard("temporal_flickering", "Temporal flickering", "vbench", "vbench.temporal:TemporalFlickering",
                   "1", 0, 1, "higher", VBENCH, scale=100),
        MetricCard("motion_smoothness", "Motion smoothness", "vbench", "vbench.temporal:MotionSmoothness", "1", 0, 1,
                   "higher", VBENCH, part="motion_smoothness", weights="AMT-S", licence="CC BY-NC 4.0", opt_in=True,
                   scale=100),
        MetricCard("dynamic_degree", "Dynamic degree", "vbench", "vbench.dynamics:DynamicDegree", "share", 0, 1,
                   "more", VBENCH, flow=True, weights="RAFT or none (DIS)", licence="BSD-3-Clause", scale=100,
                   binary=True),
        MetricCard("aesthetic_quality", "Aesthetic quality", "vbench", "vbench.quality:AestheticQuality", "1", None,
                   None, "higher", VBENCH, ("clip-l14",), part="aesthetic-head",
                   weights=f"{_L14}; LAION sa_0_4_vit_l_14_linear.pth", licence="MIT", scale=100),
        MetricCard("imaging_quality", "Imaging quality", "vbench", "vbench.quality:ImagingQuality", "1", 0, 1,
                   "higher", VBENCH, part="imaging_quality", weights="MUSIQ (SPAQ) through pyiqa",
                   licence="PolyForm Noncommercial", opt_in=True, scale=100),
        MetricCard("i2v_subject", "I2V subject", "vbench", "vbench.consistency:I2VSubject", "1", 0, 1, "higher",
                   VBENCH, ("dino-i2v", "dino-i2v-image"), weights=_DINO, scale=100),
        MetricCard("i2v_background", "I2V background", "vbench", "vbench.consistency:I2VBackground", "1", 0, 1,
                   "higher", VBENCH, ("dreamsim", "dreamsim-image"), weights="the dreamsim package", licence="MIT",
                   opt_in=True, scale=100),
        MetricCard("camera_motion", "Camera motion", "vbench", "vbench.camera:CameraMotion", "share", 0, 1, "higher",
                   VBENCH, part="camera_motion", weights="CoTracker2", licence="CC BY-NC 4.0", opt_in=True, scale=100,
                   binary=True, undefined="its prompts ask for no camera motion"),
        MetricCard("flow_mean_px", "Mean flow", "motion", "motion_measures:MeanFlow", "px/frame", 0, None, "more",
                   "mean length of all flow vectors", flow=True),
        MetricCard("flow_top5_px", "Top 5 % flow", "motion", "motion_measures:TopFlow", "px/frame", 0, None, "more",
                   "mean length of each pair's longest 5 %", flow=True),
        MetricCard("flow_mean_fraction", "Mean flow", "motion", "motion_measures:MeanFlowFraction", "of the frame", 0,
                   None, "more", "as flow_mean_px, of (u / width, v / height)", flow=True),
        MetricCard("flow_top5_fraction", "Top 5 % flow", "motion", "motion_measures:TopFlowFraction", "of the frame",
                   0, None, "more", "as flow_top5_px, of (u / width, v / height)", flow=True),
        MetricCard("hot_share", "Hot share of the MotiF heatmap", "motion", "motion_measures:HotShare", "share", 0, 1,
                   "more", "share of entries above 0.5 (arXiv 2412.16153; the unit of x is our choice)", flow=True),
        MetricCard("last_first_difference", "Last - first frame", "motion", "motion_measures:LastFirstDifference",
                   "levels", 0, 255, "more", "mean absolute difference"),
    )
}  # fmt: skip

GROUPS = {
    "free": tuple(name for name, card in METRICS.items() if card.free and not card.opt_in),
    "all": tuple(name for name, card in METRICS.items() if not card.opt_in),
    **{
        group: tuple(name for name, card in METRICS.items() if card.group == group and not card.opt_in)
        for group in ("fidelity", "alignment", "vbench", "motion")
    },
}
"""Names that stand for several metrics; none includes what is opt-in."""


def chosen(names: Sequence[str]) -> tuple[MetricCard, ...]:
    """Cards of metrics and groups, in the catalogue's order, each once.

    Raises:
        MetricError: an unknown name.
    """
    wanted: set[str] = set()
    for name in names:
        if name not in METRICS and name not in GROUPS:
            close = get_close_matches(name, [*METRICS, *GROUPS], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            known = f"groups {', '.join(GROUPS)}; metrics {', '.join(METRICS)}"
            raise MetricError(f"No metric is called {name!r}.{hint} Known: {known}.")
        wanted.update(GROUPS.get(name, (name,)))
    return tuple(card for name, card in METRICS.items() if name in wanted)
