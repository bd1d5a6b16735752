"""VideoCrafter2's published file, and trained folders from the Hub, become our networks."""

from pathlib import Path

import pytest
import torch

from baselines.checkpoints import CheckpointError, random_state
from baselines.lvdm.recipe import VOCABULARY
from baselines.lvdm.recipe import tiny as tiny_recipe
from baselines.lvdm.unet import UNet
from baselines.videocrafter.settings import Settings, recipe
from motif.folder import FolderError, write_settings
from motif.model import find_folder
from motif.parts import build_unet, from_json, load_encoders, start_state, tiny, to_json
from motif.settings import BASE, MotifSettings, TrainSettings
from tests.baselines.lvdm.published_layout import published_state, vocabulary_file

MODEL = tiny(MotifSettings())


def _published(folder: Path) -> dict[str, torch.Tensor]:
    """A folder with VideoCrafter2's file in its own layout, tiny, and the vocabulary; returns the file's content."""
    whole = published_state(tiny_recipe(recipe(Settings())), seed=0)
    kept = ("first_stage_model.", "cond_stage_model.model.", "betas", "scale_arr")
    state = {key: value for key, value in whole.items() if key.startswith(kept)}
    unet = random_state(lambda: UNet(MODEL.unet), 0)
    state |= {f"model.diffusion_model.{key}": value for key, value in unet.items()}
    for name, write in (
        (f"{BASE.repo}/{BASE.file}", None),
        (f"{VOCABULARY.repo}/{VOCABULARY.file}", vocabulary_file()),
    ):
        path = folder / name
        path.parent.mkdir(parents=True)
        if write is None:
            torch.save({"state_dict": state}, path)
        else:
            path.write_bytes(write)
    return state


def test_the_published_layout_fills_every_network(tmp_path: Path) -> None:
    _published(tmp_path)
    expected, got = (start_state(MODEL, weights) for weights in ("random-tiny", str(tmp_path)))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    build_unet(MODEL, got, torch.float32, "cpu")  # strict
    random, loaded = (load_encoders(MODEL, weights, torch.float32, "cpu") for weights in ("random-tiny", str(tmp_path)))
    video = torch.rand(1, 3, 2, 64, 64) * 2 - 1
    assert torch.equal(random.latents(video), loaded.latents(video))
    assert loaded.context([""], video[:, :, 0]).shape == (1, 77, 32)
    text = {key: value for key, value in random.text.state_dict().items() if value.is_floating_point()}
    assert all(torch.equal(value, loaded.text.state_dict()[key]) for key, value in text.items())
    assert [record["file"] for record in loaded.records] == ["model.ckpt", "merges.txt"]


def test_a_file_that_lacks_a_key_is_refused(tmp_path: Path) -> None:
    state = _published(tmp_path)
    del state["model.diffusion_model.out.2.bias"]
    torch.save({"state_dict": state}, tmp_path / BASE.repo / BASE.file)
    with pytest.raises(CheckpointError, match=r"out\.2\.bias"):
        build_unet(MODEL, start_state(MODEL, str(tmp_path)), torch.float32, "cpu")


def test_settings_survive_json() -> None:
    import json

    for settings in (MotifSettings(), MODEL, MotifSettings(conditioning="both", prediction="epsilon")):
        assert from_json(json.loads(json.dumps(to_json(settings)))) == settings


def test_a_trained_folder_is_found_by_itself_below_a_run_and_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    from motif.folder import Saved

    folder = tmp_path / "run" / "checkpoint-000010"
    folder.mkdir(parents=True)
    (folder / "unet.safetensors").write_bytes(b"")
    write_settings(folder, Saved(to_json(MODEL), {}, None, 10), MODEL, TrainSettings())
    assert find_folder(str(folder)) == find_folder(str(tmp_path / "run")) == folder
    asked = []

    def download(repo: str, **_: object) -> str:
        asked.append(repo)
        if repo == "someone/absent":
            raise OSError("404")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert find_folder("someone/motif") == folder
    assert asked == ["someone/motif"]
    with pytest.raises(FolderError, match="someone/absent"):
        find_folder("someone/absent")
    with pytest.raises(FolderError, match="no folder"):
        find_folder(str(tmp_path / "nothing"))
