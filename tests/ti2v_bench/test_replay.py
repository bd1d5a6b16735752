"""What is recorded and when; the recording itself needs a GPU and is stood in for by a list of calls."""

import logging
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

from ti2v_bench import replay
from ti2v_bench.replay import Replayed, described, mapped


class Watched(Replayed):
    """Notes what is called and what is recorded; a recording answers with -1 times the sum."""

    def __init__(self, refusal: Exception | None = None, keep: int = 1) -> None:
        super().__init__(self._add, keep)
        self.called: list[int] = []
        self.recorded: list[int] = []
        self.refusal = refusal

    def _add(self, x: Tensor, *, by: float = 0.0) -> Tensor:
        self.called.append(len(x))
        return x + by

    def _recorded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.refusal is not None:
            raise self.refusal
        self.recorded.append(len(args[0]))

        class Recording:
            def replayed(self, inputs: list[Tensor]) -> Tensor:
                return -inputs[0].sum()

        return Recording()


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "on_one_gpu", lambda tensors: True)


def test_tensors_of_the_cpu_are_never_recorded() -> None:
    function = Watched()
    for _ in range(3):
        assert torch.equal(function(torch.ones(2), by=1.0), torch.full((2,), 2.0))
    assert (function.called, function.recorded) == ([2, 2, 2], [])


@pytest.mark.usefixtures("_gpu")
def test_a_call_is_recorded_when_it_is_like_the_one_before_it() -> None:
    function = Watched()
    assert torch.equal(function(torch.ones(3)), torch.ones(3))
    assert float(function(torch.full((3,), 2.0))) == -6
    assert float(function(torch.full((3,), 4.0))) == -12
    assert (function.called, function.recorded) == ([3], [3])


@pytest.mark.usefixtures("_gpu")
def test_another_shape_type_or_value_begins_anew() -> None:
    function = Watched()
    for x, by in ((torch.ones(3), 0.0), (torch.ones(4), 0.0), (torch.ones(4).half(), 0.0), (torch.ones(4).half(), 1.0)):
        function(x, by=by)
    assert (function.called, function.recorded) == ([3, 4, 4, 4], [])


@pytest.mark.usefixtures("_gpu")
def test_shapes_that_take_turns_are_called_and_not_recorded() -> None:
    function = Watched()
    for count in (3, 4, 3, 4):
        function(torch.ones(count))
    assert (function.called, function.recorded) == ([3, 4, 3, 4], [])


@pytest.mark.usefixtures("_gpu")
def test_as_many_kinds_of_calls_are_kept_as_were_asked_for() -> None:
    function = Watched(keep=2)
    for count in (3, 4, 3, 4, 3):
        function(torch.ones(count))
    assert (function.called, function.recorded) == ([3, 4], [3, 4])
    function(torch.ones(5))  # in place of 4, the one that was longest not called
    function(torch.ones(3))
    function(torch.ones(4))
    assert (function.called, function.recorded) == ([3, 4, 5, 4], [3, 4])


@pytest.mark.usefixtures("_gpu")
def test_another_thread_calls_once_before_it_records() -> None:
    function = Watched()
    function(torch.ones(3))
    other = Thread(target=function, args=(torch.ones(3),))
    other.start()
    other.join()
    assert (function.called, function.recorded) == ([3, 3], [3])


@pytest.mark.usefixtures("_gpu")
def test_what_cuda_will_not_record_is_called_from_then_on_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    function = Watched(RuntimeError("operation not permitted when stream is capturing\nmore"))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert torch.equal(function(torch.ones(2)), torch.ones(2))
    assert (function.called, function.recorded) == ([2] * 4, [])
    assert [record.getMessage() for record in caplog.records] == [
        "not replayed as a CUDA graph, only slower: operation not permitted when stream is capturing"
    ]


@pytest.mark.usefixtures("_gpu")
def test_memory_that_runs_out_while_recording_is_the_callers_matter() -> None:
    function = Watched(torch.OutOfMemoryError("CUDA out of memory"))
    function(torch.ones(2))
    with pytest.raises(torch.OutOfMemoryError):
        function(torch.ones(2))


def test_a_nest_is_described_by_its_tensors_and_by_all_else() -> None:
    x, y = torch.zeros(2, 3), torch.zeros(1, dtype=torch.int64)
    tensors, form = described(((x, 5), {"given": [y, None]}))
    assert tensors[0] is x
    assert tensors[1] is y
    assert form == described(((x + 1, 5), {"given": [y + 1, None]}))[1]
    assert form != described(((x, 6), {"given": [y, None]}))[1]
    assert mapped({"a": (x, 1)}, lambda tensor: tensor.shape) == {"a": (torch.Size([2, 3]), 1)}
