"""Plans are arithmetic on measured rows; expected values are worked out by hand."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ti2v_bench import results
from ti2v_bench.bench import Bench
from ti2v_bench.cli.generate import generate
from ti2v_bench.model import ModelOptions
from ti2v_bench.runner import Request, costs
from ti2v_bench.runner import generate as run
from ti2v_bench.runner.jobs import RunError

ROW = {"model": "a.b:Slow", "precision": "float16", "video_bytes": 500_000}
ROWS = [
    {**ROW, "batch": 1, "seconds_per_video": 36.0, "gpu_memory_gib": 20.5},
    {**ROW, "batch": 4, "seconds_per_video": 18.0, "gpu_memory_gib": 41.0},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = {"device": "NVIDIA H200", "matmul_tflops": 800.0, "date": "2026-11-24", "rows": ROWS}
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "generation.json").write_text(json.dumps(table))
    (tmp_path / "speed" / "other.json").write_text(json.dumps({"what": "another table", "rows": [{"clips": 3}]}))
    return tmp_path / "speed"


def test_hours_follow_from_the_measured_row_with_the_largest_batch_that_is_allowed(folder: Path) -> None:
    speeds = costs.read_speeds(folder)
    one = costs.estimate("a.b:Slow", 200, ModelOptions(batch=1), None, speeds)
    four = costs.estimate("a.b:Slow", 200, ModelOptions(batch=8), None, speeds)
    assert (one.gpu_hours, one.gpu_memory_gib, one.videos_bytes) == (2.0, 20.5, 100_000_000)
    assert (four.gpu_hours, four.gpu_memory_gib) == (1.0, 41.0)
    assert one.basis == "measured on NVIDIA H200, 2026-11-24, batch 1"


def test_another_device_is_scaled_by_its_matrix_rate_and_says_so(folder: Path) -> None:
    speeds = costs.read_speeds(folder)
    here = costs.Target("NVIDIA L40S", 200.0, vendor=False)
    cost = costs.estimate("a.b:Slow", 100, ModelOptions(batch=1), here, speeds)
    assert cost.gpu_hours == pytest.approx(1.0 * 800 / 200)
    assert "scaled to NVIDIA L40S by measured matrix rates 800 : 200" in cost.basis
    cost = costs.estimate("a.b:Slow", 100, ModelOptions(batch=1), costs.vendor_target("A100"), speeds)
    assert cost.gpu_hours == pytest.approx(1.0 * 989 / 312)
    assert "by vendor's matrix peaks 989 : 312" in cost.basis
    same = costs.estimate(
        "a.b:Slow", 100, ModelOptions(batch=1), costs.Target("NVIDIA H200", 650.0, vendor=False), speeds
    )
    assert same.gpu_hours == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("Tesla T4", 65),
        ("nvidia h100 80GB", 989),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Abacus", None),
    ],
)
def test_devices_are_known_as_torch_names_them(name: str, rate: float | None) -> None:
    assert costs.vendor_tflops(name) == rate


@pytest.mark.parametrize("part", ["NVIDIA H200 MIG 1g.18gb", "NVIDIA H200 MIG 3g.71gb"])
def test_a_slice_of_a_gpu_is_not_the_whole_one(folder: Path, part: str) -> None:
    target = costs.Target(part, 80.0, vendor=False)
    cost = costs.estimate("a.b:Slow", 100, ModelOptions(batch=1), target, costs.read_speeds(folder))
    assert cost.gpu_hours == pytest.approx(10.0)  # by the rate measured on the slice, a tenth
    assert f"scaled to {part} by measured matrix rates 800 : 80" in cost.basis


def test_what_was_not_measured_is_not_guessed(folder: Path) -> None:
    cost = costs.estimate("x.y:Other", 10, ModelOptions(batch=1), None, costs.read_speeds(folder))
    assert (cost.gpu_hours, cost.basis) == (None, "not measured")
    assert costs.estimate("static", 10, ModelOptions(batch=1), None, []).gpu_hours == 0
    rows = costs.cost_table([cost], 1, 3.0)
    assert rows[1][2:4] == ("–", "–")
    assert rows[-1][2:7] == ("–",) * 5
    assert "not measured and not counted: 1 of 1 models" in rows[-1][-1]
    tiny = costs.estimate("a.b:Slow", 10, ModelOptions(weights="random-tiny"), None, costs.read_speeds(folder))
    assert tiny.gpu_hours is None


def test_a_sum_with_an_unknown_part_is_unknown_and_memory_is_the_largest() -> None:
    known = costs.Cost("a", 1, 1.0, 3.5, 2_000_000_000, 5_000_000, "")
    rows = costs.cost_table([known, known], 1, None)
    assert rows[-1][4:7] == ("3.5 GiB", "4.0 GB", "10 MB")
    rows = costs.cost_table([known, costs.Cost("b", 1, 1.0, 9.0, None, None, "")], 1, None)
    assert rows[-1][2:7] == ("2.00", "2.00", "9.0 GiB", "–", "–")


def test_a_model_that_was_measured_otherwise_says_how(folder: Path) -> None:
    asked = ModelOptions(settings={"steps": "25"}, fast=True)
    cost = costs.estimate("a.b:Slow", 200, asked, None, costs.read_speeds(folder))
    assert (cost.gpu_hours, cost.basis) == (None, "not measured like this, only exact float16")


def test_the_published_table_gives_the_hours_that_it_sums_up_itself() -> None:
    """Oracle: `whole_bench` of generation.json, summed by the benchmark: 320 videos per model."""
    path = results.results_folder() / "speed" / "generation.json"
    speeds = costs.read_speeds(path.parent)
    for total in json.loads(path.read_text())["whole_bench"]:
        precision = "float16" if total["form"] == "half" else None
        options = ModelOptions(precision=precision, fast=total["form"] != "exact")
        found = [costs.estimate(model, 320, options, None, speeds) for model in total["models"]]
        assert sum(cost.gpu_hours or 0 for cost in found) == pytest.approx(total["gpu_hours"], abs=0.006)


def test_only_rows_with_the_asked_settings_precision_and_form_count(folder: Path) -> None:
    table = json.loads((folder / "generation.json").read_text())
    table["rows"].append({**ROW, "batch": 1, "seconds_per_video": 9.0, "settings": {"steps": "25"}})
    table["rows"].append({**ROW, "batch": 1, "seconds_per_video": 4.5, "fast": True})
    table["rows"].append({**ROW, "batch": 1, "seconds_per_video": 0.01, "weights": "random-tiny"})
    (folder / "generation.json").write_text(json.dumps(table))
    speeds = costs.read_speeds(folder)
    assert costs.estimate("a.b:Slow", 200, ModelOptions(), None, speeds).gpu_hours == 2.0
    fewer = ModelOptions(settings={"steps": "25"})
    assert costs.estimate("a.b:Slow", 200, fewer, None, speeds).gpu_hours == 0.5
    assert costs.estimate("a.b:Slow", 200, ModelOptions(fast=True), None, speeds).gpu_hours == 0.25
    assert costs.estimate("a.b:Slow", 200, ModelOptions(precision="float32"), None, speeds).gpu_hours is None


def test_another_precision_than_the_official_one_counts_only_where_it_is_asked_for() -> None:
    rows = [
        costs.Speed("videocrafter", "GPU", 700.0, "today", precision, 1, seconds, None, None, {})
        for precision, seconds in (("float16", 9.0), ("float32", 18.0))
    ]
    assert costs.estimate("videocrafter", 200, ModelOptions(), None, rows).gpu_hours == 1.0
    assert costs.estimate("videocrafter", 200, ModelOptions(precision="float16"), None, rows).gpu_hours == 0.5
    assert costs.estimate("dynamicrafter", 200, ModelOptions(), None, rows).gpu_hours is None


def test_the_sum_and_the_cost(folder: Path) -> None:
    slow = costs.estimate("a.b:Slow", 200, ModelOptions(batch=1), None, costs.read_speeds(folder))
    rows = costs.cost_table([slow, slow], 4, 2.5)
    assert rows[0][2:5] == ("GPU-hours", "cost", "hours on 4")
    assert rows[1][2:5] == ("2.00", "5.00", "0.50")
    assert rows[-1][:5] == ("total", "400", "4.00", "10.00", "1.00")


def test_an_unknown_device_and_a_broken_table_are_named(folder: Path) -> None:
    with pytest.raises(RunError, match="No rate is known of device 'Abacus'"):
        costs.vendor_target("Abacus")
    (folder / "bad.json").write_text('{"device": "x", "matmul_tflops": 1, "rows": [{"seconds_per_video": 2}]}')
    with pytest.raises(RunError, match=r"bad\.json is no table of measured speeds"):
        costs.read_speeds(folder)


def test_the_matrix_rate_is_that_of_a_product_timed_by_hand() -> None:
    """Oracle: a rate between a thousandth and a hundred TFLOP/s; a CPU core does 0.01 to 1."""
    pytest.importorskip("torch")
    assert 1e-3 < costs.matmul_tflops("cpu", side=256) < 100  # the best of half a second: one round may be interrupted


def test_plan_counts_only_what_is_missing_and_makes_nothing(
    bench: Bench, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "results_folder", lambda: folder.parent)
    run(bench.pairs[:2], [Request("static")], tmp_path / "out", show=False)
    arguments = ["--bench", str(bench.root), "--model", "static", "--out", str(tmp_path / "out"), "--seed", "0"]
    result = CliRunner().invoke(generate, [*arguments, "--seed", "1", "--plan", "H100", "--price", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[1].split()[:4] == ["static", "10", "0.00", "0.00"]
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 2


def test_plan_without_a_name_takes_this_machine(bench: Bench, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        generate, ["--bench", str(bench.root), "--plan", "--model", "static", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out").exists()


def test_plan_without_a_gpu_says_whose_hours_they_are(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "local_target", lambda: None)
    arguments = ["--bench", str(bench.root), "--model", "seine", "--out", str(tmp_path / "out"), "--plan"]
    result = CliRunner().invoke(generate, arguments)
    assert result.output.startswith("No GPU here: the hours are those of the GPU that was measured.")
