"""`ti2v-bench annotate`: serve a study to its annotators."""

import gc
from pathlib import Path

import click


@click.command()
@click.argument("database", metavar="DB")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 is reachable from other machines.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, help="Port to listen on.")
@click.option("--public-url", metavar="URL", help="Address under which annotators reach the server behind a proxy.")
@click.option("--key", type=click.Path(path_type=Path), help="The study's key file, if it was moved.")
@click.option(
    "--public-report", is_flag=True, help="Show the live report at /report to everybody, not only to the admin."
)
def annotate(
    database: str, host: str, port: int, public_url: str | None, key: Path | None, public_report: bool
) -> None:
    """Serve the study in DB (a file, or a database URL) until interrupted with Ctrl-C."""
    if public_url is not None and not public_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--public-url must be an http or https address, but is {public_url!r}.")
    gc.disable()  # imports make many objects and no garbage; to look for it takes a tenth of the time until it answers
    from annotation_app.server import ServeOptions, serve

    gc.freeze()
    gc.enable()
    address = public_url or f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/"
    options = ServeOptions(host, port, public_url, key, public_report)
    serve(database, options, ready=lambda: click.echo(f"Serving {database} at {address} (Ctrl-C ends it)"))
