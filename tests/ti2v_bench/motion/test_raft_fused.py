"""RAFT's fused form: its kernels by Triton's interpreter against torch in float64, and what happens without them."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.interpreter import interpreted
from ti2v_bench.motion import raft
from ti2v_bench.motion.raft import Raft, RaftFlow, fused_where_it_runs

SCRIPT = Path(__file__).with_name("interpreted_raft.py")


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    return interpreted(SCRIPT, "kernels")


def test_lookups_are_those_of_grid_sample(found: Mapping[str, Any]) -> None:
    assert set(found["lookups"]) >= {"17x16", "on cells", "mostly outside"}
    assert max(found["lookups"].values()) < 2e-5


def test_coordinates_that_ran_away_see_nothing(found: Mapping[str, Any]) -> None:
    assert found["lookups"]["ran away"] == 0


def test_elementwise_kernels_are_their_formulas(found: Mapping[str, Any]) -> None:
    assert len(found["elements"]) == 7
    assert max(found["elements"].values()) < 5e-6


def test_instance_norm_and_up_sampling_are_those_of_the_plain_network(found: Mapping[str, Any]) -> None:
    assert found["norms"] < 1e-5
    assert found["upsampled"] < 2e-5


@pytest.mark.slow
def test_the_whole_network_is_the_plain_one() -> None:
    network = interpreted(SCRIPT, "network")
    assert network["size"] == [2, 2, 128, 136]
    assert network["longest"] > 1
    assert network["float32"] < 2e-5 * network["longest"]
    assert network["float16"] < 0.02 * network["longest"]


def test_without_working_kernels_the_plain_network_runs_and_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ti2v_bench.motion.raft_fused", None)
    with caplog.at_level(logging.WARNING):
        assert fused_where_it_runs(Raft(), torch.float32, "cpu") is None
    assert "RAFT runs without Triton kernels, only slower" in caplog.text


def test_the_fused_form_is_tried_once_and_never_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[torch.dtype] = []

    def refuse(model: Raft, dtype: torch.dtype, device: str) -> None:
        tried.append(dtype)

    monkeypatch.setattr(raft, "fused_where_it_runs", refuse)
    backend = RaftFlow(Raft(), "random", updates=1)
    backend.flow_tensor(torch.zeros(2, 3, 128, 128))
    assert not tried
    for _ in range(2):
        assert backend._fused_in("bfloat16") is None
    assert tried == [torch.bfloat16]
