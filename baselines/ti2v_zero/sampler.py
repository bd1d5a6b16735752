"""Repeat-and-slide with noise inversion and resampling: the whole of TI2V-Zero.

Shapes: B videos, K condition frames, F = K + 1 frames, C latent channels, H x W latent cells.
Source: merlresearch/TI2V-Zero@4a89bef, `ddim_sample_loop_with_vid_resample` and demo_img2vid.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.adapter import last
from baselines.modelscope.diffusion import before, clean_from_noise, ddim, linear_sd_alphas, noised, timesteps
from baselines.sampling.guidance import guided

Network = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Latents (B,C,F,H,W) and a timestep to the predicted noise with the text and with the empty text."""
Draw = Callable[[tuple[int, ...]], Tensor]
"""Shape below the batch to fresh Gaussian noise (B, *shape); called in the official order."""


@dataclass(frozen=True)
class Resampling:
    """How one new frame is sampled."""

    steps: int
    """Wanted DDIM steps; one more is made where they do not divide 1000."""
    resamples: int
    """Extra updates per step, each after going back to the step's noise level."""
    guidance: float
    eta: float = 0.0
    """Share of fresh noise in every update."""
    inversion: bool = True
    """Start from the noised last condition frame instead of from pure noise."""


def sample_clip(network: Network, known_BCKHW: Tensor, how: Resampling, draw: Draw) -> Tensor:
    """Latents of K known frames and one new frame behind them.

    Args:
        network: Predicts noise.
        known_BCKHW: Latents of the condition frames.
        how: Steps, resamples, guidance, start.
        draw: Source of noise.

    Returns:
        (B, C, K + 1, H, W); only the last frame is new, and the others are not reset to the known ones.
    """
    return last(updates(network, known_BCKHW, how, draw))


def updates(network: Network, known_BCKHW: Tensor, how: Resampling, draw: Draw) -> Iterator[Tensor]:
    """The latents after every DDIM update of `sample_clip`, `resamples` + 1 per step.

    Each is the loop's own tensor: what is written into it before the next is asked for is carried on.
    """
    channels, known, height, width = known_BCKHW.shape[1:]
    frames = (channels, known + 1, height, width)
    schedule = timesteps(how.steps)
    alphas = linear_sd_alphas().tolist()
    x = draw(frames)
    if how.inversion:
        x = _inverted(known_BCKHW, alphas[schedule[0]], draw)
    for t, later in zip(schedule, [*schedule[1:], 0], strict=True):
        x[:, :, :known] = noised(known_BCKHW, draw(known_BCKHW.shape[1:]), alphas[t])
        known_later = noised(known_BCKHW, draw(known_BCKHW.shape[1:]), alphas[later])
        ratio = alphas[t] / alphas[later]
        for _ in range(how.resamples):
            x = _update(network, x, t, alphas, how, draw)
            yield x
            x[:, :, :known] = known_later  # Published: the same noise every time.
            x = ratio**0.5 * x + (1 - ratio) ** 0.5 * draw(frames)  # back to t, the known frames too
        x = _update(network, x, t, alphas, how, draw)
        yield x


def _inverted(known_BCKHW: Tensor, alpha: float, draw: Draw) -> Tensor:
    """Every frame starts as the last known one with noise of its own (called DDPM inversion there)."""
    newest = known_BCKHW[:, :, -1]
    count = known_BCKHW.shape[2] + 1
    return torch.stack([noised(newest, draw(newest.shape[1:]), alpha) for _ in range(count)], dim=2)


def _update(network: Network, x: Tensor, t: int, alphas: list[float], how: Resampling, draw: Draw) -> Tensor:
    """One guided DDIM update from `t`; always one stride long, also where the schedule's gaps are not."""
    noise = guided(*network(x, t), how.guidance)
    clean = clean_from_noise(x, noise, alphas[t])
    drawn = draw(tuple(x.shape[1:]))  # Published: drawn whatever eta is, and the order of draws depends on it.
    return ddim(x, clean, alphas[t], alphas[before(t, how.steps)], how.eta, drawn)


def slide(
    first_B3HW: Tensor,
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    sample: Callable[[Tensor], Tensor],
    known: int,
    new: int,
) -> Tensor:
    """Append new frames one by one, each made from the last `known` ones.

    The official code encodes all `known` frames anew for every new one; the encoder is deterministic, so each
    distinct frame is encoded once here (15 instead of 225 times at the published settings).

    Args:
        first_B3HW: The pictures, in [-1, 1].
        encode: Frames (B, 3, H, W) to scaled latents (B, C, h, w).
        decode: Scaled latents to frames. Published: fed back unclamped and unquantised.
        sample: Latents of the known frames (B, C, K, h, w) to latents of all K + 1 frames.
        known: K, length of the queue, which at first holds the picture K times.
        new: Frames to append.

    Returns:
        (B, 1 + new, 3, H, W): the picture itself, not its reconstruction, then the new frames, unclamped.
    """
    video = [first_B3HW]
    queue = [encode(first_B3HW)] * known
    for made in range(new):
        latents = sample(torch.stack(queue, dim=2))
        video.append(decode(latents[:, :, -1]))
        if made + 1 < new:
            queue = [*queue[1:], encode(video[-1])]
    return torch.stack(video, dim=1)
