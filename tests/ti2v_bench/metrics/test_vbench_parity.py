"""Every VBench-I2V dimension against what the official functions returned (fixtures vbench_*)."""

import hashlib
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tests.parity import Parity
from ti2v_bench.metrics import resize
from ti2v_bench.metrics.clip import Clip, pad_to_multiple
from ti2v_bench.metrics.vbench import camera, consistency, dynamics, quality, temporal, total
from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow
from ti2v_bench.motion.raft import Raft, RaftFlow
from ti2v_bench.video import read_video

SCORE = 1e-5
GREY = np.zeros((8, 8, 3), np.uint8)


def clip_of(
    frames: Frames | None = None, fps: object = 8, prompt: str = "", image: Frames = GREY, **features: Tensor
) -> Clip:
    frames = np.zeros((2, 8, 8, 3), np.uint8) if frames is None else frames
    named = {name.replace("__", "-"): value for name, value in features.items()}
    return Clip(frames, Fraction(str(fps)), image, prompt, features=named)


def stored_frames(fixture: Parity) -> dict[str, Frames]:
    return {name: value.numpy() for name, value in fixture.group("input.frames").items()}


def all_frames(fixture: Parity, root: Path | None) -> Iterator[tuple[str, Frames]]:
    """Stored clips, and the real ones where the folder is there and the file is the recorded one."""
    yield from stored_frames(fixture).items()
    for name, clip in fixture.info.get("real_clips", {}).items():
        path = None if root is None else root / clip["file"]
        if path is not None and path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == clip["sha256"]
            yield name, decoded(path)


@pytest.fixture
def real_root(pytestconfig: pytest.Config) -> Path | None:
    folder: Path = pytestconfig.getoption("--real-dir")
    return folder if folder.is_dir() else None


@lru_cache(maxsize=32)
def decoded(path: Path) -> Frames:
    return read_video(path).frames


def recorded_views(fixture: Parity, name: str) -> dict[str, Tensor]:
    """What is recorded of one clip's network input, by kind."""
    views = {}
    for key, expected in fixture.tensors.items():
        kind, _, clip = key.removeprefix("expected.").partition(".")
        if key.startswith("expected.pre_") and clip == name:
            views[kind] = expected
    return views


def kept_frames(fixture: Parity) -> list[int]:
    """Which frames of a real clip are recorded, as the fixture's own words have it."""
    told = next(text for name, text in fixture.info["tensors"].items() if name.startswith("expected.pre_s"))
    found = re.search(r"real clips (?:only )?frames? (\d+(?:(?:, | and )\d+)*)", told)
    assert found, told
    return [int(number) for number in re.findall(r"\d+", found[1])]


def view(kind: str, x: Tensor) -> Tensor:
    """The same view of a full network input."""
    if kind == "pre_corner_tl":
        return x[0, :, :24, :24]
    if kind == "pre_corner_br":
        return x[0, :, -24:, -24:]
    if kind == "pre_stats":
        return torch.stack([x.amin((1, 2, 3)), x.amax((1, 2, 3)), x.mean((1, 2, 3)), x.std((1, 2, 3))], 1)
    step = int(kind.removeprefix("pre_s"))
    return x[..., ::step, ::step]


TRANSFORMS = {
    "subject_consistency": resize.dino_input,
    "background_consistency": resize.clip_input,
    "aesthetic_quality": resize.clip_input,
    "i2v_subject": resize.dino_i2v_input,
    "i2v_background": resize.dreamsim_input,
    "imaging_quality": resize.imaging_input,
}
IMAGES = {"i2v_subject": resize.dino_i2v_image, "i2v_background": resize.dreamsim_image}


@pytest.mark.parity(*(f"vbench_{name}_*" for name in TRANSFORMS))
def test_network_inputs_equal_the_official_ones(fixture: Parity, real_root: Path | None) -> None:
    dimension = fixture.info["dimension"]
    tolerance = fixture.info["tolerance"]
    atol = tolerance.get("preprocessed_abs", tolerance.get("frames_preprocessed_abs"))
    checked = 0
    for name, frames in all_frames(fixture, real_root):
        views = recorded_views(fixture, name)
        if not views:
            continue
        recorded = next(len(value) for kind, value in views.items() if "corner" not in kind)
        if recorded < len(frames):  # real clips keep a few frames only
            frames = frames[kept_frames(fixture)]
        x = TRANSFORMS[dimension](resize.as_tensor(frames))
        for kind, expected in views.items():
            torch.testing.assert_close(view(kind, x), expected, atol=min(atol, SCORE), rtol=0)
            checked += 1
    assert checked


