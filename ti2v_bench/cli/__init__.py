"""The roof: one script, `ti2v-bench`. A command's module is imported only when that command runs."""

import errno
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from ti2v_bench import __version__
from ti2v_bench.errors import TI2VError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("ti2v_bench.cli.demo:demo", "Run the whole chain on the embedded bench: videos, study, app, live report."),
    "bench": ("ti2v_bench.cli.bench:bench", "Check, download or draw a bench."),
    "models": ("ti2v_bench.cli.models:models", "List the models, or show one."),
    "generate": ("ti2v_bench.cli.generate:generate", "Make every missing video; run it again to resume."),
    "import": ("ti2v_bench.cli.import_videos:import_videos", "Take over videos that were made elsewhere."),
    "study": ("ti2v_bench.cli.study:study", "Create, watch, plan or export a study."),
    "annotate": ("ti2v_bench.cli.annotate:annotate", "Serve a study to its annotators."),
    "report": ("ti2v_bench.cli.report:report", "Turn votes into leaderboards with intervals."),
    "metrics": ("ti2v_bench.cli.metrics:metrics", "Automatic metrics per video, and how far to trust them."),
    "motif": ("ti2v_bench.cli.motif:motif", "The MotiF model: heatmaps, training, sampling."),
    "doctor": ("ti2v_bench.cli.doctor:doctor", "What is installed, what is missing, and for which command."),
}


class LazyGroup(click.Group):
    """A group whose commands are named in a table of text and imported when they are run."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, then those added by decorator."""
        return [*self.table, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one-line help, importing none of the lazy ones."""
        rows = [(name, text) for name, (_, text) in self.table.items()]
        for name in super().list_commands(ctx):
            command = super().get_command(ctx, name)
            rows.append((name, command.get_short_help_str(100) if command else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__, prog_name="ti2v-bench")
def commands() -> None:
    """Which text-image-to-video model is better, and why: benches, videos, blind studies, leaderboards."""


def main() -> None:
    """Run the command line; a mistake of the user's becomes one line on standard error and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a path may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(commands.main(prog_name="ti2v-bench", standalone_mode=False))
    except NoArgsIsHelpError as error:
        error.show()
    except click.Abort:
        click.echo("\nStopped.", err=True)
        sys.exit(130)
    except Exception as error:
        message = _mistake(error)
        if message is None:
            raise
        click.echo(f"Error: {' '.join(message.splitlines())}", err=True)
    sys.exit(2)


def _mistake(error: Exception) -> str | None:
    """What the user or the machine did wrong, and what to do; None where the fault is ours and needs a traceback."""
    match error:
        case TI2VError():
            return str(error)
        case click.ClickException():
            context = error.ctx if isinstance(error, click.UsageError) else None
            return error.format_message() + (f" See: {context.command_path} --help" if context else "")
        case ModuleNotFoundError() if extra := _extra_with(error.name or ""):
            return f"This command needs {error.name}, which is not installed: pip install 'ti2v-bench[{extra}]'."
        case MemoryError():
            return f"There is not enough memory ({error}). Ask for less at once."
        case OSError() if error.filename is not None or error.errno == errno.ENOSPC:
            where = f"{error.filename}: " if error.filename is not None else ""
            return f"{where}{error.strerror}. Check the path, its permissions and the free space."
    return None


def _extra_with(module: str) -> str | None:
    """The extra that installs `module`; None if the base install should have it, or nothing of ours needs it."""
    from ti2v_bench.doctor import NEEDS

    return next((extra for modules, extra in NEEDS.values() if extra and module.partition(".")[0] in modules), None)
