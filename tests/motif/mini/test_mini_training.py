"""The flat training step against torch's own modules and optimiser."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motif.diffusion import add_noise, alphas_cumprod, training_target
from motif.loss import loss_terms
from motif.mini import __main__ as command
from motif.mini import report
from motif.mini.cells import CELLS, StudySettings
from motif.mini.drawn import draw_world
from motif.mini.judge import OUTCOMES, Judge, cases
from motif.mini.model import Mini, MiniError, SampleSettings, load_mini
from motif.mini.net import MiniSettings, MiniUNet
from motif.mini.runs import Order, StudyError, carry_out, read_runs
from motif.mini.sampling import sample
from motif.mini.study import Study
from motif.mini.text import encode, vocabulary
from motif.mini.training import MiniTrainer, TrainingData, TrainSettings, flat_weights
from motif.mini.world import draw_clips, heat_bytes, on_device, vocabularies
from ti2v_bench.motion.heatmap import HeatmapSettings
from ti2v_bench.records import Pair
from ti2v_bench.shapes import MOTIONS, prompts

NET = MiniSettings(len(vocabulary()) + 2, 12, 64, 8, 4, (32, 32), (False, True), 32)


def _data(count: int = 6) -> TrainingData:
    clips = draw_clips(count, 0, vocabularies("small")[0], 64, 8)
    heat = heat_bytes(torch.from_numpy(clips.flow), HeatmapSettings(), 64)
    return TrainingData(on_device(clips.frames, "cpu"), torch.from_numpy(clips.ids), heat)


def test_flat_steps_equal_adamw_with_clipped_gradients() -> None:
    settings = TrainSettings(batch=2, warmup=1, clip=0.05)
    ours = MiniTrainer(NET, settings, _data(), longest=8)
    ours.reset(7, 1.0, "x-cat")
    ours.train(3)
    torch.manual_seed(7)
    model = MiniUNet(NET)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, settings.betas, weight_decay=0.01)
    torch.manual_seed(8)
    for _ in range(3):
        clean, heat, ids, timestep, noise = ours._draw()
        out = model(add_noise(clean, noise, timestep, ours.alphas), timestep, clean[:, :, 0], ids)
        target = training_target(clean, noise, timestep, ours.alphas, "v")
        optimizer.zero_grad()
        loss_terms(out, target, heat).total(1.0).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
    torch.testing.assert_close(ours.master, flat_weights(model), rtol=1e-4, atol=2e-6)


def test_same_seed_same_run_and_a_reset_forgets_everything() -> None:
    trainer = MiniTrainer(NET, TrainSettings(batch=2), _data(), longest=8)
    finals = []
    for seed in (0, 1, 0):
        trainer.reset(seed, 1.0, "both")
        trainer.train(2)
        finals.append(trainer.ema.clone())
    assert torch.equal(finals[0], finals[2])
    assert not torch.equal(finals[0], finals[1])


@pytest.mark.parametrize(("conditioning", "follows"), [("x-cat", True), ("cx-attn", True)])
def test_a_closed_gate_hides_the_image(conditioning: str, follows: bool) -> None:
    torch.manual_seed(0)
    model = MiniUNet(NET).eval()
    torch.nn.init.normal_(model.leave.weight, std=0.1)
    x, ids, step = torch.randn(1, 3, 8, 64, 64), torch.ones(1, 12, dtype=torch.long), torch.tensor([500])
    images = torch.randn(2, 1, 3, 64, 64)

    def outputs(cat: float, cross: float) -> bool:
        model.gate_cat.fill_(cat)
        model.gate_cross.fill_(cross)
        with torch.no_grad():
            return not torch.equal(model(x, step, images[0], ids), model(x, step, images[1], ids))

    assert outputs(float(conditioning == "x-cat"), float(conditioning == "cx-attn")) is follows
    assert outputs(0.0, 0.0) is False


def test_the_judge_knows_the_true_video_and_the_still_one() -> None:
    clips = draw_clips(12, 5, vocabularies("small")[1], 64, 8)
    frames = on_device(clips.frames, "cpu")
    judge = Judge(clips.scenes, cases(clips.scenes, 64, 8), frames[:, :, 0])
    true = judge(frames)
    assert (true.outcome == OUTCOMES.index("right")).mean() >= 11 / 12
    assert true.first_psnr.min() > 60
    assert np.nanmin(true.still_psnr) > 45
    still = judge(frames[:, :, :1].expand_as(frames))
    assert (still.outcome == OUTCOMES.index("still")).all()
    backwards = judge(frames.flip(2))
    assert (backwards.outcome != OUTCOMES.index("right")).mean() > 0.5


def test_held_out_combinations_are_never_trained_on() -> None:
    seen, unseen = vocabularies("small")
    assert not set(seen.combinations()) & set(unseen.combinations())
    drawn = draw_clips(40, 1, unseen, 32, 2)
    words = {(c.colour, c.kind, MOTIONS[c.motion]) for c in unseen.combinations()}
    for sentence in prompts(drawn.scenes):
        assert any(all(f" {word}" in sentence.lower() for word in words_of) for words_of in words), sentence


def test_more_workers_draw_the_same_clips() -> None:
    words = vocabularies("small")[0]
    one, two = (draw_clips(130, 3, words, 32, 2, workers) for workers in (1, 2))
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.flow, two.flow)


def test_words_are_closed_cut_and_padded() -> None:
    ids = encode(["The RED circle, moves up!", "zeppelin " * 20, ""])
    assert (ids[0] > 1).sum() == 5
    assert (ids[0, 5:] == 0).all()
    assert (ids[1] == 1).all()
    assert (ids[2] == 0).all()


def test_guidance_one_is_the_conditional_model() -> None:
    torch.manual_seed(1)
    model = MiniUNet(NET).eval()
    torch.nn.init.normal_(model.leave.weight, std=0.1)
    image, noise = torch.randn(1, 3, 64, 64), torch.randn(1, 3, 8, 64, 64)
    ids = torch.ones(1, 12, dtype=torch.long)
    conditional = sample(model, image, ids, noise, 1, 1.0)
    with torch.no_grad():
        v = model(noise, torch.tensor([999]), image, ids)
    a = alphas_cumprod()[999]
    torch.testing.assert_close(conditional, (a.sqrt() * noise - (1 - a).sqrt() * v).clamp(-1, 1), rtol=1e-4, atol=1e-4)


def test_a_study_makes_each_missing_run_once_and_its_checkpoint_is_a_model(tmp_path: Path) -> None:
    settings = StudySettings(clips=8, tests=2, ddim=2, train=TrainSettings(batch=2), tiny=True)
    study = Study(settings, draw_world(settings, 1), "cpu", compiled=False)
    order = Order(tmp_path, float("inf"), ("plain", "mask"), (0,), (1, 2), keep_at=(2,))
    assert carry_out(study, order) == 0
    rows = read_runs([tmp_path])
    assert [(row["cell"], row["step"]) for row in rows] == [("mask", 1), ("mask", 2), ("plain", 1), ("plain", 2)]
    assert all(len(str(row["outcomes"])) == 2 for row in rows)
    hot, ratio = (rows[0][name]["500"] for name in ("error_hot", "error_ratio"))  # type: ignore[index]
    assert 0 < hot < 3
    assert ratio > 0
    elsewhere = Order(tmp_path / "b", float("inf"), ("plain", "mask"), (0, 1), (1, 2), done=(tmp_path,))
    assert elsewhere.missing() == [("plain", 1), ("mask", 1)]
    (tmp_path / "kept.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert replace(elsewhere, done=(tmp_path / "kept",)).missing() == [
        ("plain", 1),
        ("mask", 1),
    ]  # as a report keeps it
    assert carry_out(study, replace(elsewhere, until=0.0)) == 2  # no time: nothing is begun
    assert not (tmp_path / "b").exists()
    model, words = load_mini(tmp_path / "mask-0-2.safetensors")
    torch.testing.assert_close(flat_weights(model), study.trainer.ema, rtol=1e-3, atol=1e-4)  # kept as float16
    from PIL import Image

    Image.new("RGB", (100, 80), "red").save(tmp_path / "a.png")
    mini = Mini("own", tmp_path / "mask-0-2.safetensors", SampleSettings(steps=2))
    pair = Pair("a", "a", "a", "The red circle moves up.", tmp_path / "a.png")
    frames = mini.generate(pair, 3)
    assert frames.shape == (8, 64, 64, 3)
    assert np.array_equal(frames, mini.generate(pair, 3))
    assert words == vocabulary()
    assert json.loads(json.dumps(mini.provenance()))["weights"][0]["file"] == "mask-0-2.safetensors"


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(MiniError, match=r"x\.safetensors"):
        load_mini(tmp_path / "x.safetensors")


def test_every_setting_of_the_papers_ablations_is_a_cell() -> None:
    assert {cell.weight for cell in CELLS.values()} == {0.0, 0.5, 1.0, 2.0, 5.0}
    assert {cell.conditioning for cell in CELLS.values()} == {"x-cat", "cx-attn", "both"}
    units = {cell.heat.unit for cell in CELLS.values() if cell.heat}
    assert units == {"size", "half_size", "diag", "minmax_clip"}  # pixels saturate: everything that moves is hot
    assert any(cell.heat is None for cell in CELLS.values())


def test_processes_share_the_missing_runs() -> None:
    whole = Order(Path("nowhere"), 0.0, ("plain", "mask", "size"), (0, 1), (1,))
    parts = [replace(whole, share=(index, 2)).missing() for index in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(whole.missing())
    assert len(parts[0]) == len(parts[1]) == 3


def test_a_still_clip_is_learnt_by_the_direct_path_alone() -> None:
    """v of a clip that stays as its image is linear in the noisy pixels and the image (worked out from v's formula)."""
    model = MiniUNet(replace(NET, direct=True)).eval()
    assert model.gains is not None
    torch.nn.init.zeros_(model.leave.bias)  # type: ignore[arg-type]
    image, noise = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, 3, 8, 64, 64)
    clean, step, alphas = image[:, :, None].expand(-1, -1, 8, -1, -1), torch.tensor([400]), alphas_cumprod()
    a = alphas[400]
    with torch.no_grad():
        model.gains.bias.copy_(torch.stack([(a / (1 - a)).sqrt(), -1 / (1 - a).sqrt()]))
        got = model(add_noise(clean, noise, step, alphas), step, image, torch.zeros(1, 12, dtype=torch.long))
        torch.testing.assert_close(got, training_target(clean, noise, step, alphas, "v"), rtol=1e-4, atol=1e-4)
        model.gate_cat.fill_(0.0)  # cx-attn: the image is not there
        assert (model(torch.zeros_like(noise), step, image, torch.zeros(1, 12, dtype=torch.long)) == 0).all()


