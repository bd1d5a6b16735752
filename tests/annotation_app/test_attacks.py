"""Requests that no page of ours sends, and moments at which none is expected: no error, no wrong count, no loss."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from annotation_app.answers import Answer
from annotation_app.export import vote_table
from annotation_app.growth import grow_study
from annotation_app.live import Reporter
from annotation_app.page import LazyPage
from annotation_app.passwords import ADMIN_VARIABLE, hash_password
from annotation_app.server import ServeOptions, build_app
from annotation_app.settings import StudyError
from annotation_app.store import Store
from annotation_app.study import open_study
from tests.annotation_app.conftest import (
    PLAIN,
    Clock,
    Lab,
    Served,
    require_sound,
    start_server,
    write_bench,
    write_study,
)

MakeLab = Callable[..., Lab]
LEFT = Answer("left", ("object_motion",))
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from start_server(write_study(tmp_path_factory.mktemp("attacks"), PLAIN, pairs=3))


@pytest.fixture(scope="module")
def clip(served: Served) -> str:
    client = served.client()
    client.post("/api/enter", json={"name": "Ann"})
    client.post("/api/consent", json={"agreed": True})
    return str(client.post("/api/begin", json={}).json()["state"]["left"])


def reach(lab: Lab, **options: object) -> TestClient:
    """The application over a lab's store, without a socket; whatever it raises is raised in the test."""
    app = build_app(lab.store, replace(ServeOptions(), **options), LazyPage(lab.store.study))  # type: ignore[arg-type]
    return TestClient(app, base_url="http://127.0.0.1:7860")


def begin(client: TestClient, name: str = "Ann") -> str:
    client.post("/api/enter", json={"name": name})
    client.post("/api/consent", json={"agreed": True})
    return str(client.post("/api/begin", json={}).json()["state"]["token"])


def open_token(lab: Lab, who: int) -> str:
    return str(lab.store.state(who).state["token"])


# ---- the media route


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=-1", 206, (-1, None)),
        ("bytes=10-", 206, (10, None)),
        ("bytes=5-99999999999999999999", 206, (5, None)),
        ("bytes=-99999999999999999999", 206, (0, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=5-2", 400, None),
        ("bytes=a-b", 400, None),
        ("bytes=", 400, None),
        ("bytes=--1", 416, None),
        ("lines=0-1", 400, None),
    ],
)
def test_a_byte_range_is_the_files_bytes_or_a_refusal(
    served: Served, clip: str, asked: str, status: int, span: tuple[int, int | None] | None
) -> None:
    whole = served.client().get(clip).content
    reply = served.client().get(clip, headers={"range": asked})
    assert reply.status_code == status
    if span is not None:
        assert reply.content == whole[slice(*span)]
        assert reply.headers["content-range"].endswith(f"/{len(whole)}")


def test_several_ranges_come_as_parts_and_a_thousand_do_no_harm(served: Served, clip: str) -> None:
    whole = served.client().get(clip).content
    reply = served.client().get(clip, headers={"range": "bytes=0-3,10-13"})
    assert reply.status_code == 206
    assert whole[:4] in reply.content
    assert whole[10:14] in reply.content
    many = ",".join(f"{2 * n}-{2 * n}" for n in range(1000))
    assert served.client().get(clip, headers={"range": f"bytes={many}"}).status_code in (200, 206, 400, 416)
    assert served.client().get("/health").status_code == 200


def test_head_tells_the_length_and_sends_nothing(served: Served, clip: str) -> None:
    whole = served.client().get(clip)
    head = served.client().head(clip)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    "name",
    [
        "..%2fstudy.db",
        "%2e%2e/study.db",
        "....//study.key",
        "%00.mp4",
        "a%00b.mp4",
        "²" * 48 + ".mp4",
        "x" * 5000 + ".mp4",
        ".mp4",
        "",
    ],
)
def test_no_trick_with_a_path_opens_another_file(served: Served, clip: str, name: str) -> None:
    assert served.client().get(f"/media/{name}").status_code == 404
    address = clip.rsplit("/", 1)[1].removesuffix(".mp4")
    for other in (f"{address}.jpg", address, f"{address}.mp4.mp4", f"{address[:-1]}.mp4", f"{address}0.mp4"):
        assert served.client().get(f"/media/{other}").status_code == 404


# ---- texts that a database or a parser may choke on


ODD = ["\0", "a\0b", "\ud800", "\U0001f600", "' OR 1=1 --", "%s", ":token", "\u202e", "x" * 64]


