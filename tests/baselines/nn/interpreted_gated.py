"""The kernel for gated projections, run by Triton's interpreter; that is chosen before Triton is imported.

TRITON_INTERPRET=1 python tests/baselines/nn/interpreted_gated.py    # prints what test_gated.py looks at
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.nn import gated

SMALL = {"rows": 16, "columns": 16, "depth": 16, "warps": 4, "stages": 2, "together": 2}
CASES = [(37, 320, 256), (300, 40, 160), (1, 64, 128)]
ODD = [(100, 24, 40), (16, 16, 16), (81, 33, 18), (3, 320, 20)]
"""Tokens, width and inner width: with the tile of the networks, and with small ones that nothing is a multiple of."""


def exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    value, gate = F.linear(x.double(), weight.double(), bias.double()).chunk(2, -1)
    return value * F.gelu(gate)


def given(tokens: int, width: int, inner: int) -> tuple[Tensor, Tensor, Tensor]:
    return 2 * torch.randn(tokens, width), torch.randn(2 * inner, width) * width**-0.5, torch.randn(2 * inner)


def off(*parts: Tensor) -> float:
    """Largest difference from torch's own in float64."""
    return float((gated.gated_product(*parts) - exact(*parts)).abs().max())


def main() -> None:
    torch.manual_seed(0)
    found: dict[str, Any] = {"tile of the networks": [off(*given(*case)) for case in CASES]}
    usual = gated.TILE
    gated.TILE = gated.Tile(**SMALL)
    found["odd sizes"] = [off(*given(*case)) for case in ODD]
    gated.TILE = usual
    x, weight, bias = given(6, 40, 32)
    half = (x.half(), weight.half(), bias.half())
    wanted = exact(*half)
    found["float16"] = float((gated.gated_product(*half) - wanted).norm() / wanted.norm())
    wide = gated.gated_product(x.half(), weight.half(), bias)
    wanted = exact(x.half(), weight.half(), bias)
    found["float32 from half factors"] = float((wide - wanted).norm() / wanted.norm()), str(wide.dtype)
    apart = x.view(2, 3, 40).transpose(0, 1)
    turned = gated.gated_product(apart, weight, bias)
    found["shape"], found["contiguous"] = list(turned.shape), turned.is_contiguous()
    found["rows that lie apart"] = float((turned - exact(apart, weight, bias)).abs().max())
    gates = torch.cat([torch.linspace(-60, 60, 4001), torch.linspace(-6, 6, 4001)])
    made = gated.gated_product(gates[:, None], torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 0.0]))[:, 0]
    found["gelu"] = float((made - F.gelu(gates.double())).abs().max())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
