"""What a run shows on the way: sample grids, and the paper's Figure 6 measure on clips held out (if there are any).

Figure 6: mean error in high-motion regions over the mean error, at several timesteps; lower is better. The paper gives
no numbers and not its region; here the region is m' > 0.5.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from motif.batches import Stacker
from motif.data import Sample
from motif.diffusion import add_noise, alphas_cumprod, training_target
from motif.network import with_image
from motif.parts import Encoders
from motif.pipeline import Conditions, sample_latents
from motif.settings import MotifSettings, SampleSettings
from ti2v_bench.files import write_bytes

TIMESTEPS = (100, 300, 500, 700, 900)


class Watcher:
    """Draws and measures the same held-out samples at every call."""

    def __init__(
        self,
        samples: Sequence[Sample],
        stack: Stacker,
        encoders: Encoders,
        model: MotifSettings,
        settings: SampleSettings,
        out: Path,
    ) -> None:
        self.samples, self.stack, self.encoders = samples, stack, encoders
        self.model, self.settings, self.out = model, settings, out

    @torch.no_grad()
    def __call__(self, unet: nn.Module, step: int) -> dict[str, float]:
        """Write `samples/<step>.png`, one row per sample with the true clip above; return the ratios."""
        rows, errors = [], torch.zeros(len(TIMESTEPS), 4, dtype=torch.float64)
        for number, sample in enumerate(self.samples):
            video, heat, fps = self.stack([sample])
            latents = self.encoders.latents(video)
            context = self.encoders.context([sample.caption, ""], video[:, :, 0].expand(2, -1, -1, -1))
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(number)).to(latents)
            conditions = Conditions(latents[:, :, 0], context[:1], context[1:], int(fps))
            drawn = sample_latents(
                unet, self.model.network(), self.model.prediction, conditions, noise, self.settings,
                torch.Generator().manual_seed(number),
            )  # fmt: skip
            rows += [video[0], self.encoders.pixels(drawn)[0].float()]
            errors += self._errors(unet, latents, context[:1], fps, heat, noise)
        self._picture(rows, step)
        hot, hot_count, every, count = errors.unbind(1)
        ratios = (hot / hot_count) / (every / count)  # not a number where nothing is hot
        return {f"error_ratio_{t}": float(ratio) for t, ratio in zip(TIMESTEPS, ratios, strict=True)}

    def _errors(
        self,
        unet: nn.Module,
        latents: torch.Tensor,
        context: torch.Tensor,
        fps: torch.Tensor,
        heat: torch.Tensor,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Per timestep: squared error summed over the hot region, its size, and both over everything."""
        alphas = alphas_cumprod().to(latents.device)
        dtype = next(unet.parameters()).dtype
        hot = (heat > 0.5).double()
        rows = []
        for t in TIMESTEPS:
            step = torch.tensor([t], device=latents.device)
            noisy = add_noise(latents, noise, step, alphas)
            target = training_target(latents, noise, step, alphas, self.model.prediction)
            inputs = with_image(noisy, latents[:, :, 0], self.model.network()).to(dtype)
            out = unet(inputs, step, context.to(dtype), fps)
            error = (out.float() - target).square().mean(1).double()
            rows.append(torch.stack([(error * hot).sum(), hot.sum(), error.sum(), torch.ones_like(error).sum()]))
        return torch.stack(rows).cpu()

    def _picture(self, rows: Sequence[torch.Tensor], step: int) -> None:
        pictures = [((row + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 3, 0).cpu().numpy() for row in rows]
        grid = np.concatenate([np.concatenate(list(frames), axis=1) for frames in pictures])
        buffer = io.BytesIO()
        Image.fromarray(grid).save(buffer, "PNG")
        write_bytes(self.out / "samples" / f"{step:06d}.png", buffer.getvalue())
