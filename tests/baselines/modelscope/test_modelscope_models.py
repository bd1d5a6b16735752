"""Each model from a Hub, or from random weights, to a video with its sidecar."""

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from baselines.adapter import PrecisionError
from baselines.checkpoints import CheckpointError
from baselines.modelscope.networks import TINY
from tests.baselines.modelscope.published import repositories
from tests.loopback_hub import LoopbackHub
from ti2v_bench.cli.generate import generate
from ti2v_bench.model import BatchModel, ModelOptions, Traceable
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_card, load_model

NAMES = ["i2vgen_xl", "ti2v_zero", "animate_anything"]
SMALL = {
    "i2vgen_xl": {"height": "64", "width": "112", "frames": "4", "steps": "2"},
    "ti2v_zero": {"size": "64", "known": "3", "new": "2", "steps": "2", "resamples": "1"},
    "animate_anything": {"area": "4096", "frames": "4", "steps": "2"},
}

OPTIONS = {name: ModelOptions(weights="random-tiny", batch=3, settings=SMALL[name]) for name in NAMES}


def module_of(name: str) -> Any:
    return import_module(f"baselines.{name}.model")


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Two pictures of one aspect and one of another."""
    random = np.random.default_rng(0)
    made = []
    for number, (rows, columns) in enumerate([(90, 130), (90, 130), (100, 80)]):
        path = tmp_path / f"cat{number}.png"
        Image.fromarray(random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)).save(path)
        made.append(Pair(f"cat{number}_runs", f"cat{number}", "cat", f"The cat runs {number}!", path))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_published_files_are_fetched_fitted_and_named_in_the_sidecar(
    name: str, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "cat1.png").write_bytes(pairs[0].image.read_bytes())
    (bench / "prompt.csv").write_text("image,prompt\ncat1.png,The cat runs\n")
    monkeypatch.setattr(module_of(name), "Sizes", lambda: TINY)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    changes = [part for key, value in SMALL[name].items() for part in ("--set", f"{key}={value}")]
    with LoopbackHub() as hub:
        for repo, files in repositories(name).items():
            revisions = {file.revision for file in load_card(name).weights if file.repo == repo}
            for revision in revisions:
                hub.add(repo, files, branch=revision or "main", lfs=[path for path in files if len(path) > 99])
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        command = ["--bench", str(bench), "--model", name, "--out", str(tmp_path / "out"), "--device", "cpu", *changes]
        result = CliRunner().invoke(generate, command)
    assert result.exit_code == 0, result.output
    sidecar = json.loads((tmp_path / "out" / name / "cat1_the_cat_runs_0.json").read_text())
    expected = {file.file for file in load_card(name).weights}
    recorded = {record["file"]: record["sha256"] for record in sidecar["weights"]}
    assert len(recorded.keys() & expected) >= 4
    assert all(len(digest) == 64 for digest in recorded.values())
    assert sidecar["precision"] == "float32"
    assert sidecar["settings"]["steps"] == 2
    if name == "animate_anything":
        assert sidecar["model_says"]["checkpoint_spacing"] == "leading"  # as its scheduler_config.json says
    assert (tmp_path / "out" / name / "cat1_the_cat_runs_0.mp4").stat().st_size > 500


@cache
def tiny(name: str) -> BatchModel:
    """The model with tiny random weights, built once for all tests."""
    model = load_model(name, OPTIONS[name])
    assert isinstance(model, BatchModel)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_pair_and_seed_decide_the_video_and_the_batch_does_not(name: str, pairs: list[Pair]) -> None:
    model = tiny(name)
    assert isinstance(model, Traceable)
    assert (model.name, model.provenance()["weights"]) == (name, "random-tiny")
    together = model.generate_batch(pairs, [0, 1, 2])
    assert all(video.dtype == np.uint8 for video in together)
    first = model.generate(pairs[0], 0)
    assert np.abs(first.astype(int) - together[0]).max() <= 2  # other batch sizes round otherwise
    assert np.abs(model.generate(pairs[2], 2).astype(int) - together[2]).max() <= 2
    assert np.array_equal(load_model(name, OPTIONS[name]).generate(pairs[0], 0), first)
    assert np.abs(model.generate(pairs[0], 1).astype(int) - first).max() > 20
    other = Pair("a", "a", "a", "completely different words", pairs[0].image)
    assert not np.array_equal(model.generate(other, 0), first)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_runs_and_stays_near_float32(name: str, pairs: list[Pair]) -> None:
    half = load_model(name, ModelOptions(weights="random-tiny", precision="bfloat16", settings=SMALL[name]))
    difference = np.abs(half.generate(pairs[0], 0).astype(int) - tiny(name).generate(pairs[0], 0))
    assert isinstance(half, Traceable)
    assert half.provenance()["precision"] == "bfloat16"
    assert 0 < difference.mean() < 40  # guidance of 9 multiplies the rounding; two unrelated videos are 75 apart


@pytest.mark.parametrize("name", NAMES)
def test_one_file_for_a_model_of_several_is_refused(name: str, pairs: list[Pair]) -> None:
    with pytest.raises(CheckpointError, match="is one file; this model has several"):
        load_model(name, ModelOptions(weights=str(pairs[0].image)))


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(PrecisionError, match="no precision 'int8'"):
        load_model("ti2v_zero", ModelOptions(weights="random-tiny", precision="int8"))


def test_a_hub_without_the_files_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with LoopbackHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        with pytest.raises(CheckpointError, match=r"unet/diffusion_pytorch_model.safetensors of .*--weights"):
            load_model("animate_anything", ModelOptions())


@pytest.mark.parametrize("name", NAMES)
def test_cards_are_read_without_torch(name: str) -> None:
    import subprocess
    import sys

    code = f"import sys; from ti2v_bench.registry import load_card; load_card({name!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
