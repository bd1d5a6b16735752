"""The trunk's own blocks against diffusers', and what they do for speed, checked without a clock."""

from collections.abc import Callable

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import nn
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
FRAMES = 3
TIME, TEXT = torch.randn(2, 24, dtype=torch.float64), torch.randn(2, 7, 24, dtype=torch.float64)
THEIRS: dict[str, dict[str, object]] = {
    "residual": {"temb": TIME.repeat_interleave(FRAMES, 0)},
    "residual that widens": {"temb": TIME.repeat_interleave(FRAMES, 0)},
    "time convolution": {"num_frames": FRAMES},
    "space transformer": {"encoder_hidden_states": TEXT.repeat_interleave(FRAMES, 0), "return_dict": False},
    "time transformer": {"num_frames": FRAMES, "return_dict": False},
}
OURS: dict[str, tuple[object, ...]] = {
    "residual": (TIME, FRAMES),
    "residual that widens": (TIME, FRAMES),
    "time convolution": (FRAMES,),
    "space transformer": (TEXT, FRAMES),
    "time transformer": (FRAMES,),
}
"""What diffusers is given for every frame, our blocks are given for every clip."""


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", BUILD)
def test_block_equals_diffusers_own_in_either_layout(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    block = BUILD[name]().eval().double()
    for parameter in block.parameters():  # diffusers begins with zeros here and there
        nn.init.normal_(parameter, std=0.2)
    x = torch.randn(6, 64, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = block(x, **THEIRS[name])
        holder = nn.Sequential(block)
        with_our_blocks(holder)
        found = holder[0](x.contiguous(memory_format=layout), *OURS[name])
    expected = expected[0] if isinstance(expected, tuple) else expected
    assert float((found - expected).abs().max()) < 1e-12


def test_many_latent_cells_are_attended_to_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 8 at 512x512 has 65536 cells with both branches, one more than CUDA's fused attention can launch."""
    torch.manual_seed(0)
    holder = nn.Sequential(BUILD["time transformer"]())
    with_our_blocks(holder)
    x = torch.randn(6, 64, 4, 5)
    with torch.no_grad():
        whole = holder[0](x, FRAMES)
        monkeypatch.setattr("baselines.nn.attention.MAX_SEQUENCES", 7)
        parts = holder[0](x, FRAMES)
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
        before = unet(*given)
        for kind in BLOCKS:  # one of each: tracing is what takes the time
            block = next(module for module in unet.modules() if isinstance(module, kind))
            block.compile(dynamic=False, fullgraph=True, backend="eager")
        torch.testing.assert_close(unet(*given), before)


@pytest.mark.parametrize(
    ("model", "official", "tokens", "frames"),
    [("animate_anything", 44.2617, 77, 17), ("ti2v_zero", 9.7742, 77, 16), ("i2vgen_xl", 176.1875, 145, 16)],
)
def test_arithmetic_of_one_step_is_the_official_but_for_text_that_is_projected_once(
    model: str, official: float, tokens: int, frames: int
) -> None:
    """TFLOP of both branches at the published size; the official numbers were counted on the official networks.

    They make keys and values of each frame's copy of the text. By hand: two products of 1024 x C per token in
    transformers of 320, 640 and 1280 channels, five of each, and one of 1280 in the middle.
    """
    repeated = 2 * 2 * 1024 * (5 * (320 + 640 + 1280) + 1280) * 2 * tokens * (frames - 1) / 1e12
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counted:
        text = torch.empty(2, 77, 1024)
        if model == "i2vgen_xl":
            given = Conditions(text, torch.empty(2, 1, 1024), torch.empty(2, 4, 88, 160), torch.empty(2))
            predict(build_image_unet(TrunkShape()), torch.empty(2, 4, 16, 88, 160), torch.tensor(1), given)
        elif model == "ti2v_zero":
            build_text_unet(TrunkShape())(torch.empty(2, 4, 16, 32, 32), torch.tensor(1), text)
        else:
            unet = build_text_unet(TrunkShape(), 5, strength=True)
            unet(torch.empty(2, 5, 17, 64, 64), torch.tensor(1), text, torch.empty(2, 320))
    assert counted.get_total_flops() / 1e12 == pytest.approx(official - repeated, rel=2e-4)
