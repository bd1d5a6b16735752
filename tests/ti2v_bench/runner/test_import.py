"""Files made elsewhere: taken over byte for byte, or named with the reason."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ti2v_bench.bench import Bench, load_bench
from ti2v_bench.cli.import_videos import import_videos as command
from ti2v_bench.runner import import_videos
from ti2v_bench.runner.jobs import RunError
from ti2v_bench.video import encode_video, write_video


@pytest.fixture
def source(bench: Bench, tmp_path: Path) -> Path:
    """Videos of the first three pairs with seed 0, of the first with seed 7."""
    folder = tmp_path / "source"
    for index, (pair, seed) in enumerate([*((pair, 0) for pair in bench.pairs[:3]), (bench.pairs[0], 7)]):
        write_video(folder / f"{pair.id}_{seed}.mp4", np.full((4, 32, 32, 3), 60 * index, np.uint8), 8)
    return folder


def test_bytes_are_kept_and_the_sidecar_says_imported(bench: Bench, source: Path, tmp_path: Path) -> None:
    report = import_videos(source, "theirs", bench.pairs, tmp_path / "out")
    assert len(report.copied) == 4
    assert report.expected == 12
    for file in source.iterdir():
        copy = tmp_path / "out" / "theirs" / file.name
        assert copy.read_bytes() == file.read_bytes()
        record = json.loads(copy.with_suffix(".json").read_text())
        assert record["origin"] == "imported"
        assert record["source"] == {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        assert (record["frames"], record["width"], record["height"], record["fps"]) == (4, 32, 32, 8)


def test_importing_again_changes_nothing(bench: Bench, source: Path, tmp_path: Path) -> None:
    import_videos(source, "theirs", bench.pairs, tmp_path / "out")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*.*")}
    report = import_videos(source, "theirs", bench.pairs, tmp_path / "out")
    assert (len(report.copied), len(report.present)) == (0, 4)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").rglob("*.*")} == before


def test_every_bad_file_and_every_missing_pair_is_named(bench: Bench, source: Path, tmp_path: Path) -> None:
    ids = [pair.id for pair in bench.pairs]
    noise = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
    good = encode_video(noise, 8)
    (source / "dog9_a_dog_sits_0.mp4").write_bytes(good)
    (source / f"{ids[3]}.mp4").write_bytes(good)  # no seed
    (source / f"{ids[3]}_0.mp4").write_bytes(good[: len(good) * 3 // 4])
    (source / f"{ids[4]}_0.mp4").write_bytes(b"")
    (source / "notes.txt").write_text("not a video")
    result = CliRunner().invoke(
        command, [str(source), "--model", "theirs", "--bench", str(bench.root), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert "unmatched dog9_a_dog_sits_0.mp4" in result.stderr
    assert f"unmatched {ids[3]}.mp4" in result.stderr
    assert f"broken {ids[3]}_0.mp4: " in result.stderr
    assert f"broken {ids[4]}_0.mp4: " in result.stderr
    assert "is empty (0 bytes)" in result.stderr
    missing = {line.removeprefix("missing ") for line in result.stdout.splitlines() if line.startswith("missing")}
    assert missing == {f"{ids[5]}_0.mp4", *(f"{name}_7.mp4" for name in ids[1:])}
    assert "4 of 12 videos there (4 copied, 0 already there), 6 missing, 2 unmatched, 2 broken" in result.stdout
    assert not (tmp_path / "out" / "theirs" / f"{ids[3]}_0.mp4").exists()


def test_another_video_of_the_same_name_is_never_replaced(bench: Bench, source: Path, tmp_path: Path) -> None:
    import_videos(source, "theirs", bench.pairs, tmp_path / "out")
    name = f"{bench.pairs[1].id}_0.mp4"
    kept = (tmp_path / "out" / "theirs" / name).read_bytes()
    write_video(source / name, np.zeros((5, 32, 32, 3), np.uint8), 8)
    report = import_videos(source, "theirs", bench.pairs, tmp_path / "out")
    assert len(report.different) == 1
    assert report.different[0].startswith(f"{name}: ")
    assert (tmp_path / "out" / "theirs" / name).read_bytes() == kept


def test_a_source_without_videos_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder"):
        import_videos(tmp_path / "nowhere", "theirs", bench.pairs, tmp_path / "out")
    with pytest.raises(RunError, match=r"no \.mp4 file"):
        import_videos(bench.root, "theirs", bench.pairs, tmp_path / "out")
    with pytest.raises(RunError, match="'a/b' cannot be the name"):
        import_videos(bench.root, "a/b", bench.pairs, tmp_path / "out")


def test_the_published_clips_are_taken_over_and_304_are_missing(real_dir: Path, tmp_path: Path) -> None:
    pairs = load_bench(real_dir).pairs
    for model in ("motif", "cogvideox"):
        report = import_videos(real_dir / "videos" / model, model, pairs, tmp_path)
        assert (len(report.copied), report.expected, len(report.missing)) == (16, 320, 304)
        assert (report.unmatched, report.broken, report.different) == ((), (), ())
