"""Guidance branches that differ in the text alone: whatever comes before the text is computed once for all of them.

A network takes B clips and the texts of B clips per branch, one branch after another. Up to its first attention to the
text the branches are equal; there its activations are repeated.
"""

import torch
from torch import Tensor


def in_branches(x: Tensor, rows: int) -> Tensor:
    """(N, ...) to (`rows`, ...), N a divisor of it: the same for every branch, one after another."""
    return x if len(x) == rows else torch.cat([x] * (rows // len(x)))


def beside(x: Tensor, skip: Tensor | None) -> Tensor:
    """Pictures (k * N, C, H, W) with the channels of a skip (N, C', H, W), the same for every branch, behind their own.

    In compiled code channels lie last: of pictures that are joined the compiler would lay them first.
    """
    if skip is None:
        return x
    skip = in_branches(skip, len(x))
    if torch.compiler.is_compiling():
        return torch.cat([x.permute(0, 2, 3, 1), skip.permute(0, 2, 3, 1)], dim=3).permute(0, 3, 1, 2)
    return torch.cat([x, skip], dim=1)


def added_in_branches(x: Tensor, added: Tensor) -> Tensor:
    """The sum of (N, ...), the same for each of the k branches, and (k * N, ...); in memory as `x` lies.

    Without repeating `x`: the compiler would lay a repeated one channels first, and so the sum and all behind it.
    """
    return (x + torch.unflatten(added, 0, (-1, len(x)))).flatten(0, 1)
