"""The command line as a whole: lazy, documented, one line per user error."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ti2v_bench.cli import COMMANDS, commands, main
from ti2v_bench.shapes import write_shapes

ROOT = Path(__file__).parents[3]


def _every_command(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is listed but cannot be loaded"
        found.append(((*prefix, name), command))
        if isinstance(command, click.Group):
            found += _every_command(command, (*prefix, name))
    return found


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ti2v_bench.cli import commands\n"
        "commands(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'gradio', 'pandas', 'numpy', 'scipy', 'sqlalchemy', 'av', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def test_every_command_and_option_has_help() -> None:
    for path, command in _every_command(commands):
        assert command.help, f"{' '.join(path)} has no help"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{' '.join(path)}: {parameter.opts[0]} has no help"


def test_help_pages_open_for_every_command() -> None:
    for path, _ in _every_command(commands):
        result = CliRunner().invoke(commands, [*path, "--help"])
        assert result.exit_code == 0, result.output


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [" ".join(path) for path, _ in _every_command(commands) if f"`{' '.join(path)}" not in readme]
    assert not missing, f"not in README.md: {missing}"


def test_readme_names_no_command_that_does_not_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"(?:^|`|&& )ti2v-bench ([a-z]+)", readme, flags=re.MULTILINE))
    assert {"demo", "generate", "report"} <= named
    assert named <= set(COMMANDS), named - set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "check", "/no/such/folder"],
        ["generate", "--bench", "/no/such/folder", "--model", "static", "--out", "x"],
        ["report", "/no/such/votes.csv", "--out", "x"],
        ["models", "show", "sein"],
        ["annotate", "/no/such/study.db"],
        ["study", "status", "/no/such/study.db"],
    ],
    ids=" ".join,
)
def test_a_users_mistake_is_one_line_and_exit_status_2(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ti2v_bench", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "No such command 'bogus'. See: ti2v-bench --help"),
        (["models", "show"], "Missing argument 'NAME'. See: ti2v-bench models show --help"),
        (["generate", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["bench", "check", "two\nlines"], "There is no folder two lines."),
        (["bench", "draw", "file"], "Cannot write file/images/brick1.png: Not a directory."),
        (["bench", "draw", "odd", "--size", "33"], "it is 33; give 34"),
        (["bench", "draw", "big", "--pairs", "1", "--size", "1000000"], "There is not enough memory"),
        (["bench", "draw", "other"], "other holds a bench that was not drawn"),
        (["generate", "--bench", "drawn", "--model", ":", "--out", "v"], "':' could not be loaded"),
        (["generate", "--bench", "drawn", "--model", "static", "--out", ""], "has no name"),
        (["generate", "--bench", "drawn", "--model", "static", "--out", "v", "--set", "x=1"], "no setting 'x'"),
        (["annotate", "x.db", "--public-url", "notaurl"], "must be an http or https address, but is 'notaurl'"),
        (["motif", "sample", "file", "A cat.", "--device", "bogus"], "'bogus' is no device"),
        (["metrics", "x", "--bench", "drawn", "--out", "x.csv", "--device", "cpu,cuda"], "is not one device"),
        (["study", "backup", "x.db", "out"], "There is no study"),
        (["study", "upgrade", "file"], "file cannot be opened: file is not a database."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_kind_of_mistake_is_one_line_that_names_it(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not what you think")
    Path("other").mkdir()
    Path("other/prompt.csv").write_text("a.png,A cat.\n")
    write_shapes(Path("drawn"), pairs=1, size=16, frames=2)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["ti2v-bench", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().err.strip("\r\n").splitlines()
    assert end.value.code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    assert told in lines[0]
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.is_file()] == []


@pytest.mark.parametrize("arguments", [["metrics", "x", "--bench", "x", "--out", "x.csv"], ["motif", "heatmap", "."]])
def test_without_torch_a_command_that_needs_it_names_the_extra(arguments: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {arguments!r}; import ti2v_bench.cli as c; c.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "Error: This command needs torch, which is not installed: pip install 'ti2v-bench[models]'.\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such a name")
def test_a_folder_whose_name_is_no_text_can_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = tmp_path / "\udcff"
    folder.mkdir()
    (folder / "prompt.csv").write_text("a.png,A cat.\n")
    monkeypatch.setattr(sys, "argv", ["ti2v-bench", "bench", "check", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capfdbinary.readouterr().out.startswith(b"row 1: image 'a.png' does not exist below ")


@pytest.mark.parametrize(
    "arguments", [["--size", "33x32"], ["--size", "99999x99998"], ["--fps", "0"], ["--design", "star"]], ids=" ".join
)
def test_a_study_of_an_impossible_form_is_refused_before_anything_is_made(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shapes(Path("bench"), pairs=1, size=16, frames=2)
    Path("videos").mkdir()
    told = CliRunner().invoke(
        commands,
        ["study", "create", "s.db", "--bench", "bench", "--videos", "videos", "--models", "a,b", *arguments],
    )
    assert told.exit_code == 2
    assert arguments[0] in told.output
    assert {path.name for path in tmp_path.iterdir()} == {"bench", "videos"}
