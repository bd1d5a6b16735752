"""`models list` and `models show`: the zoo."""

import click


@click.group()
def models() -> None:
    """List the models, or show one: source, weights, licence, size, frames, precision, published score."""


@models.command("list")
def list_models() -> None:
    """One line per model.

    The last column is the published TI2V score against MotiF; MotiF's own is its mean over the baselines. Long texts
    are cut; `models show NAME` has them whole.
    """
    from ti2v_bench.zoo import table

    rows = [[_short(cell) for cell in row] for row in table()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@models.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """What is known of model NAME, and what making videos with it would fetch."""
    from ti2v_bench.zoo import describe

    lines = describe(name)
    width = max(len(label) for label, _ in lines)
    for label, text in lines:
        click.echo(f"{label:<{width}}  {text}")


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
