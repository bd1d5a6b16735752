"""Classifier-free guidance with one and with two conditions, and the rescaling of its result."""

from torch import Tensor


def guided(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """uncond + scale (cond - uncond); any shape.   Ho and Salimans (2022)"""
    return uncond + scale * (cond - uncond)


def guided_by_two(both: Tensor, image_only: Tensor, neither: Tensor, text_scale: float, image_scale: float) -> Tensor:
    """neither + image_scale (image_only - neither) + text_scale (both - image_only); any shape.

    Source: Brooks et al. (2023), InstructPix2Pix, equation 3.
    """
    return neither + image_scale * (image_only - neither) + text_scale * (both - image_only)


def rescaled(output: Tensor, reference: Tensor, share: float) -> Tensor:
    """`output` with its spread drawn towards that of `reference`, per sample.

    Args:
        output: guided prediction, (B, …).
        reference: conditional prediction, same shape.
        share: 0 leaves the output alone, 1 gives it the reference's standard deviation.

    Source: Lin et al. (2024), "Common Diffusion Noise Schedules and Sample Steps are Flawed", equations 15 and 16.
    """
    dims = tuple(range(1, output.ndim))
    factor = reference.std(dim=dims, keepdim=True) / output.std(dim=dims, keepdim=True)
    return share * (output * factor) + (1 - share) * output
