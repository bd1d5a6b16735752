"""Small studies, a store with a clock that tests set, and a running server."""

import gc
import os
import random
import shutil
import socket
import subprocess
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, text

from annotation_app import migrate
from annotation_app.answers import Answer
from annotation_app.contents import Contents, KnownItem, add_contents
from annotation_app.create import StudyPlan, _study_row, create_study, planner_of, study_files
from annotation_app.database import Database, parse_url
from annotation_app.keys import create_key
from annotation_app.presentation import Clip
from annotation_app.schema import StudyRow
from annotation_app.settings import Protocol, StudySettings
from annotation_app.store import Outcome, Store
from annotation_app.study import open_study
from ti2v_bench.bench import Bench, load_bench
from ti2v_bench.records import Pair
from ti2v_bench.video import PresentationPolicy, write_video

PLAIN = Protocol(training=0, questions=(), gold_every=0, repeat_every=0)
MODELS = ("comet", "alpha", "bravo", "delta")


class Clock:
    """Milliseconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@dataclass
class Lab:
    """A store without files behind it, and its clock."""

    store: Store
    clock: Clock
    url: str

    def join(self, name: str) -> int:
        """A new annotator, past consent and instructions."""
        who = self.store.enter("open", name)
        if self.store.state(who).state["stage"] == "consent":
            self.store.consent(who, True)
            self.store.begin(who)
        return who

    def answer(self, who: int, choice: str = "left", reasons: tuple[str, ...] = ("object_motion",)) -> Outcome:
        """Watch and answer the task on the screen."""
        token = str(self.store.state(who).state["token"])
        self.clock.pass_seconds(3)
        return self.choose_and_vote(who, token, Answer(choice, reasons))

    def choose_and_vote(self, who: int, token: str, answer: Answer) -> Outcome:
        """Both steps of an answer; the outcome of the choice where that is refused."""
        chosen = self.store.choose(who, token, answer.choice)
        return chosen if chosen.refused is not None else self.store.vote(who, token, answer)

    def rows(self, sql: str, **values: object) -> list[tuple[object, ...]]:
        with self.store._database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql), values)]


def postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """As `postgres_running`, for all tests of this process."""
    if postgres_bin() is None:
        if os.environ.get("TI2V_BENCH_REQUIRE_ALL"):
            pytest.fail("PostgreSQL is not installed (/usr/lib/postgresql/*/bin)")
        pytest.skip("PostgreSQL is not installed (/usr/lib/postgresql/*/bin)")
    with postgres_running("-c fsync=off -c max_connections=100") as server:
        yield server


@contextmanager
def postgres_running(settings: str) -> Iterator[str]:
    """A PostgreSQL server of our own on a free port; yields its URL without a database name."""
    binaries = postgres_bin()
    assert binaries is not None, "PostgreSQL is not installed (/usr/lib/postgresql/*/bin)"
    folder = Path("/tmp") / f"ti2v-pg-{uuid.uuid4().hex[:8]}"  # short: it holds the socket too
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    as_owner: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 {settings}"
    initdb = [*as_owner, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-N"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder)
    pg_ctl = [*as_owner, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
    subprocess.run([*pg_ctl, "-o", options, "start"], check=True, capture_output=True, cwd=folder)
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}"
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


def new_postgres_database(server: str) -> str:
    from sqlalchemy import create_engine

    name = f"study_{uuid.uuid4().hex[:12]}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "study.db")
    return new_postgres_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Builds a study without files: only the store is real."""
    made: list[Store] = []

    def make(
        url: str | None = None,
        pairs: int = 12,
        images: int | None = None,
        models: tuple[str, ...] = MODELS,
        votes: int = 3,
        design: str = "star",
        gold: int = 0,
        training: int = 0,
        protocol: Protocol = PLAIN,
        **settings: object,
    ) -> Lab:
        address = url or str(tmp_path / f"{uuid.uuid4().hex[:8]}.db")
        fill_study(address, tmp_path, pairs, images or pairs, models, votes, design, gold, training, protocol, settings)
        clock = Clock()
        files = study_files(parse_url(address), tmp_path / f"{parse_url(address).database.rsplit('/', 1)[-1]}.media")
        store = Store(open_study(address, files.key), clock)
        made.append(store)
        return Lab(store, clock, address)

    yield make
    for store in made:
        store.close()


def fill_study(
    address: str,
    folder: Path,
    pairs: int,
    images: int,
    models: tuple[str, ...],
    votes: int,
    design: str,
    gold: int,
    training: int,
    protocol: Protocol,
    settings: dict[str, object],
) -> None:
    url = parse_url(address)
    files = study_files(url, folder / f"{str(url.database).rsplit('/', 1)[-1]}.media")
    bench = {
        f"p{n}": Pair(f"p{n}", f"image{n % images}", f"s{n % 4}", f"a thing moving {n}", Path(f"{n}.png"))
        for n in range(pairs)
    }
    chosen = StudySettings(protocol=protocol, **settings)  # type: ignore[arg-type]
    plan = StudyPlan(models, design, models[0] if design == "star" else None, votes, "test", chosen)
    meetings = planner_of(plan)(dict.fromkeys(bench, models))
    clips = {(p, m): Clip(f"{p}-{m}.mp4", 250, "0" * 64) for p in bench for m in (*models, "static")}
    kinds = ["training"] * training + ["gold"] * gold
    known = [
        KnownItem(kind, f"p{n}", (f"p{n}", models[0]), (f"p{n}", "static"), "It stands still.")
        for n, kind in enumerate(kinds)
    ]
    contents = Contents(bench, {p: f"{p}.jpg" for p in bench}, clips, meetings, known, 0)
    database = Database(url)
    row = _study_row(url, files, plan, create_key(files.key))

    def fill(connection: object) -> None:
        migrate.upgrade(connection)  # type: ignore[arg-type]
        connection.execute(StudyRow.__table__.insert().values(**row))  # type: ignore[attr-defined]
        add_contents(connection, contents, models, votes, random.Random())  # type: ignore[arg-type]

    database.transact(fill)
    database.dispose()


