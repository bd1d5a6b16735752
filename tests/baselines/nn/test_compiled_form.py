"""What the networks' parts ask for in compiled code for a GPU, with tensors that only say they are on one."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nn import accumulated  # noqa: F401  # registers an operator that needs no Triton
from baselines.nn.attention import fused_attention
from baselines.nn.feedforward import added_projection, gated_gelu
from baselines.nn.final_norm import FinalNorm
from baselines.nn.folding import frame_convolution
from baselines.nn.kernels import factor
from ti2v_bench.tf32 import products_in_tf32


class Given:
    """Stands for an operator, and keeps what it was given last."""

    tensors: tuple[Tensor, ...] = ()

    def __call__(self, *tensors: Any, **_: object) -> Tensor:
        self.tensors = tensors
        result: Tensor = tensors[0]
        return result

    @property
    def types(self) -> list[torch.dtype]:
        return [each.dtype for each in self.tensors if isinstance(each, Tensor)]


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As while torch's compiler traces the fast form of a float32 network."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    with products_in_tf32():
        yield


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Our operators and the library's attention."""
    names = ("attention_over_few", "frame_convolution", "gated_product")
    ours = SimpleNamespace(**{name: Given() for name in names})
    monkeypatch.setattr(torch.ops, "ti2v_bench", ours)
    ours.attention = Given()
    monkeypatch.setattr(F, "scaled_dot_product_attention", ours.attention)
    return ours


@pytest.mark.parametrize(
    ("dtype", "multiplied"),
    [(torch.float32, torch.float16), (torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16)],
)
@pytest.mark.usefixtures("compiling")
def test_products_take_half_precision_and_give_the_networks(
    dtype: torch.dtype, multiplied: torch.dtype, operators: SimpleNamespace
) -> None:
    q = torch.ones(2, 3, 64, 16, dtype=dtype)
    assert fused_attention(q, q, q).dtype == dtype
    assert operators.attention.types == [multiplied] * 3
    frame_convolution(torch.ones(1, 4, 5, 6, dtype=dtype), torch.ones(4, 4, 3, 1, 1, dtype=dtype), q[0, 0, 0, :4])
    assert operators.frame_convolution.types == [multiplied, multiplied, dtype]  # the last says the result's
    gated_gelu(q, nn.Linear(16, 128, dtype=dtype))
    assert operators.gated_product.types == [multiplied, multiplied, dtype]


@pytest.mark.usefixtures("compiling")
def test_attention_over_few_tokens_which_memory_bounds_takes_what_there_is(operators: SimpleNamespace) -> None:
    q = torch.ones(2, 3, 16, 8)
    fused_attention(q, q, q)
    assert operators.attention_over_few.types == [torch.float32] * 3


@pytest.mark.usefixtures("compiling")
def test_without_tf32_float32_stays_as_it_is(operators: SimpleNamespace) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False  # the fixture puts it back
    q = torch.ones(2, 3, 64, 16)
    fused_attention(q, q, q)
    assert operators.attention.types == [torch.float32] * 3
    frame_convolution(torch.ones(1, 4, 5, 6), torch.ones(4, 4, 3, 1, 1), torch.ones(4))
    gated_gelu(q, nn.Linear(16, 128))
    assert not operators.frame_convolution.tensors
    assert not operators.gated_product.tensors


def test_a_factor_has_ten_bits_and_does_not_overflow() -> None:
    step = 2.0**-10
    given = torch.tensor([1 + step, 1 + step / 2.1, 1e6, -torch.inf, 70000.0, 0.0])
    assert factor(given).tolist() == [1 + step, 1.0, 65504.0, -65504.0, 65504.0, 0.0]
    assert factor(torch.tensor([torch.nan])).isnan().all()  # a fault is not hidden
    for dtype in (torch.float16, torch.bfloat16):
        half = torch.ones(2, dtype=dtype)
        assert factor(half) is half


def test_a_projection_is_added_in_place_in_compiled_code_and_the_sum_is_the_same(
    request: pytest.FixtureRequest,
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(12, 8).double().requires_grad_(False)
    x, inner = torch.randn(2, 3, 8).double(), torch.randn(2, 3, 12).double()
    wanted, before = x + layer(inner), x.clone()
    assert torch.equal(added_projection(x, inner, layer), wanted)
    request.getfixturevalue("compiling")
    torch.testing.assert_close(added_projection(x, inner, layer), wanted, rtol=0, atol=1e-14)
    assert torch.equal(x, before)


def test_the_last_norm_is_group_norm_and_silu() -> None:
    torch.manual_seed(0)
    ours, theirs = FinalNorm(4, 8).double(), nn.GroupNorm(4, 8).double()
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 8, 5, 6).double()
    torch.testing.assert_close(ours(x), F.silu(theirs(x)), rtol=0, atol=1e-13)
