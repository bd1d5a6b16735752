"""Training: a killed and resumed run ends as an uninterrupted one; checkpoints are models."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from motif.batches import Numbers
from motif.folder import FolderError, checkpoints
from motif.journal import read_log
from motif.session import split_settings, start
from motif.train import TrainError
from ti2v_bench.cli.motif import motif
from ti2v_bench.model import ModelOptions
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_model
from ti2v_bench.video import encode_video, read_video

CHANGES = {"steps": "4", "batch": "2", "per_device": "1", "save_every": "2", "workers": "0", "ema": "0.9"}
CHANGES |= {"learning_rate": "0.001", "sample_every": "4", "keep": "0"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        picture = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        frames = np.stack([np.roll(picture, 5 * k, axis=1) for k in range(8)])
        (folder / f"{name}.mp4").write_bytes(encode_video(frames, 8, crf=0))
        (folder / f"{name}.txt").write_text(f"the {name} moves right")
    (folder / "broken.mp4").write_bytes(b"\0" * 100)
    (folder / "broken.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    start(source, out, *split_settings(CHANGES, tiny=True), weights="random-tiny")
    return out


def test_the_run_leaves_logs_pictures_a_card_and_the_newest_checkpoints(uninterrupted: Path) -> None:
    rows = read_log(uninterrupted / "log.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert {"loss", "diffusion", "motion", "hot", "mean_heat", "gradient", "seconds"} <= rows[0].keys()
    assert 0 < rows[0]["mean_heat"] < 1  # type: ignore[operator]
    assert "error_ratio_500" in rows[3]
    assert [row["clip"] for row in read_log(uninterrupted / "broken.jsonl")] == ["broken.mp4"]
    assert rows[3]["passed_over"] == 1
    assert (uninterrupted / "samples" / "000004.png").is_file()
    assert list((uninterrupted / "tensorboard").iterdir())
    assert [step for step, _ in checkpoints(uninterrupted)] == [4]
    card = (checkpoints(uninterrupted)[0][1] / "README.md").read_text()
    assert "opencv-dis-medium" in card
    assert "Not published, and chosen here" in card


def test_killed_and_resumed_equals_uninterrupted(source: Path, uninterrupted: Path, tmp_path: Path) -> None:
    changes = [part for name, value in CHANGES.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "ti2v_bench", "motif", "train", str(source), "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [*command, "--weights", "random-tiny", *changes], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    patience = time.monotonic() + 100
    while not (tmp_path / "checkpoint-000002").is_dir() and time.monotonic() < patience:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (tmp_path / "checkpoint-000002").is_dir()
    assert not (tmp_path / "checkpoint-000004").exists()
    start(source, tmp_path, *split_settings(CHANGES, tiny=True), weights="random-tiny")
    for file in ("unet.safetensors", "state/model.safetensors"):
        ours, theirs = (load_file(out / "checkpoint-000004" / file) for out in (tmp_path, uninterrupted))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), file
    logs = [read_log(out / "log.jsonl") for out in (tmp_path, uninterrupted)]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


def test_training_moves_every_weight_and_the_average_follows(uninterrupted: Path) -> None:
    folder = uninterrupted / "checkpoint-000004"
    average, last = (load_file(folder / file) for file in ("unet.safetensors", "state/model.safetensors"))
    moved = [key for key in last if not torch.equal(average[key], last[key])]
    assert len(moved) > 0.95 * len(last)


def test_a_checkpoint_samples_from_its_folder(uninterrupted: Path, tmp_path: Path) -> None:
    Image.new("RGB", (90, 70), "red").save(tmp_path / "a.png")
    arguments = [str(tmp_path / "a.png"), "it moves", "--weights", str(uninterrupted), "--set", "steps=2"]
    for name in ("one.mp4", "two.mp4"):
        result = CliRunner().invoke(motif, ["sample", *arguments, "--out", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    one, two = (read_video(tmp_path / name).frames.astype(int) for name in ("one.mp4", "two.mp4"))
    assert one.shape == (4, 64, 64, 3)
    # Seen: a few values fall on the other side of a grey level now and then, and the codec spreads that over blocks.
    assert np.abs(one - two).mean() < 0.1


def test_a_network_that_attends_to_the_image_trains_and_samples(source: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"steps": "1", "save_every": "1", "sample_every": "0", "conditioning": "both"}
    start(source, tmp_path, *split_settings(changes, tiny=True), weights="random-tiny")
    state = load_file(tmp_path / "checkpoint-000001" / "state" / "model.safetensors")
    values = [value for key, value in state.items() if "to_v_ip" in key]
    assert values
    assert all(value.abs().max() > 0 for value in values)  # they begin at zero, and are trained
    Image.new("RGB", (90, 70), "red").save(tmp_path / "a.png")
    model = load_model("motif", ModelOptions(weights=str(tmp_path), settings={"steps": "1"}))
    pair = Pair("a", "a", "a", "it moves", tmp_path / "a.png")
    assert model.generate(pair, 0).shape == (4, 64, 64, 3)


def test_other_settings_than_the_checkpoints_are_refused(source: Path, uninterrupted: Path) -> None:
    model, train = split_settings(CHANGES | {"prediction": "epsilon"}, tiny=True)
    with pytest.raises(TrainError, match="other model settings"):
        start(source, uninterrupted, model, train, weights="random-tiny")
    model, train = split_settings(CHANGES | {"batch": "3", "per_device": "2"}, tiny=True)
    with pytest.raises(TrainError, match="cannot be shared"):
        start(source, uninterrupted, model, train, weights="random-tiny")


def test_processes_share_every_batch_and_a_resumed_one_goes_on() -> None:
    whole = [list(Numbers(0, 3, 4, rank, 2)) for rank in range(2)]
    assert sorted(whole[0] + whole[1]) == list(range(12))
    assert set(whole[0][:2]) | set(whole[1][:2]) == {0, 1, 2, 3}
    assert list(Numbers(2, 3, 4, 1, 2)) == whole[1][4:]


def test_published_defaults() -> None:
    model, train = split_settings({}, tiny=False)
    assert (train.learning_rate, train.batch, train.steps, train.text_drop) == (5e-5, 64, 32_000, 0.1)
    assert (model.frames, model.height, model.width, model.prediction) == (16, 320, 512, "v")
    assert (train.motion_weight, train.heatmap.threshold, train.heatmap.slope) == (1.0, 0.05, 100.0)
    assert model.network().in_channels == 8


def test_missing_weights_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="No MotiF weights are published"):
        load_model("motif", ModelOptions())
    with pytest.raises(FolderError, match=r"settings\.json"):
        load_model("motif", ModelOptions(weights=str(tmp_path)))


def test_heatmap_command_writes_overlays_and_names_the_backend(source: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes((source / "a.mp4").read_bytes())
    result = CliRunner().invoke(motif, ["heatmap", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "opencv-dis-medium" in result.output
    assert "the paper's is not known" in result.output
    assert read_video(tmp_path / "out" / "a.mp4").frames.shape == (8, 64, 128, 3)
    assert json.loads(json.dumps(result.output.splitlines()))[-1].startswith("1 videos")
