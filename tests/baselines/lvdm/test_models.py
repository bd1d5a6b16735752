"""VideoCrafter, DynamiCrafter and Cond-leak end to end, tiny: from a Hub or random weights to frames and videos."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import DDIMScheduler
from huggingface_hub.utils import disable_progress_bars
from PIL import Image
from torch import Tensor

from baselines.adapter import Noise
from baselines.checkpoints import CheckpointError
from baselines.cond_leak import settings as cond_leak
from baselines.cond_leak.settings import CARD as COND_LEAK
from baselines.dynamicrafter import settings as dynamicrafter
from baselines.dynamicrafter.settings import CARD as DYNAMICRAFTER
from baselines.lvdm.model import LVDM, build_lvdm
from baselines.lvdm.pictures import load_picture
from baselines.lvdm.recipe import VOCABULARY, Recipe, tiny
from baselines.lvdm.weights import load_parts, published_states
from baselines.settings import SettingsError
from baselines.videocrafter import settings as videocrafter
from baselines.videocrafter.settings import CARD as VIDEOCRAFTER
from tests.baselines.lvdm.published_layout import published_file, published_state, vocabulary_file
from tests.loopback_hub import LoopbackHub
from ti2v_bench.cli.generate import generate
from ti2v_bench.model import BatchModel, ModelCard, ModelOptions, Traceable
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_card
from ti2v_bench.video import read_video

disable_progress_bars()

RECIPES: dict[str, Callable[[], Recipe]] = {
    "videocrafter": lambda: videocrafter.recipe(videocrafter.Settings(steps=2)),
    "dynamicrafter": lambda: dynamicrafter.recipe(dynamicrafter.Settings(steps=2)),
    "dynamicrafter-256": lambda: dynamicrafter.recipe(dynamicrafter.Settings("256", steps=2)),
    "dynamicrafter-1024": lambda: dynamicrafter.recipe(dynamicrafter.Settings("1024", steps=2)),
    "dynamicrafter-two-guidances": lambda: dynamicrafter.recipe(dynamicrafter.Settings(steps=2, image_guidance=3.0)),
    "cond_leak": lambda: cond_leak.recipe(cond_leak.Settings(steps=2)),
    "cond_leak-940": lambda: cond_leak.recipe(cond_leak.Settings("dynamicrafter", steps=2)),
    "cond_leak-videocrafter": lambda: cond_leak.recipe(cond_leak.Settings("videocrafter-cil", steps=2)),
}
CARDS: dict[str, ModelCard] = {"videocrafter": VIDEOCRAFTER, "dynamicrafter": DYNAMICRAFTER, "cond_leak": COND_LEAK}


def _random(recipe: Recipe, **options: object) -> LVDM:
    return build_lvdm(recipe, ModelOptions(weights="random-tiny", **options))  # type: ignore[arg-type]


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    found = []
    for index, size in enumerate([(90, 60), (50, 80)]):
        path = tmp_path / f"cat{index}.png"
        Image.effect_noise(size, 60 + index).convert("RGB").save(path)
        found.append(Pair(f"cat{index}_a_cat", f"cat{index}", "cat", "A cat.", path))
    return found


@pytest.mark.parametrize("name", ["dynamicrafter-256", "cond_leak-videocrafter"])
def test_frames_have_the_recipes_form_and_depend_on_pair_and_seed_only(name: str, pairs: list[Pair]) -> None:
    model = _random(RECIPES[name](), batch=2)
    first = model.generate(pairs[0], 1)
    recipe = model.recipe
    assert (first.shape, first.dtype) == ((16, recipe.height, recipe.width, 3), np.uint8)
    assert first.std() > 1
    assert np.array_equal(first, model.generate(pairs[0], 1))
    assert not np.array_equal(first, model.generate(pairs[0], 2))


def test_pairs_made_together_equal_pairs_made_alone(pairs: list[Pair]) -> None:
    model = _random(RECIPES["dynamicrafter-two-guidances"](), batch=2)
    together = model.generate_batch(pairs, [3, 4])
    for frames, pair, seed in zip(together, pairs, [3, 4], strict=True):
        difference = np.abs(frames.astype(int) - model.generate(pair, seed).astype(int))
        assert difference.max() <= 1  # kernels for another batch size round differently before the truncation


@pytest.mark.parametrize("name", ["videocrafter", "dynamicrafter", "cond_leak"])
def test_models_keep_the_runners_protocols(name: str) -> None:
    model = _random(RECIPES[name](), batch=3)
    assert isinstance(model, BatchModel)
    assert isinstance(model, Traceable)
    record = json.loads(json.dumps(model.provenance()))
    assert (record["weights"], record["precision"]) == ("random-tiny", "float32")
    card = load_card(name)
    assert (card.name, card.fps, card.frames) == (model.name, model.fps, model.recipe.frames)
    assert card.weights[0] == RECIPES[name]().weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with LoopbackHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        assert VOCABULARY.revision is not None
        server.add(VOCABULARY.repo, {VOCABULARY.file: vocabulary_file()}, branch=VOCABULARY.revision)
        yield server


def _publish(hub: LoopbackHub, recipe: Recipe) -> None:
    hub.add(recipe.weights.repo, {recipe.weights.file: published_file(recipe)}, lfs=[recipe.weights.file])
    if recipe.initial_noise:
        buffer = io.BytesIO()
        noise = {"Expectation_X0": torch.full(recipe.latent_shape, 0.5), "Tr_Cov_d": torch.tensor(2.0)}
        torch.save(noise, buffer)
        hub.add(recipe.initial_noise.repo, {recipe.initial_noise.file: buffer.getvalue()})


@pytest.mark.parametrize("name", ["videocrafter", "dynamicrafter", "cond_leak-940"])
def test_published_layout_from_a_hub_computes_what_the_parts_do(name: str, hub: LoopbackHub, pairs: list[Pair]) -> None:
    recipe = tiny(RECIPES[name]())
    _publish(hub, recipe)
    model = LVDM(recipe, load_parts(recipe, None, torch.float32, "cpu"))
    random = _random(RECIPES[name]())
    for part in ("unet", "autoencoder", "text", "image", "resampler"):  # the random ones were written into the file
        ours, theirs = (getattr(each.parts, part).state_dict() for each in (model, random))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), part
    assert model.generate(pairs[0], 0).std() > 1
    record = json.loads(json.dumps(model.provenance()))["weights"]
    assert [row["file"] for row in record[:2]] == [recipe.weights.file, "merges.txt"]
    assert all(len(row["sha256"]) == 64 for row in record)


def test_local_folder_takes_the_place_of_the_hub(tmp_path: Path) -> None:
    recipe = tiny(RECIPES["dynamicrafter"]())
    (tmp_path / recipe.weights.repo).mkdir(parents=True)
    (tmp_path / recipe.weights.repo / "model.ckpt").write_bytes(published_file(recipe))
    (tmp_path / "merges.txt").write_bytes(vocabulary_file())
    assert load_parts(recipe, str(tmp_path), torch.float32, "cpu").initial_noise is None


def test_another_models_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_bytes(vocabulary_file())
    (tmp_path / "model.ckpt").write_bytes(published_file(tiny(RECIPES["videocrafter"]())))
    with pytest.raises(CheckpointError, match=r"input_blocks\.0\.0\.weight is .*Doubiiu/DynamiCrafter_512"):
        load_parts(tiny(RECIPES["dynamicrafter"]()), str(tmp_path), torch.float32, "cpu")


def test_command_writes_videos_and_sidecars(tmp_path: Path, pairs: list[Pair]) -> None:
    (tmp_path / "prompt.csv").write_text("image,prompt\ncat0.png,A cat.\ncat1.png,A cat.\n")
    command = ["--bench", str(tmp_path), "--model", "dynamicrafter", "--weights", "random-tiny", "--device", "cpu"]
    result = CliRunner().invoke(generate, [*command, "--set", "steps=2", "--out", str(tmp_path / "videos")])
    assert result.exit_code == 0, result.output
    video = read_video(tmp_path / "videos/dynamicrafter/cat0_a_cat_0.mp4")
    assert (video.frames.shape, video.fps) == ((16, 64, 96, 3), 8)
    sidecar = json.loads((tmp_path / "videos/dynamicrafter/cat0_a_cat_0.json").read_text())
    assert (sidecar["weights"], sidecar["settings"]["steps"]) == ("random-tiny", 2)


class _Watched:
    """Stands before a network and keeps what it is given."""

    def __init__(self, model: LVDM) -> None:
        self.calls: list[tuple[Tensor, ...]] = []
        model.parts.unet.register_forward_pre_hook(lambda _, inputs: self.calls.append(inputs))


def test_every_branch_sees_the_picture_and_the_same_rate(pairs: list[Pair]) -> None:
    """Published: the unconditional branch keeps the picture's latent; the third keeps the image tokens."""
    model = _random(RECIPES["dynamicrafter-two-guidances"]())
    watched = _Watched(model)
    model.generate(pairs[0], 0)
    x, steps, context, fps = watched.calls[0]
    assert (len(x), len(context)) == (1, 3)  # one input for all branches
    assert fps.tolist() == [24]
    assert steps.tolist() == [999]
    picture = x[0, 4:]
    assert torch.equal(picture, picture[:, :1].expand_as(picture))  # one latent for all frames
    both, none, image = context
    assert torch.equal(both[77:], image[77:])
    assert not torch.equal(both[77:], none[77:])
    assert torch.equal(none[:77], image[:77])
    assert not torch.equal(both[:77], none[:77])


