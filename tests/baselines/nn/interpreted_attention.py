"""The kernel for attention over few tokens, run by Triton's interpreter; that is chosen before Triton is imported.

TRITON_INTERPRET=1 python tests/baselines/nn/interpreted_attention.py    # prints what test_few_tokens.py looks at
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.nn.few_tokens import attention_over_few

CASES = [(19, 5, 16, 16, 64), (20, 2, 17, 17, 64), (7, 8, 16, 16, 40), (5, 2, 16, 24, 160), (3, 1, 1, 32, 8)]
CASES += [(7, 3, 21, 18, 16), (4, 2, 22, 22, 16)]
"""Sequences, heads, queries, keys, channels of a head: those of the ten models, the largest and smallest, and those
around which another tile is taken."""


def off(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> float:
    """Largest difference from torch's own in float64."""
    wide = (part.double() for part in (q, k, v))
    exact = F.scaled_dot_product_attention(*wide, attn_mask=None if bias is None else bias.double())
    return float((attention_over_few(q, k, v, bias) - exact).abs().max())


def main() -> None:
    torch.manual_seed(0)
    found: dict[str, Any] = {"float32": {}, "biased": {}}
    for sequences, heads, length, keys, width in CASES:
        q, k, v = (torch.randn(sequences, n, heads, width).transpose(1, 2) for n in (length, keys, keys))
        name = f"{sequences}x{heads}x{length}x{keys}x{width}"
        found["float32"][name] = off(q, k, v)
        found["biased"][name] = off(q, k, v, torch.randn(heads, length, keys))
    joined = torch.randn(9, 16, 3 * 2 * 40).half()
    q, k, v = (torch.unflatten(part, -1, (2, 40)).transpose(1, 2) for part in joined.chunk(3, -1))
    found["parts of one matrix, float16"] = off(q, k, v)
    found["heads join as a view"] = attention_over_few(q, k, v, None).transpose(1, 2).is_contiguous()
    far = torch.full((3, 1, 4, 16), 60.0)
    found["scores of 14400"] = off(far, far * torch.tensor([1.0, -1, 1]).view(3, 1, 1, 1), torch.randn(3, 1, 4, 16))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