def require_sound(lab: Lab) -> None:
    """Every count in the database equals what its rows say; the oracle is SQL over tasks and votes."""
    wrong = lab.rows(
        """SELECT c.id, c.taken, c.first_left, c.done, count(t.id),
             coalesce(sum(CASE WHEN t.first_left THEN 1 ELSE 0 END), 0),
             coalesce(sum(CASE WHEN t.status = 'answered' AND t.kind = 'main' THEN 1 ELSE 0 END), 0)
           FROM comparison c LEFT JOIN
             (SELECT task.* FROM task JOIN annotator ON annotator.id = task.annotator
               WHERE status IN ('ready', 'open') OR (status = 'answered' AND excluded IS NULL)) t
             ON t.comparison = c.id AND t.kind = c.kind
           GROUP BY c.id, c.taken, c.first_left, c.done"""
    )
    for number, taken, first_left, done, live, lefts, votes in wrong:
        assert (taken, first_left, done) == (live, lefts, votes), f"comparison {number}"
    assert lab.rows("SELECT count(*) FROM vote") == lab.rows("SELECT count(*) FROM task WHERE status = 'answered'")


# ---- studies with real files, and servers


def write_bench(folder: Path, pairs: int = 6, size: int = 64) -> Bench:
    """Pictures of random colours, with prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    lines = []
    for n in range(pairs):
        pixels = draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST).save(
            folder / f"thing{'abcdefgh'[n % 8]}{n}.png"
        )
        lines.append(f"thing{'abcdefgh'[n % 8]}{n}.png,a thing number {n} moving")
    (folder / "prompt.csv").write_text("image,prompt\n" + "\n".join(lines) + "\n")
    return load_bench(folder)


def write_videos(folder: Path, bench: Bench, models: tuple[str, ...], size: int = 64) -> Path:
    draw = np.random.default_rng(1)
    for model in models:
        for pair in bench.pairs:
            frames = np.repeat(draw.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8), size // 8, axis=1).repeat(
                size // 8, axis=2
            )
            write_video(folder / model / f"{pair.id}_0.mp4", frames, 8)
    return folder


SMALL = PresentationPolicy(width=64, height=64, frames=3, fps=12, size_step=1 << 14)  # type: ignore[arg-type]


def write_study(
    folder: Path,
    protocol: Protocol,
    models: tuple[str, ...] = MODELS,
    pairs: int = 6,
    votes: int = 3,
    **settings: object,
) -> Path:
    """A study with files: three frames at 12 fps, so that a quarter of a second is a whole clip."""
    bench = write_bench(folder / "bench", pairs)
    videos = write_videos(folder / "videos", bench, models)
    chosen = StudySettings(protocol=protocol, presentation=SMALL, **settings)  # type: ignore[arg-type]
    create_study(folder / "study.db", bench, videos, StudyPlan(models, "star", models[0], votes, "Test study", chosen))
    return folder / "study.db"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Served:
    """A study served by this process."""

    database: Path
    port: int
    store: Store
    stack: ExitStack

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx.Client:
        """A browser of its own, so to say: closed when the server ends."""
        return self.stack.enter_context(httpx.Client(base_url=self.url, timeout=20, **options))  # type: ignore[arg-type]


def vote_over_http(client: httpx.Client, token: object, choice: str = "left", reasons: tuple[str, ...] = ()) -> Any:
    """Choose, then vote; the server's answer."""
    client.post("/api/choose", json={"token": token, "choice": choice})
    return client.post("/api/vote", json={"token": token, "choice": choice, "reasons": list(reasons)}).json()


@contextmanager
def gradio_leaks() -> Iterator[None]:
    """Gradio leaves event loops and sockets open when it is imported and mounted; collect them here, unheard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def start_server(database: Path, **options: object) -> Iterator[Served]:
    from annotation_app.server import ServeOptions, serving

    port = free_port()
    stack = ExitStack()
    with gradio_leaks():
        store = stack.enter_context(serving(database, replace(ServeOptions(port=port), **options)))  # type: ignore[arg-type]
    try:
        yield Served(database, port, store, stack)
    finally:  # also where a test fails inside a loop over this generator
        with gradio_leaks():  # a loop of the thread that imported gradio ends with that thread
            stack.close()


def count_votes(database: Path) -> int:
    from annotation_app.schema import VoteRow

    opened = Database(parse_url(database))
    with opened.read() as connection:
        found = len(connection.execute(select(VoteRow.id)).all())
    opened.dispose()
    return found
