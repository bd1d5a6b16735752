"""ConsistI2V's noise, FrameInit, sampler and pictures against the official code's recorded tensors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.consisti2v.config import read_config
from baselines.consisti2v.frameinit import exchange_low, frame_init, low_pass, shared_noise
from baselines.consisti2v.preprocess import scale_and_crop
from baselines.consisti2v.sampler import Conditions, Guidance, denoised
from baselines.consisti2v.unet import ConsistUNet
from baselines.nn.branches import in_branches
from baselines.sampling.leading import Step, add_noise, ddim_step, leading_steps, linear_alphas
from tests.parity import Parity

SAMPLER = "consisti2v_sampler*"


def steps_of(info: dict[str, Any], steps: int) -> list[Step]:
    scheduler = info["scheduler"]
    alphas = linear_alphas(scheduler["beta_start"], scheduler["beta_end"])
    return leading_steps(alphas, steps, 1.0 if scheduler["set_alpha_to_one"] else alphas[0].item())


def unet_of(fixture: Parity) -> ConsistUNet:
    unet = ConsistUNet(read_config(fixture.info["config"]))
    unet.load_state_dict(fixture.weights())
    return unet.eval()


def guidance_of(fixture: Parity, run: str) -> Guidance:
    scales = fixture.info["runs"][run]
    return Guidance(scales["guidance_scale_txt"], scales["guidance_scale_img"], scales["guidance_rescale"])


def start_of(fixture: Parity) -> Tensor:
    """Recorded start latents of all frames; without FrameInit they are the noise."""
    expected = fixture.group("expected")
    return expected["latents_init"] if "latents_init" in expected else noise_of(fixture)


def noise_of(fixture: Parity) -> Tensor:
    """Our noise of a clip from the recorded draws, in the order in which they were drawn."""
    inputs, info = fixture.group("inputs"), fixture.info
    draws = iter([inputs[name] for name in ("base_noise", "ind_noise") if name in inputs])
    shape = tuple(inputs["ind_noise"].shape)
    return shared_noise(lambda *size: next(draws), shape, info["noise_sampling_method"], info["noise_alpha"])


def conditions_of(fixture: Parity) -> Conditions:
    inputs = fixture.group("inputs")
    first = fixture.group("expected")["first_frame_latents"][:, :, None]
    text = (inputs["uncond_embeddings"], inputs["cond_embeddings"])
    return Conditions(text, first, start_of(fixture)[:, :, :1], fixture.info["frame_stride"])


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parity(SAMPLER)
def test_schedule_matches(fixture: Parity) -> None:
    expected, scheduler = fixture.group("expected"), fixture.info["scheduler"]
    if "alphas_cumprod" in expected:
        ours = linear_alphas(scheduler["beta_start"], scheduler["beta_end"])
        torch.testing.assert_close(ours, expected["alphas_cumprod"], rtol=1e-6, atol=0)
    for key, steps in (("timesteps", fixture.info["num_inference_steps"]), ("timesteps_50", 50)):
        if key in expected:
            assert [step.timestep for step in steps_of(fixture.info, steps)] == expected[key].tolist()
    assert steps_of(fixture.info, 50)[-1].alpha_prev == fixture.info["final_alpha_cumprod"]


@pytest.mark.parity(SAMPLER)
def test_start_latents_match(fixture: Parity) -> None:
    inputs, expected, info = fixture.group("inputs"), fixture.group("expected"), fixture.info
    mean, logvar = inputs["vae_moments"].chunk(2, dim=1)
    first = (mean + torch.exp(0.5 * logvar.clamp(-30, 20)) * inputs["vae_noise"]) * 0.18215
    torch.testing.assert_close(first, expected["first_frame_latents"], rtol=0, atol=1e-6)
    if "latents_init" not in expected:
        return  # recorded without FrameInit: the noise is the start, and the first step holds it to the recording
    noise, settings = noise_of(fixture), info["frameinit"]
    torch.testing.assert_close(noise, expected["noise_mixed"], rtol=0, atol=1e-6)
    mask = low_pass(tuple(noise.shape[2:]), settings["method"], settings["d_s"], settings["d_t"], settings.get("n", 4))
    torch.testing.assert_close(mask, expected["freq_filter"].view_as(mask), rtol=0, atol=1e-6)
    alpha = linear_alphas(info["scheduler"]["beta_start"], info["scheduler"]["beta_end"])[
        settings["noise_level"]
    ].item()
    still = first[:, :, None]
    torch.testing.assert_close(
        add_noise(still.expand_as(noise), noise, alpha), expected[f"z_T_{settings['noise_level']}"], rtol=0, atol=1e-6
    )
    torch.testing.assert_close(frame_init(still, noise, alpha, mask), expected["latents_init"], rtol=0, atol=1e-5)


@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_each_step_from_its_recorded_state_matches(fixture: Parity) -> None:
    assert fixture.info["runs"]
    for run in fixture.info["runs"]:
        _steps_match(fixture, run)


def _steps_match(fixture: Parity, run: str) -> None:
    guidance, given = guidance_of(fixture, run), conditions_of(fixture)
    expected = fixture.group(f"expected.{run}")
    unet, (text, first) = unet_of(fixture), given.for_branches(guidance.branches)
    if "step0_first_frame_batched" in expected:
        torch.testing.assert_close(in_branches(first, len(text)), expected["step0_first_frame_batched"])
    states = [start_of(fixture)[:, :, 1:], *expected["latents_per_step"]]
    stride = torch.full((len(first),), given.stride)
    for count, step in enumerate(steps_of(fixture.info, fixture.info["num_inference_steps"])):
        x = states[count]
        noise = unet(x.repeat(len(first), 1, 1, 1, 1), torch.full((len(first),), step.timestep), text, first, stride)
        if count == 0 and "step0_unet_out_batched" in expected:
            torch.testing.assert_close(noise, expected["step0_unet_out_batched"], rtol=0, atol=1e-5)
        assert relative(ddim_step(x, guidance.combine(noise), step), states[count + 1]) < 5e-5  # with guidance


@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_whole_trajectory_matches(fixture: Parity) -> None:
    for run in fixture.info["runs"]:
        _trajectory_matches(fixture, run)


def _trajectory_matches(fixture: Parity, run: str) -> None:
    guidance, given = guidance_of(fixture, run), conditions_of(fixture)
    expected = fixture.group(f"expected.{run}")
    steps = steps_of(fixture.info, fixture.info["num_inference_steps"])
    trajectory = list(denoised(unet_of(fixture), start_of(fixture)[:, :, 1:], given, steps, guidance))
    for ours, theirs in zip(trajectory, expected["latents_per_step"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=5e-4)
    if "final_latents" in expected:
        final = torch.cat([given.first, trajectory[-1]], dim=2)
        torch.testing.assert_close(final, expected["final_latents"], rtol=2e-5, atol=5e-4)


@pytest.mark.parity("consisti2v_aux*")
def test_filters_and_frequency_mix_match(fixture: Parity) -> None:
    expected, inputs = fixture.group("expected"), fixture.group("inputs")
    for name, given in fixture.info["filters"].items():
        mask = low_pass(tuple(given["shape"]), given["method"], given["d_s"], given["d_t"], given.get("n", 4))
        assert torch.allclose(mask, expected[f"filter.{name}"], rtol=0, atol=1e-6), name
    if "mix" in expected:
        x, noise = inputs["mix.x"], inputs["mix.noise"]
        mask = low_pass(tuple(x.shape[2:]), "gaussian", 0.25, 0.25)
        torch.testing.assert_close(exchange_low(x, noise, mask), expected["mix"], rtol=0, atol=1e-5)


@pytest.mark.parity("consisti2v_aux*")
def test_pictures_match(fixture: Parity) -> None:
    expected, inputs = fixture.group("expected.image"), fixture.group("inputs.image")
    for name, given in fixture.info["images"].items():
        ours = scale_and_crop(inputs[name].numpy(), *given["target_hw"])
        half = fixture.tensors[f"expected.image.{name}"].dtype == torch.float16
        torch.testing.assert_close(ours, expected[name], rtol=0, atol=1e-3 if half else 1e-6)


def test_box_of_a_narrow_clip_wraps_around_as_published() -> None:
    """The reach is the height's half for both axes; a slice from -1 of 8 columns to 9 holds the last column alone."""
    expected = torch.zeros(2, 10, 8)
    expected[:, :, 7] = 1
    assert torch.equal(low_pass((2, 10, 8), "box", 1.0, 1.0), expected)


