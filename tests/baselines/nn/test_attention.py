import pytest
import torch

from baselines.nn.attention import Attention, fused_attention


def by_hand(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return (q @ k.mT * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v


def test_attention_equals_its_definition() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 4, 6, dtype=torch.float64)
    bias = torch.randn(2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(fused_attention(q, k, v, bias), by_hand(q, k, v, bias))


def test_more_sequences_than_a_kernel_takes_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 7, 2, 4, 6, dtype=torch.float64)
    bias = torch.randn(2, 4, 4, dtype=torch.float64)
    monkeypatch.setattr("baselines.nn.attention.MAX_SEQUENCES", 3)
    torch.testing.assert_close(fused_attention(q, k, v, bias), by_hand(q, k, v, bias))


def test_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="10 channels cannot be split into 3 heads"):
        Attention(10, 3)
