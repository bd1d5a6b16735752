"""Group norm joined from the statistics of single frames, against torch's over the whole clip."""

import pytest
import torch
from torch import nn

from baselines.nn.clip_norm import ClipNorm, clip_norm, joined_by_frame


@pytest.mark.parametrize("shape", [(2, 64, 5, 7), (1, 32, 17, 6), (2, 96, 3, 4, 5), (3, 32, 1, 2, 2)])
def test_joining_frames_is_the_norm_over_the_clip(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(32, shape[1], eps=1e-5, dtype=torch.float64).requires_grad_(False)
    norm.weight.normal_()
    norm.bias.normal_()
    x = torch.randn(shape, dtype=torch.float64) + torch.randn(1, shape[1], shape[2], *(1 for _ in shape[3:]))
    assert float((joined_by_frame(norm, x) - norm(x)).abs().max()) < 1e-12


def test_frames_far_from_zero_lose_no_digits() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(32, 64, eps=1e-5).requires_grad_(False)
    x = 3 * torch.randn(2, 64, 16, 40) + 100
    exact = nn.functional.group_norm(x.double(), 32, eps=1e-5)
    assert float((joined_by_frame(norm, x) - exact).abs().max()) < 5e-5
    assert joined_by_frame(norm.half(), x.half()).dtype == torch.float16


def test_code_that_is_not_compiled_uses_torchs_own() -> None:
    torch.manual_seed(0)
    norm = ClipNorm(8, 16, eps=1e-6)
    x = torch.randn(2, 16, 3, 5)
    expected = nn.functional.group_norm(x, 8, norm.weight, norm.bias, 1e-6)
    assert torch.equal(norm(x), expected)
    assert torch.equal(clip_norm(norm, x), expected)


def test_compiled_code_joins_frames() -> None:
    torch.manual_seed(0)
    norm = ClipNorm(8, 16, eps=1e-6).double().requires_grad_(False)
    x = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    assert float((compiled(x) - norm(x)).abs().max()) < 1e-12