def _study_command(*arguments: str) -> list[str]:
    small = ["--clips", "8", "--tests", "2", "--batch", "2", "--tiny", "--device", "cpu", "--workers", "1"]
    return ["motif.mini", "--checkpoints", "1", *small, *arguments]


def test_the_command_chooses_a_world_goes_on_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ("--out", str(tmp_path / "a"), "--cache", str(tmp_path / "c"), "--cells", "plain,lambda-1", "--seeds", "0")
    monkeypatch.setattr(command, "HARDEST_FIRST", ("tiny",))
    monkeypatch.setattr(sys, "argv", _study_command(*first))
    command.main()
    assert "words tiny: the plain loss reaches" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "a" / "runs").glob("*.jsonl")) == [
        "lambda-1-0.jsonl",
        "plain-0.jsonl",
    ]
    second = (
        "--out",
        str(tmp_path / "b"),
        "--cache",
        str(tmp_path / "c"),
        "--done",
        str(tmp_path / "a"),
        "--cells",
        "plain",
    )
    monkeypatch.setattr(sys, "argv", _study_command(*second, "--seeds", "0,1", "--words", "tiny", "--pair", "1"))
    monkeypatch.setattr(command, "SHIPPED_WORDS", "tiny")
    command.main()
    assert [path.name for path in (tmp_path / "b" / "runs").glob("*.jsonl")] == ["plain-1.jsonl"]
    assert (tmp_path / "b" / "pair" / "lambda-1-0-1.safetensors").is_file()
    monkeypatch.setattr(sys, "argv", _study_command(*first, "--learning-rate", "0.1"))
    with pytest.raises(SystemExit):
        command.main()
    assert "train" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", _study_command(*first, "--done", str(tmp_path / "typo")))
    with pytest.raises(SystemExit):
        command.main()
    assert "typo, which is no folder" in capsys.readouterr().err
    studies = [str(tmp_path / "a"), str(tmp_path / "b")]
    monkeypatch.setattr(sys, "argv", ["report", *studies, "--out", str(tmp_path / "r")])
    report.main()
    names = {"runs.jsonl", "pair.jsonl", "about.json", "study.json", "study.md", "curves.png", "runs.png", "pair.png"}
    assert {path.name for path in (tmp_path / "r").iterdir()} == names


