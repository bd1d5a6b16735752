import pytest
import torch
from diffusers import DDIMScheduler

from baselines.sampling.leading import add_noise, ddim_step, leading_steps, linear_alphas

CASES = [(0.0001, 0.02, False), (0.00085, 0.012, True)]


def theirs(start: float, end: float, to_one: bool) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=start,
        beta_end=end,
        beta_schedule="linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=to_one,
    )


@pytest.mark.parametrize("steps", [1, 4, 6, 7, 30, 50, 333, 500, 999])
@pytest.mark.parametrize(("start", "end", "to_one"), CASES)
def test_every_step_agrees_with_the_diffusers_scheduler(start: float, end: float, to_one: bool, steps: int) -> None:
    scheduler, alphas = theirs(start, end, to_one), linear_alphas(start, end)
    torch.testing.assert_close(alphas, scheduler.alphas_cumprod, rtol=1e-6, atol=0)
    scheduler.set_timesteps(steps)
    ours = leading_steps(scheduler.alphas_cumprod, steps, 1.0 if to_one else scheduler.alphas_cumprod[0].item())
    assert [step.timestep for step in ours] == scheduler.timesteps.tolist()
    x, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for step in ours[:: max(steps // 7, 1)] + ours[-1:]:
        expected = scheduler.step(noise, step.timestep, x).prev_sample
        torch.testing.assert_close(ddim_step(x, noise, step), expected, rtol=1e-6, atol=1e-6)


def test_half_precision_latents_stay_half() -> None:
    scheduler = theirs(*CASES[0])
    scheduler.set_timesteps(50)
    step = leading_steps(scheduler.alphas_cumprod, 50, scheduler.alphas_cumprod[0].item())[3]
    torch.manual_seed(0)
    x, noise = torch.randn(4, 5).half(), torch.randn(4, 5).half()
    expected = scheduler.step(noise, step.timestep, x).prev_sample
    assert ddim_step(x, noise, step).dtype == torch.float16
    torch.testing.assert_close(ddim_step(x, noise, step), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_add_noise_is_the_diffusers_schedulers_in_the_precision_of_the_clean_latents(dtype: torch.dtype) -> None:
    scheduler = theirs(*CASES[0])
    clean = torch.randn(2, 3).to(dtype)
    noise = torch.randn(2, 3) if dtype == torch.float64 else torch.randn(2, 3).to(dtype)
    expected = scheduler.add_noise(clean, noise, torch.tensor([975]))
    ours = add_noise(clean, noise, scheduler.alphas_cumprod[975].item())
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, expected, rtol=0, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("steps", [0, -1, 1000, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        leading_steps(linear_alphas(0.0001, 0.02), steps, 1.0)
