"""How much of a GPU's memory one call took, and how many pairs a call could take."""

import sys
from dataclasses import dataclass

_SPARE = 0.1
"""Part of the memory that is left free: what a call takes varies a little, and memory comes in pieces."""


@dataclass(frozen=True)
class Memory:
    """Of one GPU, in bytes."""

    usable: int
    """By this process."""
    held: int
    """Between calls: weights."""
    peak: int
    """Within a call."""


def watch_peak() -> None:
    """From now on the peak is that of the calls to come, not that of loading."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def measured() -> Memory | None:
    """What this process's GPU has seen since `watch_peak`; None without a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    held, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    return Memory(free + torch.cuda.memory_reserved(), held, peak)


def fitting_batch(memory: Memory | None, most: int) -> int:
    """How many pairs fit, when a call with one of them took that much: 1 to `most`; 1 where nothing was measured.

    What a call takes beyond the weights is counted once per pair.
    """
    if memory is None or memory.peak <= memory.held:
        return 1
    fit = ((1 - _SPARE) * memory.usable - memory.held) // (memory.peak - memory.held)
    return int(min(max(fit, 1), most))
