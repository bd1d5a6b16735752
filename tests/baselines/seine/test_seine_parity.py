"""SEINE's sampler and pictures against the official code's recorded tensors."""

import pytest
import torch
from torch import Tensor

from baselines.lavie.config import read_config
from baselines.lavie.unet import LavieUNet
from baselines.sampling.guidance import guided
from baselines.seine.diffusion import Respaced, clean_from_noise, ddim_step, ddpm_step, respaced
from baselines.seine.preprocess import first_known, masked_pair, stretch, to_bytes
from baselines.seine.sampler import denoised
from tests.parity import Parity

SAMPLER = "seine_sampler*"
METHODS = ("ddpm", "ddim")


def unet_of(fixture: Parity) -> LavieUNet:
    unet = LavieUNet(read_config(fixture.info["config"]))
    unet.load_state_dict(fixture.weights())
    return unet.eval()


def known_of(fixture: Parity) -> Tensor:
    latents = 0.18215 * fixture.group("inputs")["vae_sample"].transpose(0, 1)[None]
    return torch.cat([first_known(*latents.shape[2:]), latents], dim=1)


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parity(SAMPLER)
def test_schedules_equal_the_official_tables(fixture: Parity) -> None:
    expected = fixture.group("expected")
    names = {key.split(".")[0] for key in expected if key.startswith("schedule_")}
    assert names
    for name in names:
        process = respaced(int(name.removeprefix("schedule_")))
        table = fixture.group(f"expected.{name}")
        assert list(process.timesteps) == table["timesteps"].tolist()
        ours = {
            "betas": process.betas,
            "alphas_cumprod": process.alphas_cumprod,
            "variance_fixed_large": process.variance,
            "posterior_mean_coef1": process.mean_from_clean,
            "posterior_mean_coef2": process.mean_from_noisy,
        }
        for key in table.keys() & ours.keys():
            torch.testing.assert_close(torch.from_numpy(ours[key]), table[key], rtol=1e-12, atol=1e-15)


@pytest.mark.parity(SAMPLER)
def test_network_input_is_noise_mask_and_masked_latents(fixture: Parity) -> None:
    expected = fixture.group("expected")
    if "unet_input_first_step" not in expected:
        pytest.skip("not recorded")
    ours = torch.cat([fixture.group("inputs")["z"], known_of(fixture)], dim=1)
    for half in expected["unet_input_first_step"]:
        torch.testing.assert_close(ours[0], half, rtol=0, atol=1e-6)


def _step(process: Respaced, method: str, i: int, x: Tensor, clean: Tensor, fresh: Tensor) -> Tensor:
    return ddpm_step(process, i, x, clean, fresh) if method == "ddpm" else ddim_step(process, i, x, clean)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_each_step_from_its_recorded_state_matches(fixture: Parity, method: str) -> None:
    """Network, guidance, clean latents and update of every step, each from the recorded latents before it."""
    inputs, expected = fixture.group("inputs"), fixture.group(f"expected.{method}")
    if not expected:
        pytest.skip(f"{method} is not recorded")
    settings, unet, known = fixture.info["settings"], unet_of(fixture), known_of(fixture)
    process = respaced(settings["num_sampling_steps"])
    text = torch.cat([inputs["text_embed"], inputs["text_embed_negative"]])
    states = [inputs["z"], *(step[:1] for step in expected["steps"])]
    for count, i in enumerate(reversed(range(settings["num_sampling_steps"]))):
        given = torch.cat([states[count], known], dim=1)
        timestep = torch.tensor([process.timesteps[i]] * 2)
        conditional, unconditional = unet(torch.cat([given, given]), timestep, text).chunk(2)
        noise = guided(conditional, unconditional, settings["cfg_scale"])
        if count == 0 and "guided_eps_first_step" in expected:
            assert relative(noise, expected["guided_eps_first_step"][:1]) < 5e-5  # guidance of 8 amplifies rounding
        clean = clean_from_noise(process, i, states[count], noise)
        assert relative(clean, expected["pred_xstart"][count][:1]) < 5e-5
        recorded = expected["pred_xstart"][count][:1]
        after = _step(process, method, i, states[count], recorded, inputs["step_noise"][count][:1])
        assert relative(after, states[count + 1]) < 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_whole_trajectory_matches(fixture: Parity, method: str) -> None:
    inputs, expected = fixture.group("inputs"), fixture.group(f"expected.{method}")
    if not expected:
        pytest.skip(f"{method} is not recorded")
    settings = fixture.info["settings"]
    trajectory = list(
        denoised(
            unet_of(fixture),
            inputs["z"],
            (inputs["text_embed"], inputs["text_embed_negative"]),
            known_of(fixture),
            method,
            settings["num_sampling_steps"],
            settings["cfg_scale"],
            lambda count: inputs["step_noise"][count][:1],
        )
    )
    for (x, clean), step, recorded in zip(trajectory, expected["steps"], expected["pred_xstart"], strict=True):
        assert relative(x, step[:1]) < 5e-5
        assert relative(clean, recorded[:1]) < 5e-5
    if "vae_decode_input" in expected:
        final = trajectory[-1][0][0].transpose(0, 1) / 0.18215
        assert relative(final, expected["vae_decode_input"]) < 5e-5


@pytest.mark.parity("seine_preprocess*")
def test_pictures_match(fixture: Parity) -> None:
    inputs, expected, settings = fixture.group("inputs"), fixture.group("expected"), fixture.info["settings"]
    picture = stretch(inputs["image_u8_hwc"].numpy(), *settings["image_size"])
    half = fixture.tensors["expected.video_input"].dtype == torch.float16
    atol = 1e-3 if half else 1e-6
    torch.testing.assert_close(picture, expected["video_input"][0, 0], rtol=0, atol=atol)
    known, grey = masked_pair(picture)
    masked = torch.stack([known, *[grey] * (settings["num_frames"] - 1)])
    torch.testing.assert_close(masked, expected["masked_video"][0], rtol=0, atol=atol)
    h, w = expected["mask_latent"].shape[-2:]
    assert torch.equal(first_known(settings["num_frames"], h, w), expected["mask_latent"])
    if "decoded" in inputs:
        assert torch.equal(torch.from_numpy(to_bytes(inputs["decoded"])), expected["decoded_u8"])


def test_unknown_frames_are_grey_not_black() -> None:
    assert torch.equal(masked_pair(torch.rand(3, 4, 4))[1], torch.zeros(3, 4, 4))


def test_variance_is_fixed_large() -> None:
    """The step's noise has the whole beta's variance, not the posterior's smaller one."""
    process = respaced(250)
    assert (process.variance[1:] == process.betas[1:]).all()
    zero, one = torch.zeros(1), torch.ones(1)
    spread = ddpm_step(process, 100, zero, zero, one)
    assert spread.item() == pytest.approx(process.betas[100] ** 0.5, rel=1e-6)
    assert ddpm_step(process, 0, zero, zero, one).item() == 0


@pytest.mark.parametrize("steps", [0, 1, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        respaced(steps)