@pytest.mark.parity(*(f"vbench_{name}_*" for name in IMAGES))
def test_input_images_go_the_official_way_through_pillow(fixture: Parity, real_root: Path | None) -> None:
    transform = IMAGES[fixture.info["dimension"]]
    checked = 0
    for key, expected in fixture.tensors.items():
        kind, _, name = key.removeprefix("expected.").partition(".")
        if not kind.startswith("image_pre_s"):
            continue
        if f"input.image.{name}" in fixture.tensors:
            image = fixture.tensors[f"input.image.{name}"].numpy()
        elif real_root is not None:
            image = np.asarray(Image.open(real_root / fixture.info["real_clips"][name]["image"]).convert("RGB"))
        else:
            continue
        step = int(kind.removeprefix("image_pre_s"))
        torch.testing.assert_close(transform(image)[0][:, ::step, ::step], expected, atol=SCORE, rtol=0)
        checked += 1
    assert checked


def standin(fixture: Parity, x: Tensor) -> Tensor:
    """The fixture's own stand-in for the network."""
    pooled = F.adaptive_avg_pool2d(x, (4, 4)).flatten(1)
    return (pooled - fixture.tensors["standin.m"].float()) @ fixture.tensors["standin.W"].float().T


@pytest.mark.parity("vbench_subject_consistency_*", "vbench_background_consistency_*")
def test_consistency_equals_the_official_scores(fixture: Parity, real_root: Path | None) -> None:
    subject = fixture.info["dimension"] == "subject_consistency"
    metric = consistency.SubjectConsistency() if subject else consistency.BackgroundConsistency()
    expected = fixture.info["expected"]
    for name in fixture.info["order"]:
        clip = clip_of(**{metric.feature.replace("-", "__"): fixture.tensors[f"input.features.{name}"]})
        assert metric.score(clip) == pytest.approx(expected["per_video"][name], abs=SCORE)
        metric.update(clip)
    assert float(metric.compute()) == pytest.approx(expected["overall"], abs=SCORE)
    if subject:
        assert float(metric.plain_mean()) == pytest.approx(expected["overall_multi_process"], abs=SCORE)
    chain = fixture.info["tolerance"].get("chain_score_abs", 1e-4)
    for name, frames in all_frames(fixture, real_root):
        features = standin(fixture, TRANSFORMS[fixture.info["dimension"]](resize.as_tensor(frames)))
        scored = metric.score(clip_of(**{metric.feature.replace("-", "__"): features}))
        assert scored == pytest.approx(expected["per_video"][name], abs=chain)


@pytest.mark.parity("vbench_i2v_subject_*", "vbench_i2v_background_*")
def test_image_to_video_scores_equal_the_official_ones(fixture: Parity) -> None:
    subject = fixture.info["dimension"] == "i2v_subject"
    metric = consistency.I2VSubject() if subject else consistency.I2VBackground()
    kind = "dino__i2v" if subject else "dreamsim"
    images = fixture.group("input.image_feature")
    for name, expected in fixture.info["expected"]["per_video"].items():
        scene = name.rpartition(".")[2]  # clips of several models share their image
        image = images.get(name, next(value for key, value in images.items() if key.rpartition(".")[2] == scene))
        clip = clip_of(**{kind: fixture.tensors[f"input.features.{name}"], f"{kind}__image": image})
        assert metric.score(clip) == pytest.approx(expected, abs=SCORE)
        metric.update(clip)
    assert float(metric.compute()) == pytest.approx(fixture.info["expected"]["overall"], abs=SCORE)


@pytest.mark.parity("vbench_i2v_background_*")
def test_dreamsim_vector_equals_the_official_one(fixture: Parity) -> None:
    parts = fixture.group("input.dreamsim_feature")
    if not parts:
        pytest.skip("no DreamSim parts in this fixture")
    order = ("dino", "clip", "open_clip")
    found = tuple(next(value for key, value in parts.items() if key.startswith(name)) for name in order)
    joined = consistency.dreamsim_embedding(found)
    torch.testing.assert_close(joined, fixture.tensors["expected.dreamsim_embed"], atol=SCORE, rtol=0)


@pytest.mark.parity("vbench_temporal_flickering_*")
def test_flickering_equals_the_official_scores(fixture: Parity, real_root: Path | None) -> None:
    metric, expected = temporal.TemporalFlickering(), fixture.info["expected"]
    scored = []
    for name, frames in all_frames(fixture, real_root):
        assert metric.score(clip_of(frames)) == pytest.approx(expected["per_video"][name], abs=1e-6)
        if name in expected.get("pair_mae_levels", {}):
            np.testing.assert_allclose(
                temporal.neighbour_differences(frames), expected["pair_mae_levels"][name], atol=SCORE
            )
        metric.update(clip_of(frames))
        scored.append(name)
    if len(scored) == len(expected["per_video"]):
        assert float(metric.compute()) == pytest.approx(expected["overall"], abs=1e-6)


