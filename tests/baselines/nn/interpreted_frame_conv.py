"""The kernel for convolutions over three frames, run by Triton's interpreter; that is chosen before Triton is imported.

TRITON_INTERPRET=1 python tests/baselines/nn/interpreted_frame_conv.py    # prints what test_frame_conv.py looks at
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.nn import frame_conv

CASES = [(1, 2, 128, 320, 320), (2, 17, 6, 40, 40), (3, 16, 5, 64, 64), (1, 1, 128, 40, 40), (2, 1, 3, 48, 48)]
ODD = [(2, 5, 32, 24, 40), (3, 1, 16, 16, 32), (1, 2, 16, 33, 18), (2, 3, 7, 20, 50), (1, 17, 1, 16, 16)]
"""Clips, frames, cells, channels in and out: with the tile of the networks; with a small one that the cells of a frame
are a multiple of, or are not."""


def exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv3d(x[..., None].double(), weight.double(), bias.double(), padding=(1, 0, 0))[..., 0]


def given(clips: int, frames: int, cells: int, channels: int, made: int) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(clips, frames, cells, channels).permute(0, 3, 1, 2)
    weight = torch.randn(made, channels, 3, 1, 1) * channels**-0.5
    return x, weight.contiguous(memory_format=torch.channels_last_3d), torch.randn(made)


def off(*parts: Tensor) -> float:
    """Largest difference from torch's own in float64."""
    return float((frame_conv.frame_convolution(*parts) - exact(*parts)).abs().max())


def main() -> None:
    torch.manual_seed(0)
    found: dict[str, Any] = {"few programs": [off(*given(*case)) for case in CASES]}
    frame_conv.PROGRAMS = 0
    found["tile of the networks"] = [off(*given(*case)) for case in CASES]
    usual = frame_conv.TILE
    for extra in (0, 16):
        frame_conv.TILE = frame_conv.Tile(rows=16, columns=16, extra=extra, depth=16, warps=4, stages=2)
        found[f"odd sizes, {extra} further columns"] = [off(*given(*case)) for case in ODD]
    frame_conv.TILE = usual
    x, weight, bias = given(2, 3, 4, 40, 40)
    half = (x.half(), weight.half(), bias.half())
    wanted = exact(*half)
    found["float16"] = float((frame_conv.frame_convolution(*half) - wanted).norm() / wanted.norm())
    wide = frame_conv.frame_convolution(x.half(), weight.half(), bias)
    wanted = exact(x.half(), weight.half(), bias)
    found["float32 from half factors"] = float((wide - wanted).norm() / wanted.norm()), str(wide.dtype)
    made = frame_conv.frame_convolution(x, weight, bias)
    found["channels last"] = made.permute(0, 2, 3, 1).is_contiguous()
    plain = frame_conv.frame_convolution(x.contiguous(), weight.contiguous(), bias)
    found["layout changes nothing"] = torch.equal(plain, made)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
