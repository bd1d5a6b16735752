"""`metrics`: automatic numbers per video, and how far they agree with the votes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ti2v_bench.cli.device import known_device
from ti2v_bench.metrics.catalogue import METRICS, MetricError


class _VideosOrAgree(click.Group):
    """`metrics agree …` is a command of its own; any other first word is the folder of videos."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Send what is no command's name to `run`."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_VideosOrAgree)
def metrics() -> None:
    """Automatic metrics per video, and how far to trust them.

    `metrics VIDEOS --bench DIR --out FILE` measures, `metrics agree STUDY FILE` compares with votes, `metrics list`
    says what there is.
    """


@metrics.command("list")
def list_metrics() -> None:
    """Every metric: name, group, what it needs, whose weights."""
    for name, card in METRICS.items():
        needs = "opt-in: " + card.weights if card.opt_in else card.weights
        click.echo(
            f"{name:24} {card.group:10} {needs} ({card.licence})" + (f"; {card.undefined}" * bool(card.undefined))
        )


@metrics.command()
@click.argument("videos", type=click.Path(path_type=Path))
@click.option("--bench", "bench_dir", required=True, type=click.Path(path_type=Path), help="The bench of the videos.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Table per video: .parquet or .csv.")
@click.option("--metrics", "names", default="free", help="Names and groups, by commas ('metrics list').")
@click.option("--flow", type=click.Choice(["dis", "raft"]), default="dis", help="Optical flow; recorded.")
@click.option("--device", default="cpu", callback=known_device, help="Device of the networks.")
@click.option("--weights", multiple=True, metavar="PART=WHERE", help="Local weights, or all=random-tiny.")
@click.option("--plugin", multiple=True, metavar="METRIC=MODULE:CALLABLE", help="Your network for an opt-in metric.")
@click.option("--align-network", default="clip-b32", help="CLIP of the alignment metrics.")
@click.option("--align-prefix", default="", help="Put before each prompt.")
@click.option("--batch", type=click.IntRange(min=1), default=64, help="Pictures per call of a network.")
@click.option("--tf32", is_flag=True, help="On a GPU: float32 products in TF32, faster and rounded; recorded.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Threads that decode and measure.  [default: one per core]",
)
@click.option("--static/--no-static", "still", default=True, help="Measure the still image of each pair beside.")
def run(
    videos: Path,
    bench_dir: Path,
    out: Path,
    names: str,
    weights: Sequence[str],
    plugin: Sequence[str],
    align_network: str,
    align_prefix: str,
    still: bool,
    workers: int | None,
    **rest: Any,
) -> None:
    """Measure every video below VIDEOS; what was measured before is not measured again.

    VIDEOS holds one folder per model, or is the folder of one model; files are named <pair id>_<seed>.mp4. Beside
    FILE come a table per model with intervals (.md, .json) and the values already made (.cache.jsonl).
    """
    from ti2v_bench.bench import load_bench
    from ti2v_bench.metrics.alignment import AlignmentSettings
    from ti2v_bench.metrics.build import Wishes, build_tools
    from ti2v_bench.metrics.table import check_suffix
    from ti2v_bench.metrics.threads import usable_cores
    from ti2v_bench.metrics.videos import find_videos, with_stills

    check_suffix(out)
    found, strange = find_videos(videos, load_bench(bench_dir))
    wishes = Wishes(
        metrics=tuple(name.strip() for name in names.split(",") if name.strip()),
        weights=_pairs(weights, "--weights"),
        plugins=_pairs(plugin, "--plugin"),
        alignment=AlignmentSettings(network=align_network, prefix=align_prefix),
        workers=workers or usable_cores(),
        **rest,
    )
    for path in strange:
        click.echo(f"{path} matches no pair of the bench (left out)", err=True)
    if not wishes.metrics:
        raise MetricError("--metrics names no metric. See: ti2v-bench metrics list")
    failures = _measure(with_stills(found) if still else found, build_tools(wishes), wishes, out)
    raise SystemExit(1 if failures or strange else 0)


@metrics.command()
@click.argument("study")
@click.argument("table", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Also write FILE.md and FILE.json under this name.")
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.95, help="Of intervals.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the resampling.")
def agree(study: str, table: Path, out: Path | None, level: float, seed: int) -> None:
    """How well each metric in FILE predicts the votes of STUDY.

    STUDY is a study database or a vote table (.csv or .parquet); FILE is what `metrics VIDEOS` wrote.
    """
    from ti2v_bench.cli.report import load
    from ti2v_bench.files import write_bytes
    from ti2v_bench.metrics.agree import agreement, as_json, as_markdown
    from ti2v_bench.metrics.table import read_frame

    report = agreement(load(study), read_frame(table), level, seed)
    text = as_markdown(report)
    if out is not None:
        write_bytes(out.with_suffix(".md"), text.encode())
        write_bytes(out.with_suffix(".json"), as_json(report))
    click.echo(text)


def _measure(videos: Sequence[Any], tools: Any, wishes: Any, out: Path) -> list[str]:
    """Measure, write the three files, print the table; return what could not be decoded."""
    from tqdm import tqdm

    from ti2v_bench.files import write_bytes
    from ti2v_bench.metrics.build import describe
    from ti2v_bench.metrics.cache import ValueCache
    from ti2v_bench.metrics.evaluate import evaluate
    from ti2v_bench.metrics.table import as_json, as_markdown, model_means, to_frame, write_frame

    failures: list[str] = []
    cache = ValueCache(out.with_suffix(".cache.jsonl"))
    with tqdm(total=len(videos), unit="video", disable=None) as bar:

        def done(_: object) -> None:
            bar.update()

        measured = evaluate(videos, tools, cache, done, lambda _, error: failures.append(str(error)))
    for failure in dict.fromkeys(failures):  # a video and its still fail alike
        click.echo(failure, err=True)
    if not measured:
        raise MetricError("No video could be decoded; nothing was written.")
    frame, settings = to_frame(measured), describe(tools, wishes)
    write_frame(frame, out, settings)
    cells = model_means(frame)
    write_bytes(out.with_suffix(".json"), as_json(cells, settings))
    text = as_markdown(cells)
    write_bytes(out.with_suffix(".md"), text.encode())
    click.echo(text)
    click.echo(f"{len(frame)} videos measured: {out}")
    return failures


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise MetricError(f"{option} {text!r} is not of the form NAME=VALUE.")
        found[name] = value
    return found
