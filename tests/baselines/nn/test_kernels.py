"""What torch's compiler is told of our kernels; what they compute is tested beside this file."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.nn import few_tokens, frame_conv, gated


def half(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float16)


CALLS: dict[str, tuple[ModuleType, Callable[[], object]]] = {
    "attention": (few_tokens, lambda: few_tokens.attention_over_few(*(half(2, 3, 17, 64) for _ in "qkv"), None)),
    "biased attention": (
        few_tokens,
        lambda: few_tokens.attention_over_few(*(half(2, 3, 16, 64) for _ in "qkv"), half(3, 16, 16)),
    ),
    "convolution": (frame_conv, lambda: frame_conv.frame_convolution(half(1, 8, 4, 6), half(8, 8, 3, 1, 1), half(8))),
    "gate": (gated, lambda: gated.gated_product(half(5, 16), half(64, 16), half(64))),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_number_with_a_fraction_is_an_argument_at_run_time(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's compiler declares such an argument float64, and what meets it would be computed in float64.

    Source: `signature_of` of torch/_inductor/codegen/triton_utils.py, torch 2.13.
    """
    launched: list[dict[str, Any]] = []

    def recorded(kernel: Any) -> dict[object, Callable[..., None]]:
        class Grids(dict[object, Callable[..., None]]):
            def __missing__(self, grid: object) -> Callable[..., None]:
                names = [parameter.name for parameter in kernel.params]
                fixed = {parameter.name for parameter in kernel.params if parameter.is_constexpr}

                def launch(*values: object, **named: object) -> None:
                    given = dict(zip(names, values, strict=False)) | named
                    launched.append(
                        {name: value for name, value in given.items() if name in names and name not in fixed}
                    )

                return launch

        return Grids()

    module, run = CALLS[call]
    monkeypatch.setattr(module, "wrap_triton", recorded)
    run()
    assert len(launched) == 1
    assert {type(value) for value in launched[0].values()} == {Tensor, int}