class Standin:
    """The fixture's interpolator, `prediction = G (a + b) - H`: overshoots [0, 1] on purpose."""

    def __init__(self, fixture: Parity) -> None:
        found = re.search(r"([\d.]+) \(a \+ b\) - ([\d.]+)", fixture.info["stand_in"])
        assert found
        self.gain, self.less = float(found[1]), float(found[2])

    def midpoint(self, before: Tensor, after: Tensor) -> Tensor:
        return self.gain * (before + after) - self.less


@pytest.mark.parity("vbench_motion_smoothness_*")
def test_smoothness_equals_the_official_scores(fixture: Parity, real_root: Path | None) -> None:
    metric, expected = temporal.MotionSmoothness(Standin(fixture)), fixture.info["expected"]
    for name, frames in all_frames(fixture, real_root):
        assert metric.score(clip_of(frames)) == pytest.approx(expected["per_video"][name], abs=SCORE)
    for name, frames in stored_frames(fixture).items():
        padded = pad_to_multiple(frames[:1], 16).transpose(0, 3, 1, 2) / np.float32(255)
        np.testing.assert_allclose(padded, fixture.tensors[f"expected.padded_in0.{name}"].numpy(), atol=1e-7)
        drawn = temporal.predicted_frames(frames, Standin(fixture)).astype(int)
        recorded = fixture.tensors[f"expected.predicted_uint8.{name}"].numpy()
        assert np.abs(drawn - recorded).max() <= 1
        assert (drawn != recorded).mean() < 0.001


class Recorded:
    """A flow backend that plays back a recorded field."""

    name = "recorded"

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def flow(self, frames: Frames) -> Flow:
        assert frames.shape[1:3] == self._flow.shape[2:]
        return self._flow


@pytest.mark.parity("vbench_dynamic_degree_*")
def test_dynamic_degree_equals_the_official_decisions(fixture: Parity) -> None:
    metric = dynamics.DynamicDegree()
    height, width = fixture.info["frame_hw_of_flow_cases"]
    for name, expected in fixture.info["expected"]["per_video"].items():
        flow = fixture.tensors[f"input.flow.{name}"].numpy()
        assert len(range(0, expected["frames"], dynamics.sampling_interval(expected["fps"]))) == expected["sampled"]
        assert dynamics.pair_scores(flow) == pytest.approx(expected["pair_scores_px"], abs=SCORE)
        assert dynamics.threshold(height, width) == pytest.approx(expected["threshold_px"])
        assert dynamics.needed_pairs(expected["sampled"]) == expected["count_num"]
        frames = np.zeros((expected["frames"], height, width, 3), np.uint8)
        clip = Clip(frames, Fraction(expected["fps"]), GREY, "", Recorded(flow))
        assert metric.score(clip) == expected["moves"]
        metric.update(clip)
    assert float(metric.compute()) == pytest.approx(fixture.info["expected"]["overall"])
    for n, count in fixture.info.get("count_table_n_to_count", []):
        assert dynamics.needed_pairs(n) == count
    for (h, w), limit in fixture.info.get("threshold_table_hw_to_px", []):
        assert dynamics.threshold(h, w) == pytest.approx(limit)
    for row in fixture.info.get("sampling_table", []):
        assert dynamics.sampling_interval(row["fps_read"]) == row["interval"]
        assert list(range(row["frames"]))[:: row["interval"]] == row["sampled_indices"]


def seeded_raft(seed: int, gain: float) -> Raft:
    """The fixture's rule for weights."""
    model = Raft()
    state = model.state_dict()
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(crc32(f"{seed}:{key}".encode())))
        if key.endswith("running_var"):
            value.copy_(1 + 0.05 * noise.abs())
        elif key.endswith(("running_mean", "bias")):
            value.copy_(0.05 * noise)
        elif value.ndim == 1:
            value.copy_(1 + 0.05 * noise)
        else:
            value.copy_(gain * noise / value[0].numel() ** 0.5)
    return model


