"""The fast form: the same video up to rounding, for every model that says it has one; compiled once, then read."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from baselines.fast import default_cache, speed_up
from ti2v_bench.model import ModelOptions
from ti2v_bench.records import Pair
from ti2v_bench.registry import MODELS, NoFastForm, load_card, load_model

SMALL: dict[str, dict[str, str]] = {
    "seine": {"height": "24", "width": "40", "frames": "3", "steps": "2", "method": "ddim"},
    "cinemo": {"height": "24", "width": "40", "residual_frames": "2", "steps": "2"},
    "consisti2v": {"height": "24", "width": "32", "steps": "2"},
    "ti2v_zero": {"new": "1", "known": "2"},
    "videocrafter": {"frames": "2", "steps": "2"},
    "cond_leak": {"frames": "2", "steps": "2"},
    "motif": {"steps": "2"},
}
FAST = [name for name in MODELS if load_card(name).fast]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat0.png")
    return Pair("cat0_runs", "cat0", "cat", "The cat runs!", tmp_path / "cat0.png")


def test_ten_models_have_a_fast_form() -> None:
    controls = {"static", "reference", "motif-mini", "plain-mini"}
    assert set(FAST) == set(MODELS) - controls


@pytest.mark.parametrize("name", FAST)
def test_the_fast_form_makes_the_same_video(
    name: str, pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the compiler, which takes a minute per model; layout, blocks and precision are those of the fast form."""
    compiled: list[type[nn.Module]] = []
    monkeypatch.setattr("baselines.fast.shelve", lambda block, _: compiled.append(type(block)))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    settings = SMALL.get(name, {"steps": "2"})
    exact, fast = (
        load_model(name, ModelOptions(weights="random-tiny", settings=settings, fast=fast, compile_cache=tmp_path))
        for fast in (False, True)
    )
    wanted = exact.generate(pair, 5).astype(int)
    assert not {kind.__name__ for kind in compiled} & {"Conv2d", "Linear"}
    assert len(compiled) >= 4
    made = fast.generate(pair, 5).astype(int)
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= 2  # of 255: float32 sums in another order
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)


@pytest.mark.parametrize("name", ["static", "motif-mini", "my.module:Model"])
def test_a_model_without_a_fast_form_refuses_it(name: str) -> None:
    with pytest.raises(NoFastForm, match=f"Model '{name}' has no fast form. Leave out --fast, which is for dynamicraf"):
        load_model(name, ModelOptions(fast=True))


class Block(nn.Module):
    """As small as a block can be: compiling takes seconds even so."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 0.5), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * x.sigmoid()


class Blocks(nn.Module):
    """Three equal blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.tf32: bool | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.tf32 = torch.backends.cuda.matmul.allow_tf32
        result: Tensor = self.blocks(x)
        return result


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own modules, as its compiler is imported
def test_equal_blocks_are_compiled_once_and_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler, which torch.compile needs on a CPU")
    import torch._inductor.config as inductor
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    found: list[dict[str, Any]] = []
    quick = {"cpp.simdlen": 1, "cpp_cache_precompile_headers": False}  # the compiler looks at nothing but the block
    with torch.inference_mode(), inductor.patch(quick):
        network, x = Blocks().eval(), torch.linspace(-3, 3, 4)
        exact = network(x)
        speed_up(network, [Block], tmp_path / "compiled")
        for _ in range(2):
            torch._dynamo.reset()  # as a new process would find itself
            counters.clear()
            assert torch.allclose(network(x), exact, rtol=1e-6, atol=1e-6)
            found.append({key: dict(values) for key, values in counters.items()})
    first, second = found
    assert first["stats"]["unique_graphs"] == second["stats"]["unique_graphs"] == 1
    assert "autograd_cache_hit" not in first["aot_autograd"]
    assert second["aot_autograd"]["autograd_cache_hit"] == 1
    assert list((tmp_path / "compiled").iterdir())


def test_float32_products_are_rounded_in_the_network_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # and put back what `speed_up` sets
    network = Blocks().eval()
    speed_up(network, [], tmp_path)
    before = torch.backends.cuda.matmul.allow_tf32
    network(torch.zeros(4))
    assert (network.tf32, torch.backends.cuda.matmul.allow_tf32) == (True, before)


def test_what_is_compiled_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "ti2v-bench" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "ti2v-bench" / "compiled"
