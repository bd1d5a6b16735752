"""SEINE, Cinemo and ConsistI2V from a Hub, a folder or random weights, to videos with their sidecars."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from baselines.checkpoints import CheckpointError
from baselines.consisti2v.model import ConsistI2V
from baselines.diffusers_config import ConfigError
from baselines.lavie.text import padded_with_end
from baselines.lvdm.tokenizer import END, START
from baselines.nn.stable_vae import decode, encode_sample
from baselines.settings import SettingsError
from tests.baselines.published_diffusers import repositories
from tests.loopback_hub import LoopbackHub
from ti2v_bench.cli.generate import generate
from ti2v_bench.model import BatchModel, ModelOptions, Traceable
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_card, load_model

NAMES = ["seine", "cinemo", "consisti2v"]
SMALL = {
    "seine": {"height": "24", "width": "40", "frames": "3", "steps": "2"},
    "cinemo": {"height": "24", "width": "40", "residual_frames": "2", "steps": "2"},
    "consisti2v": {"height": "24", "width": "32", "steps": "2"},
}
SHAPES = {"seine": (3, 24, 40, 3), "cinemo": (3, 24, 40, 3), "consisti2v": (16, 24, 32, 3)}


def options(name: str, **changes: Any) -> ModelOptions:
    settings = SMALL[name] | changes.pop("settings", {})
    return ModelOptions(**{"weights": "random-tiny", "settings": settings, **changes})


def unpacked(name: str, folder: Path) -> None:
    """All published files of a model in one folder."""
    for files in repositories(name).values():
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    random, made = np.random.default_rng(0), []
    for number, (rows, columns) in enumerate([(90, 130), (100, 80)]):
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
    (bench / "cat0.png").write_bytes(pairs[0].image.read_bytes())
    (bench / "prompt.csv").write_text("image,prompt\ncat0.png,The cat runs\n")
    module = import_module(f"baselines.{name}.model")
    monkeypatch.setattr(module, "FULL", module.TINY)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    changes = [part for key, value in SMALL[name].items() for part in ("--set", f"{key}={value}")]
    with LoopbackHub() as hub:
        for repo, files in repositories(name).items():
            hub.add(repo, files, lfs=[path for path in files if not path.endswith(("json", "txt"))])
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        command = ["--bench", str(bench), "--model", name, "--out", str(tmp_path / "out"), "--device", "cpu", *changes]
        result = CliRunner().invoke(generate, command)
    assert result.exit_code == 0, result.output
    sidecar = json.loads((tmp_path / "out" / name / "cat0_the_cat_runs_0.json").read_text())
    recorded = {record["file"]: record["sha256"] for record in sidecar["weights"]}
    assert recorded.keys() == {file.file for file in load_card(name).weights}
    assert all(len(digest) == 64 for digest in recorded.values())
    assert (sidecar["precision"], sidecar["settings"]["steps"]) == ("float32", 2)
    assert (tmp_path / "out" / name / "cat0_the_cat_runs_0.mp4").stat().st_size > 500


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_frames_alone_and_in_a_batch(name: str, pairs: list[Pair]) -> None:
    model = load_model(name, options(name, batch=2))
    assert isinstance(model, BatchModel)
    assert isinstance(model, Traceable)
    alone = model.generate(pairs[1], 7)
    assert (alone.shape, alone.dtype) == (SHAPES[name], np.uint8)
    assert np.array_equal(alone, model.generate(pairs[1], 7))
    other, again = model.generate_batch(pairs, [7, 7])
    assert np.abs(again.astype(int) - alone).max() <= 1  # rounding differs with the batch
    assert not np.array_equal(other, again)
    assert not np.array_equal(alone, model.generate(pairs[1], 8))
    assert json.dumps(model.provenance())
    assert model.provenance()["weights"] == "random-tiny"


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_near_single_precision(name: str, pairs: list[Pair]) -> None:
    """Every tensor is converted where the published code does; a step in float16 differs by rounding only."""
    single, half = (
        load_model(name, options(name, precision=precision, settings={"steps": "2", "guidance": "1.5"}))
        for precision in ("float32", "float16")
    )
    assert half.provenance()["precision"] == "float16"
    difference = np.abs(half.generate(pairs[0], 0).astype(int) - single.generate(pairs[0], 0))
    assert difference.mean() < 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seine", {"height": "44"}),
        ("seine", {"steps": "1"}),
        ("seine", {"method": "euler"}),
        ("cinemo", {"steps": "1000"}),
        ("cinemo", {"dct_share": "2"}),
        ("consisti2v", {"image_guidance": "2", "guidance_rescale": "0.7"}),
        ("consisti2v", {"noise_level": "1000"}),
        ("consisti2v", {"stop_spatial": "-0.1"}),
        ("consisti2v", {"guidance_rescale": "1.5"}),
        ("consisti2v", {"width": "4"}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(name: str, change: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(change))):
        load_model(name, options(name, settings=change))


@pytest.mark.parametrize("name", NAMES)
def test_one_file_is_not_enough(name: str, pairs: list[Pair]) -> None:
    with pytest.raises(CheckpointError, match="Name their folder"):
        load_model(name, options(name, weights=str(pairs[0].image)))


@pytest.mark.parametrize(
    ("name", "file", "field", "value"),
    [
        ("cinemo", "unet/config.json", "attention_head_dim", 1),
        ("cinemo", "unet/config.json", "norm_eps", 1e-6),
        ("cinemo", "unet/config.json", "act_fn", "gelu"),
        ("cinemo", "unet/config.json", "addition_time_embed_dim", 64),
        ("cinemo", "vae_temporal_decoder/config.json", "scaling_factor", 0.13025),
        ("cinemo", "scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
        ("cinemo", "text_encoder/config.json", "hidden_act", "gelu"),
        ("cinemo", "text_encoder/config.json", "num_attention_heads", 4),
        ("consisti2v", "unet/config.json", "timestep_post_act", "silu"),
        ("consisti2v", "unet/config.json", "attention_head_dim", [1, 2]),
        ("consisti2v", "vae/config.json", "scaling_factor", 0.13025),
        ("consisti2v", "text_encoder/config.json", "hidden_act", "quick_gelu"),
    ],
)
def test_a_published_configuration_that_differs_is_an_error(
    name: str, file: str, field: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no key or shape of a checkpoint shows would otherwise make quietly wrong videos."""
    module = import_module(f"baselines.{name}.model")
    monkeypatch.setattr(module, "FULL", module.TINY)
    unpacked(name, tmp_path)
    config = tmp_path / file
    config.write_text(json.dumps(json.loads(config.read_text()) | {field: value}))
    ours = {"attention_head_dim": "heads", "norm_eps": "eps"}.get(field, field)
    with pytest.raises(ConfigError, match=ours):
        load_model(name, options(name, weights=str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cinemo", ["unet/diffusion_pytorch_model", "text_encoder/model"]),
        ("consisti2v", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"]),
        ("seine", ["vae/diffusion_pytorch_model"]),
    ],
)
def test_older_files_of_the_same_weights_are_taken(
    name: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module(f"baselines.{name}.model")
    monkeypatch.setattr(module, "FULL", module.TINY)
    unpacked(name, tmp_path)
    older = []
    for file in files:
        new = tmp_path / f"{file}.safetensors"
        old = new.with_name("pytorch_model.bin" if new.stem == "model" else f"{new.stem}.bin")
        torch.save(load_file(new), old)
        new.unlink()
        older.append(str(old.relative_to(tmp_path)))
    model: Any = load_model(name, options(name, weights=str(tmp_path)))
    assert {record["file"] for record in model.provenance()["weights"]} >= set(older)


def test_cinemo_ends_where_the_published_scheduler_says(pairs: list[Pair]) -> None:
    from baselines.cinemo.model import _final_alpha_is_one

    assert not _final_alpha_is_one({"set_alpha_to_one": False})
    assert _final_alpha_is_one({})  # the library's default


def test_seine_says_slow_motion_after_every_prompt(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = load_model("seine", options("seine"))
    read, seen = model._read_text, list[str]()
    monkeypatch.setattr(model, "_read_text", lambda prompts: read([*prompts, *(seen.extend(prompts) or [])]))
    model.generate(pairs[0], 0)
    assert seen == ["The cat runs 0!, slow motion.", ""]


def test_seine_encodes_grey_frames_and_samples_each_of_them(pairs: list[Pair]) -> None:
    """Published: unknown frames are not zero latents, and no two of them are equal."""
    from baselines.adapter import Noise

    model: Any = load_model("seine", options("seine"))
    known = model._known(pairs[:1], Noise([0], "cpu"))[0]
    assert known[0].flatten(1).mean(1).tolist() == [0, 1, 1]
    assert known[1:].abs().amax(dim=(0, 2, 3)).min() > 0
    assert not torch.equal(known[1:, 1], known[1:, 2])


def test_seine_ddim_takes_other_steps_than_ddpm(pairs: list[Pair]) -> None:
    ddpm, ddim = (load_model("seine", options("seine", settings={"method": m})) for m in ("ddpm", "ddim"))
    assert not np.array_equal(ddpm.generate(pairs[0], 0), ddim.generate(pairs[0], 0))


def test_cinemo_gives_the_network_the_intended_motion_value(pairs: list[Pair]) -> None:
    model: Any = load_model("cinemo", options("cinemo"))
    seen = list[float]()
    model.unet.register_forward_pre_hook(lambda _, arguments: seen.extend(arguments[4].tolist()))
    model.generate(pairs[0], 0)
    assert set(seen) == {92.0}
    note = next(note for note in load_card("cinemo").notes if note.startswith("Motion"))
    assert "motion_bucket_id 8" in note
    assert "92" in note


def test_cinemo_encodes_in_float64_and_decodes_in_the_networks_precision() -> None:
    model: Any = load_model("cinemo", options("cinemo", precision="float16"))
    assert {parameter.dtype for parameter in model._vae.encoder.parameters()} == {torch.float64}
    assert {parameter.dtype for parameter in model._vae.decoder.parameters()} == {torch.float16}


def test_consisti2v_begins_with_the_reconstructed_picture(pairs: list[Pair]) -> None:
    """Published: the clean first latent is put in front of the others and decoded, so frame 0 is not the picture."""
    from baselines.adapter import Noise, truncated
    from baselines.consisti2v.preprocess import scale_and_crop
    from ti2v_bench.pictures import read_picture

    model = load_model("consisti2v", options("consisti2v"))
    assert isinstance(model, ConsistI2V)
    picture = scale_and_crop(read_picture(pairs[0].image), 24, 32)[None]
    with torch.inference_mode():
        expected = truncated(decode(model._vae, encode_sample(model._vae, picture, Noise([3], "cpu")(4, 3, 4))))
    assert np.abs(model.generate(pairs[0], 3)[0].astype(int) - expected[0]).max() <= 1


def test_stable_diffusion_one_pads_with_the_end_token() -> None:
    tokens = torch.tensor([[START, 320, 0, END, 0, 0]])
    assert padded_with_end(tokens).tolist() == [[START, 320, 0, END, END, END]]
