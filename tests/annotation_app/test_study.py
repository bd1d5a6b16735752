"""Making, growing, copying and upgrading a study, and what the command line says about it."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from annotation_app import migrate
from annotation_app.backup import backup_study, upgrade_study
from annotation_app.create import StudyPlan, create_study
from annotation_app.database import Database, parse_url
from annotation_app.export import vote_table
from annotation_app.growth import grow_study
from annotation_app.keys import KEY_VARIABLE
from annotation_app.schema import VERSION, Base
from annotation_app.settings import Protocol, StudyError, StudySettings, read_protocol
from annotation_app.store import Store
from annotation_app.study import open_study
from tests.annotation_app.conftest import MODELS, PLAIN, SMALL, Clock, Lab, require_sound, write_bench, write_videos
from ti2v_bench.bench import Bench
from ti2v_bench.cli.study import study as study_command
from ti2v_bench.errors import TI2VError

MakeLab = Callable[..., Lab]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    bench = write_bench(folder / "bench", 5)
    videos = write_videos(folder / "videos", bench, MODELS)
    (videos / "bravo" / f"{bench.pairs[0].id}_0.mp4").unlink()
    (videos / "delta" / f"{bench.pairs[1].id}_0.mp4").write_bytes(b"cut off")
    return bench, videos


def run(*arguments: object) -> Result:
    return CliRunner().invoke(study_command, [str(argument) for argument in arguments])


def plan(models: tuple[str, ...] = MODELS, votes: int = 2, **changes: object) -> StudyPlan:
    settings = StudySettings(protocol=replace(Protocol(), **changes), presentation=SMALL)  # type: ignore[arg-type]
    return StudyPlan(models, "star", models[0], votes, "A study", settings)


def test_a_study_holds_the_comparisons_whose_videos_exist_and_says_what_is_missing(
    inputs: tuple[Bench, Path], tmp_path: Path
) -> None:
    made = create_study(tmp_path / "s.db", *inputs, plan())
    assert (made.comparisons, made.pairs, made.training) == (5 * 3 - 2, 5, 2)
    notes = "\n".join(made.notes)
    assert "bravo: no video for 1 of 5 pairs" in notes
    assert f"{inputs[0].pairs[1].id}_0.mp4" in notes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.db", "s.key", "s.media"]
    assert (tmp_path / "s.key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "s.key").read_text().strip().encode() not in (tmp_path / "s.db").read_bytes()


def test_the_names_of_the_shown_files_say_nothing(inputs: tuple[Bench, Path], tmp_path: Path) -> None:
    create_study(tmp_path / "s.db", *inputs, plan())
    for path in (tmp_path / "s.media").iterdir():
        assert not any(word in path.name for word in (*MODELS, "thing"))


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(inputs: tuple[Bench, Path], tmp_path: Path) -> None:
    create_study(tmp_path / "s.db", *inputs, plan())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(StudyError, match="exists and is not overwritten"):
        create_study(tmp_path / "s.db", *inputs, plan())
    with pytest.raises(StudyError, match="No pair has videos of two models"):
        create_study(tmp_path / "t.db", inputs[0], tmp_path / "nothing", plan())
    with pytest.raises(StudyError, match="star 'x' is not among"):
        create_study(tmp_path / "u.db", *inputs, replace(plan(), star="x"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_failure_while_the_tables_are_filled_leaves_nothing(
    inputs: tuple[Bench, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotation_app.create.add_contents", fail)
    with pytest.raises(OSError, match="No space left"):
        create_study(tmp_path / "s.db", *inputs, plan())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_a_study_on_a_server_is_made_whole_or_not_at_all(
    inputs: tuple[Bench, Path], tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.annotation_app.conftest import new_postgres_database

    url = new_postgres_database(postgres_server)
    with monkeypatch.context() as patch:
        patch.setattr("annotation_app.create.record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create_study(url, *inputs, plan(), media=tmp_path / "pg.media")
    assert list(tmp_path.iterdir()) == []
    made = create_study(url, *inputs, plan(), media=tmp_path / "pg.media")
    assert made.comparisons == 13
    with pytest.raises(StudyError, match="holds a study already"):
        create_study(url, *inputs, plan(), media=tmp_path / "other.media")
    assert vote_table(url).empty


def test_a_study_moves_with_its_files(inputs: tuple[Bench, Path], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    create_study(tmp_path / "here" / "s.db", *inputs, plan())
    (tmp_path / "here").rename(tmp_path / "there")
    opened = open_study(tmp_path / "there" / "s.db")
    assert opened.facts().media == tmp_path / "there" / "s.media"
    opened.database.dispose()


def test_another_studys_key_is_refused(
    inputs: tuple[Bench, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_study(tmp_path / "s.db", *inputs, plan())
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    with pytest.raises(StudyError, match="another study's"):
        open_study(tmp_path / "s.db")
    monkeypatch.setenv(KEY_VARIABLE, "not hex")
    with pytest.raises(StudyError, match="holds no key"):
        open_study(tmp_path / "s.db")
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / "s.key").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        open_study(tmp_path / "s.db")


def test_a_grown_study_keeps_every_vote_and_asks_for_more(inputs: tuple[Bench, Path], tmp_path: Path) -> None:
    database = tmp_path / "s.db"
    quick = {"training": 0, "questions": (), "gold_every": 0, "repeat_every": 0}
    create_study(database, *inputs, plan(MODELS[:3], 1, **quick))
    lab = Lab(Store(open_study(database), Clock()), Clock(), str(database))
    lab.store._clock = lab.clock
    who = lab.join("Ann")
    while lab.store.state(who).state["stage"] == "task":
        lab.answer(who)
    before = vote_table(database)
    grown = grow_study(database, inputs[0].root, inputs[1], ("delta",), 2)
    assert grown.comparisons == 4  # one of five is broken
    assert vote_table(database).equals(before)
    lab.store._facts_at = 0.0
    bob = lab.join("Bob")
    while lab.store.state(bob).state["stage"] == "task":
        lab.answer(bob)
    assert len(vote_table(database)) == len(before) + 9 + 4
    require_sound(lab)
    with pytest.raises(StudyError, match="would be fewer"):
        grow_study(database, inputs[0].root, inputs[1], (), 1)
    with pytest.raises(StudyError, match="'delat' has no video of this bench"):
        grow_study(database, inputs[0].root, inputs[1], ("delat",))
    lab.store.close()


def test_a_backup_of_a_study_in_use_is_a_whole_study(make_lab: MakeLab, database_url: str, tmp_path: Path) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    for _ in range(3):
        lab.answer(who)
    out = tmp_path / "copy.db"
    backup_study(lab.url, out)
    lab.answer(who)
    assert vote_table(out).equals(vote_table(lab.url).iloc[:3])
    with pytest.raises(StudyError, match="exists"):
        backup_study(lab.url, out)


def test_the_migrations_lead_to_the_schema_in_the_code(database_url: str) -> None:
    database = Database(parse_url(database_url))
    with database.write() as connection:
        migrate.upgrade(connection)
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        assert differences == []
        assert migrate.current(connection) == migrate.head() == VERSION
    database.dispose()


def test_a_database_of_another_version_is_refused_with_what_to_do(tmp_path: Path, make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.store.close()
    with sqlite3.connect(lab.url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StudyError, match="newer ti2v-bench"):
        vote_table(lab.url)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(StudyError, match="holds no study"):
        vote_table(empty)
    text = tmp_path / "text.db"
    text.write_text("this is no database, although it has the name of one. " * 20)
    with pytest.raises(StudyError, match="cannot be opened"):
        vote_table(text)
    assert "newest schema" in upgrade_study(make_lab().url)


def test_an_older_study_is_refused_until_it_is_upgraded_and_keeps_its_votes(
    make_lab: MakeLab, database_url: str
) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    for _ in range(2):
        lab.answer(who)
    before = vote_table(lab.url)
    with lab.store._database.write() as connection:  # as the first version made it
        connection.execute(text("ALTER TABLE task DROP COLUMN choice"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(StudyError, match="study upgrade"):
        vote_table(lab.url)
    assert "0001 to 0002" in upgrade_study(lab.url)
    assert vote_table(lab.url).equals(before)
    assert lab.answer(who).saved is not None
    require_sound(lab)
    with pytest.raises(IntegrityError), lab.store._database.write() as connection:
        connection.execute(text("UPDATE task SET choice = 'middle'"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "absent.db"], "There is no study"),
        (["export", "absent.db", "out.csv"], "There is no study"),
        (["status", "mysql://x/y"], "Install|not supported|names no database"),
        (["status", "://"], "names no database"),
        (["grow", "absent.db"], "There is no study"),
        (["backup", "absent.db", "x.db"], "There is no study"),
    ],
)
def test_a_users_mistake_is_one_line_that_says_what_to_do(arguments: list[str], said: str) -> None:
    import re

    result = run(*arguments)
    assert isinstance(result.exception, TI2VError)
    assert re.search(said, str(result.exception))
    assert "\n" not in str(result.exception)


def test_create_status_and_export_from_the_command_line(inputs: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, videos = inputs
    database = tmp_path / "c.db"
    arguments = ["create", database, "--bench", bench.root, "--videos", videos, "--models", ",".join(MODELS)]
    size = ["--size", "64x64", "--frames", 4, "--star", MODELS[0], "--votes", 3, "--plain"]
    made = run(*arguments, *size)
    assert made.exit_code == 0, made.output
    assert "13 comparisons of 5 pairs, 3 votes each" in made.output
    assert "0 of 39 votes" in run("status", database).output
    assert "0 votes written" in run("export", database, tmp_path / "v.parquet").output
    assert isinstance(run("export", database, tmp_path / "v.xls").exception, StudyError)
    assert "no door 'invite'" in run("invite", database, "--count", 1).output
    again = run(*arguments, *size)
    assert isinstance(again.exception, StudyError)


def test_a_protocol_file_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "protocol.json"
    file.write_text('{"training": 0, "questions": [{"text": "Q", "options": ["a", "b"], "answer": 1}]}')
    assert read_protocol(file).questions[0].options == ("a", "b")
    for content, said in (
        ("[1]", "no JSON object"),
        ("{", "cannot be read"),
        ('{"goldevery": 1}', "no field 'goldevery'"),
        ('{"questions": [{"text": "Q"}]}', "needs text, options and answer"),
        ('{"questions": [{"text": "Q", "options": ["a"], "answer": 3}]}', "names no option"),
    ):
        file.write_text(content)
        with pytest.raises(StudyError, match=said):
            read_protocol(file)


def test_settings_survive_their_json_form() -> None:
    settings = StudySettings(protocol=PLAIN, presentation=SMALL, doors=("open", "mturk"), per_pair=3)
    assert StudySettings.load(settings.dump()) == settings
