"""Schedules and timesteps against facts of the official code."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from baselines.sampling.schedules import (
    alphas_cumprod,
    linear_betas,
    scaled_linear_betas,
    uniform,
    uniform_trailing,
    zero_terminal_snr,
)


@pytest.mark.parametrize(("name", "betas"), [("scaled_linear", scaled_linear_betas()), ("linear", linear_betas())])
def test_schedules_agree_with_diffusers(name: str, betas: torch.Tensor) -> None:
    ends = {"scaled_linear": (0.00085, 0.012), "linear": (0.0001, 0.02)}[name]
    theirs = DDIMScheduler(1000, ends[0], ends[1], name).alphas_cumprod
    assert torch.allclose(alphas_cumprod(betas).float(), theirs, atol=1e-6)


def test_zero_terminal_snr_keeps_the_first_step_and_empties_the_last() -> None:
    plain, bent = (alphas_cumprod(b) for b in (scaled_linear_betas(), zero_terminal_snr(scaled_linear_betas())))
    assert bent[-1] == 0
    assert bent[0].item() == pytest.approx(plain[0].item(), abs=1e-12)
    theirs = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear", rescale_betas_zero_snr=True).alphas_cumprod
    assert torch.allclose(bent.float(), theirs, atol=1e-5)


def test_uniform_begins_at_one() -> None:
    assert uniform(50) == list(range(1, 1000, 20))


@pytest.mark.parametrize("steps", [3, 9, 27, 36, 37, 101, 111, 251, 333, 501, 1000])
def test_uniform_counts_that_leave_the_schedule_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} uniform steps"):
        uniform(steps)


def test_uniform_gives_more_steps_where_the_count_does_not_divide() -> None:
    assert len(uniform(30)) == 31


def test_trailing_ends_at_the_last_training_step() -> None:
    assert uniform_trailing(50) == list(range(19, 1000, 20))
    assert uniform_trailing(50, 940)[:4] == [18, 37, 55, 74]
    assert uniform_trailing(50, 940)[-2:] == [920, 939]


@pytest.mark.parametrize(("steps", "total"), [(61, 1000), (103, 1000), (121, 1000), (122, 1000), (50, 920), (50, 820)])
def test_trailing_leaves_out_the_extra_entry_of_minus_one(steps: int, total: int) -> None:
    official = np.round(np.arange(total, 0, -(total / steps))) - 1
    assert official[-1] == -1  # the trap is real
    assert uniform_trailing(steps, total) == official[-2::-1].tolist()
    assert len(uniform_trailing(steps, total)) == steps


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_counts_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        uniform_trailing(steps)
