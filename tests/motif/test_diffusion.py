"""Schedule, targets and DDIM against diffusers, and by going there and back."""

import pytest
import torch
from diffusers import DDIMScheduler

from motif.diffusion import add_noise, alphas_cumprod, clean_from, ddim_step, trailing_timesteps, training_target


def _scheduler(kind: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=True, prediction_type=kind, timestep_spacing="trailing",
    )  # fmt: skip


def test_schedule_noise_and_v_agree_with_diffusers() -> None:
    scheduler, alphas = _scheduler("v_prediction"), alphas_cumprod()
    torch.testing.assert_close(alphas, scheduler.alphas_cumprod, rtol=1e-5, atol=1e-6)
    clean, noise = torch.randn(2, 3, 4, 2, 5, 5)
    timestep = torch.tensor([0, 500, 999])
    torch.testing.assert_close(
        add_noise(clean, noise, timestep, alphas), scheduler.add_noise(clean, noise, timestep), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        training_target(clean, noise, timestep, alphas, "v"),
        scheduler.get_velocity(clean, noise, timestep),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("kind", ["v", "epsilon"])
def test_the_target_gives_back_the_clean_clip(kind: str) -> None:
    alphas = alphas_cumprod()
    clean, noise = torch.randn(2, 2, 4, 2, 5, 5, dtype=torch.float64)
    timestep = torch.tensor([10, 700])
    target = training_target(clean, noise, timestep, alphas, kind)  # type: ignore[arg-type]
    noisy = add_noise(clean, noise, timestep, alphas)
    torch.testing.assert_close(clean_from(target, noisy, timestep, alphas, kind), clean, rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]


def test_ddim_agrees_with_diffusers_over_all_steps() -> None:
    scheduler, alphas = _scheduler("v_prediction"), alphas_cumprod()
    scheduler.set_timesteps(8)
    times = trailing_timesteps(8)
    assert times == scheduler.timesteps.tolist()
    ours = theirs = torch.randn(1, 3, 2, 4, 4)
    for now, after in zip(times, [*times[1:], None], strict=True):
        v = torch.sin(ours * 3)
        clean = clean_from(v, ours, torch.tensor([now]), alphas, "v")
        theirs = scheduler.step(torch.sin(theirs * 3), now, theirs, eta=0.0).prev_sample
        ours = ddim_step(clean, ours, now, after, alphas)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
