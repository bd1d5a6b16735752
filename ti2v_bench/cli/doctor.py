"""`doctor`: what is installed, what is missing, and for which command."""

from pathlib import Path

import click


@click.command()
def doctor() -> None:
    """Show what this machine has: packages, devices, what each command lacks, Hub cache, free disk."""
    from ti2v_bench import __version__
    from ti2v_bench.doctor import examine

    found = examine(Path.cwd())
    click.echo(f"ti2v-bench {__version__}, {found.system}")
    _section("Devices", [(d.name, _device(d.description, d.memory_gib)) for d in found.devices])
    _section(
        "Commands",
        [(n.command, f"lacks {', '.join(n.missing)}: {n.install}" if n.missing else "ready") for n in found.needs],
    )
    _section("Packages", list(found.packages.items()))
    _section("Video", [("PyAV", found.video)])
    _section("Hugging Face Hub", list(found.hub.items()))
    _section("Free disk", [(name, f"{free:.1f} GiB") for name, free in found.disk_gib.items()])
    for text in found.advice:
        click.echo(f"! {text}")


def _device(description: str, memory_gib: float | None) -> str:
    return description if memory_gib is None else f"{description}, {memory_gib:.1f} GiB"


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    click.echo(f"\n{title}")
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        click.echo(f"  {name:<{width}}  {text}")
