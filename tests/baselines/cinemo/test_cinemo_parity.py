"""Cinemo's start latents, sampler, autoencoder and pictures against the official code's recorded tensors."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from scipy.fft import dctn, idctn
from torch import Tensor

from baselines.adapter import truncated
from baselines.cinemo.autoencoder import decode_clip, split_precision
from baselines.cinemo.network import CinemoUNet, read_motion_width
from baselines.cinemo.noise import dct_start, low_frequencies
from baselines.cinemo.preprocess import cover, with_base
from baselines.cinemo.sampler import residuals
from baselines.lavie.config import read_config
from baselines.sampling.leading import Step, add_noise, leading_steps, linear_alphas
from tests.parity import Parity

SAMPLER = "cinemo_sampler*"


def unet_of(fixture: Parity) -> CinemoUNet:
    unet = CinemoUNet(read_config(fixture.info["config"]), read_motion_width(fixture.info["config"]))
    unet.load_state_dict(fixture.weights())
    return unet.eval()


def steps_of(fixture: Parity, steps: int) -> list[Step]:
    scheduler = fixture.info["settings"]["scheduler"]
    alphas = linear_alphas(scheduler["beta_start"], scheduler["beta_end"])
    return leading_steps(alphas, steps, 1.0 if scheduler["set_alpha_to_one"] else alphas[0].item())


def sampled(fixture: Parity, unet: CinemoUNet, x: Tensor, steps: list[Step]) -> Iterator[Tensor]:
    """Our sampler from latents `x`, with everything else as recorded."""
    inputs, settings = fixture.group("inputs"), fixture.info["settings"]
    text = (inputs["text_embed_negative"], inputs["text_embed"])
    base, motion = inputs["base_content_f64"].float(), settings["motion_bucket_id"]
    return residuals(unet, x, text, base, motion, steps, settings["guidance_scale"])


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parity(SAMPLER)
def test_schedule_matches(fixture: Parity) -> None:
    expected, settings = fixture.group("expected"), fixture.info["settings"]
    scheduler = settings["scheduler"]
    alphas = linear_alphas(scheduler["beta_start"], scheduler["beta_end"])
    if "schedule.alphas_cumprod" in expected:
        torch.testing.assert_close(alphas, expected["schedule.alphas_cumprod"], rtol=1e-6, atol=0)
    steps = steps_of(fixture, settings["num_inference_steps"])
    assert [step.timestep for step in steps] == expected["timesteps"].tolist()
    if "schedule.final_alpha_cumprod" in expected:
        assert steps[-1].alpha_prev == pytest.approx(expected["schedule.final_alpha_cumprod"].item(), rel=1e-6)
    if "schedule_50.timesteps" in expected:
        assert [step.timestep for step in steps_of(fixture, 50)] == expected["schedule_50.timesteps"].tolist()


@pytest.mark.parametrize(("name", "share"), [("dct", None), ("dct_half", 0.5)])
@pytest.mark.parity(SAMPLER)
def test_start_latents_match(fixture: Parity, name: str, share: float | None) -> None:
    inputs, expected, settings = fixture.group("inputs"), fixture.group(f"expected.{name}"), fixture.info["settings"]
    if not expected:
        pytest.skip(f"{name} is not recorded")
    share = settings["dct_percentage"] if share is None else share
    base, noise = inputs["base_content_f64"], inputs["noise"]
    scheduler = settings["scheduler"]
    alpha = linear_alphas(scheduler["beta_start"], scheduler["beta_end"])[settings["noise_level"]]
    if "filter" in expected:
        assert torch.equal(low_frequencies(*base.shape[-2:], share), expected["filter"][0, 0, 0])
    if "noised_base_f64" in expected:
        noised = add_noise(base, noise, alpha.item())
        torch.testing.assert_close(noised.expand_as(noise), expected["noised_base_f64"], rtol=0, atol=1e-10)
    start = dct_start(base, noise, alpha.item(), share)
    torch.testing.assert_close(start, expected["latents_f64"], rtol=0, atol=2e-6)  # the official noise DCT is float32


def test_start_latents_equal_the_published_three_dimensional_transform() -> None:
    """Oracle: scipy's DCT over frames, rows and columns, in float64."""
    base = torch.randn(1, 4, 1, 9, 13, dtype=torch.float64)
    noise = torch.randn(1, 4, 5, 9, 13, dtype=torch.float64)
    noised = add_noise(base, noise, 0.1).numpy()
    mask = low_frequencies(9, 13, 0.4).numpy()
    axes = {"axes": (2, 3, 4), "norm": "ortho"}
    mixed = idctn(dctn(noised, **axes) * mask + dctn(noise.numpy(), **axes) * (1 - mask), **axes)
    torch.testing.assert_close(dct_start(base, noise, 0.1, 0.4), torch.from_numpy(mixed), rtol=0, atol=1e-12)


