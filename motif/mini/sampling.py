"""Draws clips from a small network: deterministic DDIM with classifier-free guidance."""

from collections.abc import Callable

import torch
from torch import Tensor

from motif.diffusion import alphas_cumprod, clean_from, ddim_step, trailing_timesteps
from motif.mini.net import MiniUNet


@torch.no_grad()
def sample(
    model: MiniUNet,
    image: Tensor,
    ids: Tensor,
    noise: Tensor,
    steps: int,
    guidance: float,
    alphas: Tensor | None = None,
) -> Tensor:
    """Clips from noise.

    Args:
        model: predicts v.
        image: first frames (B, 3, H, W) in [-1, 1].
        ids: word ids (B, L).
        noise: (B, 3, F, H, W) standard normal.
        steps: DDIM steps.
        guidance: out = u + guidance (c - u), with u the empty prompt's output.
        alphas: the cumulative alphas on the same device; None computes them.

    Returns:
        (B, 3, F, H, W) in [-1, 1], float32.
    """
    alphas = alphas_cumprod().to(noise.device) if alphas is None else alphas
    dtype = next(model.parameters()).dtype
    both_images = torch.cat([image, image]).to(dtype)
    both_ids = torch.cat([ids, torch.zeros_like(ids)])
    x = noise.float()
    times = trailing_timesteps(steps)
    for now, after in zip(times, [*times[1:], None], strict=True):
        timestep = torch.full((len(x),), now, device=x.device)
        out = model(torch.cat([x, x]).to(dtype), torch.cat([timestep, timestep]), both_images, both_ids).float()
        said, plain = out.chunk(2)
        v = plain + guidance * (said - plain)
        clean = clean_from(v, x, timestep, alphas, "v").clamp(-1, 1)
        x = ddim_step(clean, x, now, after, alphas)
    return x


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] to 0-255, rounded."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class GraphSampler:
    """`sample` for a batch of one size, captured once as a CUDA graph; eager on a CPU, or where capturing fails."""

    def __init__(self, model: MiniUNet, image: Tensor, ids: Tensor, noise: Tensor, steps: int, guidance: float) -> None:
        """Inputs as of `sample`; they are read anew at every call, so new ones may be copied into them."""
        self._cuda = noise.is_cuda
        # The captured part must not touch the host's memory: the alphas lie on the device already.
        alphas = alphas_cumprod().to(noise.device)
        self._draw: Callable[[], Tensor] = lambda: to_uint8(sample(model, image, ids, noise, steps, guidance, alphas))
        self._graph: torch.cuda.CUDAGraph | None = None
        self._out: Tensor | None = None
        if self._cuda:
            self._record()

    def _record(self) -> None:
        self._draw()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._out = self._draw()
            self._graph = graph
        except RuntimeError as error:  # sampling works without it, only slower
            torch.cuda.synchronize()
            print(f"sampling is not captured: {str(error)[:300]}", flush=True)

    def __call__(self) -> Tensor:
        """(B, 3, F, H, W) uint8 with the model's present weights; overwritten by the next call on CUDA."""
        if self._graph is None or self._out is None:
            return self._draw()
        self._graph.replay()
        return self._out
