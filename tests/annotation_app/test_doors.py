"""The ways in and out: open, invited, Prolific and MTurk, each against a stand-in that speaks the platform's side."""

import html
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from annotation_app.crowd import NO_ASSIGNMENT, allowed_target
from annotation_app.export import vote_table
from annotation_app.recruit import open_to_crowd
from annotation_app.settings import Crowd, Question
from tests.annotation_app.conftest import PLAIN, Served, start_server, vote_over_http, write_study


class Platform:
    """A stand-in: it sends people to the study, and notes who comes back with what."""

    def __init__(self) -> None:
        self.returns: list[dict[str, str]] = []
        self.submissions: list[dict[str, str]] = []
        self.frame = ""
        """Address that the platform's own page shows in a frame."""
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                platform.returns.append(dict(parse_qsl(urlsplit(self.path).query)))
                frame = f'<iframe src="{html.escape(platform.frame)}" width="1200" height="760"></iframe>'
                self._say(f"<!doctype html><p>Welcome back</p>{frame if platform.frame else ''}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                if urlsplit(self.path).path == "/mturk/externalSubmit":
                    platform.submissions.append(dict(parse_qsl(body)))
                self._say("Thank you")

            def _say(self, text: str) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    stand_in = Platform()
    yield stand_in
    stand_in.server.shutdown()
    stand_in.server.server_close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, platform: Platform) -> Iterator[Served]:
    protocol = replace(PLAIN, questions=(Question("One?", ("no", "yes"), 1),), per_annotator=2, watch=0.0)
    database = write_study(tmp_path_factory.mktemp("doors"), protocol, votes=9, doors=("open", "invite"))
    settings = open_to_crowd(database, "prolific", "http://127.0.0.1:1", {"completed": "DONE1234"}, (platform.url,))
    assert "DONE1234" in settings
    with pytest.raises(Exception, match="only https"):
        open_to_crowd(database, "mturk", "http://127.0.0.1:1", {}, (platform.url,))
    open_to_crowd(database, "mturk", "https://study.example", {}, (platform.url,))
    yield from start_server(database)


def work(client: httpx.Client, check: int = 1) -> dict[str, object]:
    """Go through consent, check and all tasks; return the last state."""
    state = client.get("/api/state").json()["state"]
    while True:
        stage = state["stage"]
        if stage == "consent":
            reply = client.post("/api/consent", json={"agreed": True})
        elif stage == "instructions":
            reply = client.post("/api/begin", json={})
        elif stage == "check":
            body = {"answers": [check], "attempts_left": state["attempts_left"]}
            reply = client.post("/api/check", json=body)
        elif stage == "task":
            state = vote_over_http(client, state["token"])["state"]
            continue
        else:
            return dict(state)
        assert reply.status_code == 200, reply.text
        state = reply.json()["state"]


def prolific(served: Served, person: str) -> httpx.Client:
    client = served.client(follow_redirects=True)
    query = urlencode({"PROLIFIC_PID": person, "STUDY_ID": "study9", "SESSION_ID": f"session-{person}"})
    assert client.get(f"/prolific?{query}").status_code == 200
    return client


def test_a_prolific_participant_returns_with_the_completion_code(served: Served, platform: Platform) -> None:
    before = len(vote_table(served.database))
    state = work(prolific(served, "5f1e77aa"))
    assert (state["outcome"], state["redirect"]) == ("completed", True)
    assert len(vote_table(served.database)) == before + 2  # stored before anybody is sent away
    httpx.get(str(state["url"]))
    assert platform.returns[-1] == {"cc": "DONE1234"}


def test_who_fails_the_check_twice_returns_with_another_code(served: Served, platform: Platform) -> None:
    state = work(prolific(served, "careless"), check=0)
    assert state["outcome"] == "screened"
    httpx.get(str(state["url"]))
    code = platform.returns[-1]["cc"]
    assert code
    assert code != "DONE1234"


def test_who_declines_returns_without_having_voted(served: Served) -> None:
    client = prolific(served, "no thanks")
    state = client.post("/api/consent", json={"agreed": False}).json()["state"]
    assert (state["stage"], state["outcome"]) == ("declined", "screened")
    assert client.post("/api/begin", json={}).status_code == 409


def test_the_same_participant_comes_back_to_the_same_place(served: Served) -> None:
    first = prolific(served, "twice")
    first.post("/api/consent", json={"agreed": True})
    assert prolific(served, "twice").get("/api/state").json()["state"]["stage"] == "instructions"


def test_the_prolific_settings_hold_placeholders_and_three_codes(served: Served) -> None:
    settings = json.loads(open_to_crowd(served.database, "prolific", "https://s.example/x", {}, ()))
    query = parse_qs(urlsplit(settings["external_study_url"]).query)
    assert query["PROLIFIC_PID"] == ["{{%PROLIFIC_PID%}}"]
    codes = [entry["code"] for entry in settings["completion_codes"]]
    assert codes[0] == "DONE1234"
    assert len(set(codes)) == 3


def mturk_url(platform: Platform, assignment: str, worker: str, target: str | None = None) -> str:
    query = {"assignmentId": assignment, "hitId": "H1", "workerId": worker, "turkSubmitTo": target or platform.url}
    return f"/mturk?{urlencode(query)}"


