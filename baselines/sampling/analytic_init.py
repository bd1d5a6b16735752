"""Analytic-Init: start from the noise that training's last used step really had."""

from torch import Tensor


def analytic_init(mean: Tensor, variance: Tensor, alpha: Tensor, normal: Tensor) -> Tensor:
    """Initial latent with the marginal's mean and spread at a start time before the last training step.

    Args:
        mean: expectation of clean latents over the training data, (1, C, F, H, W).
        variance: trace of their covariance over its dimension, scalar or broadcastable.
        alpha: cumulative alpha at the start time, scalar float32.
        normal: standard normal, shape of `mean`.

    Returns:
        sqrt(alpha) mean + sqrt(1 - alpha + alpha variance) normal.

    Source: Zhao et al. (2024), "Identifying and Solving Conditional Image Leakage", proposition 1.
    """
    signal = alpha.sqrt()
    return signal * mean + (1 - signal**2 + signal**2 * variance).sqrt() * normal