def test_a_half_copied_file_of_runs_is_named_with_its_line(tmp_path: Path) -> None:
    whole = '{"cell": "plain", "seed": 0, "step": 100}\n'
    (tmp_path / "plain-0.jsonl").write_text(whole + whole[:20])
    with pytest.raises(StudyError, match=r"plain-0\.jsonl, line 2 is no record of a run \('\{\"cell\": \"plain"):
        read_runs([tmp_path])


def test_a_report_of_no_study_or_of_half_of_one_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "none"), "--out", str(tmp_path / "r")])
    with pytest.raises(SystemExit):
        report.main()
    assert "none has an about.json. Name the --out folder of a study." in capsys.readouterr().err
    (tmp_path / "half" / "runs").mkdir(parents=True)
    (tmp_path / "half" / "runs" / "plain-0.jsonl").write_text("[]")
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path / "half"), "--out", str(tmp_path / "r")])
    with pytest.raises(SystemExit):
        report.main()
    assert "plain-0.jsonl, line 1 is no record of a run ('[]')" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["motif-mini", "plain-mini"])
def test_the_shipped_checkpoints_animate_what_the_prompt_says(name: str, tmp_path: Path) -> None:
    from PIL import Image

    from ti2v_bench.model import ModelOptions
    from ti2v_bench.registry import load_card, load_model
    from ti2v_bench.shapes import render, sample_scenes

    model = load_model(name, ModelOptions())
    scenes = sample_scenes(1, np.random.default_rng(0), vocabularies("full")[0])
    Image.fromarray(render(scenes, 64, 1)[0, 0]).save(tmp_path / "a.png")
    video = model.generate(Pair("a", "a", "a", prompts(scenes)[0], tmp_path / "a.png"), 0).astype(int)
    assert video.shape == (8, 64, 64, 3)
    assert np.abs(video[0] - render(scenes, 64, 1)[0, 0]).mean() < 12  # it begins at the picture
    assert np.abs(video[-1] - video[0]).max() > 60  # and something changes
    assert load_card(name).parameters == pytest.approx(sum(p.numel() for p in model.model.parameters()) / 1e6, abs=0.01)  # type: ignore[attr-defined]
