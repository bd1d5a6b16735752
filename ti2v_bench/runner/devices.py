"""Which devices a model's workers get."""

import os
import re

from ti2v_bench.registry import MODELS, load_card
from ti2v_bench.runner.jobs import RunError


def find_devices(asked: str, model: str) -> tuple[str, ...]:
    """One device per worker.

    Args:
        asked: `auto` (every GPU in sight, else the CPU; models without a network take the CPU), `cuda` (every GPU in
            sight), or one or more of `cpu`, `mps`, `cuda:N`, separated by commas; naming one twice gives two workers.
        model: registered name, or `package.module:Class`.

    Raises:
        RunError: not a device, or a GPU that is not there.
    """
    if asked == "auto":
        return _in_sight() if has_network(model) else ("cpu",)
    names = tuple(part.strip() for part in asked.split(","))
    for name in names:
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
            raise RunError(f"{name!r} is no device. Give auto, cpu, mps, cuda, cuda:0 or several: cuda:0,cuda:1.")
    if any(name.startswith("cuda") for name in names):
        count = _gpus()
        for name in names:
            if name.startswith("cuda") and int(name[5:] or 0) >= count:
                raise RunError(f"{name} is asked for, but torch sees {count} GPUs. Run `ti2v-bench doctor` to see why.")
        if names == ("cuda",):
            return tuple(f"cuda:{index}" for index in range(count))
    return names


def one_device(asked: str) -> str:
    """`asked`, if it is a single device that is here.

    Raises:
        RunError: several, not a device, or a GPU that is not there.
    """
    if asked == "auto" or "," in asked:
        raise RunError(f"{asked!r} is not one device. Give cpu, mps, cuda or cuda:0.")
    find_devices(asked, "")
    return asked


def visible_gpu(device: str) -> str | None:
    """What CUDA_VISIBLE_DEVICES must say so that a worker sees only `device`; None for other devices."""
    if not device.startswith("cuda"):
        return None
    index = int(device[5:] or 0)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",")[index].strip() if seen else str(index)


def has_network(model: str) -> bool:
    """Whether a model can use a GPU; of a class of the user's we assume it."""
    return model not in MODELS or bool(load_card(model).weights or load_card(model).parameters)


def _in_sight() -> tuple[str, ...]:
    try:
        import torch
    except ImportError:
        return ("cpu",)
    if torch.cuda.is_available():
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return ("mps",) if torch.backends.mps.is_available() else ("cpu",)


def _gpus() -> int:
    try:
        import torch
    except ImportError:
        return 0
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
