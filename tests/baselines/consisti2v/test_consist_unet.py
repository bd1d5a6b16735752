"""ConsistI2V's U-Net against the official network's recorded outputs and the published checkpoint's keys."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.consisti2v.attention import FrameTextAttention, WindowAttention, neighbours
from baselines.consisti2v.config import ConsistConfig, read_config
from baselines.consisti2v.unet import ConsistUNet
from baselines.diffusers_config import ConfigError
from baselines.nn.folding import FrameConv
from tests.parity import Parity

UNET = "consisti2v_unet*"


def build(fixture: Parity) -> ConsistUNet:
    unet = ConsistUNet(read_config(fixture.info["config"]))
    unet.load_state_dict(fixture.group("weights"), strict=True)
    return unet.eval()


@torch.no_grad()
def predict(unet: ConsistUNet, fixture: Parity, dtype: torch.dtype = torch.float32) -> Tensor:
    inputs = {key: value.to(dtype) for key, value in fixture.group("inputs").items()}
    batch = inputs["sample"].shape[0]
    timestep = torch.full((batch,), fixture.info["timestep"])
    stride = torch.full((batch,), fixture.info["frame_stride"])
    return unet(inputs["sample"], timestep, inputs["encoder_hidden_states"], inputs["first_frame_latents"], stride)


@pytest.mark.parity(UNET)
def test_unet_matches_official_output(fixture: Parity) -> None:
    expected = fixture.group("expected")
    torch.testing.assert_close(predict(build(fixture), fixture), expected["sample"], rtol=2e-6, atol=1e-5)
    if "output_f64" in expected:
        output = predict(build(fixture).double(), fixture, torch.float64)
        torch.testing.assert_close(output, expected["output_f64"], rtol=0, atol=1e-8)


@pytest.mark.parity(UNET)
def test_float32_rounding_explains_all_of_the_difference(fixture: Parity) -> None:
    """Without a recorded float64 output: our float64 network is as near to the recording as float32 rounding allows."""
    output = predict(build(fixture).double(), fixture, torch.float64)
    torch.testing.assert_close(output.float(), fixture.group("expected")["sample"], rtol=0, atol=5e-6)


def _in_official_layout(output: object, like: Tensor, frames: int) -> Tensor:
    tensor = output[-1] if isinstance(output, list) else output
    assert isinstance(tensor, Tensor)
    if tensor.dim() == 4 and like.dim() == 3:  # temporal attention: (B, N, F, C)
        return tensor.transpose(1, 2).flatten(0, 1)
    return tensor.repeat_interleave(frames, dim=0) if tensor.dim() == 2 else tensor


@pytest.mark.parity(UNET)
def test_every_recorded_activation_matches(fixture: Parity) -> None:
    unet, recorded, seen = build(fixture), fixture.group("expected.act"), dict[str, Tensor]()
    for name, like in recorded.items():

        def keep(module: nn.Module, args: object, output: object, name: str = name, like: Tensor = like) -> None:
            seen[name] = _in_official_layout(output, like, unet.config.frames)

        unet.get_submodule(name).register_forward_hook(keep)
    predict(unet, fixture)
    assert set(seen) == set(recorded)
    recorded["conv_norm_out"] = F.silu(recorded["conv_norm_out"])  # ours has the activation with it
    for name, value in recorded.items():
        torch.testing.assert_close(
            seen[name], value, rtol=1e-5, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parity(UNET)
def test_dead_tensors_load_and_stay_dead(fixture: Parity) -> None:
    unet = build(fixture)
    before = predict(unet, fixture)
    dead = [key for key in unet.state_dict() if ("conv3ds" in key and "time_emb_proj" in key) or "rotary_bias" in key]
    assert dead
    for key in dead:
        unet.state_dict()[key].fill_(torch.nan)
    assert torch.equal(predict(unet, fixture), before)


@pytest.mark.parity(UNET)
def test_blend_weights_are_clamped_to_the_unit_interval(fixture: Parity) -> None:
    unet = build(fixture)
    alphas = [parameter for name, parameter in unet.named_parameters() if name.endswith("alpha")]
    outputs = []
    for value in (-3.0, 0.0, 1.0, 7.0):
        for alpha in alphas:
            alpha.data.fill_(value)
        outputs.append(predict(unet, fixture))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[2], outputs[3])
    assert not torch.allclose(outputs[1], outputs[2])


def test_full_size_keys_and_shapes_equal_the_published_checkpoint(manifest_dir: Path) -> None:
    expected = json.loads((manifest_dir / "consisti2v.json").read_text())
    with torch.device("meta"):
        unet = ConsistUNet(ConsistConfig())
    assert {key: list(value.shape) for key, value in unet.state_dict().items()} == expected
    dead = [key for key in expected if ("conv3ds" in key and "time_emb_proj" in key) or "rotary_bias" in key]
    assert len(dead) == 74


def test_norm_eps_and_groups_are_the_published_ones() -> None:
    with torch.device("meta"):
        unet = ConsistUNet(ConsistConfig(channels=(64, 64), attention=(True, False), heads=(1, 1), groups=16))
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm):
            temporal = "conv3ds" in name
            assert module.eps == (1e-6 if temporal or name.endswith(".norm") else 1e-5), name
            assert module.num_groups == (32 if temporal else 16), name
        elif isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-5, name


def test_convolution_over_frames_equals_the_three_dimensional_one() -> None:
    conv = FrameConv(6).double()
    frames = torch.randn(2 * 5, 6, 3, 4, dtype=torch.float64)
    clips = frames.view(2, 5, 6, 3, 4).transpose(1, 2)
    expected = F.conv3d(clips, conv.weight, conv.bias, padding=(1, 0, 0)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(conv(frames, 5), expected, rtol=0, atol=1e-12)


def test_window_is_the_first_frame_around_the_cell_with_edges_replicated() -> None:
    """A change of frame 0 in the far corner reaches a cell only through the window; at the edge, through replicas."""
    torch.manual_seed(0)
    attention = WindowAttention(16, 4).double()
    x = torch.randn(1, 9, 3, 16, dtype=torch.float64)  # 3 x 3 cells
    changed = x.clone()
    changed[0, 8, 0] += 1  # lower right
    around = neighbours(3, 3, x.device)
    moved = (attention(x, around) - attention(changed, around)).abs().amax(dim=(0, 2, 3)) > 1e-9
    assert moved.tolist() == [False, False, False, False, True, True, False, True, True]


def test_first_half_of_the_heads_knows_positions_and_the_second_does_not() -> None:
    torch.manual_seed(0)
    attention = FrameTextAttention(16, 4, 8).double()
    attention.to_out = nn.Sequential(nn.Identity())
    x = torch.randn(1, 1, 1, 16, dtype=torch.float64).expand(1, 1, 3, 16)  # three equal frames
    out = attention(x, torch.randn(1, 7, 8, dtype=torch.float64))[0, 0]
    assert torch.allclose(out[0, 8:], out[2, 8:])
    assert not torch.allclose(out[0, :8], out[2, :8])


def test_text_keys_are_rotated_only_when_they_are_as_many_as_the_frames() -> None:
    torch.manual_seed(0)
    attention = FrameTextAttention(16, 4, 8).double()
    x, token = torch.randn(1, 1, 3, 16, dtype=torch.float64), torch.randn(1, 1, 8, dtype=torch.float64)
    same = [attention(x, token.expand(1, count, 8)) for count in (2, 4)]
    assert torch.allclose(same[0], same[1])  # equal tokens: their number cannot matter …
    text = torch.randn(1, 3, 8, dtype=torch.float64)
    swapped = text[:, [1, 0, 2]]
    assert not torch.allclose(
        attention(x, text), attention(x, swapped)
    )  # … and their order only where keys are rotated
    longer = torch.cat([text, token], dim=1)
    assert torch.allclose(attention(x, longer), attention(x, longer[:, [1, 0, 2, 3]]))


def test_another_number_of_frames_is_refused() -> None:
    with torch.device("meta"):
        unet = ConsistUNet(ConsistConfig(channels=(64, 64), attention=(True, False), heads=(1, 1), frames=4))
        with pytest.raises(ValueError, match="5 frames"):
            unet(
                *(torch.empty(1, 4, n, 2, 2) for n in (4,)),
                torch.ones(1),
                torch.empty(1, 7, 1024),
                torch.empty(1, 4, 1, 2, 2),
                torch.ones(1),
            )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first_frame_condition_mode", "conv2d"),
        ("temp_pos_embedding", "sinusoidal"),
        ("use_temporal", False),
        ("attention_head_dim", [5, 10]),
    ],
)
def test_a_configuration_of_another_network_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match="head counts" if name == "attention_head_dim" else name):
        read_config({name: value})
