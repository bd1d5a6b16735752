"""The U-Net against the official networks' recorded outputs, and against the published checkpoints' keys."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from baselines.cinemo.network import CinemoUNet, read_motion_width
from baselines.diffusers_config import ConfigError
from baselines.lavie.attention import TemporalAttention, relative_buckets
from baselines.lavie.config import LavieConfig, read_config
from baselines.lavie.unet import LavieUNet
from baselines.nn.embedding import sinusoid
from baselines.nn.rotary import rotary_table, rotate_pairs
from tests.parity import Parity

FIXTURES = ("seine_unet*", "cinemo_unet*")
UNet = LavieUNet | CinemoUNet


def build(fixture: Parity) -> UNet:
    config = read_config(fixture.info["config"])
    motion = read_motion_width(fixture.info["config"]) if fixture.info["model"] == "cinemo" else None
    unet = LavieUNet(config) if motion is None else CinemoUNet(config, motion)
    unet.load_state_dict(fixture.group("weights"), strict=True)
    return unet.eval()


@torch.no_grad()
def predict(unet: UNet, inputs: dict[str, Tensor], dtype: torch.dtype) -> Tensor:
    sample, text = inputs["sample"].to(dtype), inputs["encoder_hidden_states"].to(dtype)
    if isinstance(unet, CinemoUNet):
        return unet(sample, inputs["timestep"], text, inputs["base_content"].to(dtype), inputs["motion_ids"])
    return unet(sample, inputs["timestep"], text)


@pytest.mark.parametrize("case", ["", "_odd"])
@pytest.mark.parity(*FIXTURES)
def test_unet_matches_official_output_in_float32(fixture: Parity, case: str) -> None:
    inputs, expected = fixture.group(f"inputs{case}"), fixture.group(f"expected{case}")
    if "output" not in expected:
        pytest.skip(f"{fixture.name} has no expected{case}.output")
    torch.testing.assert_close(predict(build(fixture), inputs, torch.float32), expected["output"], rtol=2e-6, atol=1e-5)


def recorded_sinusoids(fixture: Parity, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Let the networks use the recorded float32 sinusoids, and return which of them were used.

    Math libraries differ in the last bit of float32 cosines from processor to processor (MKL: AVX-512, AVX2 and SSE
    give three answers), which moves a float64 network's output by about 1e-9.
    """
    recorded = {key: value for key, value in fixture.group("expected.mid").items() if key.endswith("time_proj")}
    used: set[str] = set()

    def stand_in(values: Tensor, dim: int) -> Tensor:
        ours = sinusoid(values, dim)
        for name, theirs in recorded.items():
            if theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=0, atol=2.5e-7):
                used.add(name)
                return theirs
        return ours

    monkeypatch.setattr("baselines.lavie.unet.sinusoid", stand_in)
    monkeypatch.setattr("baselines.cinemo.network.sinusoid", stand_in)
    return used


