"""The paper's Figure 6 in miniature: error in the high-motion region over the mean error, by timestep."""

import torch
from torch import Tensor

from motif.diffusion import add_noise, alphas_cumprod, training_target
from motif.mini.net import MiniUNet

TIMESTEPS = (100, 300, 500, 700, 900)
HOT = 0.5
"""A pixel belongs to the high-motion region where its heatmap is above this (our choice; the paper gives none)."""


class RegionErrors:
    """The measure for one fixed set of held-out clips, noises and regions: the same for every model compared."""

    def __init__(self, frames: Tensor, ids: Tensor, heat: Tensor, seed: int = 0) -> None:
        """Clips (N, 3, F, H, W) uint8, their words (N, L), and heat (N, F, H, W) uint8, m times 255."""
        self.ids, self.region = ids, heat > 255 * HOT
        self.clean = frames.float() / 127.5 - 1
        self.noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed)).to(frames.device)
        self.alphas = alphas_cumprod().to(frames.device)

    @torch.no_grad()
    def __call__(self, model: MiniUNet) -> dict[str, dict[int, float]]:
        """By timestep, pooled over clips: mean squared error of v where heat > HOT (`error_hot`), that over the mean
        error (`error_ratio`)."""
        dtype = next(model.parameters()).dtype
        image = self.clean[:, :, 0].to(dtype)
        hot, ratio = {}, {}
        for t in TIMESTEPS:
            timestep = torch.full((len(image),), t, device=image.device)
            noisy = add_noise(self.clean, self.noise, timestep, self.alphas)
            target = training_target(self.clean, self.noise, timestep, self.alphas, "v")
            error = (model(noisy.to(dtype), timestep, image, self.ids).float() - target).square().mean(1)
            hot[t] = float(error[self.region].mean())
            ratio[t] = hot[t] / float(error.mean())
        return {"error_hot": hot, "error_ratio": ratio}
