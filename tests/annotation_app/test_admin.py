"""The administrator's pages: closed to everybody else, and what they change."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from annotation_app.export import vote_table
from annotation_app.monitor import overview
from annotation_app.passwords import ADMIN_VARIABLE, hash_password, password_matches
from annotation_app.settings import StudyError
from tests.annotation_app.accessibility import AXE_ABSENT, axe_source, require_accessible
from tests.annotation_app.conftest import PLAIN, Lab, Served, require_sound, start_server, vote_over_http, write_study

MakeLab = Callable[..., Lab]
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADMIN_VARIABLE, hash_password(PASSWORD))
        yield from start_server(write_study(tmp_path_factory.mktemp("admin"), replace(PLAIN, watch=0.0)))


@pytest.fixture
def admin(served: Served) -> httpx.Client:
    client = served.client(follow_redirects=True)
    assert "Annotators" in client.post("/admin/login", data={"password": PASSWORD}).text
    return client


def vote_as(served: Served, name: str, votes: int) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": name})
    client.post("/api/consent", json={"agreed": True})
    state = client.post("/api/begin", json={}).json()["state"]
    for _ in range(votes):
        state = vote_over_http(client, state["token"], "left", ("object_motion",))["state"]


@pytest.mark.parametrize("path", ["/admin", "/admin/votes.csv", "/report"])
def test_reading_needs_the_password(served: Served, path: str) -> None:
    reply = served.client().get(path)
    assert reply.status_code == 403
    assert "vote_id" not in reply.text


@pytest.mark.parametrize("path", ["/admin/pause", "/admin/exclude", "/admin/include"])
def test_changing_needs_the_password(served: Served, path: str) -> None:
    data = {"paused": "1", "annotator": "x", "reason": "y"}
    assert served.client().post(path, data=data).status_code == 403
    assert not served.store.study.paused


def test_a_wrong_password_and_a_forged_cookie_do_not_let_in(served: Served) -> None:
    client = served.client()
    assert client.post("/admin/login", data={"password": PASSWORD + "!"}).status_code == 403
    assert client.get("/admin", headers={"cookie": "ti2v_admin=ImFkbWluIg.aaaa.bbbb"}).status_code == 403


def test_an_annotators_session_is_no_administrators(served: Served) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "curious"})
    token = client.cookies["ti2v_session"]
    assert client.get("/admin", headers={"cookie": f"ti2v_admin={token}"}).status_code == 403


def test_the_cookie_is_kept_from_scripts_and_other_sites(served: Served) -> None:
    reply = served.client().post("/admin/login", data={"password": PASSWORD})
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in reply.headers["set-cookie"].split(";")}


def test_a_paused_study_gives_out_no_task_but_takes_the_open_answer(served: Served, admin: httpx.Client) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "pausing"})
    client.post("/api/consent", json={"agreed": True})
    state = client.post("/api/begin", json={}).json()["state"]
    assert "paused" in admin.post("/admin/pause", data={"paused": "1"}).text
    reply = vote_over_http(client, state["token"])
    assert "saved" in reply
    assert reply["state"]["stage"] == "paused"
    admin.post("/admin/pause", data={"paused": "0"})
    assert client.get("/api/state").json()["state"]["stage"] == "task"


def test_excluding_takes_votes_out_and_including_brings_them_back(served: Served, admin: httpx.Client) -> None:
    vote_as(served, "doubtful", 3)
    code = served.store.keys.pseudonym("open", "doubtful")
    page = admin.post("/admin/exclude", data={"annotator": code, "reason": "clicked blindly"}).text
    assert "clicked blindly" in page
    assert code not in set(vote_table(served.database)["annotator"])
    assert code in set(vote_table(served.database, excluded=True)["annotator"])
    assert admin.post("/admin/exclude", data={"annotator": code, "reason": "again"}).status_code == 409
    admin.post("/admin/include", data={"annotator": code})
    assert (vote_table(served.database)["annotator"] == code).sum() == 3
    require_sound(Lab(served.store, None, str(served.database)))  # type: ignore[arg-type]


def test_the_votes_come_as_csv(served: Served, admin: httpx.Client) -> None:
    vote_as(served, "plain", 2)
    reply = admin.get("/admin/votes.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    assert len(reply.text.splitlines()) == len(vote_table(served.database)) + 1


def test_an_excluded_annotators_places_are_filled_by_others(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, pairs=4, votes=1)
    ann, bob = lab.join("Ann"), lab.join("Bob")
    for who in (ann, bob):
        while lab.store.state(who).state["stage"] == "task":
            lab.answer(who)
    code = lab.store.keys.pseudonym("open", "Ann")
    lab.store.exclude(code, "test")
    require_sound(lab)
    assert lab.store.state(ann).state["stage"] == "closed"
    lab.store.more(bob)
    while lab.store.state(bob).state["stage"] == "task":
        lab.answer(bob)
    assert len(vote_table(lab.url)) == 12
    lab.store.include(code)  # more votes than asked for, by the administrator's own decision
    require_sound(lab)


def test_the_overview_counts_what_the_rows_say(make_lab: MakeLab) -> None:
    lab = make_lab(pairs=6, votes=2, gold=6, protocol=replace(PLAIN, gold_every=3))
    for name in ("Ann", "Bob"):
        who = lab.join(name)
        while lab.store.state(who).state["stage"] == "task":
            lab.answer(who, "left")
    with lab.store._database.read() as connection:
        found = overview(connection)
    assert found.left_share == 1.0
    gold = lab.rows("SELECT count(*) FROM vote v JOIN task t ON t.id = v.task WHERE v.kind = 'gold' AND t.first_left")
    of = lab.rows("SELECT count(*) FROM vote WHERE kind = 'gold'")
    assert found.gold == pytest.approx(gold[0][0] / of[0][0])  # type: ignore[operator]
    assert found.seconds == pytest.approx(3.0)
    assert all("one side" in line.flags for line in found.annotators if line.answered >= 20)


def test_a_password_is_known_by_its_hash_only() -> None:
    hashed = hash_password(PASSWORD)
    assert PASSWORD not in hashed
    assert hashed != hash_password(PASSWORD)
    assert password_matches(PASSWORD, hashed)
    assert not password_matches("correct horse", hashed)
    assert not password_matches(PASSWORD, "scrypt:::")
    with pytest.raises(StudyError, match="at least 8"):
        hash_password("short")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_administrators_pages_are_accessible(served: Served, browser, width: int, scheme: str) -> None:  # type: ignore[no-untyped-def]
    source = axe_source()
    if source is None:
        pytest.skip(AXE_ABSENT)
    vote_as(served, "looked at", 1)
    context = browser.new_context(viewport={"width": width, "height": 820}, color_scheme=scheme)
    page = context.new_page()
    for path in ("/admin", "/report", "/join/nothing"):
        page.goto(served.url + path)
        require_accessible(page, source)
    page.goto(f"{served.url}/admin")
    page.fill("[name=password]", "wrong password")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    require_accessible(page, source)
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Annotators')")
    require_accessible(page, source)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.mark.browser
def test_the_administrator_works_in_a_browser_whose_figures_stay_current(
    served: Served,
    browser,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vote_as(served, "seen in the browser", 1)
    monkeypatch.setattr("annotation_app.routes.admin._LIVE_SECONDS", 0.3)
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(f"{served.url}/admin")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Annotators')")
    code = served.store.keys.pseudonym("open", "seen in the browser")
    newcomer = served.store.keys.pseudonym("open", "came in meanwhile")
    vote_as(served, "came in meanwhile", 1)
    page.wait_for_selector(f"tr:has-text('{newcomer}')")  # without a click
    page.fill(f"[aria-label='Reason to exclude {code}']", "seen in a test")
    page.click(f"tr:has-text('{code}') button:has-text('Exclude')")
    page.wait_for_selector(f"tr:has-text('{code}'):has-text('seen in a test')")
    page.click("button:has-text('Log out')")
    page.wait_for_selector("[name=password]")
    context.close()