def bearer(served: Served, location: str) -> httpx.Client:
    token = dict(parse_qsl(urlsplit(location).fragment))["s"]
    return served.client(headers={"authorization": f"Bearer {token}"})


def test_an_mturk_preview_records_nothing(served: Served, platform: Platform) -> None:
    with served.store._database.read() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM annotator").scalar_one()
    reply = served.client().get(mturk_url(platform, NO_ASSIGNMENT, ""))
    assert (reply.status_code, reply.headers["location"]) == (303, "/#preview")
    assert "set-cookie" not in reply.headers
    with served.store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM annotator").scalar_one() == before


def test_an_mturk_worker_submits_the_assignment_to_mturk(served: Served, platform: Platform) -> None:
    reply = served.client().get(mturk_url(platform, "ASSIGN77", "WORKER9"))
    state = work(bearer(served, reply.headers["location"]))
    form = state["submit"]
    assert isinstance(form, dict)
    httpx.post(form["url"], data=form["fields"])
    assert platform.submissions[-1]["assignmentId"] == "ASSIGN77"
    assert platform.submissions[-1]["code"] == state["code"]


def test_an_assignment_goes_to_no_other_address(served: Served, platform: Platform) -> None:
    for target in (
        "https://evil.example",
        "https://www.mturk.com.evil.example",
        "javascript:alert(1)",
        "//x",
        "http://[",
    ):
        assert served.client().get(mturk_url(platform, "A2", "W2", target)).status_code == 409
    assert allowed_target(Crowd(), "https://www.mturk.com")
    assert not allowed_target(Crowd(), "http://www.mturk.com")


def test_the_hit_is_an_external_question(served: Served, platform: Platform) -> None:
    text = open_to_crowd(served.database, "mturk", "https://study.example/a&b", {}, (platform.url,))
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("ExternalQuestion.xsd}ExternalQuestion")
    assert root[0].text == "https://study.example/a&b/mturk"
    assert root[1].text == "0"


def test_an_mturk_page_may_be_framed_by_mturk_only(served: Served, platform: Platform) -> None:
    policy = served.client().get("/").headers["content-security-policy"]
    assert f"frame-ancestors {platform.url};" in policy
    assert platform.url in policy.split("form-action")[1]


@pytest.mark.browser
def test_a_worker_votes_and_submits_inside_a_frame_of_another_site(
    tmp_path: Path,
    platform: Platform,
    browser,  # type: ignore[no-untyped-def]
) -> None:
    database = write_study(tmp_path, replace(PLAIN, per_annotator=1), pairs=2)
    site = platform.url.replace("127.0.0.1", "localhost")  # another site than the study's, for the browser
    open_to_crowd(database, "mturk", "https://study.example", {}, (site,))
    for served in start_server(database):
        platform.frame = served.url + mturk_url(platform, "ASSIGN9", "FRAMED", site)
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(site)
        frame = page.frame_locator("iframe")
        frame.locator("[data-act=agree]").click()
        frame.locator("[data-act=begin]").click()
        frame.locator("[data-id=choiceSet]:not([disabled])").wait_for()
        frame.locator(".options label:has(input[value=left])").click()
        frame.locator(".options label:has(input[value=none])").click()
        frame.locator("[data-id=submit]").click()
        # The study's own last page says thank you, too: what counts is the platform's answer.
        with page.expect_response(lambda reply: reply.url.endswith("/mturk/externalSubmit")):
            frame.locator("[data-id=endForm] button").click()
        assert platform.submissions[-1]["assignmentId"] == "ASSIGN9"
        assert context.cookies() == []  # none is needed, since a browser may send none
        context.close()
    assert vote_table(database)[["choice", "reasons"]].to_numpy().tolist() == [["left", "none"]]


def test_an_invitation_leads_in_and_back_and_a_false_one_does_not(served: Served) -> None:
    (token,) = served.store.invite(1)
    for _ in range(2):
        client = served.client(follow_redirects=True)
        client.get(f"/join/{token}")
        assert client.get("/api/state").json()["state"]["stage"] in ("consent", "instructions")
        client.post("/api/consent", json={"agreed": True})
    reply = served.client().get("/join/" + token[:-1] + "~")
    assert reply.status_code == 409
    assert "not valid" in reply.text


def test_a_closed_door_stays_closed(tmp_path_factory: pytest.TempPathFactory) -> None:
    database = write_study(tmp_path_factory.mktemp("closed"), PLAIN, pairs=2, doors=("invite",))
    for served in start_server(database):
        assert served.client().post("/api/enter", json={"name": "Ann"}).status_code == 409
        assert served.client().get("/prolific?PROLIFIC_PID=a&STUDY_ID=b&SESSION_ID=c").status_code == 409
        assert served.client().get("/mturk?assignmentId=a&workerId=b").status_code == 409


def test_no_platform_identifier_is_in_the_database(served: Served) -> None:
    prolific(served, "6a61b2d3c4e5")
    content = b"".join(path.read_bytes() for path in served.database.parent.glob("study.db*"))
    for identifier in (b"6a61b2d3c4e5", b"5f1e77aa", b"WORKER9", b"ASSIGN77", b"127.0.0.1:5", b"careless"):
        assert identifier not in content
