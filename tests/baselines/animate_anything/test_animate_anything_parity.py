"""AnimateAnything's preprocessing, network and solver against recordings of the official code."""

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.animate_anything import preprocess
from baselines.animate_anything.network import predict, predict_guided, to_diffusers
from baselines.animate_anything.solver import Schedule, schedule, solve, start
from baselines.modelscope.trunk import build_text_unet
from tests.baselines.modelscope.compare import farthest, relative
from tests.baselines.modelscope.sizes import of_diffusers
from tests.parity import Parity


@pytest.mark.parity("animate_anything_preprocess*")
def test_size_picture_and_mask_match_the_official_ones(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    for name, case in fixture.info["cases"].items():
        if not isinstance(case, dict):
            continue
        rows, columns = case["target_area"]
        height, width = preprocess.frame_size(*case["image_wh"], area=rows * columns)
        assert [height, width] == case["out_hw"]
        picture = Image.fromarray(given[f"{name}.image"].numpy())
        pixels = preprocess.picture_pixels(picture, height, width)
        assert farthest(pixels, expected[f"{name}.pixels"]) < 1e-6
        if f"{name}.mask" in given:
            mask = preprocess.mask_latent(given[f"{name}.mask"].numpy())
            assert farthest(mask, expected[f"{name}.mask_latent"]) < 1e-6


@pytest.mark.parity("animate_anything_unet*")
def test_network_matches_with_and_without_mask_and_strength(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    shape = of_diffusers(fixture.info["config"])
    masked = build_text_unet(shape, 5, strength=True).requires_grad_(False)
    masked.load_state_dict(to_diffusers(fixture.group("weights")))
    plain = build_text_unet(shape, 4, strength=True).requires_grad_(False)
    plain.load_state_dict(to_diffusers(fixture.group("weights"), mask=False))
    text, t, strength = given["encoder_hidden_states"], given["timestep"], given["motion"]
    x, first, mask = given["sample"], given["condition_latent"], given["mask"]
    found = {
        "output": predict(masked, x, t, text, first, mask, strength),
        "output_no_motion": predict(masked, x, t, text, first, mask, None),
        "output_no_mask": predict(plain, x, t, text, first, None, strength),
    }
    if "odd.sample" in given:
        odd = (given["odd.sample"], t, text, given["odd.condition_latent"], given["odd.mask"], strength)
        found["odd.output"] = predict(masked, *odd)
    for name in found.keys() & expected.keys():
        assert farthest(found[name], expected[name]) < 1e-5, name
    if "output_f64" in expected:
        exact = [value.double() for value in (text, first, mask, strength)]
        found64 = predict(masked.double(), x.double(), t, *exact)
        assert farthest(found64, expected["output_f64"]) < 1e-10


@pytest.mark.parity("animate_anything_sampler*")
def test_every_solver_step_matches_from_the_recorded_state(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    network = _Recorded(fixture)
    for name, variant in fixture.info["variants"].items():
        plan = _schedule(fixture, variant)
        _check_schedule(plan, variant)
        x = start(given["image_latent"].expand_as(given["noise"]), given["noise"], plan.sigmas[0])
        assert farthest(x, expected[f"{name}.initial_latents"]) < 1e-5
        for number, after in enumerate(solve(network, x, plan)):
            recorded = expected.get(f"{name}.step{number:02d}")
            if recorded is not None:
                assert relative(after, recorded) < 2e-5, (name, number)
                after.copy_(recorded)


@pytest.mark.parity("animate_anything_sampler*")
def test_whole_trajectory_matches(fixture: Parity) -> None:
    """The shortest recorded one of each timestep spacing."""
    given, expected = fixture.group("inputs"), fixture.group("expected")
    network = _Recorded(fixture)
    variants = sorted(fixture.info["variants"].items(), key=lambda item: -int(item[1]["num_inference_steps"]))
    shortest = {variant["timestep_spacing"]: (name, variant) for name, variant in variants}
    for name, variant in shortest.values():
        plan = _schedule(fixture, variant)
        x = start(given["image_latent"].expand_as(given["noise"]), given["noise"], plan.sigmas[0])
        *_, found = solve(network, x, plan)
        assert relative(found, expected[f"{name}.final_latents"]) < 2e-4, name


class _Recorded:
    """The tiny network with everything but latents and timestep filled in from the fixture."""

    def __init__(self, fixture: Parity) -> None:
        given = fixture.group("inputs")
        weights = fixture.sibling(fixture.info["weights"].split()[0])
        self.unet = build_text_unet(of_diffusers(fixture.info["unet_config"]), 5, strength=True).requires_grad_(False)
        self.unet.load_state_dict(to_diffusers(weights.group("weights")))
        self.texts = (given["negative_prompt_embeds"], given["prompt_embeds"])
        self.first, self.mask = given["image_latent"], given["mask"]
        self.strength = torch.tensor(fixture.info["motion"]).float()
        self.guidance = fixture.info["guidance_scale"]

    def __call__(self, x: Tensor, t: int) -> Tensor:
        step = torch.tensor(t)
        return predict_guided(self.unet, x, step, self.texts, self.first, self.mask, self.strength, self.guidance)


def _schedule(fixture: Parity, variant: dict[str, Any]) -> Schedule:
    offset = fixture.info["base_scheduler_config"].get("steps_offset", 0)
    return schedule(variant["num_inference_steps"], variant["timestep_spacing"], offset)


def _check_schedule(plan: Schedule, variant: dict[str, list[float]]) -> None:
    assert list(plan.timesteps) == variant["timesteps"]
    assert plan.sigmas == pytest.approx(variant["sigmas"], rel=2e-5)  # recorded from float32 tables
