"""Threads for many clips at once, each of which computes by itself."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import torch


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_core_each(workers: int, device: str = "cpu") -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads do not start threads of their own through torch or OpenCV.

    On many cores those inner threads cost ten times the work itself, since pictures are small. The calling thread
    keeps torch's threads, for networks; OpenCV's setting holds for the whole process, and is put back at the end, as
    is torch's for later threads. On a CUDA `device` each thread has a stream of its own, so that its copies wait for no
    other's kernels.
    """
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=_begin, initargs=(device,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


def _begin(device: str) -> None:
    torch.set_num_threads(1)
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)  # weights may still be on their way there, on the stream of who loaded them
        torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