@pytest.mark.parametrize("case", ["", "_odd"])
@pytest.mark.parity(*FIXTURES)
def test_unet_matches_official_output_in_float64(fixture: Parity, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, expected = fixture.group(f"inputs{case}"), fixture.group(f"expected{case}")
    if "output_f64" not in expected:
        pytest.skip(f"{fixture.name} has no expected{case}.output_f64")
    unet, used = build(fixture).double(), recorded_sinusoids(fixture, monkeypatch)
    output = predict(unet, inputs, torch.float64)
    everything_recorded = len(used) == (2 if isinstance(unet, CinemoUNet) else 1)
    atol = 1e-10 if everything_recorded else 1e-8  # the last bit of the sinusoid; a wrong eps moves it by 1e-5
    torch.testing.assert_close(output, expected["output_f64"], rtol=0, atol=atol)


def _as_recorded(name: str, output: object, like: Tensor) -> Tensor:
    """First clip of our module's output in the official layout of that module."""
    tensor = output[-1] if isinstance(output, list) else output
    assert isinstance(tensor, Tensor)
    if like.dim() == 5:  # (1, C, F, H, W); ours has frames folded into the batch
        return tensor[: like.shape[2]].transpose(0, 1)[None]
    return tensor[: like.shape[0]]


@pytest.mark.parity(*FIXTURES)
def test_every_recorded_activation_matches(fixture: Parity) -> None:
    """Ours in float64: what is left of the difference is the recording's own rounding."""
    recorded = {key: value for key, value in fixture.group("expected.mid").items() if not key.endswith("time_proj")}
    unet, seen = build(fixture).double(), dict[str, Tensor]()
    for name, like in recorded.items():

        def keep(module: nn.Module, args: object, output: object, name: str = name, like: Tensor = like) -> None:
            seen[name] = _as_recorded(name, output, like)

        unet.get_submodule(name).register_forward_hook(keep)
    predict(unet, fixture.group("inputs"), torch.float64)
    assert set(seen) == set(recorded)
    for name, value in recorded.items():
        torch.testing.assert_close(
            seen[name].float(), value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parity(*FIXTURES)
def test_rotary_and_distance_bias_match(fixture: Parity) -> None:
    unet, expected, inputs = build(fixture), fixture.group("expected"), fixture.group("inputs")
    attention = next(module for module in unet.modules() if isinstance(module, TemporalAttention))
    if "rotary_q" in expected:
        table = rotary_table(attention.rotary_emb.freqs, inputs["rotary_q"].shape[-2])
        torch.testing.assert_close(rotate_pairs(inputs["rotary_q"], table), expected["rotary_q"], rtol=0, atol=1e-6)
    if "rel_pos_bucket_16" in expected:
        assert torch.equal(relative_buckets(16), expected["rel_pos_bucket_16"])
    if "rel_pos_bias_16" in expected:
        assert torch.equal(attention.time_rel_pos_bias(relative_buckets(16)), expected["rel_pos_bias_16"])


@pytest.mark.parametrize("model", ["seine", "cinemo"])
def test_full_size_keys_and_shapes_equal_the_published_checkpoint(model: str, manifest_dir: Path) -> None:
    expected = json.loads((manifest_dir / f"{model}.json").read_text())
    with torch.device("meta"):
        unet = LavieUNet(LavieConfig(in_channels=9)) if model == "seine" else CinemoUNet(LavieConfig())
    assert {key: list(value.shape) for key, value in unet.state_dict().items()} == expected


def test_norm_eps_are_the_published_ones() -> None:
    with torch.device("meta"):
        unet = LavieUNet(LavieConfig())
    for name, module in unet.named_modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm):
            assert module.eps == (1e-6 if name.endswith(".norm") else 1e-5), name  # `.norm` is a transformer's


def test_resnet_statistics_run_over_all_frames() -> None:
    """Published: a brighter frame shifts its neighbours; a norm per frame would not let it."""
    unet = LavieUNet(LavieConfig(channels=(64, 64), attention=(False, False), heads=2, groups=2, layers=1, context=8))
    norm = unet.down_blocks[0].resnets[0].norm1
    frames = torch.randn(3, 64, 4, 4)
    frames[0] += 5
    expected = torch.nn.functional.silu(
        torch.nn.functional.group_norm(frames.transpose(0, 1)[None], 2, norm.weight, norm.bias, 1e-5)
    )
    torch.testing.assert_close(norm(frames, 3), expected[0].transpose(0, 1))


def test_all_temporal_attentions_share_one_set_of_frequencies() -> None:
    with torch.device("meta"):
        unet = LavieUNet(LavieConfig())
    keys = [key for key in unet.state_dict() if key.endswith("rotary_emb.freqs")]
    assert len(keys) == 16
    assert len({id(unet.get_submodule(key.removesuffix(".freqs"))) for key in keys}) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("act_fn", "gelu"),
        ("norm_eps", "small"),
        ("attention_head_dim", [5, 10]),
        ("down_block_types", ["AttnDownBlock3D"]),
        ("up_block_types", ["CrossAttnUpBlock3D"] * 4),
        ("block_out_channels", 320),
        ("attention_head_dim", 16),
    ],
)
def test_a_configuration_of_another_network_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"heads" if value == 16 else name):
        read_config({name: value})
