"""What was published twice, or oddly, is followed as its settings say."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.animate_anything.checkpoint import Spacing, check_configurations, read_spacing
from baselines.animate_anything.model import build, prepare
from baselines.animate_anything.network import predict_guided
from baselines.animate_anything.preprocess import PictureError, frame_size, mask_latent, mask_pixels
from baselines.animate_anything.settings import Settings
from baselines.animate_anything.solver import schedule, solve, start
from baselines.diffusers_config import ConfigError
from baselines.modelscope.networks import Sizes
from baselines.settings import SettingsError, with_changes
from baselines.source import Source
from ti2v_bench.model import ModelOptions


def test_strength_follows_either_published_rule(tmp_path: Path) -> None:
    picture = Image.new("RGB", (80, 64))
    half = np.zeros((64, 80), np.uint8)
    half[:, :40] = 200
    Image.fromarray(half).save(tmp_path / "mask.png")
    assert [prepare(picture, Settings(iteration=k)).strength for k in range(6)] == [3, 4, 5, 6, 7, 8]
    assert prepare(picture, Settings(strength_rule="app")).strength == 5
    masked = Settings(strength_rule="app", mask=tmp_path / "mask.png")
    assert prepare(picture, masked).strength == pytest.approx(2.5, abs=0.2)
    assert prepare(picture, Settings(strength=7.5, strength_rule="app")).strength == 7.5


def test_later_videos_of_a_run_start_from_the_size_before() -> None:
    """Published: the configuration's size is overwritten, so the area drifts where rounding changed it."""
    sizes = [frame_size(100, 64, 512 * 512, calls) for calls in (1, 2, 3, 4)]
    assert sizes[0] == (408, 640)
    height, width = sizes[0]
    assert sizes[1] == frame_size(100, 64, height * width)
    assert any(frame_size(w, 64, 48 * 48, 1) != frame_size(w, 64, 48 * 48, 6) for w in range(64, 200))


def test_sizes_round_half_to_even_multiples_of_8() -> None:
    assert frame_size(20, 20, 20 * 20) == (16, 16)  # 2.5 eights
    assert frame_size(28, 28, 28 * 28) == (32, 32)  # 3.5 eights


def test_whole_picture_may_move_without_a_mask_and_grey_masks_count_as_white() -> None:
    assert bool((mask_latent(mask_pixels(None, 64, 48)) == 1).all())
    grey = mask_pixels(Image.new("L", (10, 10), 3), 64, 48)
    assert set(np.unique(grey)) == {255}


