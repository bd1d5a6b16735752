"""What a user of `generate` can get wrong, and what the command says."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ti2v_bench.bench import Bench
from ti2v_bench.cli.generate import generate
from ti2v_bench.errors import TI2VError
from ti2v_bench.video import read_video

TOYS = "tests.ti2v_bench.runner.toys"


def call(bench: Bench, out: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        generate, ["--bench", str(bench.root), "--out", str(out), "--device", "cpu", *arguments]
    )
    if isinstance(result.exception, TI2VError):
        return 2, f"Error: {result.exception}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_limit_seeds_and_several_models(bench: Bench, toys: Path, tmp_path: Path) -> None:
    models, seeds = ["--model", "static", "--model", f"{TOYS}:Plain"], ["--seed", "1", "--seed", "4"]
    code, output = call(bench, tmp_path / "out", *models, *seeds, "--limit", "2")
    assert code == 0
    assert "8 made, 0 already there, 0 failed\n" in output
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.mp4")} == {"static", "plain"}


def test_failures_end_with_status_1_one_line_each_and_the_command_that_goes_on(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toys / "fail").write_text("cat2")
    monkeypatch.setattr(sys, "argv", ["ti2v-bench", "generate", "--out", "a b"])
    code, output = call(bench, tmp_path / "out", "--model", f"{TOYS}:Picky")
    assert code == 1
    assert f"failed picky/{bench.pairs[2].id}_0: ZeroDivisionError: no luck with {bench.pairs[2].id}\n" in output
    assert "To try what is missing again: ti2v-bench generate --out 'a b'" in output
    assert "Traceback" not in output
    _, output = call(bench, tmp_path / "out", "--model", f"{TOYS}:Picky", "--traceback")
    assert "Traceback" in output


def test_settings_reach_the_model_and_as_names_the_folder(bench: Bench, toys: Path, tmp_path: Path) -> None:
    code, _ = call(bench, tmp_path / "out", "--model", "static", "--set", "frames=3", "--as", "still3")
    assert code == 0
    assert '"frames": 3' in (tmp_path / "out" / "still3" / f"{bench.pairs[0].id}_0.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "statik"], "No model is called 'statik'. Did you mean 'static'?"),
        (["--model", "no.such:Thing"], "'no.such:Thing' could not be loaded"),
        (["--model", f"{TOYS}:frames_of"], "Give one with --as NAME"),
        (["--model", "static", "--device", "gpu"], "'gpu' is no device. Give auto, cpu,"),
        (["--model", "static", "--device", "cuda:77"], "cuda:77 is asked for, but torch sees"),
        (["--model", "static", "--set", "frames"], "'frames' is not NAME=VALUE"),
        (["--model", "static", "--shard", "3/3"], "is not I/N with I from 0 to N-1"),
        (["--model", "static", "--model", "static"], "'static' is asked for 2 times"),
        (["--model", "static", "--model", "reference", "--as", "x"], "--as names one model, but 2"),
        (["--model", "static", "--limit", "0"], "0 is not in the range"),
        (["--model", "static", "--seed", "-1"], "-1 is not in the range"),
        (["--model", "static", "--precision", "half"], "'half' is not one of"),
        (["--model", "static", "--batch", "all"], "--batch 'all' is neither a number from 1 on nor auto"),
        (["--model", "static", "--fast"], "Model 'static' has no fast form. Leave out --fast"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(bench: Bench, tmp_path: Path, arguments: list[str], words: str) -> None:
    code, output = call(bench, tmp_path / "out", *arguments)
    assert code == 2
    assert words in " ".join(output.split())
    assert not (tmp_path / "out").exists()


def test_a_bench_that_is_not_there_is_named(bench: Bench, tmp_path: Path) -> None:
    result = CliRunner().invoke(generate, ["--bench", str(tmp_path / "no"), "--model", "static", "--out", "x"])
    assert isinstance(result.exception, TI2VError)
    assert str(tmp_path / "no") in str(result.exception)


def test_the_model_of_your_own_in_the_documentation_runs_as_printed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "generation.md").read_text()
    code = text.split("```python\n# mine.py\n")[1].split("```")[0]
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    status, output = call(bench, tmp_path / "out", "--model", "mine:Mine", "--limit", "1")
    assert status == 0, output
    assert read_video(tmp_path / "out" / "mine" / f"{bench.pairs[0].id}_0.mp4").frames.shape == (16, 320, 320, 3)


def test_every_option_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "generation.md").read_text()
    options = {name for parameter in generate.params for name in parameter.opts if name.startswith("--")}
    assert {name for name in options if f"{name} " not in text and f"{name}`" not in text} == set()
