"""Clips are scored side by side, one core each, without changing a value or the process's settings."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ti2v_bench.bench import load_bench
from ti2v_bench.metrics.build import Wishes, build_tools
from ti2v_bench.metrics.cache import ValueCache
from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.evaluate import evaluate
from ti2v_bench.metrics.motion_measures import HotShare, MeanFlow, MeanFlowFraction, TopFlow, TopFlowFraction
from ti2v_bench.metrics.threads import one_core_each
from ti2v_bench.metrics.videos import find_videos
from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow
from ti2v_bench.motion.heatmap import HeatmapSettings, heatmap, share
from ti2v_bench.shapes import reference_frames, write_shapes
from ti2v_bench.video import write_video


def test_threads_of_the_pool_compute_alone_and_settings_come_back() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(3)
        cv2.setNumThreads(2)
        with one_core_each(2) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
            assert pool.submit(cv2.getNumThreads).result() == 1
            assert torch.get_num_threads() == 3, "networks in the calling thread keep theirs"
        with one_core_each(1) as pool, pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 2)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_values_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    write_shapes(tmp_path / "bench", pairs=4, size=64, frames=4)
    bench = load_bench(tmp_path / "bench")
    for pair in bench.pairs:
        write_video(tmp_path / "videos" / f"{pair.id}_0.mp4", reference_frames(bench.root, pair), 8)
    videos, _ = find_videos(tmp_path / "videos", bench)
    names, tiny = ("free", "alignment", "aesthetic_quality"), {"all": "random-tiny"}
    found = [
        evaluate(
            videos,
            build_tools(Wishes(names, weights=tiny, workers=workers)),
            ValueCache(tmp_path / f"{workers}.jsonl"),
        )
        for workers in (1, 3)
    ]
    assert [one.values for one in found[0]] == [one.values for one in found[1]]
    assert found[0][0].values["flow_mean_px"].value
    assert {tuple(one.values) for one in found[1]} == {tuple(build_tools(Wishes(names, weights=tiny)).metrics)}


class Drawn:
    """A backend that gives a smooth drawn field of the asked size."""

    name = "drawn"

    def flow(self, frames: Frames) -> Flow:
        noise = np.random.default_rng(5).normal(0, 1, (len(frames) - 1, 2, *frames.shape[1:3]))
        return (60 * gaussian_filter(noise, (0, 0, 3, 3))).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 64, 96, 3), (5, 66, 92, 3)])
def test_shared_flow_lengths_give_the_values_of_each_formula(shape: tuple[int, ...]) -> None:
    clip = Clip(np.zeros(shape, np.uint8), Fraction(8), np.zeros((8, 8, 3), np.uint8), "", Drawn())
    flow = clip.flow().astype(np.float64)
    hot = share(heatmap(torch.from_numpy(clip.flow().copy()), HeatmapSettings())).hot
    assert 0.05 < hot < 0.95
    assert HotShare().score(clip) == pytest.approx(hot, abs=1e-4)
    size = np.array([shape[2], shape[1]], float)[:, None, None]
    for field, mean, top in ((flow, MeanFlow(), TopFlow()), (flow / size, MeanFlowFraction(), TopFlowFraction())):
        expected = np.sort(np.linalg.norm(field, axis=1).reshape(4, -1), axis=1)
        count = int(shape[1] * shape[2] * 0.05)
        assert mean.score(clip) == pytest.approx(expected.mean(), rel=1e-6)
        assert top.score(clip) == pytest.approx(expected[:, -count:].mean(), rel=1e-6)
