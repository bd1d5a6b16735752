"""Where our own Triton kernels are taken: in compiled code, on a GPU.

Their files register operators, for which they need Triton; nothing else imports them, and no operator is asked for
before `register` has run.
"""

import math
from importlib import import_module

import torch
from torch import Tensor

_FILES = ("few_tokens", "frame_conv", "gated")
_AT_ONCE = 16
"""Bytes that a thread reads at once, where every row begins at a multiple of them."""


def register() -> None:
    """Make the operators known; needs Triton, as torch's compiler for CUDA does."""
    for file in _FILES:
        import_module(f"baselines.nn.{file}")


def alignment(x: Tensor, *steps: int | torch.SymInt) -> int:
    """Bytes at multiples of which a kernel's rows begin, if they lie these numbers of elements like `x`'s apart."""
    return math.gcd(_AT_ONCE, *(step * x.element_size() for step in steps))


def has_kernel(x: Tensor) -> bool:
    """Whether matrix products of `x` may take one: in half precision, for which they are made."""
    return torch.compiler.is_compiling() and x.is_cuda and x.dtype in (torch.float16, torch.bfloat16)