def test_guidance_of_one_calls_the_network_with_both_conditions_alone(pairs: list[Pair]) -> None:
    """Published: then there is nothing to guide away from, also where the image has a weight of its own."""
    model = _random(dynamicrafter.recipe(dynamicrafter.Settings(steps=1, guidance=1.0, image_guidance=3.0)))
    watched = _Watched(model)
    model.generate(pairs[0], 0)
    assert [len(call[0]) for call in watched.calls] == [1]
    with torch.inference_mode():
        picture = load_picture(pairs[0].image, "crop_or_pad", model.recipe.height, model.recipe.width)[None]
        expected = _random(RECIPES["dynamicrafter"]()).conditions(["A cat."], picture, Noise([0], "cpu")).context[:1]
    assert torch.allclose(watched.calls[0][2], expected, atol=1e-6)


def test_without_an_image_means_a_grey_picture() -> None:
    model = _random(RECIPES["videocrafter"]())
    recipe = model.recipe
    grey = torch.zeros(1, 3, recipe.height, recipe.width)
    with torch.inference_mode():
        of_grey = model.conditions(["a"], grey, Noise([0], "cpu")).context
        of_white = model.conditions(["a"], grey + 1, Noise([0], "cpu")).context
    assert torch.allclose(of_grey[0, 77:], of_grey[1, 77:], atol=1e-6)
    assert not torch.allclose(of_white[0, 77:], of_white[1, 77:], atol=1e-3)
    assert of_grey.shape[1] == 77 + 16