def test_odd_texts_are_refused_or_taken_on_both_databases(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    client = reach(lab, rate=1000.0)
    good = begin(client)

    def post(route: str, **body: object) -> int:
        content = json.dumps(body)  # ASCII, so that half a surrogate pair arrives as its escape
        return client.post(f"/api/{route}", content=content, headers={"content-type": "application/json"}).status_code

    for text in ODD:
        for token, choice, reasons in ((text, "left", []), (good, text, []), (good, "left", [text])):
            assert post("vote", token=token, choice=choice, reasons=reasons) in (409, 422), text
        for token, choice in ((text, "left"), (good, text)):
            assert post("choose", token=token, choice=choice) in (409, 422), text
        assert post("broken", token=text, which=text) in (409, 422)
        assert post("undo", token=text) in (409, 422)
        assert reach(lab).post("/api/enter", json={"name": text.encode("utf-8", "replace").decode()}).status_code == 200
    query = {"PROLIFIC_PID": "a\0b", "STUDY_ID": "x", "SESSION_ID": "y"}
    assert client.get("/prolific", params=query).status_code == 409  # not a door of this study
    assert client.get("/media/" + "a" * 48 + ".mp4").status_code == 404
    assert vote_table(lab.url).empty
    require_sound(lab)


def test_odd_texts_from_the_administrator_are_refused_too(
    make_lab: MakeLab, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADMIN_VARIABLE, hash_password(PASSWORD))
    client = reach(make_lab(database_url))
    assert client.post("/admin/login", data={"password": "\0"}).status_code == 403
    assert client.post("/admin/login", data={"password": PASSWORD}, follow_redirects=False).status_code == 303
    for annotator, reason in (("\0", "x"), ("x", "\0"), ("nobody", "x"), ("x", " ")):
        reply = client.post("/admin/exclude", data={"annotator": annotator, "reason": reason})
        assert reply.status_code in (409, 422)


@pytest.mark.parametrize(
    "body", [b"[" * 60_000, b'{"token":' * 5000, b"\xff\xfe{}", b"1e999999", b'{"a":1}' * 100, b"NaN", b""]
)
def test_monstrous_bodies_are_refused(make_lab: MakeLab, body: bytes) -> None:
    client = reach(make_lab())
    begin(client)
    reply = client.post("/api/vote", content=body, headers={"content-type": "application/json"})
    assert reply.status_code in (400, 422)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""):
        reply = client.post("/api/vote", content=body or b"x", headers={"content-type": kind})
        assert reply.status_code in (400, 422)


@pytest.mark.parametrize("length", ["²", "-1", "9" * 30, "1e3", " 5 5"])
def test_a_length_that_is_no_number_is_refused(make_lab: MakeLab, length: str) -> None:
    client = reach(make_lab())
    headers = {"content-length": length.encode("latin-1"), "content-type": "application/json"}
    assert client.post("/api/vote", content=b"{}", headers=headers).status_code == 413  # type: ignore[arg-type]


def test_a_page_behind_a_proxy_may_post_whatever_host_the_proxy_names(make_lab: MakeLab) -> None:
    client = reach(make_lab(), public_url="https://study.example.org")
    body = {"name": "Ann"}
    for host in ("127.0.0.1:7860", "study.example.org"):
        said = {"host": host, "origin": "https://study.example.org"}
        reply = client.post("/api/enter", json=body, headers=said)
        assert reply.status_code == 200
        assert "secure" in reply.headers["set-cookie"].lower()
        assert "strict-transport-security" in reply.headers
        assert (
            client.post("/api/enter", json=body, headers={**said, "origin": "https://evil.example"}).status_code == 403
        )


# ---- moments


def test_a_vote_sent_six_times_at_once_is_stored_once(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = open_token(lab, who)
    lab.clock.pass_seconds(3)
    lab.store.choose(who, token, "left")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: lab.store.vote(who, token, LEFT), range(6)))
    assert sorted(outcome.saved.repeated for outcome in found if outcome.saved) == [False, True, True, True, True, True]
    assert len({str(outcome.state["token"]) for outcome in found}) == 1
    assert len(vote_table(lab.url)) == 1
    require_sound(lab)


