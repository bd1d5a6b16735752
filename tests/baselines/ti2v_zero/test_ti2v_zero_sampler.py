"""TI2V-Zero's loop against recordings of the official one."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.modelscope.diffusion import before, clean_from_noise, ddim, linear_sd_alphas, timesteps
from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.trunk import build_text_unet
from baselines.ti2v_zero.sampler import Draw, Network, Resampling, sample_clip, slide, updates
from tests.baselines.modelscope.compare import relative
from tests.baselines.modelscope.sizes import of_vgen
from tests.parity import Parity


def network_of(weights: Parity, config: dict[str, Any], text: Tensor, empty: Tensor) -> Network:
    """The recorded tiny network with its texts, both branches in one batch."""
    shape = of_vgen(config)
    unet = build_text_unet(shape).requires_grad_(False)
    unet.load_state_dict(to_diffusers(weights.group("weights"), shape))

    def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        both = unet(x, torch.tensor(t), torch.cat([text, empty])).chunk(2)
        return both[0], both[1]

    return network


def recorded_draws(inputs: dict[str, Tensor], case: str) -> Draw:
    """The official Gaussian draws in call order; those without effect were not stored and are zeros here."""
    numbers = itertools.count()

    def draw(shape: tuple[int, ...]) -> Tensor:
        stored = inputs.get(f"{case}.draw{next(numbers):02d}")
        if stored is None:
            return torch.zeros(1, *shape)
        assert stored.shape == (1, *shape)
        return stored.clone()

    return draw


def _case(fixture: Parity, case: dict[str, Any]) -> tuple[Network, Resampling]:
    given = fixture.group("inputs")
    weights = fixture.sibling(fixture.info["weights"].split()[0])
    network = network_of(weights, fixture.info["unet_config"], given["y"], given["zero_y"])
    how = Resampling(
        case["ddim_timesteps"],
        case["resample_iter"],
        case["guide_scale"],
        case["eta"],
        bool(case["use_ddpm_inversion"]),
    )
    return network, how


@pytest.mark.parity("ti2v_zero_sampler*")
def test_every_update_matches_from_the_recorded_state(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    for name, case in fixture.info["cases"].items():
        network, how = _case(fixture, case)
        asked: list[int] = []

        def watched(x: Tensor, t: int, network: Network = network, asked: list[int] = asked) -> tuple[Tensor, Tensor]:
            asked.append(t)
            return network(x, t)

        for number, x in enumerate(updates(watched, given["cond_vid"], how, recorded_draws(given, name))):
            recorded = expected.get(f"{name}.ddim{number:02d}.xt")
            if recorded is not None:
                assert relative(x, recorded) < 2e-5, (name, number)
                x.copy_(recorded)
        assert asked == case["ddim_calls_t"]


@pytest.mark.parity("ti2v_zero_sampler*")
def test_whole_loop_matches_and_uses_every_draw(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    for name, case in fixture.info["cases"].items():
        network, how = _case(fixture, case)
        count = itertools.count()
        recorded = recorded_draws(given, name)

        def draw(shape: tuple[int, ...], recorded: Draw = recorded, count: "itertools.count[int]" = count) -> Tensor:
            next(count)
            return recorded(shape)

        found = sample_clip(network, given["cond_vid"], how, draw)
        assert relative(found, expected[f"{name}.output"]) < 2e-4
        assert next(count) == len(case["draw_labels"])


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_update_equals_diffusers_own(eta: float) -> None:
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    theirs.set_timesteps(4)
    torch.manual_seed(0)
    x, noise, drawn = torch.randn(3, 1, 4, 2, 3, 3).double()
    alphas = linear_sd_alphas().tolist()
    for t in timesteps(4)[:-1]:
        expected = theirs.step(noise, t, x, eta=eta, variance_noise=drawn).prev_sample
        clean = clean_from_noise(x, noise, alphas[t])
        found = ddim(x, clean, alphas[t], alphas[before(t, 4)], eta, drawn)
        assert float((found - expected).abs().max()) < 1e-5  # theirs reads a float32 table


def test_videos_of_a_batch_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    known, how = torch.randn(2, 4, 3, 4, 4), Resampling(steps=2, resamples=1, guidance=9.0)

    def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return x.sin(), x.cos() * t / 1000

    def drawing(rows: slice) -> Draw:
        generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)][rows]
        return lambda shape: torch.stack([torch.randn(shape, generator=generator) for generator in generators])

    both = sample_clip(network, known, how, drawing(slice(0, 2)))
    second = sample_clip(network, known[1:], how, drawing(slice(1, 2)))
    assert torch.equal(both[1:], second)


def test_each_distinct_frame_is_encoded_once() -> None:
    """15 encodes where the official code makes 225, and the last frame is not encoded at all."""
    encoded, decoded = itertools.count(), itertools.count()

    def encode(frames: Tensor) -> Tensor:
        next(encoded)
        return frames[:, :1]

    def decode(latents: Tensor) -> Tensor:
        next(decoded)
        return latents.repeat(1, 3, 1, 1) + 1

    def sample(known: Tensor) -> Tensor:
        assert known.shape[2] == 15
        return torch.cat([known, known[:, :, -1:]], dim=2)

    video = slide(torch.zeros(1, 3, 2, 2), encode, decode, sample, known=15, new=15)
    assert video[0, :, 0, 0, 0].tolist() == list(range(16))  # unclamped: each frame is the one before plus 1
    assert (next(encoded), next(decoded)) == (15, 15)