@pytest.mark.parametrize("run", ["dct", "plain"])
@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_each_step_from_its_recorded_state_matches(fixture: Parity, run: str) -> None:
    inputs, expected, settings = fixture.group("inputs"), fixture.group("expected"), fixture.info["settings"]
    if f"{run}.steps" not in expected:
        pytest.skip(f"{run} is not recorded")
    unet, outputs = unet_of(fixture), list[Tensor]()
    unet.register_forward_hook(lambda module, args, output: outputs.append(output))
    start = expected["dct.latents_f64"].float() if run == "dct" else inputs["noise"]
    states = [start, *expected[f"{run}.steps"]]
    for count, step in enumerate(steps_of(fixture, settings["num_inference_steps"])):
        after = next(sampled(fixture, unet, states[count], [step]))
        assert relative(after, states[count + 1]) < 5e-5  # guidance amplifies the network's rounding
    if run == "dct" and "unet_output_first_step" in expected:
        assert relative(outputs[0], expected["unet_output_first_step"]) < 1e-5


@pytest.mark.parametrize("run", ["dct", "plain"])
@pytest.mark.parity(SAMPLER)
@torch.no_grad()
def test_whole_trajectory_matches(fixture: Parity, run: str) -> None:
    inputs, expected, settings = fixture.group("inputs"), fixture.group("expected"), fixture.info["settings"]
    if f"{run}.steps" not in expected:
        pytest.skip(f"{run} is not recorded")
    start = expected["dct.latents_f64"].float() if run == "dct" else inputs["noise"]
    trajectory = sampled(fixture, unet_of(fixture), start, steps_of(fixture, settings["num_inference_steps"]))
    for ours, theirs in zip(trajectory, expected[f"{run}.steps"], strict=True):
        assert relative(ours, theirs) < 5e-5


@pytest.mark.parity("cinemo_vae*")
@torch.no_grad()
def test_autoencoder_matches(fixture: Parity) -> None:
    inputs, expected, config = fixture.group("inputs"), fixture.group("expected"), dict(fixture.info["config"])
    config.pop("note", None)
    vae = AutoencoderKLTemporalDecoder(**config).eval()
    vae.load_state_dict(fixture.group("weights"), strict=True)
    split_precision(vae, torch.float32)
    posterior = vae.encode(inputs["image"].double()).latent_dist
    torch.testing.assert_close(posterior.mean, expected["posterior_mean_f64"], rtol=0, atol=1e-10)
    torch.testing.assert_close(posterior.std, expected["posterior_std_f64"], rtol=0, atol=1e-10)
    base = (posterior.mean + posterior.std * inputs["posterior_noise_f64"]) * config["scaling_factor"]
    torch.testing.assert_close(base[:, :, None], expected["base_content_f64"], rtol=0, atol=1e-10)
    latents = with_base(inputs["residual"], base[:, :, None].float(), config["scaling_factor"])
    torch.testing.assert_close(latents, expected["vae_decode_input"], rtol=1e-6, atol=1e-6)
    decoded = decode_clip(vae, latents, at_once=14)
    torch.testing.assert_close(decoded, expected["decoded"], rtol=0, atol=1e-5)
    assert torch.equal(torch.from_numpy(truncated(expected["decoded"])), expected["video_u8"][0])


@pytest.mark.parity("cinemo_preprocess*")
def test_pictures_match(fixture: Parity) -> None:
    inputs, expected = fixture.group("inputs"), fixture.group("expected")
    assert expected
    for name, theirs in expected.items():
        ours = cover(inputs[f"{name}_u8_hwc"].numpy(), *fixture.info["settings"]["target_hw"])
        half = fixture.tensors[f"expected.{name}"].dtype == torch.float16
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3 if half else 1e-6)


@pytest.mark.parametrize(
    ("size", "scaled", "corner"),
    [((320, 512), (321, 513), (0, 0)), ((512, 512), (513, 513), (96, 0)), ((720, 1280), (321, 570), (0, 29))],
)
def test_even_a_fitting_picture_is_enlarged_by_a_pixel_and_cropped(
    size: tuple[int, int], scaled: tuple[int, int], corner: tuple[int, int]
) -> None:
    """The published examples; oracle: resize to the size they name, crop where they say."""
    picture = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    scale = max(321 / size[0], 513 / size[1])
    whole = torch.nn.functional.interpolate(
        picture.permute(2, 0, 1)[None].float() / 255, scale_factor=scale, mode="bilinear", align_corners=False
    )
    assert whole.shape[-2:] == scaled
    expected = whole[..., corner[0] : corner[0] + 320, corner[1] : corner[1] + 512] * 2 - 1
    assert torch.equal(cover(picture.numpy(), 320, 512), expected)