def test_videocrafter_does_not_show_the_picture_to_the_network(pairs: list[Pair]) -> None:
    model = _random(RECIPES["videocrafter"]())
    watched = _Watched(model)
    model.generate(pairs[0], 0)
    assert watched.calls[0][0].shape[1] == 4
    assert watched.calls[0][3].tolist() == [8]
    assert len(watched.calls[0][2]) == 2


def test_cond_leak_starts_at_its_time_and_needs_statistics_only_where_they_matter() -> None:
    fine_tuned, training_free = RECIPES["cond_leak"](), RECIPES["cond_leak-940"]()
    assert (fine_tuned.last_step, fine_tuned.initial_noise) == (1000, None)
    assert training_free.last_step == training_free.initial_step == 940
    assert training_free.initial_noise is not None


def test_cond_leak_on_videocrafter_ignores_the_start_time_as_published() -> None:
    recipe = RECIPES["cond_leak-videocrafter"]()
    assert (recipe.last_step, recipe.initial_step) == (1000, 940)
    assert recipe.initial_noise is not None


def test_statistics_shift_the_initial_noise(hub: LoopbackHub, pairs: list[Pair]) -> None:
    recipe = tiny(RECIPES["cond_leak-videocrafter"]())
    _publish(hub, recipe)
    with_statistics = LVDM(recipe, load_parts(recipe, None, torch.float32, "cpu"))
    plain = LVDM(replace(recipe, initial_noise=None), replace(with_statistics.parts, initial_noise=None))
    watched = _Watched(with_statistics)  # and the plain one, which has the same network
    for model in (with_statistics, plain):
        model.generate(pairs[0], 0)
    start, noise = watched.calls[0][0], watched.calls[recipe.steps][0]
    alpha = DDIMScheduler(1000, 0.00085, 0.012, "scaled_linear").alphas_cumprod[939]
    assert torch.allclose(start, alpha.sqrt() * 0.5 + (1 - alpha + 2 * alpha).sqrt() * noise, atol=1e-5)


