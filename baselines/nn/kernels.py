"""Where our own kernels are taken: in compiled code, on a GPU.

Their files register operators, for which most need Triton; nothing else imports them, and no operator is asked for
before `register` has run.
"""

import math
from importlib import import_module

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
_LARGEST = torch.finfo(torch.float16).max
_FILES = ("accumulated", "few_tokens", "frame_conv", "gated")
_AT_ONCE = 16
"""Bytes that a thread reads at once, where every row begins at a multiple of them."""


def register() -> None:
    """Make the operators known; needs Triton, as torch's compiler for CUDA does."""
    for file in _FILES:
        import_module(f"baselines.nn.{file}")


def alignment(x: Tensor, *steps: int | torch.SymInt) -> int:
    """Bytes at multiples of which a kernel's rows begin, if they lie these numbers of elements like `x`'s apart."""
    return math.gcd(_AT_ONCE, *(step * x.element_size() for step in steps))


def programs_at_once(x: Tensor) -> int:
    """How many programs that each fill a multiprocessor run side by side: as many as `x`'s GPU has of those."""
    return int(torch.cuda.get_device_properties(x.device).multi_processor_count) if x.is_cuda else 2


def has_kernel(x: Tensor) -> bool:
    """Whether products of `x` may take one: where their factors are half precision already, or may be rounded to it."""
    return torch.compiler.is_compiling() and x.is_cuda and (x.dtype in HALF or is_rounded(x))


def is_rounded(x: Tensor) -> bool:
    """Whether products of `x` are float32 with factors of ten bits, as those of TF32."""
    return x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32


def factor(x: Tensor) -> Tensor:
    """`x` as a factor in half precision; float32 is rounded to float16, which has the ten bits of TF32.

    Its range is smaller: larger numbers stay at 65504, its largest, and below 6e-5 bits are lost.
    """
    return x if x.dtype in HALF else x.clamp(-_LARGEST, _LARGEST).half()
