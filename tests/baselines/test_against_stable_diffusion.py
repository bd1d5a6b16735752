"""Without their temporal parts, both networks are Stable Diffusion's; diffusers' own class says whether they are.

The recorded fixtures have two levels. This holds any number of levels and layers, odd sizes included, to the original.
"""

import pytest
import torch
from diffusers import UNet2DConditionModel

from baselines.consisti2v.config import ConsistConfig
from baselines.consisti2v.unet import ConsistUNet
from baselines.lavie.config import LavieConfig
from baselines.lavie.unet import LavieUNet

CASES = [((64, 96, 96), (4, 8)), ((64, 64, 96, 128), (8, 16)), ((64, 64, 96, 128), (5, 9))]
"""Widths per level, and size; the last needs the skips' sizes on the way up."""


def stable_diffusion(widths: tuple[int, ...], heads: int | tuple[int, ...], linear: bool) -> UNet2DConditionModel:
    torch.manual_seed(0)
    plain = len(widths) - 1
    return (
        UNet2DConditionModel(
            block_out_channels=widths,
            down_block_types=("CrossAttnDownBlock2D",) * plain + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * plain,
            layers_per_block=2,
            attention_head_dim=heads,
            cross_attention_dim=24,
            use_linear_projection=linear,
        )
        .double()
        .eval()
    )


@pytest.mark.parametrize(("widths", "size"), CASES)
@torch.no_grad()
def test_lavie_without_temporal_attention_is_stable_diffusion(widths: tuple[int, ...], size: tuple[int, int]) -> None:
    original = stable_diffusion(widths, 2, linear=False)
    config = LavieConfig(channels=widths, attention=(True,) * (len(widths) - 1) + (False,), heads=2, context=24)
    unet = LavieUNet(config).double().eval()
    rest = unet.load_state_dict(original.state_dict(), strict=False)
    assert rest.unexpected_keys == []
    assert all("attn_temp" in key or "norm_temp" in key for key in rest.missing_keys)
    for name, parameter in unet.named_parameters():
        if "attn_temp.to_out" in name:
            parameter.zero_()
    x, text = torch.randn(2, 4, *size, dtype=torch.float64), torch.randn(2, 7, 24, dtype=torch.float64)
    expected = original(x, 681, text).sample
    ours = unet(x[:, :, None], torch.tensor([681, 681]), text)[:, :, 0]
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("widths", "size"), CASES)
@torch.no_grad()
def test_consisti2v_without_temporal_parts_is_stable_diffusion(widths: tuple[int, ...], size: tuple[int, int]) -> None:
    """With both frames alike, the first frame's keys double each picture's own, which changes no attention."""
    heads = tuple(width // 32 for width in widths)
    original = stable_diffusion(widths, heads, linear=True)
    attention = (True,) * (len(widths) - 1) + (False,)
    unet = ConsistUNet(ConsistConfig(channels=widths, attention=attention, heads=heads, context=24, frames=2)).double()
    rest = unet.eval().load_state_dict(original.state_dict(), strict=False)
    assert rest.unexpected_keys == []
    assert all("tempo_attns" in key or "conv3ds" in key or "frame_stride" in key for key in rest.missing_keys)
    for name, parameter in unet.named_parameters():
        if name.endswith("alpha"):
            parameter.fill_(1)
        if "frame_stride_embedding.linear_2" in name:
            parameter.zero_()
    x, text = torch.randn(2, 4, *size, dtype=torch.float64), torch.randn(2, 7, 24, dtype=torch.float64)
    frame = x[:, :, None]
    ours = unet(frame, torch.tensor([681, 681]), text, frame, torch.tensor([3, 3]))[:, :, 0]
    torch.testing.assert_close(ours, original(x, 681, text).sample, rtol=0, atol=1e-10)
