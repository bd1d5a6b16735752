"""A matrix product that is added to what is in memory already: the library's, for CUDA.

By itself the compiler lets a product write its result, and an elementwise kernel read that again and the other part.

Importing this registers `torch.ops.ti2v_bench.accumulate`.
"""

import torch
from torch import Tensor


@torch.library.custom_op("ti2v_bench::accumulate", mutates_args=("total",))
def accumulate(total: Tensor, x: Tensor, weight: Tensor) -> None:
    """Add x W^T to `total`, in place.

    Args:
        total: (..., C'), contiguous.
        x: (..., C).
        weight: (C', C), as of `nn.Linear`.
    """
    total.view(-1, total.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), weight.t())


@accumulate.register_fake
def _(total: Tensor, x: Tensor, weight: Tensor) -> None:
    pass
