"""`metrics` on small real files: each decoded once, resumed by content, broken ones named, the still beside them."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import current_thread

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.ndimage import uniform_filter

from ti2v_bench.bench import load_bench
from ti2v_bench.cli import main
from ti2v_bench.cli.metrics import metrics
from ti2v_bench.metrics import evaluate as evaluate_module
from ti2v_bench.metrics import videos as videos_module
from ti2v_bench.metrics.alignment import AlignmentSettings
from ti2v_bench.metrics.build import Wishes, build_tools
from ti2v_bench.metrics.cache import Value, ValueCache
from ti2v_bench.metrics.catalogue import GROUPS, METRICS, MetricError, chosen
from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.evaluate import evaluate
from ti2v_bench.metrics.motion_measures import HotShare, LastFirstDifference, MeanFlow, MeanFlowFraction, TopFlow
from ti2v_bench.metrics.table import read_frame
from ti2v_bench.metrics.videos import VideoFile, find_videos, with_stills
from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow
from ti2v_bench.shapes import reference_frames, write_shapes
from ti2v_bench.video import write_video

original = videos_module.read_video


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench of 8 pairs with two models' videos: the truth, and noise over the truth."""
    root = tmp_path_factory.mktemp("metrics")
    write_shapes(root / "bench", pairs=8, size=64, frames=4)
    bench = load_bench(root / "bench")
    rng = np.random.default_rng(0)
    for pair in bench.pairs:
        frames = reference_frames(bench.root, pair)
        noisy = np.clip(frames + rng.normal(0, 20, frames.shape), 0, 255).astype(np.uint8)
        write_video(root / "videos" / "truth" / f"{pair.id}_0.mp4", frames, 8)
        write_video(root / "videos" / "noise" / f"{pair.id}_0.mp4", noisy, 8)
    return root