def test_the_256_models_old_key_name_is_understood() -> None:
    recipe = tiny(RECIPES["dynamicrafter-256"]())
    state = published_state(recipe)
    old = {key.replace(".fps_embedding.", ".framestride_embed."): value for key, value in state.items()}
    assert old.keys() != state.keys()
    found = published_states(old, recipe.network, recipe.weights)["unet"]
    assert found.keys() == published_states(state, recipe.network, recipe.weights)["unet"].keys()


def test_impossible_step_counts_are_user_errors() -> None:
    with pytest.raises(SettingsError, match="videocrafter cannot sample so: 3 uniform steps"):
        _random(videocrafter.recipe(videocrafter.Settings(steps=3)))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: videocrafter.recipe(videocrafter.Settings(height=300)), "height of 300 pixels, only multiples of 64"),
        (lambda: videocrafter.recipe(videocrafter.Settings(frames=0)), "frames 0"),
        (lambda: cond_leak.recipe(cond_leak.Settings(start_time=1001)), "start time 1001; possible are 1 to 1000"),
    ],
)
def test_impossible_sizes_and_times_are_user_errors(made: Callable[[], Recipe], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _random(made())


def test_statistics_of_another_size_are_a_user_error(hub: LoopbackHub) -> None:
    recipe = tiny(RECIPES["cond_leak-940"]())
    _publish(hub, recipe)
    with pytest.raises(CheckpointError, match="analytic_init=false"):
        load_parts(replace(recipe, frames=8), None, torch.float32, "cpu")


@pytest.mark.parametrize("name", CARDS)
def test_official_values_of_the_commands(name: str) -> None:
    recipes = {key: make() for key, make in RECIPES.items()}
    expected = {
        "videocrafter": (320, 512, 12.0, 0.0, 8, 10, "uniform", "float32"),
        "dynamicrafter": (320, 512, 7.5, 0.7, 24, 8, "uniform_trailing", "float16"),
        "cond_leak": (320, 512, 7.5, 0.7, 24, 8, "uniform_trailing", "float16"),
    }[name]
    r = recipes[name]
    found = (r.height, r.width, r.guidance, r.guidance_rescale, r.embedded_fps, r.fps, r.spacing, r.precision)
    assert found == expected
    assert r.eta == 1.0
    assert CARDS[name].size == f"{r.height}x{r.width}"