@pytest.mark.parity("vbench_dynamic_degree_*")
def test_dynamic_degree_through_raft_equals_the_official_chain(fixture: Parity) -> None:
    expected = fixture.info["expected"].get("raft")
    if expected is None:
        pytest.skip("no RAFT part in this fixture")
    rule = re.search(r"S = (\d+), g = (\d+(?:\.\d+)?)", fixture.info["raft_weights"])
    assert rule
    seed, gain = int(rule[1]), float(rule[2])
    frames = fixture.tensors["input.raft_frames"].numpy()
    clip = Clip(frames, Fraction(8), GREY, "", RaftFlow(seeded_raft(seed, gain), "seeded"))
    flow = clip.padded_flow()
    assert list(flow.shape[2:]) == expected["padded_hw"]
    for pair, largest in enumerate(expected["max_abs_flow_px"]):
        recorded = fixture.tensors[f"expected.raft_flow_s2.{pair}"].numpy()
        np.testing.assert_allclose(flow[pair][:, ::2, ::2], recorded, atol=1e-3 * largest)
    assert dynamics.pair_scores(flow) == pytest.approx(expected["pair_scores_px"], rel=1e-3)
    assert dynamics.DynamicDegree().score(clip) == expected["moves"]


@pytest.mark.parity("vbench_aesthetic_quality_*")
def test_aesthetic_quality_equals_the_official_scores(fixture: Parity) -> None:
    weight = fixture.tensors["input.head_weight"].float()
    head = nn.Linear(weight.shape[1], 1)
    head.load_state_dict({"weight": weight, "bias": fixture.tensors["input.head_bias"].float()})
    metric = quality.AestheticQuality(head)
    for name, expected in fixture.info["expected"]["per_video"].items():
        clip = clip_of(clip__l14=fixture.tensors[f"input.features.{name}"])
        assert metric.score(clip) == pytest.approx(expected, abs=SCORE)
        metric.update(clip)
    assert float(metric.compute()) == pytest.approx(fixture.info["expected"]["overall"], abs=SCORE)


class StandinScorer:
    """The fixture's scorer, `A + B tanh(w . (pooled - C))`."""

    def __init__(self, fixture: Parity) -> None:
        found = re.search(r"= ([\d.]+) \+ ([\d.]+) tanh.* - ([\d.]+)\)", fixture.info["stand_in"])
        assert found
        self.base, self.gain, self.centre = map(float, found.groups())
        self.weights = fixture.tensors["standin.w"]

    def rate(self, pictures: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(pictures, (4, 4)).flatten(1)
        return self.base + self.gain * torch.tanh((pooled - self.centre) @ self.weights)


@pytest.mark.parity("vbench_imaging_quality_*")
def test_imaging_quality_equals_the_official_scores(fixture: Parity, real_root: Path | None) -> None:
    metric, expected = quality.ImagingQuality(StandinScorer(fixture)), fixture.info["expected"]
    for name, frames in all_frames(fixture, real_root):
        ratings = metric.ratings(clip_of(frames))
        assert list(resize.imaging_size(*frames.shape[1:3])) == fixture.info["scorer_input_hw"][name]
        np.testing.assert_allclose(ratings.numpy(), expected["per_frame_0_100"][name], atol=2e-4)
        assert 100 * metric.score(clip_of(frames)) == pytest.approx(expected["per_video_0_100"][name], abs=2e-4)
    for row in fixture.info.get("size_table", []):
        assert list(resize.imaging_size(*row["in_hw"])) == row["longer"]


class RecordedTracks:
    def __init__(self, tracks: np.ndarray) -> None:
        self._tracks = tracks

    def tracks(self, frames: Frames) -> np.ndarray:
        return self._tracks


@pytest.mark.parity("vbench_camera_motion_*")
def test_camera_motions_equal_the_official_answers(fixture: Parity) -> None:
    tracks = fixture.tensors["input.tracks"].numpy()
    sizes = fixture.tensors["input.frame_hw"].tolist()
    scores = []
    for case in fixture.info["expected"]["per_video"]:
        at = case["case"]
        found = camera.camera_motions(tracks[at], *sizes[at])
        assert sorted(found) == case["predicted_sorted"], at
        assert camera.asked_motion(case["video_name"]) == case["asked"]
        frames = np.zeros((3, *sizes[at], 3), np.uint8)
        scores.append(camera.CameraMotion(RecordedTracks(tracks[at])).score(clip_of(frames, prompt=case["video_name"])))
        assert scores[-1] == case["score"]
    assert np.mean(scores) == pytest.approx(fixture.info["expected"]["overall"])


@pytest.mark.parity("vbench_aggregate_*")
def test_totals_equal_the_official_ones(fixture: Parity) -> None:
    assert {name: list(limits) for name, limits in total.MIN_MAX.items()} == fixture.info["min_max"]
    assert fixture.info["weights"] == total.WEIGHTS
    for row in fixture.info["rows"]:
        found = total.vbench_total(row["raw"])
        assert total.normalised(row["raw"]) == pytest.approx(row["normalised_times_weight"], abs=1e-12)
        assert (found.quality, found.i2v, found.total) == pytest.approx(
            (row["quality_score"], row["i2v_score"], row["total_score"]), abs=1e-12
        )
