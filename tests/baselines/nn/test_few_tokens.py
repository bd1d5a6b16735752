"""The kernel for attention over few tokens, run by Triton's interpreter on the CPU, against torch in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.fast import speed_up
from baselines.nn.attention import Attention
from tests.interpreter import interpreted


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    return interpreted(Path(__file__).with_name("interpreted_attention.py"))


def test_it_is_scaled_dot_product_attention(found: Mapping[str, Any]) -> None:
    assert len(found["float32"]) == len(found["biased"]) == 7
    assert max(found["float32"].values()) < 5e-6
    assert max(found["biased"].values()) < 5e-6


def test_it_takes_parts_of_one_matrix_in_half_precision(found: Mapping[str, Any]) -> None:
    assert found["parts of one matrix, float16"] < 2e-3
    assert found["heads join as a view"]


def test_scores_far_from_zero_stay_finite(found: Mapping[str, Any]) -> None:
    assert found["scores of 14400"] < 1e-5


class Net(nn.Module):
    """Self-attention and attention to a text."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.text = Attention(16, 2), Attention(16, 2, 24)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        result: Tensor = self.text(self.own(x), text)
        return result


def test_joined_projections_change_neither_result_nor_weights() -> None:
    torch.manual_seed(0)
    net = Net().double().requires_grad_(False)
    x, text = torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 7, 24, dtype=torch.float64)
    before, state = net(x, text), {key: value.clone() for key, value in net.state_dict().items()}
    speed_up(net, [])
    assert float((net(x, text) - before).abs().max()) < 1e-12
    assert list(net.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    q, k = net.own.to_q.weight, net.own.to_k.weight
    assert k.data_ptr() == q.data_ptr() + q.nbytes  # one matrix, and no copy of it
