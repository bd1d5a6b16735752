"""What was published twice, or oddly, is followed as its settings say."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from baselines.checkpoints import random_state
from baselines.i2vgen_xl.model import load_unet, without_grey_end
from baselines.i2vgen_xl.sampler import trajectory
from baselines.i2vgen_xl.settings import BEHAVIOURS, NEGATIVE, UNET_OF_HUB, Settings
from baselines.modelscope.diffusion import timesteps
from baselines.modelscope.networks import TINY
from baselines.modelscope.trunk import build_image_unet
from baselines.settings import SettingsError, with_changes
from baselines.source import Source
from ti2v_bench.model import ModelOptions


@pytest.mark.parametrize(("share", "kept"), [(0.40, 5), (0.41, 4)])
def test_a_grey_last_frame_is_left_out(share: float, kept: int) -> None:
    frames = np.zeros((5, 10, 10, 3), np.uint8)
    frames[-1].reshape(-1)[: round(share * 300)] = 117
    assert len(without_grey_end(frames)) == kept
    assert len(without_grey_end(frames[-1:])) == 1  # the official code writes an only frame as it is


def test_last_step_ends_with_a_little_noise_and_the_hubs_without() -> None:
    def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return x * 0.5, x * 0.25

    torch.manual_seed(0)
    x = torch.randn(1, 4, 2, 3, 3)
    *_, (official, clean) = trajectory(network, x, 50, 9.0, BEHAVIOURS["official"].last_alpha)
    *_, (hub, hub_clean) = trajectory(network, x, 50, 9.0, BEHAVIOURS["hub"].last_alpha)
    assert torch.equal(clean, hub_clean)
    assert torch.allclose(hub, hub_clean)
    assert not torch.allclose(official, clean)


def test_step_that_trained_without_signal_is_never_visited() -> None:
    assert timesteps(50)[0] == 981
    with pytest.raises(SettingsError, match="3 steps would begin at training step 999"):
        with_changes(Settings(), {"steps": "3"})


def test_both_published_readings_are_named() -> None:
    assert (BEHAVIOURS["official"].image_factor, BEHAVIOURS["hub"].image_factor) == (2.0, 1.0)
    assert (BEHAVIOURS["official"].latent_scale, BEHAVIOURS["hub"].latent_scale) == (0.18215, 0.18125)
    assert (BEHAVIOURS["official"].negative_prompt, BEHAVIOURS["hub"].negative_prompt) == (NEGATIVE, "")
    assert (BEHAVIOURS["official"].least_guidance, BEHAVIOURS["hub"].least_guidance) == (-math.inf, 1.0)


@pytest.mark.parametrize(("behaviour", "factor"), [("official", 2.0), ("hub", 1.0)])
def test_image_branch_is_weighed_by_the_behaviour(behaviour: str, factor: float) -> None:
    def first_kernel(weigh: bool) -> Tensor:
        settings = with_changes(Settings(), {"behaviour": behaviour})
        source = Source(ModelOptions(weights="random-tiny"))
        if weigh:
            return load_unet(source, settings, TINY, torch.float32).conv_in.weight
        kernel: Tensor = random_state(lambda: build_image_unet(TINY.trunk), 0)["conv_in.weight"]
        return kernel

    plain, weighed = first_kernel(weigh=False), first_kernel(weigh=True)
    assert torch.equal(weighed[:, :4], plain[:, :4])
    assert torch.equal(weighed[:, 4:], factor * plain[:, 4:])


def test_hubs_network_is_read_under_its_own_names(tmp_path: Path) -> None:
    state = random_state(lambda: build_image_unet(TINY.trunk), 5)
    (tmp_path / "unet").mkdir()
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / UNET_OF_HUB.file)
    settings = with_changes(Settings(), {"behaviour": "hub"})
    unet = load_unet(Source(ModelOptions(weights=str(tmp_path))), settings, TINY, torch.float32)
    assert all(torch.equal(value, state[key]) for key, value in unet.state_dict().items())
