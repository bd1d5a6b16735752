"""Guidance branches that differ in the text alone: whatever comes before the text is computed once for all of them.

A network takes B clips and the texts of B clips per branch, one branch after another. Up to its first attention to the
text the branches are equal; there its activations are repeated.
"""

import torch
from torch import Tensor


def in_branches(x: Tensor, rows: int) -> Tensor:
    """(N, ...) to (`rows`, ...), N a divisor of it: the same for every branch, one after another."""
    return x if len(x) == rows else torch.cat([x] * (rows // len(x)))
