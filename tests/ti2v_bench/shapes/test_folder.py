"""The embedded bench is a bench like any other, and its true videos can be redrawn from the folder alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ti2v_bench.bench import load_bench
from ti2v_bench.cli.bench import bench
from ti2v_bench.shapes import MOTIONS, SCENES, ShapesError, Vocabulary, read_scenes, reference_frames, write_shapes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder)
    return folder


def test_default_bench_has_what_was_promised(drawn: Path) -> None:
    counts = load_bench(drawn).counts()
    assert (counts.pairs, counts.images, counts.scenarios) == (96, 24, 8)
    _, scenes = read_scenes(drawn)
    seen = [tuple(MOTIONS)[int(scene.motion[0])] for scene in scenes.values()]
    assert all(seen.count(motion) >= 7 for motion in MOTIONS)


def test_true_videos_start_with_the_image_and_are_all_different(drawn: Path) -> None:
    loaded = load_bench(drawn)
    seen = set()
    for pair in loaded.pairs:
        frames = reference_frames(loaded.root, pair)
        assert frames.shape == (16, 128, 128, 3)
        np.testing.assert_array_equal(frames[0], np.asarray(Image.open(pair.image)))
        seen.add(frames.tobytes())
    assert len(seen) == 96


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    def files(name: str, seed: int) -> dict[str, bytes]:
        write_shapes(tmp_path / name, pairs=10, size=32, seed=seed)
        root = tmp_path / name
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert files("a", 1) == files("b", 1)
    assert files("a", 1)["prompt.csv"] != files("c", 2)["prompt.csv"]


@pytest.mark.parametrize(("pairs", "size", "frames"), [(1, 16, 1), (7, 40, 3), (130, 24, 2)])
def test_any_number_and_any_size(tmp_path: Path, pairs: int, size: int, frames: int) -> None:
    arguments = ["draw", str(tmp_path), "--pairs", str(pairs), "--size", str(size), "--frames", str(frames)]
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{pairs} pairs, {-(-pairs // 4)} images")
    loaded = load_bench(tmp_path)
    assert reference_frames(loaded.root, loaded.pairs[-1]).shape == (frames, size, size, 3)


def test_a_folder_that_was_not_drawn_says_so(drawn: Path, tmp_path: Path) -> None:
    pair = load_bench(drawn).pairs[0]
    with pytest.raises(ShapesError, match=f"has no {SCENES}"):
        reference_frames(tmp_path, pair)
    with pytest.raises(ShapesError, match="has no pair 'cow'"):
        reference_frames(drawn, replace(pair, id="cow"))
    for broken in ("{", "[]", json.dumps({"version": 99}), json.dumps({"version": 1, "scenes": {"cow": {}}})):
        (tmp_path / SCENES).write_text(broken)
        with pytest.raises(ShapesError, match="cannot be read"):
            reference_frames(tmp_path, pair)


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapesError, match="0 pairs"):
        write_shapes(tmp_path, pairs=0)
    narrow = Vocabulary(("square", "star"), ("red",), ("enter_left",), ("stone",))
    with pytest.raises(ShapesError, match="too few words"):
        write_shapes(tmp_path, pairs=8, vocabulary=narrow)
    with pytest.raises(ShapesError, match="need an even size, but it is 33"):
        write_shapes(tmp_path, size=33)


def test_a_bench_that_was_not_drawn_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "prompt.csv").write_text("a.png,A cat.\n")
    with pytest.raises(ShapesError, match="was not drawn"):
        write_shapes(tmp_path, pairs=1, size=16)
    assert [path.name for path in tmp_path.iterdir()] == ["prompt.csv"]
    assert (tmp_path / "prompt.csv").read_text() == "a.png,A cat.\n"
