"""What torch's compiler is told of our kernels; what they compute is tested beside this file."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor


def half(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float16)


CALLS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "attention": ("few_tokens", lambda file: file.attention_over_few(*(half(2, 3, 17, 64) for _ in "qkv"), None)),
    "biased attention": (
        "few_tokens",
        lambda file: file.attention_over_few(*(half(2, 3, 16, 64) for _ in "qkv"), half(3, 16, 16)),
    ),
    "convolution": (
        "frame_conv",
        lambda file: file.frame_convolution(half(1, 8, 4, 6), half(8, 8, 3, 1, 1), half(8)),
    ),
    "gate": ("gated", lambda file: file.gated_product(half(5, 16), half(64, 16), half(64))),
}


class Recorder:
    """Stands for a kernel, and keeps what it is launched with."""

    def __init__(self, kernel: Any, launched: list[dict[str, object]]) -> None:
        self.parameters, self.launched = kernel.params, launched

    def __getitem__(self, grid: object) -> "Recorder":
        return self

    def __call__(self, *values: object, **named: object) -> None:
        given = dict(zip((parameter.name for parameter in self.parameters), values, strict=False)) | named
        self.launched.append({p.name: given[p.name] for p in self.parameters if not p.is_constexpr})


@pytest.mark.parametrize("call", CALLS)
def test_no_number_with_a_fraction_is_an_argument_at_run_time(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's compiler declares such an argument float64, and what meets it would be computed in float64.

    Source: `signature_of` of torch/_inductor/codegen/triton_utils.py, torch 2.13.
    """
    pytest.importorskip("triton", reason="Triton has no wheel for this machine")
    name, run = CALLS[call]
    file, launched = import_module(f"baselines.nn.{name}"), list[dict[str, object]]()
    monkeypatch.setattr(file, "wrap_triton", lambda kernel: Recorder(kernel, launched))
    run(file)
    assert len(launched) == 1
    assert {type(value) for value in launched[0].values()} == {Tensor, int}
