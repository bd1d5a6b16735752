"""The denoising network against recorded outputs of the official code, and against its published shape."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.checkpoints import below, build, without_storage
from baselines.lvdm.attention import TemporalTransformer
from baselines.lvdm.blocks import FrameConv, ResBlock, TemporalConv
from baselines.lvdm.networks import (
    DYNAMICRAFTER_256,
    DYNAMICRAFTER_512,
    DYNAMICRAFTER_1024,
    VIDEOCRAFTER1,
    VIDEOCRAFTER2,
)
from baselines.lvdm.settings import NetworkSettings, UNetSettings
from baselines.lvdm.unet import UNet
from tests.baselines.lvdm.recorded import FILE, recorded_unet, unet_settings
from tests.parity import Parity

ALL_UNETS = ("videocrafter*_unet_*", "dynamicrafter*_unet_*", "cond_leak*_unet_*")
FULL: dict[str, NetworkSettings] = {
    "videocrafter1_i2v": VIDEOCRAFTER1,
    "videocrafter2_t2v": VIDEOCRAFTER2,
    "cond_leak_videocrafter512": VIDEOCRAFTER1,
    "cond_leak_dynamicrafter512": DYNAMICRAFTER_512,
    "dynamicrafter256": DYNAMICRAFTER_256,
    "dynamicrafter512": DYNAMICRAFTER_512,
    "dynamicrafter1024": DYNAMICRAFTER_1024,
}


def _frame_rate(fixture: Parity) -> Tensor:
    inputs = fixture.group("inputs")
    return inputs["fps"] if "fps" in inputs else inputs["fs"]


@pytest.mark.parity(*ALL_UNETS)
def test_network_gives_the_official_outputs(fixture: Parity) -> None:
    net, inputs, expected = recorded_unet(fixture), fixture.group("inputs"), fixture.group("expected")
    x, steps, context = inputs["x"], inputs["timesteps"], inputs["context"]
    found = {"output": net(x, steps, context, _frame_rate(fixture))}
    if "output_fps_default" in expected or "output_fs_none" in expected:
        found["output_fps_default"] = found["output_fs_none"] = net(x, steps, context)
    if "output_context_93" in expected:
        found["output_context_93"] = net(x, steps, context[:, :93], _frame_rate(fixture))
    compared = [name for name in found if name in expected]
    assert "output" in compared
    for name in compared:
        assert (found[name] - expected[name]).abs().max() <= 1e-5, name


@pytest.mark.parity(*ALL_UNETS)
def test_every_recorded_inner_output_is_met(fixture: Parity) -> None:
    """In float64, so that of the rounding, which grows from block to block, only the recording's is left."""
    net, inputs, expected = (
        recorded_unet(fixture, torch.float64),
        fixture.group("inputs"),
        fixture.group("expected.mid"),
    )
    seen: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
        for name in expected
    ]
    net(inputs["x"].double(), inputs["timesteps"], inputs["context"].double(), _frame_rate(fixture))
    for hook in hooks:
        hook.remove()
    for name, value in expected.items():
        # The official temporal transformer keeps clips apart: (B, C, F, H, W) for our (B F, C, H, W).
        flat = value.transpose(1, 2).flatten(0, 1) if value.ndim == 5 else value
        largest = flat.abs().max().item()  # float32 rounds in proportion; the output itself is met to 1e-5
        assert (seen[name] - flat).abs().max() <= 3e-5 * max(1.0, largest / 20), name


@pytest.mark.parity(*ALL_UNETS)
def test_clips_of_a_batch_do_not_touch_each_other(fixture: Parity) -> None:
    """What lets both guidance branches, and several pairs, share one call."""
    net, inputs = recorded_unet(fixture), fixture.group("inputs")
    whole = net(inputs["x"], inputs["timesteps"], inputs["context"], _frame_rate(fixture))
    single = [
        net(x[None], step[None], context[None], fps[None])
        for x, step, context, fps in zip(
            inputs["x"], inputs["timesteps"], inputs["context"], _frame_rate(fixture), strict=True
        )
    ]
    assert torch.allclose(torch.cat(single), whole, atol=1e-5)


@pytest.mark.parametrize("name", FULL)
def test_full_size_keys_and_shapes_equal_the_published(name: str, manifest_dir: Path) -> None:
    published: dict[str, Any] = json.loads((manifest_dir / f"{name}.json").read_text())
    expected = {key: tuple(shape) for key, shape in below(published, "model.diffusion_model.").items()}
    net = without_storage(lambda: UNet(FULL[name].unet))
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == expected


