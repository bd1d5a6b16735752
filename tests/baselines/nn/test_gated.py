"""The kernel for gated projections, run by Triton's interpreter on the CPU, against torch in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.interpreter import interpreted


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    return interpreted(Path(__file__).with_name("interpreted_gated.py"))


def test_it_is_the_projection_and_its_gate(found: Mapping[str, Any]) -> None:
    assert len(found["tile of the networks"]) == 3
    assert max(found["tile of the networks"]) < 2e-5


def test_sizes_need_not_be_multiples_of_the_tile(found: Mapping[str, Any]) -> None:
    assert len(found["odd sizes"]) == 4
    assert max(found["odd sizes"]) < 2e-5


def test_half_factors_give_float32_where_the_bias_is_float32(found: Mapping[str, Any]) -> None:
    off, dtype = found["float32 from half factors"]
    assert off < 1e-6
    assert dtype == "torch.float32"


def test_half_precision_is_rounded_once(found: Mapping[str, Any]) -> None:
    assert found["float16"] < 3e-4  # the mean over numbers; one may be off by 2 ** -11


def test_tokens_may_lie_apart_and_the_result_does_not(found: Mapping[str, Any]) -> None:
    assert found["shape"] == [3, 2, 32]
    assert found["contiguous"]
    assert found["rows that lie apart"] < 2e-5


def test_its_gelu_is_the_exact_form(found: Mapping[str, Any]) -> None:
    assert found["gelu"] < 3e-6  # of numbers up to 60; the form by tanh is off by 4e-4
