"""How well the frames fit the input image and the prompt, by CLIP: the form of the MotiF paper's Table 4.

Published: the two names and the numbers. NOT published: which CLIP, whether the prompt gets a prefix, and the scales.
The hypothesis here (100·cos for images, 2.5·100·cos for texts, ViT-B/32, no prefix) is the only simple one that puts
the published static baseline (99.29 / 66.24) into CLIP's usual range; raw cosines are given beside it.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity

from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.metric import VideoMetric


@dataclass(frozen=True)
class AlignmentSettings:
    """What Table 4 leaves open."""

    network: str = "clip-b32"
    """A name in `networks.NETWORKS`."""
    prefix: str = ""
    """Put before the prompt, e.g. `A photo depicts `."""
    image_scale: float = 100.0
    text_scale: float = 250.0
    """2.5 x 100: the weight w = 2.5 of CLIPScore (Hessel et al. 2021)."""


def cosines(frames: Tensor, other: Tensor) -> Tensor:
    """(F, D) and (1, D) to (F,) float32."""
    return cosine_similarity(frames.float(), other.float(), dim=-1)


class _Cosine(VideoMetric):
    other: str

    def score(self, clip: Clip) -> float:
        """Mean over frames of the cosine."""
        return float(cosines(clip.feature("align-frames"), clip.feature(self.other)).mean())


class _Alignment(VideoMetric):
    other: str

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def score(self, clip: Clip) -> float:
        """Mean over frames of scale·max(cos, 0)."""
        found = cosines(clip.feature("align-frames"), clip.feature(self.other))
        return float(self.scale * found.clamp_min(0).mean())


class ImageAlignment(_Alignment):
    """100·max(cos, 0) of each frame and the input image, mean over frames. Features `align-frames`, `align-image`."""

    name = "image_alignment"
    other = "align-image"

    def __init__(self, settings: AlignmentSettings = AlignmentSettings()) -> None:
        super().__init__(settings.image_scale)


class TextAlignment(_Alignment):
    """250·max(cos, 0) of each frame and the prompt, mean over frames. Features `align-frames`, `align-text`."""

    name = "text_alignment"
    other = "align-text"

    def __init__(self, settings: AlignmentSettings = AlignmentSettings()) -> None:
        super().__init__(settings.text_scale)


class ImageCosine(_Cosine):
    """Raw mean cosine of frames and input image, in [-1, 1]."""

    name = "image_alignment_cos"
    other = "align-image"


class TextCosine(_Cosine):
    """Raw mean cosine of frames and prompt, in [-1, 1]."""

    name = "text_alignment_cos"
    other = "align-text"
