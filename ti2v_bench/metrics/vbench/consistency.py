"""How alike the frames are to each other and to the input image, by features of a network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.metric import VideoMetric


def positive_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the last axis, negative ones set to 0."""
    return F.cosine_similarity(first.float(), second.float(), dim=-1).clamp_min(0)


def consistency_terms(features: Tensor) -> Tensor:
    """One term per frame from the second on: half its likeness to the frame before, half to the first frame.

    Args:
        features: (F, D), F at least 2, any length.

    Returns:
        (F - 1,) in [0, 1].
    """
    if len(features) < 2:
        raise Undefined("one frame has no other to be consistent with")
    unit = F.normalize(features.float(), dim=-1)
    return (positive_cosine(unit[1:], unit[:-1]) + positive_cosine(unit[1:], unit[:1])) / 2


def image_to_video_score(image: Tensor, frames: Tensor) -> float:
    """0.4 max likeness to the image + 0.3 mean + 0.3 least likeness of neighbouring frames.

    Args:
        image: (D,) or (1, D).
        frames: (F, D), F at least 2.

    Returns:
        A number in [0, 1].
    """
    if len(frames) < 2:
        raise Undefined("one frame has no other to be consistent with")
    unit = F.normalize(frames.float(), dim=-1)
    to_image = positive_cosine(F.normalize(image.float().reshape(1, -1), dim=-1), unit)
    neighbours = positive_cosine(unit[1:], unit[:-1])
    return float(0.4 * to_image.max() + 0.3 * neighbours.mean() + 0.3 * neighbours.min())


class _Consistency(VideoMetric):
    """Score of a clip: the mean of its terms. Overall: see `compute`."""

    feature: str
    pairs_total: Tensor
    pairs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("pairs_total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def score(self, clip: Clip) -> float:
        """Mean of `consistency_terms` over the clip."""
        return float(consistency_terms(clip.feature(self.feature)).double().mean())

    def update(self, clip: Clip) -> None:
        """Count one clip in, by its score and by each of its terms."""
        super().update(clip)
        try:
            terms = consistency_terms(clip.feature(self.feature))
        except Undefined:
            return
        self.pairs_total += terms.double().sum()
        self.pairs += len(terms)

    def compute(self) -> Tensor:
        """Published (one process): mean over all terms of all clips, so that long clips count more."""
        return self.pairs_total / self.pairs


class SubjectConsistency(_Consistency):
    """DINO ViT-B/16 likeness of each frame to the one before and to the first, in [0, 1]; higher is better.

    Input: feature `dino` (F, 768). Weights: facebook/dino-vitb16 (Apache-2.0). Source: subject_consistency.py.
    Published (several processes): the plain mean of videos instead; `plain_mean` gives it.
    """

    name = "subject_consistency"
    feature = "dino"

    def plain_mean(self) -> Tensor:
        """Mean of the clips' scores."""
        return self.total / self.videos


class BackgroundConsistency(_Consistency):
    """CLIP ViT-B/32 likeness of whole frames (no mask), in [0, 1]; higher is better.

    Input: feature `clip-b32` (F, 512). Weights: openai/clip-vit-base-patch32 (MIT). Source: background_consistency.py.
    """

    name = "background_consistency"
    feature = "clip-b32"


class I2VSubject(VideoMetric):
    """DINO likeness of the frames to the input image and to each other, in [0, 1]; higher is better.

    Input: features `dino-i2v` (F, 768) and `dino-i2v-image` (1, 768). Source: vbench2_beta_i2v/i2v_subject.py.
    """

    name = "i2v_subject"

    def score(self, clip: Clip) -> float:
        """See `image_to_video_score`."""
        return image_to_video_score(clip.feature("dino-i2v-image"), clip.feature("dino-i2v"))


class I2VBackground(VideoMetric):
    """DreamSim likeness of the frames to the input image and to each other, in [0, 1]; higher is better.

    Input: features `dreamsim` (F, 1792) and `dreamsim-image`. Source: vbench2_beta_i2v/i2v_background.py (its README
    says DINO; the code uses DreamSim). Weights: the `dreamsim` package (MIT), opt-in.
    """

    name = "i2v_background"

    def score(self, clip: Clip) -> float:
        """See `image_to_video_score`."""
        return image_to_video_score(clip.feature("dreamsim-image"), clip.feature("dreamsim"))


def dreamsim_embedding(parts: tuple[Tensor, ...]) -> Tensor:
    """DreamSim's ensemble vector: parts (N, D_i) joined, less the vector's own mean, over its length: (N, sum D_i).

    Source: ssundaram21/dreamsim at db4d16c, PerceptualModel.embed.
    """
    joined = torch.cat(parts, dim=-1)
    centred = joined - joined.mean(dim=-1, keepdim=True)
    return F.normalize(centred, dim=-1, eps=0.0)
