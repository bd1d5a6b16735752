"""Oracles: OpenCV-free. PyAV's own decoder, ISO/IEC 14496-12 box headers read by hand, and files damaged on purpose."""

import base64
import errno
import hashlib
import os
import struct
import subprocess
import sys
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import ROOT
from ti2v_bench.files import StorageError, write_bytes
from ti2v_bench.model import Frames
from ti2v_bench.video import (
    PresentationPolicy,
    Video,
    VideoError,
    encode_video,
    fit_size,
    present,
    probe,
    read_video,
    resample,
    write_video,
)


def moving(frames: int = 16, height: int = 64, width: int = 96, speed: int = 3) -> Frames:
    """A smooth ramp that slides; codecs keep it within a few levels."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.stack([(x + speed * t) * 2 % 200 + 20, y * 2 + 30, np.full_like(x, 90)], -1) for t in range(frames)]
    return np.clip(np.stack(planes), 0, 255).astype(np.uint8)


def numbered(frames: int, height: int = 32, width: int = 32) -> Frames:
    """Frame k is flat grey of level 40 + 4k, so a picture tells its number."""
    return np.broadcast_to(
        (40 + 4 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, height, width, 3)
    ).copy()


def atoms(data: bytes) -> list[str]:
    """Names of the top-level boxes (ISO/IEC 14496-12, 4.2)."""
    names, at = [], 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += size
    assert at == len(data)
    return names


def test_frames_come_back_alike(tmp_path: Path) -> None:
    frames = moving()
    write_video(tmp_path / "a.mp4", frames, 8)
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == frames.shape
    assert video.fps == 8
    assert np.abs(video.frames.astype(int) - frames).mean() < 4


@pytest.mark.parametrize("fps", [8, Fraction(24000, 1001), Fraction(15, 2)])
def test_fps_is_exact(tmp_path: Path, fps: int | Fraction) -> None:
    write_video(tmp_path / "a.mp4", moving(5), fps)
    assert probe(tmp_path / "a.mp4").fps == fps


def test_probe_tells_the_header(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving(7, 48, 80), 8)
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames, info.codec, info.profile) == (80, 48, 7, "h264", "High")
    assert (info.pixel_format, info.audio, info.seconds) == ("yuv420p", False, 0.875)
    assert info.bytes == (tmp_path / "a.mp4").stat().st_size


def test_same_frames_give_the_same_bytes_in_another_process() -> None:
    here = hashlib.sha256(encode_video(numbered(16), 8)).hexdigest()
    code = (
        "import hashlib; from tests.ti2v_bench import test_video as t; "
        "print(hashlib.sha256(t.encode_video(t.numbered(16), 8)).hexdigest())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == here


def test_moov_stands_before_mdat() -> None:
    names = atoms(encode_video(moving(), 8))
    assert names.index("moov") < names.index("mdat")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's MALLOC_PERTURB_ fills new memory")
def test_the_bytes_do_not_depend_on_what_memory_held_before() -> None:
    code = (
        "import hashlib, numpy as np\n"
        "from ti2v_bench.video import encode_video\n"
        "y, x = np.mgrid[:64, :96]\n"
        "frames = np.stack([np.stack([x * 2 + 3 * t, y * 3, 40 + 150 * ((x - 2 * t) ** 2 + (y - 30) ** 2 < 300)], -1)\n"
        "                   for t in range(16)]).astype(np.uint8)\n"
        "print(hashlib.sha256(encode_video(frames, 8)).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "MALLOC_PERTURB_": fill, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for fill in ("0", "85", "170")
    }
    assert len(found) == 1


def test_dropping_the_sei_leaves_the_picture_unchanged(tmp_path: Path) -> None:
    """Oracle: the plain PyAV recipe with the same settings, SEI kept."""
    frames = moving()
    with av.open(str(tmp_path / "sei.mp4"), "w") as out:
        options = {"crf": "10", "preset": "medium", "x264-params": "mbtree=0"}
        stream = out.add_stream("libx264", rate=8, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = 250
        for frame in [*frames, None]:
            out.mux(stream.encode(None if frame is None else av.VideoFrame.from_ndarray(frame, format="rgb24")))
    write_video(tmp_path / "clean.mp4", frames, 8)
    assert b"x264" in (tmp_path / "sei.mp4").read_bytes()
    assert b"x264" not in (tmp_path / "clean.mp4").read_bytes()
    assert np.array_equal(read_video(tmp_path / "sei.mp4").frames, read_video(tmp_path / "clean.mp4").frames)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (np.zeros((4, 31, 32, 3), np.uint8), "32x31"),
        (np.zeros((4, 32, 31, 3), np.uint8), "31x32"),
        (np.zeros((0, 32, 32, 3), np.uint8), "at least one"),
        (np.zeros((4, 32, 32), np.uint8), r"\(4, 32, 32\)"),
        (np.zeros((4, 32, 32, 3), np.float32), "float32"),
    ],
)
def test_frames_that_cannot_be_written_are_named(tmp_path: Path, frames: Frames, words: str) -> None:
    with pytest.raises(VideoError, match=words):
        write_video(tmp_path / "a.mp4", frames, 8)
    assert list(tmp_path.iterdir()) == []


def test_zero_fps_is_refused() -> None:
    with pytest.raises(VideoError, match="fps is 0"):
        encode_video(moving(2), 0)


@pytest.mark.parametrize("cut", [0, 1, 30, 300, 0.5, 0.98])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, cut: float) -> None:
    data = encode_video(np.random.default_rng(0).integers(0, 255, (16, 64, 64, 3), dtype=np.uint8), 8)
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(cut * len(data)) if cut < 1 else int(cut)])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        read_video(path)


def test_junk_missing_and_sound_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"not a video at all" * 50)
    with wave.open(str(tmp_path / "sound.mp4"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))
    for name, words in [("junk.mp4", "cannot be decoded"), ("none.mp4", "no video"), ("sound.mp4", "no video stream")]:
        for reader in (read_video, probe):
            with pytest.raises(VideoError, match=words):
                reader(tmp_path / name)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"a\.mp4: the disk is full"):
        write_bytes(tmp_path / "a.mp4", b"x")
    assert list(tmp_path.iterdir()) == []


def test_presented_files_are_alike_whatever_the_source(tmp_path: Path) -> None:
    """A still, a moving square one, a cut in the middle, 4:4:4 with sound and a title: one technical form."""
    with av.open(str(tmp_path / "3.mp4"), "w") as out:
        out.metadata["title"] = "made by SecretModel"
        stream = out.add_stream("libx264", rate=24, options={"profile": "high444"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        sound = out.add_stream("aac", rate=8000)
        sound.layout = "mono"
        for frame in [*moving(49, 96, 128), None]:
            out.mux(stream.encode(None if frame is None else av.VideoFrame.from_ndarray(frame, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        for part in (silence, None):
            out.mux(sound.encode(part))
    noise = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "0.mp4", np.repeat(moving(1), 16, 0), 8)
    write_video(tmp_path / "1.mp4", moving(16, 256, 256), 16)
    write_video(tmp_path / "2.mp4", np.concatenate([moving(8, 64, 64), noise]), Fraction(24000, 1001))

    forms = set()
    for name in "0123":
        target = tmp_path / f"shown{name}.mp4"
        info = present(tmp_path / f"{name}.mp4", target)
        data = target.read_bytes()
        for word in (b"x264", b"Lavf", b"Lavc", b"Secret", b"title"):
            assert word not in data
        assert len(data) % PresentationPolicy().size_step == 0
        with av.open(str(target)) as container:
            stream = container.streams.video[0]
            forms.add((
                replace(info, bytes=0),
                tuple(atoms(data)),
                _tables(data),
                str(container.metadata),
                str(stream.metadata),
                stream.time_base,
                stream.codec_context.extradata,
                stream.codec_context.color_range,
            ))  # fmt: skip
        assert (info.width, info.height, info.frames, info.fps, info.audio) == (320, 320, 16, 8, False)
    assert len(forms) == 1


def _tables(data: bytes) -> tuple[tuple[str, int], ...]:
    """Name and length of every box below moov, in order."""
    found = []
    inner = {"moov", "trak", "edts", "mdia", "minf", "stbl", "dinf", "udta"}

    def walk(at: int, end: int) -> None:
        while at < end:
            size, raw = struct.unpack(">I4s", data[at : at + 8])
            name = raw.decode()
            if name not in ("mdat", "free"):
                found.append((name, size))
            if name in inner:
                walk(at + 8, at + size)
            at += size

    walk(0, len(data))
    return tuple(found)


@pytest.mark.parametrize(
    ("have", "fps", "timing", "expected"),
    [
        (16, 8, "whole", list(range(16))),
        (16, 8, "speed", list(range(16))),
        (31, 8, "whole", list(range(0, 31, 2))),
        (32, 16, "speed", list(range(0, 32, 2))),
        (8, 4, "speed", [k // 2 for k in range(16)]),
        (4, 8, "speed", [0, 1, 2, 3] + [3] * 12),
        (1, 8, "whole", [0] * 16),
    ],
)
def test_frames_are_picked_as_the_policy_says(have: int, fps: int, timing: str, expected: list[int]) -> None:
    shown = resample(Video(numbered(have), Fraction(fps)), PresentationPolicy(timing=timing))  # type: ignore[arg-type]
    assert ((shown[:, 0, 0, 0].astype(int) - 40) // 4).tolist() == expected


def test_crop_keeps_the_centre_and_pad_keeps_everything() -> None:
    wide = np.zeros((1, 100, 200, 3), np.uint8)
    wide[:, :, :50] = (255, 0, 0)  # the outer quarter, cut away by a square crop
    wide[:, :, 50:] = (0, 255, 0)
    crop = fit_size(wide, PresentationPolicy(width=50, height=50))
    pad = fit_size(wide, PresentationPolicy(width=50, height=50, fit="pad"))
    assert crop.shape == pad.shape == (1, 50, 50, 3)
    assert crop[0, :, 3:, 0].max() == 0
    assert pad[0, 25, 2].tolist() == [255, 0, 0]
    assert pad[0, :12].max() == 0
    assert pad[0, 38:].max() == 0


def test_a_policy_survives_being_recorded() -> None:
    policy = PresentationPolicy(width=256, fps=Fraction(24000, 1001), fit="pad", timing="speed")
    assert PresentationPolicy.from_settings(policy.settings()) == policy


def test_real_clips_can_be_presented_close_to_the_original(real_dir: Path, tmp_path: Path) -> None:
    source = sorted((real_dir / "videos" / "motif").glob("*.mp4"))[0]
    present(source, tmp_path / "shown.mp4")
    before, after = read_video(source).frames.astype(int), read_video(tmp_path / "shown.mp4").frames
    assert before.shape == after.shape
    psnr = 10 * np.log10(255**2 / np.square(before - after).mean())
    assert psnr > 40


def test_real_clips_are_read_as_the_decoder_gives_them(real_dir: Path) -> None:
    for path in sorted(real_dir.rglob("*.mp4"))[::20]:
        with av.open(path) as container:
            plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert np.array_equal(read_video(path).frames, np.stack(plain))


@pytest.mark.browser
def test_chromium_plays_a_presented_file(tmp_path: Path, browser) -> None:  # type: ignore[no-untyped-def]
    write_video(tmp_path / "a.mp4", moving(), 8)
    present(tmp_path / "a.mp4", tmp_path / "shown.mp4")
    data = base64.b64encode((tmp_path / "shown.mp4").read_bytes()).decode()
    page = browser.new_page()
    page.set_content(f'<video muted src="data:video/mp4;base64,{data}"></video>')
    state = page.evaluate(
        """() => new Promise((done, failed) => {
            const video = document.querySelector('video');
            video.onended = () => done([video.videoWidth, video.videoHeight, video.duration]);
            video.onerror = () => failed(video.error.message);
            video.play();
        })"""
    )
    page.close()
    assert state == [320, 320, 2]