@pytest.mark.parametrize(
    ("name", "count"),
    [("videocrafter1_i2v", 1438843460), ("videocrafter2_t2v", 1413284420), ("dynamicrafter512", 1438854980),
     ("dynamicrafter256", 1438854996)],
)  # fmt: skip
def test_parameter_count_is_the_published(name: str, count: int) -> None:
    assert sum(p.numel() for p in without_storage(lambda: UNet(FULL[name].unet)).parameters()) == count


def test_norms_have_the_published_epsilons() -> None:
    """A wrong one changes outputs by less than the fixtures' tolerance, so it is looked at directly."""
    net = without_storage(lambda: UNet(UNetSettings(image_attention=True)))
    for name, module in net.named_modules():
        if isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-5, name
        if isinstance(module, nn.GroupNorm):
            assert module.num_groups == 32
            transformer = name.endswith(".norm")  # of SpatialTransformer and TemporalTransformer
            assert module.eps == (1e-6 if transformer else 1e-5), name


def test_key_of_the_temporal_convolution_is_misspelt_as_published() -> None:
    keys = without_storage(lambda: UNet(UNetSettings())).state_dict()
    assert "middle_block.0.temopral_conv.conv4.3.weight" in keys


def test_depth_of_temporal_transformers_is_their_own_but_for_the_first() -> None:
    """VideoCrafter's code, where a spatial depth of 2 changes the first temporal transformer and no other."""
    keys = without_storage(lambda: UNet(UNetSettings(transformer_depth=2))).state_dict()
    second = {key.partition(".transformer_blocks.1.")[0] for key in keys if ".transformer_blocks.1." in key}
    assert {"init_attn.0", "input_blocks.1.1", "middle_block.1", "output_blocks.11.1"} <= second
    assert not {"input_blocks.1.2", "middle_block.2", "output_blocks.11.2"} & second


def test_temporal_norms_see_all_frames_of_a_clip() -> None:
    torch.manual_seed(0)
    for module in (TemporalConv(64, 0.0), TemporalTransformer(64, 64, 1, 1)):
        x = torch.randn(6, 64, 2, 2)
        louder = torch.cat([x[:2], 5 * x[2:3], x[3:]])
        # Three kernels of size 3 reach further than two frames, so look where only the norm can carry it: another clip.
        changed = (module(louder, 3) - module(x, 3)).abs().amax((1, 2, 3))
        assert changed[:3].min() > 1e-3
        assert changed[3:].max() == 0


def test_frame_convolution_is_the_three_dimensional_one() -> None:
    torch.manual_seed(0)
    ours, theirs = FrameConv(8), nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8, 5, 3, 4)
    assert torch.allclose(ours(x.flatten(3)).unflatten(3, (3, 4)), theirs(x), atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_does_not_change_results(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    block = ResBlock(64, 128, 32, 0.0)
    x, emb = torch.randn(4, 64, 4, 6), torch.randn(2, 32)
    assert torch.allclose(block(x.contiguous(memory_format=layout), emb, 2), block(x, emb, 2), atol=1e-5)


@pytest.mark.parity("videocrafter2_t2v_unet_*")
def test_more_input_channels_change_the_first_convolution_only(fixture: Parity) -> None:
    """MotiF's use: VideoCrafter2 with a concatenated condition."""
    settings = unet_settings(fixture)
    wider = UNetSettings(**{**settings.__dict__, "in_channels": settings.in_channels + 5})
    plain, wide = (without_storage(lambda s=s: UNet(s)).state_dict() for s in (settings, wider))
    assert [key for key in plain if plain[key].shape != wide[key].shape] == ["input_blocks.0.0.weight"]
    assert plain.keys() == wide.keys()


@pytest.mark.parity("dynamicrafter256_unet_*")
def test_image_branch_is_weighted_by_one_plus_tanh_alpha(fixture: Parity) -> None:
    state, settings = fixture.group("weights"), unet_settings(fixture)
    inputs = fixture.group("inputs")
    silent = {key: torch.full_like(value, -50.0) if key.endswith("alpha") else value for key, value in state.items()}
    net = build(lambda: UNet(settings), silent, expected=FILE, dtype=torch.float32)
    other = torch.cat([inputs["context"][:, :77], torch.randn_like(inputs["context"][:, 77:])], dim=1)
    first, second = (net(inputs["x"], inputs["timesteps"], c, inputs["fs"]) for c in (inputs["context"], other))
    assert torch.equal(first, second)  # tanh(-50) + 1 = 0 in float32
