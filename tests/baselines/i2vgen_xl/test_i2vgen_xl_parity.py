"""I2VGen-XL's preprocessing, network and loop against recordings of the official code."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.i2vgen_xl import preprocess
from baselines.i2vgen_xl.sampler import (
    Conditions,
    position_frames,
    predict,
    trajectory,
    weigh_image_branch,
)
from baselines.modelscope.diffusion import cosine_alphas
from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.trunk import build_image_unet
from tests.baselines.modelscope.compare import farthest, relative
from tests.baselines.modelscope.sizes import of_vgen
from tests.parity import Parity


@pytest.mark.parity("i2vgen_xl_preprocess*")
def test_both_pictures_match_the_official_ones(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    width, height = fixture.info["resolution_wh"]
    for name in fixture.info["cases"]:
        picture = Image.fromarray(given[f"{name}.image"].numpy())
        assert farthest(preprocess.vae_pixels(picture, width, height), expected[f"{name}.vae_pixels"]) < 1e-6
        small = preprocess.clip_pixels(picture, width, fixture.info["vit_resolution_wh"][0])
        assert farthest(small, expected[f"{name}.clip_pixels"]) < 1e-6


@pytest.mark.parametrize("size", [(512, 512), (1024, 1024), (1024, 576)])
def test_floor_division_leaves_a_black_column_at_the_left(size: tuple[int, int]) -> None:
    """Published: the resized picture is 1279 wide for these sizes and the cut begins at -1."""
    pixels = preprocess.vae_pixels(Image.new("RGB", size, "white"), 1280, 704)
    assert bool((pixels[..., 0] == -1).all())
    assert bool((pixels[..., 1:] == 1).all())


@pytest.mark.parity("i2vgen_xl_unet*")
def test_network_matches_the_official_one(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    shape = of_vgen(fixture.info["config"])
    unet = build_image_unet(shape).requires_grad_(False)
    unet.load_state_dict(to_diffusers(fixture.group("weights"), shape, image=True))
    weigh_image_branch(unet, 2.0)
    conditions = Conditions(given["y"], given["image"], given["local_image"][:, :, 0], given["fps"])
    assert farthest(predict(unet, given["x"], given["t"], conditions), expected["output"]) < 1e-5
    if "output_f64" in expected:
        exact = Conditions(given["y"].double(), given["image"].double(), conditions.first.double(), given["fps"])
        found = predict(unet.double(), given["x"].double(), given["t"], exact)
        assert farthest(found, expected["output_f64"]) < 1e-10


@pytest.mark.parity("i2vgen_xl_unet*")
def test_without_the_published_factor_the_output_is_another(fixture: Parity) -> None:
    """The image branch counts twice; diffusers' class alone counts it once."""
    given, expected = fixture.group("inputs"), fixture.group("expected")
    shape = of_vgen(fixture.info["config"])
    unet = build_image_unet(shape).requires_grad_(False)
    unet.load_state_dict(to_diffusers(fixture.group("weights"), shape, image=True))
    conditions = Conditions(given["y"], given["image"], given["local_image"][:, :, 0], given["fps"])
    assert farthest(predict(unet, given["x"], given["t"], conditions), expected["output"]) > 0.1


@pytest.mark.parity("i2vgen_xl_sampler*")
def test_every_step_matches_from_the_recorded_state(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    shape = of_vgen(fixture.info["unet_config"])
    unet = build_image_unet(shape).requires_grad_(False)
    weights = fixture.sibling(fixture.info["weights"].split()[0]).group("weights")
    unet.load_state_dict(to_diffusers(weights, shape, image=True))
    weigh_image_branch(unet, 2.0)
    both = Conditions(
        torch.cat([given["y"], given["y_negative"]]),
        torch.cat([given["image"], torch.zeros_like(given["image"])]),
        given["local_image"][:, :, 0].repeat(2, 1, 1, 1),
        given["fps"].repeat(2),
    )

    def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        positive, negative = predict(unet, torch.cat([x, x]), torch.tensor(t), both).chunk(2)
        return positive, negative

    for name, case in fixture.info["cases"].items():
        steps, scale = case["ddim_timesteps"], fixture.info["guide_scale"]
        for number, (x, clean) in enumerate(trajectory(network, given["noise"], steps, scale)):
            assert relative(clean, expected[f"{name}.step{number:02d}.x0"]) < 2e-5, (name, number)
            assert relative(x, expected[f"{name}.step{number:02d}.xt"]) < 2e-5, (name, number)
            x.copy_(expected[f"{name}.step{number:02d}.xt"])
        *_, (free, _) = trajectory(network, given["noise"], steps, scale)
        assert relative(free, expected[f"{name}.output"]) < 5e-4


@pytest.mark.parity("i2vgen_xl_sampler*")
def test_schedule_ends_without_signal_as_recorded(fixture: Parity) -> None:
    expected = fixture.group("expected").get("alphas_cumprod")
    if expected is not None:
        assert farthest(cosine_alphas(), expected) < 1e-12
    assert float(cosine_alphas()[999]) == 0
    assert float(cosine_alphas()[981]) == pytest.approx(0.00078403, abs=5e-9)


def test_frames_behind_the_picture_say_where_they_are() -> None:
    frames = position_frames(torch.full((1, 4, 1, 1), 7.0), 5)
    assert frames[0, 0, :, 0, 0].tolist() == [7.0, 0.25, 0.5, 0.75, 1.0]
    assert position_frames(torch.full((1, 4, 1, 1), 7.0), 1).shape == (1, 4, 1, 1, 1)
