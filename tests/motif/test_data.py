"""Clips from every kind of source, samples by number, heatmaps kept on disk."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from motif.batches import Stacker
from motif.clips import ClipsError, find_clips
from motif.data import Samples, SamplingSettings, fitted, window
from motif.heatmaps import Heat, HeatmapCache, HeatmapMaker
from motif.overlay import overlay
from ti2v_bench.model import Frames
from ti2v_bench.motion.dis import DisFlow
from ti2v_bench.motion.heatmap import HeatmapSettings
from ti2v_bench.video import encode_video

SETTINGS = SamplingSettings(frames=4, height=32, width=48, strides=(1, 2), starts=2)


def _numbered(count: int = 12, base: int = 0) -> bytes:
    """A video whose frame k is grey level base + 10 k, encoded almost without loss."""
    frames = np.stack([np.full((32, 48, 3), base + 10 * k, np.uint8) for k in range(count)])
    return encode_video(frames, 8, crf=0)


def _cold(frames: Frames) -> Heat:
    return np.zeros((len(frames), 4, 6), np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(_numbered())
        (tmp_path / f"{name}.txt").write_text(f"clip {name}\n")
    (tmp_path / "silent.mp4").write_bytes(_numbered())  # no caption
    return tmp_path


def test_folder_table_and_tar_give_the_same_clips(folder: Path, tmp_path: Path) -> None:
    from_folder = find_clips(folder).clips
    assert [clip.caption for clip in from_folder] == ["clip a", "clip b", "clip c"]
    rows = pd.DataFrame({"path": ["a.mp4", "b.mp4", "c.mp4"], "caption": ["clip a", "clip b", "clip c"]})
    rows.to_csv(folder / "clips.csv", index=False)
    rows.rename(columns={"path": "video", "caption": "text"}).to_parquet(folder / "clips.parquet")
    with tarfile.open(tmp_path / "shard-000.tar", "w") as tar:
        for name in ("a", "b"):
            tar.add(folder / f"{name}.mp4", f"{name}.mp4")
            tar.add(folder / f"{name}.txt", f"{name}.txt")
        caption = json.dumps({"caption": "clip c"}).encode()
        info = tarfile.TarInfo("c.json")
        info.size = len(caption)
        tar.add(folder / "c.mp4", "c.mp4")
        tar.addfile(info, io.BytesIO(caption))
    for source in (folder / "clips.csv", folder / "clips.parquet", tmp_path / "shard-000.tar"):
        clips = find_clips(source).clips
        assert [(c.caption, c.data()) for c in clips] == [(c.caption, c.data()) for c in from_folder], source


def test_videos_without_a_caption_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "c.txt").write_text("  \n")
    found = find_clips(folder)
    assert [clip.name for clip in found.clips] == ["a.mp4", "b.mp4"]
    assert found.silent == ["c.mp4", "silent.mp4"]
    pd.DataFrame({"path": ["a.mp4", "b.mp4"], "caption": ["clip a", None]}).to_csv(folder / "clips.csv", index=False)
    found = find_clips(folder / "clips.csv")
    assert ([clip.name for clip in found.clips], found.silent) == (["a.mp4"], ["b.mp4"])
    for caption in folder.glob("*.txt"):
        caption.unlink()
    with pytest.raises(ClipsError, match="4 videos have none"):
        find_clips(folder)


def test_webvid_columns(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "77.mp4").write_bytes(_numbered())
    rows = {"videoid": ["77"], "page_dir": ["p1"], "name": ["a dog"], "contentUrl": ["x"]}
    pd.DataFrame(rows).to_csv(tmp_path / "webvid.csv", index=False)
    (clip,) = find_clips(tmp_path / "webvid.csv").clips
    assert clip.caption == "a dog"
    assert clip.data() == _numbered()


def test_a_source_without_clips_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match=r"x\.txt"):
        find_clips(tmp_path)
    with pytest.raises(ClipsError, match="No clips at"):
        find_clips(tmp_path / "absent")
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "t.csv")
    with pytest.raises(ClipsError, match="path, video"):
        find_clips(tmp_path / "t.csv")


def test_a_window_holds_evenly_spaced_frames_and_says_their_rate() -> None:
    seen = set()
    for seed in range(30):
        frames, fps = window(_numbered(), SETTINGS, np.random.default_rng(seed))
        assert frames.shape == (4, 32, 48, 3)
        numbers = np.round(frames.mean((1, 2, 3)) / 10).astype(int)
        stride = numbers[1] - numbers[0]
        assert (np.diff(numbers) == stride).all()
        assert fps == 8 // stride
        assert numbers[0] in (0, 11 - 3 * stride)  # two starts: the first and the last that fits
        seen.add((int(numbers[0]), int(stride)))
    assert seen == {(0, 1), (0, 2), (8, 1), (5, 2)}


def test_every_pass_meets_every_clip_and_a_number_is_always_the_same_sample(folder: Path) -> None:
    samples = Samples(find_clips(folder).clips, SETTINGS, _cold)
    plain = SamplingSettings(**{**vars(SETTINGS), "text_drop": 0.0})
    samples = Samples(find_clips(folder).clips, plain, _cold)
    for turn in range(3):
        assert {samples[n].caption for n in range(3 * turn, 3 * turn + 3)} == {"clip a", "clip b", "clip c"}
    again = Samples(find_clips(folder).clips, plain, _cold)[7]
    assert torch.equal(again.frames, samples[7].frames)
    assert (again.caption, again.fps) == (samples[7].caption, samples[7].fps)


def test_text_is_dropped_as_often_as_asked(folder: Path) -> None:
    samples = Samples(find_clips(folder).clips, SamplingSettings(**{**vars(SETTINGS), "text_drop": 0.3}), _cold)
    dropped = sum(samples[n].caption == "" for n in range(200))
    assert 40 <= dropped <= 80  # 60 expected; 3 standard deviations are 19


def test_a_corrupt_clip_is_passed_over_and_named(folder: Path) -> None:
    (folder / "b.mp4").write_bytes(b"not a video")
    (folder / "c.mp4").write_bytes(_numbered(3))  # too short
    samples = Samples(find_clips(folder).clips, SETTINGS, _cold)
    reports = {name: reason for n in range(3) for name, reason in samples[n].broken}
    assert set(reports) == {"b.mp4", "c.mp4"}
    assert "too few" in reports["c.mp4"]
    (folder / "a.mp4").unlink()
    (folder / "a.mp4").write_bytes(b"")
    with pytest.raises(ClipsError, match="None of the 3 clips"):
        samples[0]


def test_fitting_crops_the_centre_and_keeps_the_shape() -> None:
    wide = np.zeros((40, 200, 3), np.uint8)
    wide[:, 60:140] = 255
    assert (fitted(wide, 20, 40) == 255).all()
    tall = np.zeros((200, 40, 3), np.uint8)
    tall[90:110] = 255
    assert (fitted(tall, 20, 40) == 255).all()


def _moving() -> Frames:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    return np.stack([picture, np.roll(picture, 10, 1), np.roll(picture, 20, 1)])


def test_the_cache_is_keyed_by_content_backend_settings_and_grid(tmp_path: Path) -> None:
    frames = _moving()
    maker = HeatmapMaker(DisFlow(), HeatmapSettings(), (16, 16))
    keys = {
        maker.key(frames),
        maker.key(frames[::-1]),
        HeatmapMaker(DisFlow(), HeatmapSettings(unit="diag"), (16, 16)).key(frames),
        HeatmapMaker(DisFlow(), HeatmapSettings(), (8, 8)).key(frames),
    }
    assert len(keys) == 4
    cache = HeatmapCache(maker, tmp_path)
    first = cache(frames)
    assert first.shape == (3, 16, 16)
    assert first.mean() > 0.5  # 10 of 128 pixels per step: x = 0.078
    (path,) = tmp_path.rglob("*.npy")
    np.save(path, np.full((3, 16, 16), 0.25, np.float16))
    assert (cache(frames) == 0.25).all()  # read, not made
    path.write_bytes(b"damaged")
    assert np.array_equal(cache(frames), first)


def test_the_overlay_shows_the_clip_beside_its_heat() -> None:
    frames = np.full((2, 32, 48, 3), 100, np.uint8)
    heat = np.zeros((2, 4, 6), np.float32)
    heat[:, 0, 0] = 1
    shown = overlay(frames, heat)
    assert shown.shape == (2, 32, 96, 3)
    assert (shown[:, :, :48] == frames).all()
    assert shown[0, 0, 48].astype(int).sum() > shown[0, 31, 95].astype(int).sum()


def test_heatmaps_made_late_equal_those_made_beside_the_decoding(folder: Path) -> None:
    clips = find_clips(folder).clips
    settings = SamplingSettings(**{**vars(SETTINGS), "height": 64, "width": 64})
    make = HeatmapMaker(DisFlow(), HeatmapSettings(), (8, 8))
    early, late = Samples(clips, settings, make), Samples(clips, settings, None)
    assert late[3].heat is None
    stack = Stacker(torch.device("cpu"), make)
    for one, other in zip(stack([early[3]]), stack([late[3]]), strict=True):
        assert torch.equal(one, other)