def run(drawn: Path, out: Path, *more: str) -> str:
    arguments = [str(drawn / "videos"), "--bench", str(drawn / "bench"), "--out", str(out), *more]
    result = CliRunner().invoke(metrics, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_command_writes_a_row_per_video_and_a_table_with_the_still(drawn: Path, tmp_path: Path) -> None:
    output = run(drawn, tmp_path / "m.parquet")
    frame = read_frame(tmp_path / "m.parquet")
    assert sorted(frame["model"].unique()) == ["noise", "static", "truth"]
    assert len(frame) == 24
    assert set(GROUPS["free"]) <= set(frame.columns)
    means = frame.groupby("model")[["psnr", "temporal_flickering", "flow_mean_px"]].mean()
    assert means.loc["static"].tolist() == [100.0, 1.0, 0.0]
    assert means.loc["truth", "psnr"] > means.loc["noise", "psnr"] + 5
    assert means.loc["truth", "temporal_flickering"] > means.loc["noise", "temporal_flickering"]
    assert frame["ms_ssim"].isna().all()
    assert "more than 160 pixels" in json.loads(frame["undefined"][0])["ms_ssim"]
    told = json.loads((tmp_path / "m.json").read_text())
    assert told["settings"]["flow"] == "opencv-dis-medium"
    assert "static (n=8) | noise (n=8) | truth (n=8)" in output
    assert output.startswith((tmp_path / "m.md").read_text())


def test_second_run_decodes_nothing_and_gives_the_same_table(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(drawn, tmp_path / "m.csv")
    before = (tmp_path / "m.csv").read_bytes()
    cache = tmp_path / "m.cache.jsonl"
    cache.write_bytes(cache.read_bytes() + b'{"key": "torn')

    def refuse(path: Path) -> None:
        raise AssertionError(f"decoded {path}")

    with monkeypatch.context() as patch:
        patch.setattr(videos_module, "read_video", refuse)
        run(drawn, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_bytes() == before
    decoded = []
    monkeypatch.setattr(videos_module, "read_video", lambda path: decoded.append(path) or original(path))
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[: len(lines) // 2]))
    run(drawn, tmp_path / "m.csv")
    assert 0 < len(decoded) < 16
    assert (tmp_path / "m.csv").read_bytes() == before


def test_each_video_is_decoded_once_for_all_metrics(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    monkeypatch.setattr(videos_module, "read_video", lambda path: decoded.append(path) or original(path))
    names = "free,alignment,subject_consistency,background_consistency,i2v_subject"
    run(drawn, tmp_path / "m.parquet", "--metrics", names, "--weights", "all=random-tiny", "--no-static")
    assert len(decoded) == len(set(decoded)) == 16
    frame = read_frame(tmp_path / "m.parquet")
    assert frame["subject_consistency"].between(0, 1).all()
    assert np.allclose(frame["image_alignment"], 100 * frame["image_alignment_cos"].clip(0), atol=0.05)
    assert frame["image_alignment_cos"].notna().all()


def test_other_weights_are_other_values_in_the_cache(drawn: Path, tmp_path: Path) -> None:
    tools = [
        build_tools(Wishes(("text_alignment_cos",), weights={"all": "random-tiny"}, alignment=settings))
        for settings in (AlignmentSettings(), AlignmentSettings(prefix="A photo of "))
    ]
    assert tools[0].fingerprints != tools[1].fingerprints
    found, _ = find_videos(drawn / "videos" / "truth", load_bench(drawn / "bench"))
    cache = ValueCache(tmp_path / "cache.jsonl")
    values = [evaluate(found[:1], tool, cache)[0].values["text_alignment_cos"].value for tool in tools]
    assert values[0] != values[1]


def test_flow_beside_the_networks_changes_no_value_and_no_order(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = find_videos(drawn / "videos", load_bench(drawn / "bench"))
    names = ("free", "alignment", "i2v_subject", "aesthetic_quality")
    tools = build_tools(Wishes(names, weights={"all": "random-tiny"}, batch=48))
    plain = evaluate(found, tools, ValueCache(tmp_path / "plain.jsonl"))
    makers: set[str] = set()
    backend = tools.flow
    assert backend is not None

    class Watched:
        name = backend.name

        def flow(self, frames: Frames) -> Flow:
            makers.add(current_thread().name.rpartition("_")[0])
            return backend.flow(frames)

    monkeypatch.setattr(evaluate_module, "_flow_beside", lambda tools: True)
    seen: list[VideoFile] = []
    beside = evaluate(
        found, replace(tools, flow=Watched(), flow_in_threads=False), ValueCache(tmp_path / "m.jsonl"), seen.append
    )
    assert seen == [row.video for row in beside] == found
    assert [row.values for row in beside] == [row.values for row in plain]
    assert len(makers) == 1, "only the pool for flow made any"
    assert "MainThread" not in makers


def test_a_flow_that_fails_ends_the_run(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "broken"

        def flow(self, frames: Frames) -> Flow:
            raise RuntimeError("no memory")

    found, _ = find_videos(drawn / "videos", load_bench(drawn / "bench"))
    tools = replace(build_tools(Wishes(("motion",))), flow=Broken(), flow_in_threads=False)
    for beside in (True, False):
        monkeypatch.setattr(evaluate_module, "_flow_beside", lambda tools, beside=beside: beside)
        with pytest.raises(RuntimeError, match="no memory"):
            evaluate(found, tools, ValueCache(tmp_path / "m.jsonl"))


def engine_settings(prefix: str):
    from ti2v_bench.metrics.alignment import AlignmentSettings

    return AlignmentSettings(prefix=prefix)


def test_broken_and_strange_files_are_named_and_the_rest_is_measured(drawn: Path, tmp_path: Path) -> None:
    bench = load_bench(drawn / "bench")
    source = drawn / "videos" / "truth"
    folder = tmp_path / "videos" / "mine"
    folder.mkdir(parents=True)
    for pair in bench.pairs[:3]:
        (folder / f"{pair.id}_0.mp4").write_bytes((source / f"{pair.id}_0.mp4").read_bytes())
    whole = (folder / f"{bench.pairs[0].id}_0.mp4").read_bytes()
    (folder / f"{bench.pairs[0].id}_1.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "holiday.mp4").write_bytes(whole)
    arguments = [str(folder), "--bench", str(bench.root), "--out", str(tmp_path / "m.csv"), "--no-static"]
    result = CliRunner().invoke(metrics, arguments)
    assert result.exit_code == 1
    assert "holiday.mp4 matches no pair" in result.output
    assert f"{bench.pairs[0].id}_1.mp4" in result.output
    assert len(pd.read_csv(tmp_path / "m.csv")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--bench", "BENCH", "--out", "m.csv"], "There is no folder nowhere"),
        (["BENCH", "--bench", "BENCH", "--out", "m.csv"], "No video below"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.txt"], "neither .parquet nor .csv"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.csv", "--metrics", "psnrr"], "Did you mean 'psnr'"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.csv", "--weights", "dino"], "NAME=VALUE"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.csv", "--weights", "dyno=x"], "not for 'dyno'"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.csv", "--flow", "raft"], "needs a checkpoint"),
        (["VIDEOS", "--bench", "BENCH", "--out", "m.csv", "--metrics", "camera_motion"], "forbids commercial use"),
        (["agree", "votes.csv", "m.csv"], "votes.csv"),
    ],
)
def test_user_mistakes_are_one_line_and_status_2(
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    places = {"BENCH": str(drawn / "bench"), "VIDEOS": str(drawn / "videos")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ti2v-bench", "metrics", *(places.get(word, word) for word in arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in error
    assert error.startswith("Error: ")
    assert len(error.splitlines()) == 1


def moving(shift: int) -> Clip:
    """A textured picture that moves `shift` pixels to the right per frame."""
    texture = uniform_filter(np.random.default_rng(0).normal(size=(96, 160)), 5)
    levels = (128 + 400 * texture).clip(0, 255).astype(np.uint8)
    frames = np.stack([np.repeat(levels[:, 40 - shift * t : 136 - shift * t, None], 3, axis=2) for t in range(4)])
    return Clip(frames, Fraction(8), frames[0], "", build_tools(Wishes(("motion",))).flow)


def test_motion_measures_find_a_known_shift() -> None:
    clip = moving(6)
    assert MeanFlow().score(clip) == pytest.approx(6, rel=0.15)
    assert MeanFlowFraction().score(clip) == pytest.approx(6 / 96, rel=0.15)
    assert TopFlow().score(clip) >= MeanFlow().score(clip)
    assert HotShare().score(clip) > 0.7, "6 of 96 pixels is above the threshold of 5 %"
    assert HotShare().score(moving(3)) < 0.3
    assert LastFirstDifference().score(clip) == pytest.approx(
        np.abs(clip.frames[3].astype(float) - clip.frames[0]).mean()
    )


def test_stills_take_the_form_of_the_videos_and_give_way_to_a_model_of_that_name(drawn: Path) -> None:
    found, strange = find_videos(drawn / "videos", load_bench(drawn / "bench"))
    assert not strange
    stills = [video for video in with_stills(found) if video.still]
    assert len(stills) == 8
    clip = stills[0].clip(None)
    assert clip.frames.shape == (4, 64, 64, 3)
    assert (clip.frames == clip.frames[0]).all()
    named = [videos_module.VideoFile("static", video.pair, 0, video.path) for video in found[:1]]
    assert with_stills(named) == named


def test_catalogue_is_whole() -> None:
    tools = build_tools(Wishes(tuple(GROUPS["all"]), weights={"all": "random-tiny"}))
    for name, metric in tools.metrics.items():
        assert metric.name == name
    assert set(METRICS) - set(GROUPS["all"]) == {name for name, card in METRICS.items() if card.opt_in}
    with pytest.raises(MetricError, match="No metric is called 'nothing'"):
        chosen(["nothing"])


def test_reduction_over_processes_adds_states_up(drawn: Path) -> None:
    found, _ = find_videos(drawn / "videos" / "truth", load_bench(drawn / "bench"))
    clips = [video.clip(None) for video in found[:4]]
    one, first, second = (
        build_tools(Wishes(("last_first_difference",))).metrics["last_first_difference"] for _ in "123"
    )
    for clip in clips:
        one.update(clip)
    first.update(clips[0])
    for clip in clips[1:]:
        second.update(clip)
    state = {name: getattr(first, name) + getattr(second, name) for name in ("total", "videos")}
    assert float(one.compute()) == pytest.approx(float(state["total"] / state["videos"]))
    assert {one._reductions[name].__name__ for name in state} == {"dim_zero_sum"}


def test_cache_survives_a_torn_line(tmp_path: Path) -> None:
    cache = ValueCache(tmp_path / "c.jsonl")
    cache.put({"a": Value(1.5), "b": Value(None, "why")})
    (tmp_path / "c.jsonl").write_bytes((tmp_path / "c.jsonl").read_bytes()[:-9])
    again = ValueCache(tmp_path / "c.jsonl")
    assert again.get("a") == Value(1.5)
    assert again.get("b") is None
    again.put({"c": Value(2.0)})
    assert ValueCache(tmp_path / "c.jsonl").get("c") == Value(2.0)


def test_agree_command_reads_a_vote_table_and_marks_simulated_votes(drawn: Path, tmp_path: Path) -> None:
    run(drawn, tmp_path / "m.csv", "--metrics", "fidelity")
    bench = load_bench(drawn / "bench")
    rows = [
        {
            "pair_id": pair.id,
            "scenario": pair.scenario,
            "left": "truth",
            "right": "noise",
            "choice": "left",
            "annotator": who,
            "reasons": "image_alignment",
            "simulated": True,
        }
        for pair in bench.pairs
        for who in ("x", "y", "z")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "votes.csv", index=False)
    arguments = ["agree", str(tmp_path / "votes.csv"), str(tmp_path / "m.csv"), "--out", str(tmp_path / "agree")]
    result = CliRunner().invoke(metrics, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("**SIMULATED votes.**")
    told = json.loads((tmp_path / "agree.json").read_text())
    by_name = {row["metric"]: row for row in told["metrics"]}
    assert by_name["psnr"]["predicted"]["image_alignment"]["value"] == 1.0
    assert by_name["psnr"]["static_preferred"]["value"] == 1.0, "no video keeps the image better than the image does"
    assert by_name["psnr"]["kendall"]["why"] == "fewer than three models"
    assert "ms_ssim" not in by_name, "undefined for such small frames"


def test_products_in_tf32_are_asked_for_kept_apart_and_put_back(drawn: Path, tmp_path: Path) -> None:
    found, _ = find_videos(drawn / "videos" / "truth", load_bench(drawn / "bench"))
    names, before, seen = ("psnr", "text_alignment_cos"), torch.get_float32_matmul_precision(), []
    for tf32 in (False, True):
        tools = build_tools(Wishes(names, weights={"all": "random-tiny"}, tf32=tf32))
        cache = ValueCache(tmp_path / "cache.jsonl")
        evaluate(found[:1], tools, cache, done=lambda _: seen.append(torch.get_float32_matmul_precision()))
        seen.append(tools.fingerprints["psnr"])
        seen.append(tools.fingerprints["text_alignment_cos"])
    full, psnr, words, rounded, same, other = seen
    assert (full, rounded) == (before, "high")
    assert torch.get_float32_matmul_precision() == before
    assert psnr == same  # no network makes it
    assert other == f"{words} | TF32 products"
