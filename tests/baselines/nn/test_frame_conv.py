"""The kernel for convolutions over three frames, run by Triton's interpreter on the CPU, against torch in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.lvdm import blocks as lvdm
from baselines.nn import folding
from baselines.nn.folding import fold, frame_convolution
from tests.interpreter import interpreted


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    return interpreted(Path(__file__).with_name("interpreted_frame_conv.py"))


@pytest.mark.parametrize("tile", ["tile of the networks", "few programs"])
def test_it_is_the_convolution_over_frames(tile: str, found: Mapping[str, Any]) -> None:
    assert len(found[tile]) == 5
    assert max(found[tile]) < 1e-5


@pytest.mark.parametrize("extra", [0, 16])
def test_sizes_need_not_be_multiples_of_the_tile(extra: int, found: Mapping[str, Any]) -> None:
    assert len(found[f"odd sizes, {extra} further columns"]) == 5
    assert max(found[f"odd sizes, {extra} further columns"]) < 1e-5


def test_half_precision_is_rounded_once(found: Mapping[str, Any]) -> None:
    assert found["float16"] < 3e-4  # the mean over numbers; one may be off by 2 ** -11


def test_half_factors_give_float32_where_the_bias_is_float32(found: Mapping[str, Any]) -> None:
    off, dtype = found["float32 from half factors"]
    assert off < 1e-6
    assert dtype == "torch.float32"


def test_any_layout_is_taken_and_channels_lie_last_afterwards(found: Mapping[str, Any]) -> None:
    assert found["layout changes nothing"]
    assert found["channels last"]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_without_the_kernel_it_is_the_libraries_convolution_of_pictures_to_the_bit(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    clips = torch.randn(2, 8, 5, 3, 4)
    ours, theirs = lvdm.FrameConv(8), folding.FrameConv(8)
    theirs.load_state_dict(ours.state_dict())
    for module in (ours, theirs):
        module.weight.data = module.weight.data.contiguous(memory_format=layout)
    cells = clips.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)  # channels last
    expected = F.conv2d(cells, ours.weight.flatten(3), ours.bias, padding=(1, 0))
    assert torch.equal(frame_convolution(cells, ours.weight, ours.bias), expected)
    assert torch.equal(ours(cells), expected)
    folded = theirs(fold(clips), 5).unflatten(0, (2, 5)).transpose(1, 2).flatten(3)
    assert torch.equal(folded, expected)


@pytest.mark.parametrize("kind", [lvdm.FrameConv, folding.FrameConv])
def test_weights_keep_the_published_names_and_shapes(kind: type[nn.Conv3d]) -> None:
    shapes = {key: tuple(value.shape) for key, value in kind(6).state_dict().items()}  # type: ignore[call-arg]
    assert shapes == {"weight": (6, 6, 3, 1, 1), "bias": (6,)}