def test_mask_edges_stay_soft_on_the_latent_grid() -> None:
    """Published: bilinear without antialiasing, not made binary again."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 28:] = 255  # the sample for column 3 lies between pixels 27 and 28
    assert mask_latent(mask)[0, 0, 0, 0].tolist() == [0, 0, 0, 0.5, 1, 1, 1, 1]


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(SettingsError, match="linspace"):
        with_changes(Settings(), {"spacing": "karras"})
    with pytest.raises(SettingsError, match="iteration 6"):
        with_changes(Settings(), {"iteration": "6"})


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 2, 14, 15, 25])
def test_solver_equals_diffusers_own_with_the_older_last_sigma(steps: int, spacing: str) -> None:
    """Also the rule that fewer than 15 steps end with one of first order."""
    from diffusers import DPMSolverMultistepScheduler

    torch.manual_seed(0)
    theirs = DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        timestep_spacing=spacing, final_sigmas_type="sigma_min",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # diffusers hands tensors to numpy the old way
        theirs.set_timesteps(steps)
    clean, noise = torch.randn(2, 1, 4, 2, 3, 3).double()
    plan = schedule(steps, spacing)
    assert list(plan.timesteps) == theirs.timesteps.tolist()
    expected = theirs.add_noise(clean, noise, theirs.timesteps[:1])
    found = start(clean, noise, plan.sigmas[0])
    assert float((found - expected).abs().max()) < 1e-5
    for t in theirs.timesteps:
        expected = theirs.step((expected * t / 500).sin(), t, expected).prev_sample
    *_, found = solve(lambda x, t: (x * t / 500).sin(), found, plan)
    assert float((found - expected).abs().max()) < 2e-4


class _Scaled:
    """Stands for a network whose noise is the latents times the mean of the text."""

    dtype = torch.float32

    def time_proj(self, strength: Tensor) -> Tensor:
        return strength[:, None]

    def __call__(self, sample: Tensor, t: Tensor, text: Tensor, strength: Tensor) -> Tensor:
        latents = sample[:, 1:].repeat(len(text) // len(sample), 1, 1, 1, 1)
        return latents * text.mean(dim=(1, 2))[:, None, None, None, None]


@pytest.mark.parametrize(("guidance", "factor"), [(0.0, 3.0), (1.0, 3.0), (1.5, 4.0), (9.0, 19.0)])
def test_guidance_of_one_or_less_is_none(guidance: float, factor: float) -> None:
    """Published: the pipeline guides where the weight is above 1 only; below, the prompt alone counts (3 here)."""
    x, first, mask = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 4, 1, 2, 2), torch.ones(2, 1, 1, 2, 2)
    texts = (torch.ones(2, 5, 6), 3 * torch.ones(2, 5, 6))
    unet: Any = _Scaled()
    found = predict_guided(unet, x, torch.tensor(7), texts, first, mask, torch.tensor([4.0, 5.0]), guidance)
    torch.testing.assert_close(found, factor * x)


@pytest.mark.parametrize(("steps", "spacing"), [(999, "leading"), (900, "trailing"), (1000, "linspace")])
def test_steps_that_fall_together_are_refused(steps: int, spacing: str) -> None:
    with pytest.raises(SettingsError, match=f"{steps} steps of {spacing} spacing do not fit"):
        build(ModelOptions(weights="random-tiny", settings={"steps": str(steps), "spacing": spacing}))


def test_masks_of_two_colours_are_resized_as_pillow_does_and_count_by_index() -> None:
    half = np.zeros((3, 5), np.uint8)
    half[:, 2:] = 1
    palette = Image.fromarray(half, "L").convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white, and still does not move
    expected = np.where(np.asarray(palette.resize((16, 8))) > 0, 255, 0)
    assert np.array_equal(mask_pixels(palette, 8, 16), expected)
    assert 0 < np.count_nonzero(expected) < expected.size
    black_and_white = Image.fromarray(half * 255).convert("1")
    assert np.array_equal(mask_pixels(black_and_white, 8, 16), expected)


def test_empty_mask_moves_nothing_but_everything_in_the_app(tmp_path: Path) -> None:
    Image.new("L", (80, 64)).save(tmp_path / "mask.png")
    eval_rule, app = (Settings(mask=tmp_path / "mask.png", strength_rule=rule) for rule in ("eval", "app"))
    picture = Image.new("RGB", (80, 64))
    assert not prepare(picture, eval_rule).mask.any()
    assert bool((prepare(picture, app).mask == 1).all())


def test_mask_that_cannot_be_read_is_refused_before_the_networks_are_made(tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    for name in ("absent.png", "words.png"):
        with pytest.raises(SettingsError, match=f"Setting mask=.*{name}' is no picture"):
            build(ModelOptions(weights="random-tiny", settings={"mask": str(tmp_path / name)}))


def test_picture_too_narrow_for_any_video_is_named() -> None:
    with pytest.raises(PictureError, match="3x1000 pixels would become a video of 0x"):
        frame_size(3, 1000, 64 * 64)


@pytest.mark.parametrize(
    ("file", "option", "value"),
    [
        ("unet/config.json", "motion_mask", False),
        ("unet/config.json", "attention_head_dim", 32),
        ("vae/config.json", "scaling_factor", 0.13025),
        ("text_encoder/config.json", "hidden_act", "quick_gelu"),
    ],
)
def test_published_configuration_that_differs_is_refused(tmp_path: Path, file: str, option: str, value: object) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(json.dumps({option: value}))
    with pytest.raises(ConfigError, match=f"{option} = {value}|{option} = '{value}'"):
        check_configurations(Source(ModelOptions(weights=str(tmp_path))), Sizes())


@pytest.mark.parametrize(
    ("content", "spacing"),
    [
        ({}, Spacing("linspace", 0)),
        ({"_class_name": "DDIMScheduler", "beta_end": 0.012, "steps_offset": 1}, Spacing("linspace", 1)),
        ({"timestep_spacing": "leading", "steps_offset": 1}, Spacing("leading", 1)),
    ],
)
def test_timestep_spacing_is_the_schedulers_files(tmp_path: Path, content: dict[str, object], spacing: Spacing) -> None:
    (tmp_path / "scheduler_config.json").write_text(json.dumps(content))
    assert read_spacing(Source(ModelOptions(weights=str(tmp_path)))) == spacing


def test_another_noise_schedule_in_the_schedulers_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scheduler_config.json").write_text(json.dumps({"beta_end": 0.02}))
    with pytest.raises(ConfigError, match=r"beta_end = 0\.02 in the published configuration; only 0\.012 is known"):
        read_spacing(Source(ModelOptions(weights=str(tmp_path))))
