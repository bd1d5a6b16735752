"""Number formats of weights, by the names that users give."""

import torch

from ti2v_bench.errors import TI2VError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PrecisionError(TI2VError):
    """No such precision."""


def weight_dtype(asked: str | None, official: str, device: torch.device) -> torch.dtype:
    """The number format to keep weights in.

    Args:
        asked: `ModelOptions.precision`; None takes the official one on a GPU, and float32 on the CPU, where the
            official half precision was never run and is slow.
        official: name of the official one.
        device: where the model runs.

    Raises:
        PrecisionError: `asked` is none of the known names.
    """
    name = asked or (official if device.type != "cpu" else "float32")
    if name not in DTYPES:
        raise PrecisionError(f"Precision {name!r} is not known. Known: {', '.join(DTYPES)}.")
    return DTYPES[name]
