"""The command line as a whole: lazy, documented, one line per user error."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ti2v_bench.cli import COMMANDS, commands

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
