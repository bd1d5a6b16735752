"""The floor repeats the picture exactly; the ceiling is the world's own truth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ti2v_bench.controls import ControlError
from ti2v_bench.errors import TI2VError
from ti2v_bench.model import ModelOptions, Traceable
from ti2v_bench.records import Pair
from ti2v_bench.registry import load_card, load_model


def pair_of(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Pair:
    Image.effect_noise(size, 60).convert(mode).save(path)
    return Pair("cat_moves", "cat", "cat", "moves", path)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_static_repeats_the_image(tmp_path: Path, mode: str) -> None:
    pair = pair_of(tmp_path / "cat.png", mode=mode)
    frames = load_model("static", ModelOptions()).generate(pair, 5)
    with Image.open(pair.image) as image:
        expected = np.asarray(image.convert("RGB"))
    assert frames.shape == (16, 30, 40, 3)
    assert all(np.array_equal(frame, expected) for frame in frames)


def test_static_drops_an_odd_row_and_column_and_follows_the_camera_s_rotation(tmp_path: Path) -> None:
    assert load_model("static", ModelOptions()).generate(pair_of(tmp_path / "a.png", (41, 31)), 0).shape[1:3] == (
        30,
        40,
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg", exif=exif)
    frames = load_model("static", ModelOptions(settings={"frames": "3"})).generate(
        Pair("b", "b", "b", "moves", tmp_path / "b.jpg"), 0
    )
    assert frames.shape == (3, 40, 30, 3)


@pytest.mark.parametrize("settings", [{"frames": "0"}, {"frames": "many"}, {"speed": "2"}])
def test_settings_that_do_not_exist_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ControlError, match=next(iter(settings))):
        load_model("static", ModelOptions(settings=settings))


def test_reference_shows_the_true_video_of_each_pair(tmp_path: Path) -> None:
    shapes = pytest.importorskip("ti2v_bench.shapes")
    from ti2v_bench.bench import load_bench

    shapes.write_shapes(tmp_path / "bench", pairs=4, size=32, frames=6, fps=5, seed=1)
    bench = load_bench(tmp_path / "bench")
    model = load_model("reference", ModelOptions(bench=bench.root))
    frames = model.generate(bench.pairs[0], 0)
    assert model.fps == 5
    assert np.array_equal(frames, shapes.reference_frames(bench.root, bench.pairs[0]))
    with Image.open(bench.pairs[0].image) as image:
        assert np.array_equal(frames[0], np.asarray(image.convert("RGB")))


def test_reference_needs_a_bench_that_knows_its_truth(tmp_path: Path) -> None:
    pytest.importorskip("ti2v_bench.shapes")
    for bench in (None, tmp_path):
        with pytest.raises(TI2VError):
            load_model("reference", ModelOptions(bench=bench))


@pytest.mark.parametrize("name", ["static", "reference"])
def test_controls_have_cards(name: str) -> None:
    card = load_card(name)
    assert card.name == name
    assert card.title
    assert (card.frames, card.fps) == (16, 8)


def test_static_says_what_it_is_made_of() -> None:
    model = load_model("static", ModelOptions(settings={"frames": "4"}))
    assert isinstance(model, Traceable)
    assert model.provenance()["settings"] == {"frames": 4}
