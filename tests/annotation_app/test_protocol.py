"""The stages that an annotator goes through: enforced by the server, and walked through in Chromium."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from annotation_app.answers import Answer
from annotation_app.export import vote_table
from annotation_app.settings import Protocol
from tests.annotation_app.accessibility import AXE_ABSENT, axe_source, require_accessible
from tests.annotation_app.conftest import PLAIN, Lab, Served, free_port, start_server, write_study

MakeLab = Callable[..., Lab]
FULL = Protocol(gold_every=4, repeat_every=0, break_every=2)
RIGHT = [1, 0, 1]


def test_the_stages_come_in_their_order_and_none_can_be_skipped(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, training=2, gold=2, protocol=FULL)
    store, who = lab.store, lab.store.enter("open", "Ann")
    assert store.state(who).state["stage"] == "consent"
    assert store.begin(who).refused is not None
    assert store.answer_check(who, RIGHT, 2)[0].refused is not None
    assert store.vote(who, "x", Answer("left", ())).refused is not None
    store.consent(who, True)
    assert store.consent(who, True).refused is not None
    state = store.begin(who).state
    for _ in range(2):
        assert (state["stage"], state["training"]) == ("task", True)
        lab.clock.pass_seconds(1)
        outcome = lab.choose_and_vote(who, str(state["token"]), Answer("left", ()))
        assert outcome.saved is not None
        assert outcome.saved.correct is not None
        assert store.undo(who, str(outcome.state.get("token", ""))).refused is not None
        state = outcome.state
    assert state["stage"] == "check"
    assert "answer" not in str(state["check"])
    wrong, right = store.answer_check(who, [0, 0, 0], 2)
    assert (wrong.state["stage"], wrong.state["attempts_left"], right) == ("check", 1, 1)
    assert store.answer_check(who, [0, 0, 0], 2)[0].refused is not None  # the same attempt, sent twice
    done, right = store.answer_check(who, RIGHT, 1)
    assert (done.state["stage"], done.state["training"], right) == ("task", False, 3)
    assert (vote_table(lab.url)["kind"] == "training").all()


def test_who_fails_the_check_twice_gets_no_task(make_lab: MakeLab) -> None:
    lab = make_lab(protocol=FULL)
    store, who = lab.store, lab.store.enter("open", "Ann")
    store.consent(who, True)
    store.begin(who)
    for left in (2, 1):
        outcome, _ = store.answer_check(who, [2, 2, 2], left)
    assert outcome.state["stage"] == "screened"
    assert store.answer_check(who, RIGHT, 0)[0].refused is not None
    assert lab.rows("SELECT count(*) FROM task") == [(0,)]


def test_feedback_says_whether_the_known_answer_was_given(make_lab: MakeLab) -> None:
    lab = make_lab(training=2, protocol=FULL)
    store, who = lab.store, lab.store.enter("open", "Ann")
    store.consent(who, True)
    state = store.begin(who).state
    for _ in range(2):
        lab.clock.pass_seconds(1)
        token = str(state["token"])
        ((first_left,),) = lab.rows("SELECT first_left FROM task WHERE token = :token", token=token)
        outcome = lab.choose_and_vote(who, token, Answer("left", ()))
        assert outcome.saved is not None
        assert outcome.saved.correct == bool(first_left)  # `first` is the winner
        state = outcome.state


def test_a_break_is_proposed_after_so_many_tasks_and_gold_is_not_told(make_lab: MakeLab) -> None:
    lab = make_lab(gold=3, protocol=replace(FULL, questions=(), training=0))
    who = lab.join("Ann")
    states = [lab.store.state(who).state]
    for _ in range(6):
        states.append(lab.answer(who).state)
    assert [state["rest"] for state in states] == [False, False, True, False, True, False, True]
    assert len({frozenset(state) for state in states[1:]}) == 1
    assert "gold" not in str(states)


def test_a_clock_set_back_does_not_stop_an_annotator(make_lab: MakeLab) -> None:
    lab = make_lab(protocol=replace(PLAIN, watch=0.1))
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(-3600)
    time.sleep(0.05)  # by the steady clock the clips' time has passed
    outcome = lab.choose_and_vote(who, token, Answer("left", ()))
    assert outcome.saved is not None
    table = vote_table(lab.url)
    assert (table["answered_at"] >= table["shown_at"]).all()
    lab.clock.pass_seconds(7200)
    assert lab.answer(who).saved is not None


# ---- in the browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    protocol = replace(FULL, gold_every=0, per_annotator=3, tie=True, both_bad=True)
    yield from start_server(write_study(tmp_path_factory.mktemp("protocol"), protocol, pairs=6))


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_person_goes_from_the_door_to_the_end_by_keyboard_and_every_page_is_accessible(
    served: Served, browser, width: int, scheme: str
) -> None:  # type: ignore[no-untyped-def]
    source = axe_source()
    context = browser.new_context(viewport={"width": width, "height": 820}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(served.url)
    page.fill("#ti2v-name", f"walker {width}")
    require_accessible(page, source)
    page.keyboard.press("Enter")
    for act in ("agree", "begin"):
        page.wait_for_selector(f"[data-act={act}]:visible")
        require_accessible(page, source)
        page.keyboard.press("Enter")
    for _ in range(2):
        page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
        page.keyboard.press("a")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="hidden")
    page.wait_for_selector("[data-stage=check]:visible")
    require_accessible(page, source)
    for answer in RIGHT:
        for key in ("Tab", "Space", *["ArrowDown"] * answer):
            page.keyboard.press(key)
    assert [page.input_value(f"input[name=q{n}]:checked") for n in range(3)] == [str(answer) for answer in RIGHT]
    page.keyboard.press("Enter")
    for number, key in enumerate("txb"):
        page.wait_for_function(
            f"document.querySelector('[data-id=count]').textContent === '{number + 1} of 3'", polling=100
        )
        if page.query_selector("dialog[open]"):
            page.keyboard.press("Enter")  # the break reminder
        page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
        page.keyboard.press(key)
        if key == "b":
            assert page.is_disabled("[data-id=submit]")  # a chosen side needs a reason, or none of these
            page.keyboard.press("0")
        require_accessible(page, source)
        page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=finished]:visible")
    require_accessible(page, source)
    assert "You answered 3 tasks" in page.inner_text("[data-id=endText]")
    table = vote_table(served.database)
    own = table["annotator"] == served.store.keys.pseudonym("open", f"walker {width}")
    mine = table[own & (table["kind"] == "main")]
    assert mine["choice"].tolist() == ["tie", "both_bad", "right"]
    context.close()
    if source is None:
        pytest.skip(f"walked to the end, but accessibility was not checked: {AXE_ABSENT}")


@pytest.mark.browser
def test_the_next_task_is_there_at_once_and_a_broken_video_can_be_reported(served: Served, browser) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    served.store.enter("open", "broken")
    lab = Lab(served.store, None, "")  # type: ignore[arg-type]
    who = lab.join("broken")
    for _ in range(2):
        token = str(served.store.state(who).state["token"])
        time.sleep(0.6)
        lab.choose_and_vote(who, token, Answer("left", ()))
    served.store.answer_check(who, RIGHT, 2)
    loaded: list[str] = []  # what the page fetches ahead: picture and both clips of the next task
    page.on("requestfinished", lambda r: r.resource_type == "fetch" and "/api/" not in r.url and loaded.append(r.url))
    page.goto(served.url)
    page.fill("#ti2v-name", "broken")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
    page.keyboard.press("a")
    page.keyboard.press("1")
    page.wait_for_function("document.querySelectorAll('video')[0].src.length > 0", polling=100)
    for _ in range(150):  # the next pair loads while this one plays
        page.wait_for_timeout(100)
        if len(loaded) >= 3:
            break
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('[data-id=count]').textContent === '2 of 3'", polling=100)
    assert page.get_attribute("video[data-id=left]", "src").startswith("blob:")
    page.keyboard.press("p")
    page.keyboard.press("Enter")  # a slip of the finger reports nothing
    page.wait_for_selector("dialog", state="hidden")
    page.keyboard.press("p")
    page.click("dialog button:has-text('Both')")
    page.wait_for_function("document.querySelector('[data-id=count]').textContent === '3 of 3'", polling=100)
    with served.store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM task WHERE status = 'broken'").scalar_one() == 1
    context.close()


@pytest.mark.browser
def test_a_dialog_opened_at_once_after_another_has_its_own_answer(served: Served, browser) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    Lab(served.store, None, "").join("quick")  # type: ignore[arg-type]
    page.goto(served.url)
    page.fill("#ti2v-name", "quick")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
    page.keyboard.press("p")
    page.evaluate(  # in one go, so that the first dialog's close event, which comes later, finds the second one open
        """() => {
            document.querySelector("dialog[open] button").click();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "p", bubbles: true }));
        }"""
    )
    page.wait_for_timeout(200)
    with page.expect_request("**/api/broken") as sent:
        page.click("dialog button:has-text('Both')")
    assert sent.value.post_data_json["which"] == "both"
    context.close()


@pytest.mark.browser
def test_a_request_that_is_never_answered_is_sent_again(served: Served, browser) -> None:  # type: ignore[no-untyped-def]
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.clock.install()
    Lab(served.store, None, "").join("unheard")  # type: ignore[arg-type]
    asked: list[str] = []

    def hang_once(route) -> None:  # type: ignore[no-untyped-def]
        asked.append(route.request.post_data)
        if len(asked) > 1:
            route.continue_()

    page.route("**/api/choose", hang_once)
    page.goto(served.url)
    page.fill("#ti2v-name", "unheard")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    assert len(asked) == 1
    assert not page.is_visible("[data-id=banner]")
    page.clock.fast_forward(30_000)
    page.wait_for_selector("[data-id=banner]:visible")  # no connection
    page.clock.fast_forward(1_000)
    page.wait_for_selector("[data-id=banner]:visible", state="hidden")
    assert len(asked) == 2
    assert asked[0] == asked[1]
    page.keyboard.press("1")
    page.wait_for_selector("[data-id=submit]:not([disabled])")
    context.close()


@pytest.mark.browser
@pytest.mark.timeout(300)  # two servers start and import their page, which a busy machine takes its time for
def test_a_choice_survives_that_the_server_is_killed_in_mid_task(tmp_path: Path, browser) -> None:  # type: ignore[no-untyped-def]
    database, port = write_study(tmp_path, PLAIN, pairs=2), free_port()
    command = [sys.executable, "-m", "ti2v_bench", "annotate", str(database), "--port", str(port)]

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                return process
            except httpx.TransportError:
                time.sleep(0.1)
        raise TimeoutError

    process = start()
    try:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://127.0.0.1:{port}/")
        page.fill("#ti2v-name", "patient")
        page.keyboard.press("Enter")
        page.click("[data-act=agree]")
        page.click("[data-act=begin]")
        page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
        page.keyboard.press("b")
        page.keyboard.press("3")
        process.send_signal(signal.SIGKILL)
        process.wait()
        page.keyboard.press("Enter")  # into the void
        page.wait_for_selector("[data-id=banner]:visible")
        assert page.is_checked("input[value=right]")
        process = start()
        page.wait_for_function("document.querySelector('[data-id=count]').textContent.startsWith('2 ')", polling=200)
        assert vote_table(database)[["choice", "reasons"]].to_numpy().tolist() == [["right", "image_alignment"]]
        page.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
