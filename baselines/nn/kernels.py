"""Where our own Triton kernels are taken: in compiled code, on a GPU.

Their files register operators, for which they need Triton; nothing else imports them, and no operator is asked for
before `register` has run.
"""

from importlib import import_module

import torch
from torch import Tensor

_FILES = ("few_tokens", "frame_conv", "gated")


def register() -> None:
    """Make the operators known; needs Triton, as torch's compiler for CUDA does."""
    for file in _FILES:
        import_module(f"baselines.nn.{file}")


def has_kernel(x: Tensor) -> bool:
    """Whether matrix products of `x` may take one: in half precision, for which they are made."""
    return torch.compiler.is_compiling() and x.is_cuda and x.dtype in (torch.float16, torch.bfloat16)
