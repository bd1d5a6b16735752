"""Schedules and sampling steps against recordings of the official samplers."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.dynamicrafter.settings import Settings, recipe
from baselines.lvdm.model import combined
from baselines.lvdm.recipe import Recipe
from baselines.lvdm.sampler import (
    Steps,
    denoise,
    denoise_step,
    sampling_steps,
    training_alphas,
    training_betas,
    training_scales,
)
from baselines.lvdm.settings import DiffusionSettings
from baselines.sampling.analytic_init import analytic_init
from baselines.sampling.schedules import timesteps
from tests.baselines.lvdm.recorded import recorded_unet
from tests.parity import Parity

SAMPLERS = ("videocrafter*_sampler_*", "dynamicrafter*_sampler_*", "cond_leak*_sampler_*")


def _diffusion(fixture: Parity) -> DiffusionSettings:
    config: dict[str, Any] = fixture.info["diffusion_config"]
    dynamic = config.get("use_dynamic_rescale", False)
    scaled = config.get("use_scale", False)
    return DiffusionSettings(
        prediction=fixture.info["sampling"]["eps_or_v"],
        zero_terminal_snr=config.get("rescale_betas_zero_snr", False),
        scaling="dynamic" if dynamic else "input" if scaled else "none",
        scale_base=config["base_scale"] if dynamic else config.get("scale_b", 1.0),
    )


def _ignores_start(fixture: Parity) -> bool:
    """Published: VideoCrafter's sampler, also in Cond-leak's hands, starts from the last step whatever M is."""
    return "videocrafter" in fixture.info["sampler_class"]


def _steps(fixture: Parity, count: int, eta: float) -> Steps:
    sampling = fixture.info["sampling"]
    total = 1000 if _ignores_start(fixture) else sampling["M"]
    return sampling_steps(_diffusion(fixture), timesteps(sampling["timestep_spacing"], count, total), eta)


def _recipe(fixture: Parity) -> Recipe:
    sampling = fixture.info["sampling"]
    return replace(
        recipe(Settings()),
        guidance=sampling["guidance_scale"],
        guidance_rescale=sampling["guidance_rescale"],
        image_guidance=sampling["guidance_scale"] if sampling.get("cfg_img", 0) is None else sampling.get("cfg_img"),
    )


@pytest.mark.parity(*SAMPLERS)
def test_training_schedule_is_the_official_one(fixture: Parity) -> None:
    expected, settings = fixture.group("expected"), _diffusion(fixture)
    found = {"betas": training_betas(settings), "alphas_cumprod": training_alphas(settings)}
    compared = [name for name in found if name in expected]
    if not compared:
        pytest.skip("this fixture records no training schedule")
    for name in compared:
        assert (found[name].float() - expected[name]).abs().max() <= 1e-7, name


@pytest.mark.parity(*SAMPLERS)
@pytest.mark.parametrize("group", ["schedule_eta1", "schedule50_eta1"])
def test_sampling_schedule_is_the_official_one(fixture: Parity, group: str) -> None:
    expected = _usable(fixture.group(f"expected.{group}"))
    steps = _steps(fixture, 50 if "50" in group else fixture.info["sampling"]["steps"], eta=1.0)
    found = {
        "timesteps": steps.ddim.timesteps,
        "alphas": steps.ddim.alphas,
        "alphas_prev": steps.ddim.alphas_prev,
        "sigmas": steps.ddim.sigmas,
        "scale_arr": steps.scales,
        "scale_arr_prev": steps.scales_prev,
    }
    compared = [name for name in found if name in expected]
    assert "timesteps" in compared
    for name in compared:
        assert (torch.tensor(found[name], dtype=torch.float64) - expected[name]).abs().max() <= 1e-7, name


def _usable(schedule: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without an extra first entry of -1, which rounding gives some trailing schedules (50 steps from 920): no schedule
    can be read there. What its neighbour says of the step before it goes too."""
    extra = schedule["timesteps"] < 0
    if not extra.any():
        return schedule
    assert extra.tolist() == [True] + [False] * (len(extra) - 1)
    return {name: value[1:] for name, value in schedule.items() if name in ("timesteps", "alphas", "scale_arr")}


def _furthest(found: Tensor, expected: Tensor) -> float:
    """The largest difference, where the official sampler has a number: for some counts of trailing steps (7, 20, 25 …)
    and eta = 1 it takes the root of a negative rounding error and returns NaN from the first step on."""
    known = ~expected.isnan()
    return (found - expected)[known].abs().max().item() if known.any() else 0.0


def _outputs(step: dict[str, Tensor]) -> list[Tensor]:
    names = ("out_cond", "out_uncond", "out_uncond_img")
    return [step[name] for name in names if name in step]