def test_without_stop_frequency_nothing_is_exchanged() -> None:
    x, noise = torch.randn(1, 2, 3, 4, 5), torch.randn(1, 2, 3, 4, 5)
    for spatial, temporal in ((0.0, 0.25), (0.25, 0.0)):
        mask = low_pass((3, 4, 5), "box", spatial, temporal)
        torch.testing.assert_close(exchange_low(x, noise, mask), noise, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "draws"), [("vanilla", 1), ("pyoco_mixed", 2), ("pyoco_progressive", 2)])
def test_noise_has_unit_variance_and_the_stated_correlation(kind: str, draws: int) -> None:
    calls = []

    def draw(*size: int) -> Tensor:
        calls.append(size)
        return torch.randn(size, generator=torch.Generator().manual_seed(len(calls)))

    noise = shared_noise(draw, (1, 4, 5, 64, 64), kind, 1.0)
    assert len(calls) == draws
    correlation = torch.corrcoef(noise[0].transpose(0, 1).flatten(1))
    assert noise.var().item() == pytest.approx(1, abs=0.05)
    neighbours, ends = {"vanilla": (0, 0), "pyoco_mixed": (0.5, 0.5), "pyoco_progressive": (0.5**0.5, 0.25)}[kind]
    assert correlation[1, 2].item() == pytest.approx(neighbours, abs=0.05)
    assert correlation[0, 4].item() == pytest.approx(ends, abs=0.05)


@pytest.mark.parametrize(("text", "image", "branches"), [(7.5, 1.0, 2), (1.0, 1.0, 1), (0.5, 2.0, 3), (7.5, 2.0, 3)])
def test_image_guidance_above_one_overrides_text_guidance(text: float, image: float, branches: int) -> None:
    assert Guidance(text, image, 0.0).branches == branches


def test_two_scale_guidance_is_linear_in_both() -> None:
    neither, only_image, both = torch.randn(3, 1, 4).unbind()
    combined = Guidance(3.0, 2.0, 0.0).combine(torch.cat([neither, only_image, both]))
    torch.testing.assert_close(combined, neither + 2 * (only_image - neither) + 3 * (both - only_image))
