"""What was published twice, or oddly, is followed as its settings say."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.animate_anything.checkpoint import Spacing, read_spacing
from baselines.animate_anything.model import prepare
from baselines.animate_anything.preprocess import frame_size, mask_latent, mask_pixels
from baselines.animate_anything.settings import Settings
from baselines.animate_anything.solver import schedule, solve, start
from baselines.diffusers_config import ConfigError
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