@pytest.mark.parity(*SAMPLERS)
def test_every_step_from_recorded_outputs_is_the_official_one(fixture: Parity) -> None:
    settings, inputs = _diffusion(fixture), fixture.group("inputs")
    steps = _steps(fixture, fixture.info["sampling"]["steps"], eta=1.0)
    for number in range(len(steps.ddim)):
        step = fixture.group(f"expected.eta1.step{number}")
        index = len(steps.ddim) - 1 - number
        assert step["t"].tolist() == [steps.ddim.timesteps[index]] * len(step["t"])
        output = combined(_recipe(fixture), _outputs(step))
        x, clean = denoise_step(settings, steps, index, step["x_in"], output, inputs[f"step_noise.{number}"])
        assert _furthest(x, step["x_prev"]) <= 1e-5, number
        assert _furthest(clean, step["pred_x0"]) <= 1e-5, number


def _predict(fixture: Parity, x: Tensor, step: int) -> Tensor:
    """Guided output of our own network, all branches in one batch."""
    inputs, net = fixture.group("inputs"), recorded_unet(fixture.sibling(fixture.info["weights_from"].split(" ")[0]))
    names = ("context_cond", "context_uncond", "context_uncond_img")
    contexts = [inputs[name] for name in names if name in inputs]
    fps = inputs["fps"] if "fps" in inputs else inputs["fs"]
    full = torch.cat([x, inputs["c_concat"]], 1) if "c_concat" in inputs else x
    count = len(contexts)
    out = net(
        full.repeat(count, 1, 1, 1, 1), torch.full((count * len(x),), step), torch.cat(contexts), fps.repeat(count)
    )
    return combined(_recipe(fixture), list(out.chunk(count)))


@pytest.mark.parity(*SAMPLERS)
def test_every_step_with_our_network_is_the_official_one(fixture: Parity) -> None:
    settings, inputs = _diffusion(fixture), fixture.group("inputs")
    steps = _steps(fixture, fixture.info["sampling"]["steps"], eta=1.0)
    for number in range(len(steps.ddim)):
        step = fixture.group(f"expected.eta1.step{number}")
        index = len(steps.ddim) - 1 - number
        output = _predict(fixture, step["x_in"], steps.ddim.timesteps[index])
        x, clean = denoise_step(settings, steps, index, step["x_in"], output, inputs[f"step_noise.{number}"])
        assert _furthest(x, step["x_prev"]) <= 5e-4, number
        assert _furthest(clean, step["pred_x0"]) <= 2e-3, number  # divided by sqrt(alpha): up to 15 times more


@pytest.mark.parity(*SAMPLERS)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_whole_trajectory_ends_where_the_official_one_does(fixture: Parity, eta: float) -> None:
    settings, inputs = _diffusion(fixture), fixture.group("inputs")
    expected = fixture.group(f"expected.eta{eta:.0f}")
    x = inputs["x_T"] if "x_T" in inputs else fixture.group("expected")["x_T_used"]
    steps = _steps(fixture, fixture.info["sampling"]["steps"], eta)
    noises = iter([inputs[f"step_noise.{number}"] for number in range(len(steps.ddim))])
    found = denoise(settings, steps, x, lambda x, step: _predict(fixture, x, step), lambda: next(noises))
    assert found.isfinite().all()
    sensitivity: float = fixture.info["verification"]["final_change_for_1e_6_change_of_x_T"]
    measured = math.isfinite(sensitivity)  # not where the official trajectory with eta = 1 ended in NaN
    allowed = 100 * sensitivity if measured else 5e-4 * found.abs().max().item()
    assert _furthest(found, expected["final"]) <= allowed


@pytest.mark.parity("cond_leak*_sampler_*")
def test_analytic_init_is_the_official_one(fixture: Parity) -> None:
    inputs, expected = fixture.group("inputs"), fixture.group("expected")
    alpha = training_alphas(_diffusion(fixture)).float()[fixture.info["sampling"]["M"] - 1]
    found = analytic_init(inputs["Expectation_X0"], inputs["Tr_Cov_d"], alpha, inputs["init_eps"])
    assert (found - expected["analytic.x_T"]).abs().max() <= 1e-6
    assert (found.expand_as(expected["x_T_used"]) - expected["x_T_used"]).abs().max() <= 1e-6


def test_scale_list_is_longer_than_the_schedule_as_published() -> None:
    scales = training_scales(DiffusionSettings("eps", False, "input", 0.7))
    assert len(scales) == 1400
    assert (scales[0].item(), scales[399:].unique().tolist()) == (1.0, pytest.approx([0.7]))


def test_last_step_is_unscaled_where_published() -> None:
    """VideoCrafter goes to the scale of training step 0; DynamiCrafter stays at the step's own."""
    settings = DiffusionSettings("eps", False, "input", 0.7)
    by_input = sampling_steps(settings, [1, 21], 0.0)
    dynamic = sampling_steps(replace(settings, scaling="dynamic"), [1, 21], 0.0)
    assert by_input.scales_prev[0] == 1.0
    assert dynamic.scales_prev[0] == dynamic.scales[0]
