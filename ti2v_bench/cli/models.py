"""`models list` and `models show`: the zoo."""

import shutil
import sys
import textwrap

import click

_LEFT_OUT = ("title", "licence", "weights", "precision")
"""Columns that go first where the window is narrow."""


@click.group()
def models() -> None:
    """List the models, or show one: source, weights, licence, size, frames, precision, published score."""


@models.command("list")
def list_models() -> None:
    """One line per model.

    The last column is the published TI2V score against MotiF; MotiF's own is its mean over the baselines. Long texts
    are cut, and columns left out that the window has no room for; `models show NAME` has all.
    """
    from ti2v_bench.zoo import table

    header, *rows = [[_short(cell) for cell in row] for row in table()]
    columns = {name: [name, *(row[at] for row in rows)] for at, name in enumerate(header)}
    hidden: list[str] = []
    while _width(columns) > _window() and len(hidden) < len(_LEFT_OUT):
        hidden.append(_LEFT_OUT[len(hidden)])
        del columns[hidden[-1]]
    padded = [[cell.ljust(max(map(len, cells))) for cell in cells] for cells in columns.values()]
    for line in zip(*padded, strict=True):
        click.echo("  ".join(line).rstrip())
    if hidden:
        click.echo(f"No room for: {', '.join(hidden)}. Make the window wider, or see: ti2v-bench models show NAME")


@models.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """What is known of model NAME, and what making videos with it would fetch."""
    from ti2v_bench.zoo import describe

    lines = describe(name)
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        first, *more = textwrap.wrap(
            text, max(30, _window() - width - 2), break_long_words=False, break_on_hyphens=False
        ) or [""]
        click.echo(f"{label:<{width}}  {first}")
        for part in more:
            click.echo(f"{'':<{width}}  {part}")


def _window() -> int:
    """Columns of the terminal; where the output goes elsewhere, more than any line has."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def _width(columns: dict[str, list[str]]) -> int:
    return sum(max(map(len, cells)) + 2 for cells in columns.values()) - 2


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