def test_an_excluded_annotator_who_goes_on_changes_nothing(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    lab.answer(who)
    token = open_token(lab, who)
    lab.clock.pass_seconds(3)
    lab.store.choose(who, token, "left")
    lab.store.exclude(lab.store.keys.pseudonym("open", "Ann"), "test")
    require_sound(lab)
    events = lab.rows("SELECT count(*) FROM event")
    for outcome in (
        lab.store.choose(who, token, "right"),
        lab.store.vote(who, token, LEFT),
        lab.store.undo(who, token),
        lab.store.report_broken(who, token, "left"),
        lab.store.more(who),
        lab.store.state(who),
    ):
        assert outcome.refused is not None
        assert outcome.state == {"stage": "closed"}
    assert lab.rows("SELECT count(*) FROM event") == events
    require_sound(lab)


def test_a_study_paused_in_mid_task_takes_what_is_open_and_an_undo(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = open_token(lab, who)
    lab.store.pause(True)
    lab.clock.pass_seconds(3)
    saved = lab.choose_and_vote(who, token, LEFT)
    assert saved.saved is not None
    state = saved.state
    while state["stage"] == "task":  # what had been preloaded
        state = lab.answer(who).state
    assert state["stage"] == "paused"
    require_sound(lab)
    undone = lab.store.undo(who, "")
    assert undone.state["stage"] == "task"
    assert lab.store.report_broken(who, str(undone.state["token"]), "both").state["stage"] == "paused"
    require_sound(lab)
    lab.store.pause(False)
    assert lab.store.state(who).state["stage"] == "task"


def test_a_study_that_grows_in_mid_task_keeps_the_choice_and_takes_the_vote(tmp_path: Path) -> None:
    database = write_study(tmp_path, PLAIN, pairs=2, votes=1)
    clock = Clock()
    lab = Lab(Store(open_study(database), clock), clock, str(database))
    who = lab.join("Ann")
    token = open_token(lab, who)
    clock.pass_seconds(3)
    lab.store.choose(who, token, "right")
    grow_study(database, write_bench(tmp_path / "bench", 2).root, tmp_path / "videos", (), 2)
    assert lab.store.state(who).state["choice"] == "right"
    assert lab.store.vote(who, token, Answer("right", ())).saved is not None
    require_sound(lab)
    lab.store.close()


def test_an_undo_after_the_lease_of_what_was_open_leaves_the_counts_right(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, lease_minutes=2.0)
    who = lab.join("Ann")
    token = str(lab.answer(who).state["token"])
    lab.clock.pass_seconds(5 * 60)
    lab.store.sweep()
    assert lab.store.undo(who, token).refused is not None  # nothing of that name is open any more
    state = lab.store.state(who).state
    undone = lab.store.undo(who, str(state["token"]))
    assert undone.previous == LEFT
    require_sound(lab)
    lab.clock.pass_seconds(5 * 60)
    lab.store.sweep()
    require_sound(lab)
    assert lab.choose_and_vote(who, str(undone.state["token"]), LEFT).saved is not None
    require_sound(lab)


def test_a_clock_set_back_across_a_restart_keeps_nobody_waiting(make_lab: MakeLab) -> None:
    lab = make_lab()
    who = lab.join("Ann")
    token = open_token(lab, who)
    lab.clock.pass_seconds(-7200)
    key = lab.store._facts.media.with_name(lab.store._facts.media.name.removesuffix(".media") + ".key")
    restarted = Store(open_study(lab.url, key), lab.clock)
    early = restarted.choose(who, token, "left")  # of a page that was open all the time
    assert early.refused is not None
    assert early.refused.reason == "early"
    restarted._served[token] -= 1.0  # a second later by the steady clock
    assert restarted.choose(who, token, "left").refused is None
    assert restarted.vote(who, token, LEFT).saved is not None
    restarted.close()


def test_a_report_that_fails_shows_no_trace_and_is_not_made_anew_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter("nothing://here", "x", None)
    with pytest.raises(StudyError) as first:
        reporter.report()
    assert "Traceback" not in str(first.value)
    monkeypatch.setattr(Reporter, "_make", lambda _: pytest.fail("made anew"))
    with pytest.raises(StudyError):
        reporter.report()


def test_sessions_of_two_people_are_not_mixed_up_by_header_and_cookie(served: Served) -> None:
    ann, bob = served.client(), served.client()
    for client, name in ((ann, "mix ann"), (bob, "mix bob")):
        client.post("/api/enter", json={"name": name})
    reply = ann.get("/api/state", headers={"authorization": f"Bearer {bob.cookies['ti2v_session']}x"})
    assert reply.json()["state"]["stage"] == "door"  # a forged bearer is nobody; the cookie does not stand in for it
    assert httpx.get(f"{served.url}/api/state").json()["state"]["stage"] == "door"
