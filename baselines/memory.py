"""Host memory of memory-mapped weights: pages that have been read are given back."""

import ctypes
import sys
from functools import cache
from typing import Any

from torch import Tensor

_PAGEOUT = 21
"""MADV_PAGEOUT of Linux 5.4 and later: pages are reclaimed now and come back unchanged when they are read again, so it
is safe for memory of any kind."""
_PAGE = 4096


def give_back(read: Tensor) -> None:
    """Let the system reclaim the pages below a CPU tensor that will hardly be read again; its values stay.

    A file's pages count as memory of the process from the moment they are read through a mapping. Where the system
    knows no such call they stay until it needs them.
    """
    call = _madvise()
    if call is None or not read.is_contiguous():
        return
    first = -(-read.data_ptr() // _PAGE) * _PAGE
    end = (read.data_ptr() + read.nbytes) // _PAGE * _PAGE
    if end > first:
        call(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _PAGEOUT)


@cache
def _madvise() -> Any:
    return getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
