"""`ti2v-bench study …`: make a study, watch it, take its votes out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ti2v_bench.cli import LazyGroup

if TYPE_CHECKING:
    from tqdm import tqdm

    from annotation_app.create import Created
    from ti2v_bench.video import PresentationPolicy

_FILE = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group(
    cls=LazyGroup,
    table={"plan": ("ti2v_bench.cli.plan:plan", "How many pairs and votes a question needs, before money is spent.")},
    context_settings={"show_default": True},
)
def study() -> None:
    """Create, watch, plan or export a study."""


@study.command()
@click.argument("database", metavar="DB")
@click.option("--bench", required=True, type=_FOLDER, help="Folder of the bench.")
@click.option("--videos", required=True, type=_FOLDER, help="Folder of the videos, as `generate` writes it.")
@click.option("--models", required=True, metavar="A,B…", help="Models to compare, separated by commas.")
@click.option("--star", metavar="MODEL", help="The model that all others meet.")
@click.option(
    "--design",
    type=click.Choice(["star", "round-robin", "balanced"]),
    help="Default: star with --star, else round-robin.",
)
@click.option("--per-pair", type=click.IntRange(1), help="Comparisons per pair in the balanced design.")
@click.option("--votes", type=click.IntRange(1), default=5, help="Annotators per comparison.")
@click.option("--name", help="The study's name, shown to annotators. Default: the file's.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the videos to compare.")
@click.option("--doors", default="open", metavar="A,B…", help="Ways in: open, invite, prolific, mturk.")
@click.option("--protocol", type=_FILE, help="JSON file with the author's texts and measures (docs/annotation.md).")
@click.option("--per-annotator", type=click.IntRange(1), help="Most main items for one annotator.")
@click.option("--plain", is_flag=True, help="No training, check, gold or repeated items.")
@click.option("--tie", is_flag=True, help="Allow the answer 'equally good' (the published protocol does not).")
@click.option("--both-bad", is_flag=True, help="Allow the answer 'both bad'.")
@click.option("--size", default="320x320", metavar="WxH", help="Size in which the videos are shown.")
@click.option("--frames", type=click.IntRange(1), default=16, help="Frames of each video as shown.")
@click.option("--fps", default="8", help="Frames per second as shown.")
@click.option("--media", type=_FILE, help="Folder for the files shown. Default: beside the database.")
def create(
    database: str,
    bench: Path,
    videos: Path,
    models: str,
    star: str | None,
    design: str | None,
    per_pair: int | None,
    votes: int,
    name: str | None,
    seed: int,
    doors: str,
    protocol: Path | None,
    per_annotator: int | None,
    plain: bool,
    tie: bool,
    both_bad: bool,
    size: str,
    frames: int,
    fps: str,
    media: Path | None,
) -> None:
    """Make a study in DB (a file, or postgresql://user@host/name), which must not hold one yet."""
    from tqdm import tqdm

    from annotation_app.create import StudyPlan, create_study
    from annotation_app.settings import Protocol, StudySettings, named_doors, read_protocol
    from ti2v_bench.bench import load_bench

    measures = read_protocol(protocol) if protocol else Protocol()
    if plain:
        measures = replace(measures, training=0, questions=(), gold_every=0, repeat_every=0)
    measures = replace(
        measures,
        tie=tie or measures.tie,
        both_bad=both_bad or measures.both_bad,
        per_annotator=per_annotator or measures.per_annotator,
    )
    settings = StudySettings(
        protocol=measures,
        presentation=_presentation(size, frames, fps),
        doors=named_doors(doors),
        seed=seed,
        per_pair=per_pair,
        sources={"bench": str(bench), "videos": str(videos)},
    )
    if design == "star" and star is None:
        raise click.UsageError("--design star needs --star MODEL, the model that all others meet.")
    names = tuple(entry.strip() for entry in models.split(",") if entry.strip())
    plan = StudyPlan(names, design or ("star" if star else "round-robin"), star, votes, name, settings)
    bar: tqdm[NoReturn] = tqdm(desc="presentation files", unit="file", disable=None)
    with bar:
        created = create_study(
            database, load_bench(bench), videos, plan, media, lambda done, total: _advance(bar, done, total)
        )
    _print_created(database, created, votes)


@study.command()
@click.argument("database", metavar="DB")
def status(database: str) -> None:
    """Print how far the study in DB is."""
    from annotation_app.progress import study_progress

    now = study_progress(database)
    click.echo(f"{now.votes} of {now.wanted} votes, {now.complete} of {now.comparisons} comparisons complete")
    click.echo(
        f"{now.annotators} annotators, {now.leased} tasks given out, {now.broken} reports of a video that does not play"
    )
    for kind, count in now.other.items():
        click.echo(f"{count} {kind} answers")
    if now.simulated:
        click.echo(f"SIMULATED: {now.simulated} answers come from simulated annotators")


@study.command()
@click.argument("database", metavar="DB")
@click.argument("out", type=_FILE)
@click.option("--with-excluded", is_flag=True, help="Also the votes of excluded annotators.")
def export(database: str, out: Path, with_excluded: bool) -> None:
    """Write the votes of the study in DB to OUT, a .csv or .parquet file."""
    from annotation_app.export import vote_table, write_votes

    table = vote_table(database, with_excluded)
    write_votes(table, out)
    click.echo(f"{len(table)} votes written to {out}")


def _presentation(size: str, frames: int, fps: str) -> "PresentationPolicy":
    from fractions import Fraction

    from ti2v_bench.video import PresentationPolicy

    width, _, height = size.partition("x")
    try:
        policy = PresentationPolicy(int(width), int(height), frames, Fraction(fps))
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(
            f"{size} at {fps} fps is no size and rate; write e.g. --size 320x320 --fps 8."
        ) from error
    for side in (policy.width, policy.height):
        if side % 2 or not 16 <= side <= 4096:
            raise click.BadParameter(f"--size {size} has a side of {side} pixels; give even sides from 16 to 4096.")
    if not 0 < policy.fps <= 240:
        raise click.BadParameter(f"--fps {fps} is out of range; give more than 0 and at most 240.")
    return policy


def _advance(bar: "tqdm[NoReturn]", done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def _print_created(database: str, created: "Created", votes: int) -> None:
    click.echo(
        f"{created.comparisons} comparisons of {created.pairs} pairs, {votes} votes each; "
        f"{created.gold} gold and {created.training} training items"
    )
    for note in created.notes:
        click.echo(note)
    click.echo(f"Serve it with: ti2v-bench annotate {database}")


@study.command()
@click.argument("database", metavar="DB")
@click.option("--count", type=click.IntRange(1, 10_000), required=True, help="How many people to invite.")
@click.option("--public-url", default="http://127.0.0.1:7860", help="Address under which they reach the server.")
def invite(database: str, count: int, public_url: str) -> None:
    """Print one link for each of COUNT people; the study needs the door `invite`."""
    from annotation_app.store import Store
    from annotation_app.study import open_study

    store = Store(open_study(database))
    try:
        if "invite" not in store.study.settings.doors:
            raise click.UsageError("This study has no door 'invite'. Make it with --doors open,invite.")
        for token in store.invite(count):
            click.echo(f"{public_url.rstrip('/')}/join/{token}")
    finally:
        store.close()


@study.command()
@click.argument("database", metavar="DB")
@click.argument("platform", type=click.Choice(["prolific", "mturk"]))
@click.option(
    "--public-url", required=True, metavar="URL", help="Address under which the platform's workers reach the server."
)
@click.option("--out", type=_FILE, help="File to write; default: standard output.")
@click.option("--completed", metavar="CODE", help="Prolific's completion code; default: one is drawn.")
@click.option("--screened", metavar="CODE", help="Code for those who fail the check or do not agree.")
@click.option("--full", metavar="CODE", help="Code for those who come when nothing is left.")
@click.option(
    "--host", "hosts", multiple=True, metavar="URL", help="A stand-in for the platform, for trying things out."
)
def crowd(
    database: str,
    platform: str,
    public_url: str,
    out: Path | None,
    completed: str | None,
    screened: str | None,
    full: str | None,
    hosts: tuple[str, ...],
) -> None:
    """Open the study in DB to PLATFORM and write what the platform asks for: settings, or the HIT's XML."""
    from annotation_app.recruit import open_to_crowd

    text = open_to_crowd(
        database, platform, public_url, {"completed": completed, "screened": screened, "full": full}, hosts
    )
    if out is None:
        click.echo(text, nl=False)
        return
    from ti2v_bench.files import write_bytes

    write_bytes(out, text.encode())
    click.echo(f"The study is open to {platform}; written to {out}")


@study.command()
@click.argument("database", metavar="DB")
@click.argument("out", type=_FILE)
def backup(database: str, out: Path) -> None:
    """Copy the study in DB to OUT while it is being served: an SQLite file that holds one state of it."""
    from annotation_app.backup import backup_study

    size = backup_study(database, out)
    click.echo(f"{size} bytes written to {out}. Keep a copy of the key and the media folder too.")


@study.command()
@click.argument("database", metavar="DB")
def upgrade(database: str) -> None:
    """Bring the study in DB to the schema of this version; a backup is written beside an SQLite file first."""
    from annotation_app.backup import upgrade_study

    click.echo(upgrade_study(database))


@study.command()
@click.argument("database", metavar="DB")
@click.option("--bench", type=_FOLDER, help="Folder of the bench. Default: where it lay before.")
@click.option("--videos", type=_FOLDER, help="Folder of the videos. Default: where it lay before.")
@click.option("--models", default="", metavar="A,B…", help="Models to add.")
@click.option("--votes", type=click.IntRange(1), help="Annotators per comparison from now on; not fewer than before.")
def grow(database: str, bench: Path | None, videos: Path | None, models: str, votes: int | None) -> None:
    """Add models, pairs or votes to the study in DB; votes already given are not touched."""
    from annotation_app.growth import grow_study

    names = tuple(entry.strip() for entry in models.split(",") if entry.strip())
    added = grow_study(database, bench, videos, names, votes)
    click.echo(f"{added.comparisons} comparisons added; {added.votes} votes per comparison")
    for note in added.notes:
        click.echo(note)


@study.command()
@click.password_option(help="The password; asked for if not given.")
def password(password: str) -> None:
    """Print the line that gives the server its administrator's password, as a hash."""
    from annotation_app.passwords import ADMIN_VARIABLE, hash_password

    click.echo(f"export {ADMIN_VARIABLE}='{hash_password(password)}'")
