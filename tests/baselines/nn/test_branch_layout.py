"""How guidance branches lie in memory: torch's compiler would lay what is joined channels first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.nn.branches import added_in_branches, beside, in_branches


def pictures(count: int, channels: int = 8, seed: int = 0) -> Tensor:
    """Channels last in memory."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, 4, 6, generator=generator).contiguous(memory_format=torch.channels_last)


def test_a_sum_over_branches_is_that_with_a_repeated_tensor() -> None:
    x, added = pictures(3), pictures(6, seed=1)
    assert torch.equal(added_in_branches(x, added), in_branches(x, 6) + added)
    assert torch.equal(added_in_branches(added, added), added + added)


def test_a_skip_lies_behind_the_channels_of_every_branch() -> None:
    x, skip = pictures(6), pictures(3, channels=2, seed=1)
    assert torch.equal(beside(x, skip), torch.cat([x, torch.cat([skip, skip])], dim=1))
    assert beside(x, None) is x


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own modules, as its compiler is imported
@pytest.mark.parametrize(("part", "first", "second"), [(added_in_branches, 3, 6), (beside, 6, 3)])
def test_channels_stay_last_when_compiled(
    part: Callable[[Tensor, Tensor], Tensor], first: int, second: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler, which torch.compile needs on a CPU")
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    given = pictures(first), pictures(second, seed=1)
    with torch.inference_mode(), inductor.patch({"cpp.simdlen": 1, "cpp_cache_precompile_headers": False}):
        made = torch.compile(part, dynamic=False)(*given)
        assert torch.equal(made, part(*given))
    assert made.is_contiguous(memory_format=torch.channels_last)
