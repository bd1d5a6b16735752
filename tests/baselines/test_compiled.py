"""Compiled blocks on disk: read by a later process without tracing, told apart, and never trusted blindly."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines import compiled
from baselines.compiled import Shelf, description, form, shelve, sources
from baselines.nn.attention import Attention

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch's own modules, as its compiler is imported
]


def block(heads: int = 2, width: int = 8) -> Attention:
    """Needs no C++ compiler: products and attention are torch's own kernels. Always the same weights."""
    torch.manual_seed(0)
    return Attention(width, heads).eval().requires_grad_(False)


def tokens(count: int = 5) -> Tensor:
    return torch.linspace(-3, 3, 2 * count * 8).sin().view(2, count, 8)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Tensor, int]]]:
    """Output of a block on its shelf, and how many graphs were traced for it, as a new process would find them."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))
    from torch._dynamo.utils import counters

    def fresh(given: nn.Module, x: Tensor) -> tuple[Tensor, int]:
        torch._dynamo.reset()
        counters.clear()
        shelve(given, Shelf(tmp_path / "blocks"))
        with torch.inference_mode():
            return given(x), counters["stats"]["unique_graphs"]

    yield fresh
    torch._dynamo.reset()


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "blocks").iterdir())


def test_a_later_process_reads_what_was_compiled_and_traces_nothing(run: Any, tmp_path: Path) -> None:
    x = tokens()
    exact = block()(x)
    first, traced = run(block(), x)
    assert traced == 1
    assert torch.allclose(first, exact, rtol=1e-5, atol=1e-6)
    again, traced = run(block(), x)
    assert traced == 0
    assert torch.equal(first, again)
    assert len(kept(tmp_path)) == 1


def test_equal_blocks_share_one_compilation_and_keep_their_own_weights(tmp_path: Path) -> None:
    pair = nn.Sequential(block(), block())
    pair[1].to_q.weight.mul_(-2)
    shelf = Shelf(tmp_path / "blocks")
    with torch.inference_mode():
        x = tokens()
        exact = pair(x)
        for each in pair:
            shelve(each, shelf)
        assert torch.allclose(pair(x), exact, rtol=1e-5, atol=1e-6)
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("harm", ["cut", "bit", "nonsense", "empty"])
def test_a_broken_file_is_compiled_again(run: Any, tmp_path: Path, harm: str) -> None:
    x = tokens()
    first, _ = run(block(), x)
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:middle], "bit": flipped, "nonsense": b"nonsense" * 99, "empty": b""}[harm])
    again, traced = run(block(), x)
    assert traced == 1
    assert torch.equal(first, again)
    assert run(block(), x)[1] == 0


def test_another_blocks_entry_under_this_ones_name_is_refused_by_its_conditions(run: Any, tmp_path: Path) -> None:
    x = tokens()
    one, _ = run(block(heads=1), x)
    (first,) = kept(tmp_path)
    two, _ = run(block(heads=2), x)
    (second,) = set(kept(tmp_path)) - {first}
    second.write_bytes(first.read_bytes())
    assert torch.equal(run(block(heads=2), x)[0], two)
    assert not torch.allclose(one, two)


def test_a_call_whose_conditions_do_not_hold_is_compiled_as_torch_does(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda _, **options: asked.append(options))
    given, x = block(), tokens()
    first, _ = run(given, x)
    assert not asked
    torch.use_deterministic_algorithms(True)  # one of the conditions, and in no name
    try:
        with torch.inference_mode():
            assert torch.allclose(given(x), first, rtol=1e-5, atol=1e-6)
    finally:
        torch.use_deterministic_algorithms(False)
    assert asked == [{"dynamic": False}]


def test_without_compilation_ahead_of_time_a_block_is_compiled_as_torch_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda _, **options: asked.append(options))
    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)  # as an older torch, which has no aot_compile
    given, x = block(), tokens()
    exact = given(x)
    shelve(given, Shelf(tmp_path / "blocks"))
    assert torch.equal(given(x), exact)
    assert torch.equal(given(x), exact)
    assert asked == [{"dynamic": False}]


def test_equal_blocks_have_equal_descriptions_and_others_have_not() -> None:
    half = block().half()
    wide = block()
    wide.to_q.weight.data = wide.to_q.weight.data.t().contiguous().t()
    joined = block()
    joined.join_projections()
    training = block().train()
    hooked = block()
    hooked.heads = True  # equal to 1 in Python
    others = [block(heads=1), block(width=16), half, wide, joined, training, hooked]
    assert description(block()) == description(block())
    assert len({description(each) for each in [block(), *others]}) == 1 + len(others)


def diffusers_block() -> nn.Module:
    """Has a configuration, and in it a list whose order is by chance."""
    from baselines.modelscope.blocks import TimeTransformer, with_our_blocks

    with torch.device("meta"):
        network: nn.Module = TimeTransformer(2, 8, in_channels=32, num_layers=1, activation_fn="geglu")
    with_our_blocks(network)
    return network


def test_a_description_is_the_same_in_every_process() -> None:
    code = (
        "from tests.baselines.test_compiled import block, description, diffusers_block, form, tokens;"
        "print(*map(description, (block(), diffusers_block())), form((tokens(), {'a': None, 'b': [1.0, True]})))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    here = map(description, (block(), diffusers_block()))
    assert said == " ".join([*here, str(form((tokens(), {"a": None, "b": [1.0, True]})))])


class Foreign(Attention):
    """Its code lies outside the package, where a change of it would not be seen."""


@pytest.mark.parametrize("strange", ["lambda", "object", "code"])
def test_what_cannot_be_described_is_not_shelved(strange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda _, **options: asked.append(options))
    given = Foreign(8, 2) if strange == "code" else block()
    if strange != "code":
        given.extra = {"lambda": lambda x: x, "object": object()}[strange]  # type: ignore[assignment]
    with pytest.raises(TypeError):
        description(given)
    shelve(given, Shelf(tmp_path))
    assert asked == [{"dynamic": False}]
    assert "forward" not in vars(given)


def test_sources_are_told_by_what_is_in_them_and_how_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "nn").mkdir()
    file = tmp_path / "nn" / "one.py"
    file.write_text("a = 1\n")
    found = [sources(tmp_path)]
    file.write_text("a = 2\n")
    found.append(sources(tmp_path))
    file = file.rename(tmp_path / "nn" / "two.py")
    found.append(sources(tmp_path))
    (tmp_path / "notes.txt").write_text("of no matter")
    assert len(set(found)) == 3
    assert sources(tmp_path) == found[-1]


def test_reading_leaves_the_numbers_of_kernels_as_they_are() -> None:
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table as table

    ours, theirs = Any, Callable
    number = table.add_kernel(ours)
    try:
        with compiled._kernels_kept():
            table.id_to_kernel[number], table.kernel_to_id[theirs] = theirs, number  # as reading a function does
        assert table.get_kernel(number) is ours
        assert theirs not in table.kernel_to_id
    finally:
        table.reset_table()
