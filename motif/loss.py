"""The motion focal loss (arXiv 2412.16153): the squared error of moving places counts more.

Published: L = L_diffusion + lambda * E|| m' (eps - eps_theta) ||^2 with m' in [0, 1] on the latent grid, lambda = 1.
m' multiplies the error and therefore acts squared. Our reading: with v-prediction the weighted error is that of v, and
the expectation is the mean over all elements, as in the plain loss, so that m' = 1 everywhere gives (1 + lambda) L.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """Both terms per clip, before lambda."""

    diffusion: Tensor
    """(B,) mean squared error."""
    motion: Tensor
    """(B,) mean of (m' * error)^2."""

    def total(self, weight: float | Tensor) -> Tensor:
        """L_diffusion + weight * L_motif, averaged over clips."""
        return (self.diffusion + weight * self.motion).mean()


def loss_terms(prediction: Tensor, target: Tensor, heatmap: Tensor) -> LossTerms:
    """The plain and the motion-weighted squared error.

    Args:
        prediction: network output, (B, C, F, H, W).
        target: what it is trained towards (v, or epsilon), same shape.
        heatmap: m', (B, F, H, W) in [0, 1] on the same grid; `1 - m` for the inverse ablation, {0, 1} for masks.

    Returns:
        float32 terms; gradients flow to `prediction`.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if prediction.shape != target.shape or heatmap.shape != (prediction.shape[0], *prediction.shape[2:]):
        raise ValueError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and heatmap {tuple(heatmap.shape)} "
            "do not belong together: expected (B, C, F, H, W) twice and (B, F, H, W)"
        )
    error = prediction.float() - target.float()
    weighted = heatmap.float().unsqueeze(1) * error
    return LossTerms(error.square().flatten(1).mean(1), weighted.square().flatten(1).mean(1))
