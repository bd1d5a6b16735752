"""How much of the input image the first frame keeps."""

from torchmetrics.functional.image import peak_signal_noise_ratio

from ti2v_bench.metrics.clip import Clip, Picture, Undefined
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.resize import as_tensor
from ti2v_bench.metrics.ssim import ms_ssim, ssim
from ti2v_bench.video import PresentationPolicy, fit_size

MOST_PSNR = 100.0
"""dB that stand for equal pictures, whose PSNR is infinite."""


def first_frame_and_image(clip: Clip) -> tuple[Picture, Picture]:
    """First frame and input image as (H, W, 3) uint8, the image scaled and cut to the frame.

    How a model cuts its input is its own; the centred cut here is the bench's presentation form.
    """
    height, width = clip.frames.shape[1:3]
    policy = PresentationPolicy(width=width, height=height)
    return clip.frames[0], clip.once("image at the frame's size", lambda: fit_size(clip.image[None], policy)[0])


class FirstFramePSNR(VideoMetric):
    """Peak signal-to-noise ratio in dB, at most 100; higher is closer. Input: first frame, image. No weights."""

    name = "psnr"

    def score(self, clip: Clip) -> float:
        """See the class."""
        frame, image = (as_tensor(picture[None]) for picture in first_frame_and_image(clip))
        return min(float(peak_signal_noise_ratio(frame, image, data_range=255.0)), MOST_PSNR)


class FirstFrameSSIM(VideoMetric):
    """Structural similarity (11-pixel Gaussian window), at most 1; higher is closer. No weights."""

    name = "ssim"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if min(clip.frames.shape[1:3]) < 11:
            raise Undefined("SSIM needs frames of at least 11 pixels")
        return ssim(*first_frame_and_image(clip))


class FirstFrameMSSSIM(VideoMetric):
    """SSIM over five scales, in [0, 1]; higher is closer. No weights; frames of more than 160 pixels."""

    name = "ms_ssim"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if min(clip.frames.shape[1:3]) <= 160:
            raise Undefined("MS-SSIM needs frames of more than 160 pixels")
        return ms_ssim(*first_frame_and_image(clip))
