"""The trunk's own blocks against diffusers', and what they do for speed, checked without a clock."""

from collections.abc import Callable

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.adapter import channels_last
from baselines.i2vgen_xl.sampler import Conditions, predict
from baselines.modelscope.blocks import BLOCKS, join_projections, with_our_blocks
from baselines.modelscope.networks import TINY
from baselines.modelscope.trunk import TrunkShape, build_image_unet, build_text_unet

BUILD: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: ResnetBlock2D(in_channels=64, out_channels=64, temb_channels=24, eps=1e-5),
    "residual that widens": lambda: ResnetBlock2D(in_channels=64, out_channels=96, temb_channels=24, eps=1e-5),
    "time convolution": lambda: TemporalConvLayer(64, 64),
    "space transformer": lambda: Transformer2DModel(
        2, 32, in_channels=64, cross_attention_dim=24, use_linear_projection=True
    ),
    "time transformer": lambda: TransformerTemporalModel(2, 32, in_channels=64),
}
GIVEN: dict[str, dict[str, object]] = {
    "residual": {"temb": torch.randn(6, 24)},
    "residual that widens": {"temb": torch.randn(6, 24)},
    "time convolution": {"num_frames": 3},
    "space transformer": {"encoder_hidden_states": torch.randn(6, 7, 24), "return_dict": False},
    "time transformer": {"num_frames": 3, "return_dict": False},
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", BUILD)
def test_block_equals_diffusers_own_in_either_layout(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    block = BUILD[name]().eval().double()
    for parameter in block.parameters():  # diffusers begins with zeros here and there
        nn.init.normal_(parameter, std=0.2)
    x = torch.randn(6, 64, 4, 5, dtype=torch.float64)
    given = {key: value.double() if isinstance(value, Tensor) else value for key, value in GIVEN[name].items()}
    with torch.no_grad():
        expected = block(x, **given)
        holder = nn.Sequential(block)
        with_our_blocks(holder)
        found = holder[0](x.contiguous(memory_format=layout), **given)
    expected, found = (value[0] if isinstance(value, tuple) else value for value in (expected, found))
    assert float((found - expected).abs().max()) < 1e-12


def test_many_latent_cells_are_attended_to_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 8 at 512x512 has 65536 cells with both branches, one more than CUDA's fused attention can launch."""
    torch.manual_seed(0)
    holder = nn.Sequential(BUILD["time transformer"]())
    with_our_blocks(holder)
    x = torch.randn(6, 64, 4, 5)
    with torch.no_grad():
        whole = holder[0](x, num_frames=3)[0]
        monkeypatch.setattr("baselines.nn.attention.MAX_SEQUENCES", 7)
        parts = holder[0](x, num_frames=3)[0]
    assert torch.allclose(parts, whole, atol=1e-6)


def test_joined_projections_change_rounding_only() -> None:
    torch.manual_seed(0)
    unet = build_image_unet(TINY.trunk).double().requires_grad_(False)
    given = Conditions(torch.randn(2, 5, 32), torch.randn(2, 1, 32), torch.randn(2, 4, 6, 5), torch.ones(2))
    x = torch.randn(2, 4, 3, 6, 5, dtype=torch.float64)
    before, count = predict(unet, x, torch.tensor(7), given), sum(part.numel() for part in unet.parameters())
    join_projections(unet)
    assert float((predict(unet, x, torch.tensor(7), given) - before).abs().max()) < 1e-12
    assert sum(part.numel() for part in unet.parameters()) == count
    joined = [name for name, module in unet.named_modules() if hasattr(module, "to_qkv")]
    assert "transformer_in.transformer_blocks.0.attn2" in joined  # over time the second attention is to itself, too
    assert "mid_block.attentions.0.transformer_blocks.0.attn2" not in joined  # that one is to the text


def test_blocks_compile_without_a_break_and_change_nothing() -> None:
    torch.manual_seed(0)
    unet = build_text_unet(TINY.trunk).requires_grad_(False)
    join_projections(unet)
    channels_last(unet)
    given = (torch.randn(2, 4, 3, 6, 5), torch.tensor(7), torch.randn(2, 5, 32))
    with torch.inference_mode():
        before = unet(*given).sample
        for kind in BLOCKS:  # one of each: tracing is what takes the time
            block = next(module for module in unet.modules() if isinstance(module, kind))
            block.compile(dynamic=False, fullgraph=True, backend="eager")
        torch.testing.assert_close(unet(*given).sample, before)


@pytest.mark.parametrize(
    ("model", "official"), [("animate_anything", 44.26), ("ti2v_zero", 9.77), ("i2vgen_xl", 176.19)]
)
def test_arithmetic_of_one_step_is_that_of_the_official_network(model: str, official: float) -> None:
    """TFLOP of both branches at the published size; the official numbers were counted on the official networks."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        text = torch.empty(2, 77, 1024)
        if model == "i2vgen_xl":
            given = Conditions(text, torch.empty(2, 1, 1024), torch.empty(2, 4, 88, 160), torch.empty(2))
            predict(build_image_unet(TrunkShape()), torch.empty(2, 4, 16, 88, 160), torch.tensor(1), given)
        elif model == "ti2v_zero":
            build_text_unet(TrunkShape())(torch.empty(2, 4, 16, 32, 32), torch.tensor(1), text)
        else:
            unet = build_text_unet(TrunkShape(), 5, strength=True)
            unet(torch.empty(2, 5, 17, 64, 64), torch.tensor(1), text, timestep_cond=torch.empty(2, 320))
    assert counted.get_total_flops() / 1e12 == pytest.approx(official, rel=1e-3)
