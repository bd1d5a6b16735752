"""DDIM and guidance against diffusers' scheduler and plain algebra."""

import pytest
import torch
from diffusers import DDIMScheduler

from baselines.sampling.analytic_init import analytic_init
from baselines.sampling.ddim import ddim_schedule, ddim_step, noise_and_signal
from baselines.sampling.guidance import guided, guided_by_two, rescaled
from baselines.sampling.schedules import alphas_cumprod, scaled_linear_betas, uniform_trailing, zero_terminal_snr


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_every_step_agrees_with_diffusers(prediction: str, eta: float) -> None:
    theirs = DDIMScheduler(
        1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing",
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[prediction],
    )  # fmt: skip
    theirs.set_timesteps(50)
    ours = ddim_schedule(theirs.alphas_cumprod, uniform_trailing(50), eta)
    torch.manual_seed(0)
    for index, step in enumerate(theirs.timesteps[:-1].tolist()):
        i = len(ours) - 1 - index
        x, output, fresh = torch.randn(3, 1, 4, 5)
        noise, clean = noise_and_signal(prediction, output, x, ours.alphas[i])  # type: ignore[arg-type]
        expected = theirs.step(output, step, x, eta=eta, variance_noise=fresh)
        assert ours.timesteps[i] == step
        assert torch.allclose(clean, expected.pred_original_sample, atol=2e-5)
        assert torch.allclose(
            ddim_step(clean, noise, ours.alphas_prev[i], ours.sigmas[i], fresh), expected.prev_sample, atol=2e-5
        )


def test_last_step_goes_to_training_step_zero() -> None:
    stored = alphas_cumprod(scaled_linear_betas())
    assert ddim_schedule(stored, uniform_trailing(50), 1.0).alphas_prev[0] == stored[0].float().item()


@pytest.mark.parametrize("steps", [7, 11, 14, 15, 20, 25, 33, 37, 61, 64])
def test_no_nan_where_rounding_goes_below_zero(steps: int) -> None:
    schedule = ddim_schedule(alphas_cumprod(zero_terminal_snr(scaled_linear_betas())), uniform_trailing(steps), 1.0)
    a, s = (torch.tensor(values[-1], dtype=torch.float32) for values in (schedule.alphas_prev, schedule.sigmas))
    assert 1 - a - s**2 < 0  # the official sampler takes this root
    x = torch.ones(2)
    assert ddim_step(x, x, schedule.alphas_prev[-1], schedule.sigmas[-1], x).isfinite().all()


def test_scale_of_a_step_is_that_of_the_clean_latent() -> None:
    clean, noise, fresh = torch.randn(3, 5)
    assert torch.allclose(
        ddim_step(clean, noise, 0.5, 0.1, fresh, 0.7), ddim_step(0.7 * clean, noise, 0.5, 0.1, fresh), atol=1e-6
    )


def test_guidance_is_the_published_combination() -> None:
    c, i, u = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0]), torch.tensor([0.0, -1.0])
    assert guided(c, u, 7.5).tolist() == [7.5, 21.5]
    assert guided_by_two(c, i, u, 2.0, 3.0).tolist() == [0 + 1.5 + 1.0, -1 + 6 + 2]
    assert torch.equal(guided_by_two(c, u, u, 2.0, 3.0), guided(c, u, 2.0))


def test_full_rescaling_gives_each_sample_the_references_spread() -> None:
    torch.manual_seed(0)
    output, reference = 9 * torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.allclose(rescaled(output, reference, 1.0).std((1, 2)), reference.std((1, 2)))
    assert torch.equal(rescaled(output, reference, 0.0), output)


def test_analytic_init_has_the_marginals_mean_and_variance() -> None:
    torch.manual_seed(0)
    mean, variance, alpha = torch.tensor(2.0), torch.tensor(0.25), torch.tensor(0.36)
    drawn = analytic_init(mean, variance, alpha, torch.randn(200_000))
    clean = 2 + 0.5 * torch.randn(200_000)
    noised = 0.6 * clean + 0.8 * torch.randn(200_000)
    assert drawn.mean().item() == pytest.approx(noised.mean().item(), abs=0.02)
    assert drawn.std().item() == pytest.approx(noised.std().item(), abs=0.02)


def test_analytic_init_without_signal_is_plain_noise() -> None:
    normal = torch.randn(4)
    assert torch.equal(analytic_init(torch.full((4,), 9.0), torch.tensor(3.0), torch.tensor(0.0), normal), normal)
