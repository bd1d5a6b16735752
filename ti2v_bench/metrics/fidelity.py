"""How much of the input image the first frame keeps."""

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.resize import as_tensor
from ti2v_bench.video import PresentationPolicy, fit_size

MOST_PSNR = 100.0
"""dB that stand for equal pictures, whose PSNR is infinite."""


def first_frame_and_image(clip: Clip) -> tuple[Tensor, Tensor]:
    """First frame and input image as (1, 3, H, W) float32 in 0-255, the image scaled and cut to the frame.

    How a model cuts its input is its own; the centred cut here is the bench's presentation form.
    """
    height, width = clip.frames.shape[1:3]
    image = fit_size(clip.image[None], PresentationPolicy(width=width, height=height))
    return as_tensor(clip.frames[:1]), as_tensor(image)


class FirstFramePSNR(VideoMetric):
    """Peak signal-to-noise ratio in dB, at most 100; higher is closer. Input: first frame, image. No weights."""

    name = "psnr"

    def score(self, clip: Clip) -> float:
        """See the class."""
        found = float(peak_signal_noise_ratio(*first_frame_and_image(clip), data_range=255.0))
        return min(found, MOST_PSNR)


class FirstFrameSSIM(VideoMetric):
    """Structural similarity (11-pixel Gaussian window), at most 1; higher is closer. No weights."""

    name = "ssim"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if min(clip.frames.shape[1:3]) < 11:
            raise Undefined("SSIM needs frames of at least 11 pixels")
        found = structural_similarity_index_measure(*first_frame_and_image(clip), data_range=255.0)
        return float(torch.as_tensor(found))


class FirstFrameMSSSIM(VideoMetric):
    """SSIM over five scales, in [0, 1]; higher is closer. No weights; frames of more than 160 pixels."""

    name = "ms_ssim"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if min(clip.frames.shape[1:3]) <= 160:
            raise Undefined("MS-SSIM needs frames of more than 160 pixels")
        frame, image = first_frame_and_image(clip)
        found = multiscale_structural_similarity_index_measure(frame, image, data_range=255.0, normalize="relu")
        return float(torch.as_tensor(found))
