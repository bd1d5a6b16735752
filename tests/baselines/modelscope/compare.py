"""How far recorded and computed tensors may be apart."""

from torch import Tensor


def farthest(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, where both have the same shape."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float((found.double() - expected.double()).abs().max())


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference in units of the largest expected value, or of 1 where that is smaller.

    Guidance of 9 multiplies the rounding of the network's output by about 17, and tiny random networks let the
    latents grow to 150, so that float32 itself has steps of 1e-5 there.
    """
    return farthest(found, expected) / max(1.0, float(expected.abs().max()))
