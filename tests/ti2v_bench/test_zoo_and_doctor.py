"""The table of models says what cards and `published.json` say; doctor says what is really there."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ti2v_bench import doctor, zoo
from ti2v_bench.cli.doctor import doctor as doctor_command
from ti2v_bench.cli.models import models
from ti2v_bench.model import ModelCard, WeightFile
from ti2v_bench.registry import MODELS, UnknownModel
from ti2v_bench.results import results_folder

CARD = ModelCard(
    name="seine",
    title="SEINE",
    source="Vchitect/SEINE @ bd8d519",
    licence="Apache-2.0",
    weights=(WeightFile("owner/name", "a.pt", "abc", bytes=5_480_000_000), WeightFile("owner/name", "b.pt")),
    frames=16,
    size="320 x 512",
    notes=("one note", "another"),
)


def test_list_has_every_model_and_shows_dashes_where_nothing_is_known() -> None:
    result = CliRunner().invoke(models, ["list"])
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert [line.split()[0] for line in lines[1:]] == list(MODELS)
    static = next(line for line in lines if line.startswith("static "))
    assert static.endswith("–")
    assert "16" in static


def test_published_scores_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"baseline": title, "ti2v_score": {"model": 100 - score, "baseline": score}}
        for title, score in (("Cond-leak", 37.5), ("SEINE", 27.5), ("TI2V-Zero", 15.3))
    ]
    (tmp_path / "published.json").write_text(json.dumps({"figure_4": {"rows": rows}}))
    monkeypatch.setattr(zoo, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(zoo, "MODELS", dict.fromkeys(["static", "seine", "cond_leak", "ti2v_zero", "motif"]))
    found = {name: score.percent for name, score in zoo.published_scores().items()}
    assert found == {"seine": 27.5, "cond_leak": 37.5, "ti2v_zero": 15.3, "motif": 73.2}


def test_without_the_published_file_no_score_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "results_folder", lambda: tmp_path)
    assert zoo.published_scores() == {}


def test_show_names_what_would_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "load_card", lambda name: CARD)
    result = CliRunner().invoke(models, ["show", "seine"])
    assert "owner/name/a.pt @ abc, 5.5 GB, unknown" in result.output
    assert "owner/name/b.pt (no revision is pinned: none is published), size unknown" in result.output
    assert "not measured" in result.output
    assert result.output.count("note ") == 2


def test_memory_on_the_cards_is_that_of_the_measured_steps_rounded_up() -> None:
    table = json.loads((results_folder() / "speed" / "generation.json").read_text())
    exact = {row["model"]: row["gpu_memory_gib"] for row in table["rows"] if row["form"] == "exact"}
    shown = {card.name: card.gpu_memory_gib for card in zoo.cards() if card.gpu_memory_gib is not None}
    assert shown == {name: math.ceil(gib * 10) / 10 for name, gib in exact.items()}
    assert "6.1 GiB in a sampling step, measured" in CliRunner().invoke(models, ["show", "dynamicrafter"]).output


def test_show_of_an_unknown_model_suggests_the_nearest() -> None:
    result = CliRunner().invoke(models, ["show", "statc"])
    assert isinstance(result.exception, UnknownModel)
    assert "Did you mean 'static'?" in str(result.exception)


def test_listing_the_models_imports_no_torch() -> None:
    code = "import sys; from ti2v_bench.zoo import table; table(); print('torch' in sys.modules)"
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert end.stdout == "False\n"


def test_doctor_reports_this_machine() -> None:
    result = CliRunner().invoke(doctor_command)
    assert result.exit_code == 0, result.output
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in result.output
    assert "works (H.264 written and read back)" in result.output
    assert "cpu" in result.output


def test_doctor_names_what_each_command_lacks_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    present = importlib.util.find_spec
    monkeypatch.setattr(
        doctor, "find_spec", lambda name: None if name in ("torch", "cv2", "psycopg") else present(name)
    )
    found = doctor.examine(Path.cwd())
    lacking = {need.command: (need.missing, need.install) for need in found.needs if need.missing}
    assert lacking["generate (networks), motif, metrics"] == (
        ("torch", "opencv-python-headless"),
        "pip install 'ti2v-bench[models]'",
    )
    assert lacking["studies in PostgreSQL"] == (("psycopg",), "pip install 'ti2v-bench[postgres]'")
    assert "bench download" not in lacking
    assert "torch" not in found.packages
    assert [device.name for device in found.devices] == ["cpu"]


def test_doctor_says_so_when_torch_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this torch sees a GPU")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert any("sees no GPU" in text for text in doctor.examine(Path.cwd()).advice)


def test_doctor_counts_the_hub_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub" / "models--owner--name").mkdir(parents=True)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor.examine(tmp_path).hub["cache"] == f"{tmp_path / 'hub'} (1 repositories)"
