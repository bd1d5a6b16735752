"""The annotator's page in Chromium: what a person does there is what the database holds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from annotation_app.export import vote_table
from tests.annotation_app.conftest import PLAIN, Served, start_server, write_study

pytestmark = pytest.mark.browser

OPEN = "[data-id=choiceSet]:not([disabled])"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from start_server(write_study(tmp_path_factory.mktemp("page"), PLAIN, pairs=8))


@pytest.fixture
def open_page(served: Served, browser) -> Iterator[Callable]:  # type: ignore[no-untyped-def,type-arg]
    """Opens the page as a named person and leads them to their first task."""
    contexts = []

    def open_one(name: str, width: int = 1280, height: int = 800, **options: object):  # type: ignore[no-untyped-def]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(served.url)
        page.fill("#ti2v-name", name)
        page.keyboard.press("Enter")
        page.click("[data-act=agree]")
        page.click("[data-act=begin]")
        page.wait_for_selector(OPEN)
        return page

    yield open_one
    for context in contexts:
        context.close()


def votes_of(served: Served, name: str) -> list[tuple[str, str]]:
    table = vote_table(served.database)
    mine = table[table["annotator"] == served.store.keys.pseudonym("open", name.casefold())]
    return list(mine[["choice", "reasons"]].itertuples(index=False, name=None))


def next_task(page, before: str) -> None:  # type: ignore[no-untyped-def]
    page.wait_for_function(f"document.querySelector('[data-id=count]').textContent !== {before!r}", polling=100)
    page.wait_for_selector(OPEN)


def test_ten_votes_by_keyboard_alone_are_in_the_database(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Key Board")
    wanted = []
    for number in range(10):
        before = page.inner_text("[data-id=count]")
        left = number % 2 == 0
        page.keyboard.press(["a", "ArrowLeft"][number % 4 // 2] if left else ["b", "ArrowRight"][number % 4 // 2])
        if number % 3 == 2:
            page.keyboard.press("0")
        else:
            page.keyboard.press("3")
            page.keyboard.press("1")
        page.keyboard.press("Enter")
        wanted.append(("left" if left else "right", "none" if number % 3 == 2 else "object_motion;image_alignment"))
        next_task(page, before)
    assert votes_of(served, "Key Board") == wanted


def test_five_votes_by_mouse_are_in_the_database(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Mickey")
    wanted = []
    for number in range(5):
        before = page.inner_text("[data-id=count]")
        side = ("left", "right")[number % 2]
        page.click(f".options label:has(input[value={side}])")
        page.click(".options label:has(input[value=text_alignment])")
        page.click(".options label:has(input[value=overall_quality])")
        page.click("[data-id=submit]", click_count=2)  # impatient
        wanted.append((side, "text_alignment;overall_quality"))
        next_task(page, before)
    assert votes_of(served, "Mickey") == wanted


def test_three_votes_by_touch_are_in_the_database(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Finger", 390, 844, has_touch=True, is_mobile=True)
    wanted = []
    for number in range(3):
        before = page.inner_text("[data-id=count]")
        side = ("right", "left")[number % 2]
        places = [page.locator(f"[data-id={name}]").bounding_box()["y"] for name in ("choices", "reasons")]
        page.tap(f".options label:has(input[value={side}])")
        page.tap(".options label:has(input[value=object_motion])")
        assert [page.locator(f"[data-id={name}]").bounding_box()["y"] for name in ("choices", "reasons")] == places
        page.tap("[data-id=submit]")
        wanted.append((side, "object_motion"))
        next_task(page, before)
    assert votes_of(served, "Finger") == wanted
    page.tap("[data-act=play]")
    assert page.inner_text("[data-id=playLabel]") == "Play"
    page.tap("[data-act=undo]")
    page.wait_for_function(f"document.querySelector('[data-id=count]').textContent === {before!r}", polling=100)
    assert votes_of(served, "Finger") == wanted[:2]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_enter_and_space_after_a_click_do_not_untick_a_reason(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Mixed")
    before = page.inner_text("[data-id=count]")
    page.click(".options label:has(input[value=right])")
    page.click(".options label:has(input[value=object_motion])")
    page.keyboard.press("Space")
    assert page.inner_text("[data-id=playLabel]") == "Play"
    page.keyboard.press("Enter")
    next_task(page, before)
    assert votes_of(served, "Mixed") == [("right", "object_motion")]
    page.keyboard.press("u")
    page.wait_for_function(f"document.querySelector('[data-id=count]').textContent === {before!r}", polling=100)
    assert votes_of(served, "Mixed") == []
    assert page.is_checked("input[value=right]")
    assert page.is_checked("input[value=object_motion]")


def test_nothing_can_be_chosen_before_both_videos_were_watched(served: Served, browser) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page()
    page.goto(served.url)
    page.fill("#ti2v-name", "Hasty")
    page.keyboard.press("Enter")
    page.click("[data-act=agree]")
    page.click("[data-act=begin]")
    page.wait_for_selector("[data-stage=task]:visible")
    if page.query_selector(OPEN) is None:  # half a second of video
        page.keyboard.press("a")
        assert page.query_selector("[data-id=choices] input:checked") is None
    page.wait_for_selector(OPEN)
    assert page.is_disabled("[data-id=submit]")
    page.close()


def test_a_draft_survives_a_reload(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Draft")
    page.keyboard.press("b")
    page.keyboard.press("4")
    prompt = page.inner_text("[data-id=prompt]")
    page.reload()
    page.wait_for_selector(OPEN)
    assert page.inner_text("[data-id=prompt]") == prompt
    assert page.is_checked("input[value=right]")
    assert page.is_checked("input[value=overall_quality]")


def test_a_choice_is_kept_by_the_server_when_the_browser_forgets(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Forgetful")
    with page.expect_response("**/api/choose") as chosen:
        page.keyboard.press("b")
    assert chosen.value.json() == {"chosen": "right"}
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.wait_for_selector(OPEN)
    assert page.is_checked("input[value=right]")
    page.keyboard.press("2")
    with page.expect_response("**/api/vote"):
        page.keyboard.press("Enter")
    assert votes_of(served, "Forgetful") == [("right", "text_alignment")]


def test_another_choice_wipes_the_reasons_of_the_first(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Fickle")
    before = page.inner_text("[data-id=count]")
    for key in ("a", "1", "b"):
        page.keyboard.press(key)
    assert page.query_selector("[data-id=reasons] input:checked") is None
    assert page.is_disabled("[data-id=submit]")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    next_task(page, before)
    assert votes_of(served, "Fickle") == [("right", "image_alignment")]


def test_the_last_word_of_two_tabs_counts_and_neither_is_stuck(served: Served, open_page: Callable) -> None:  # type: ignore[type-arg]
    first = open_page("Tabs")
    second = first.context.new_page()
    second.goto(served.url)
    second.wait_for_selector(OPEN)
    before = first.inner_text("[data-id=count]")
    for page, key in ((first, "a"), (second, "b")):
        with page.expect_response("**/api/choose"):
            page.keyboard.press(key)
    first.keyboard.press("1")
    first.keyboard.press("Enter")
    first.wait_for_selector("[data-id=banner]:visible")
    assert votes_of(served, "Tabs") == []
    first.keyboard.press("Enter")
    next_task(first, before)
    assert votes_of(served, "Tabs") == [("left", "object_motion")]
    second.keyboard.press("2")
    second.keyboard.press("Enter")
    next_task(second, before)
    assert votes_of(served, "Tabs") == [("left", "object_motion")]
    assert second.inner_text("[data-id=prompt]") == first.inner_text("[data-id=prompt]")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_whole_task_fits_the_window(open_page: Callable, width: int, height: int) -> None:  # type: ignore[type-arg]
    page = open_page(f"Window {width}", width, height)
    size = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
    assert size[0] <= width
    if width > 760:
        assert size[1] <= height
    for name in ("left", "right", "prompt", "submit", "choices", "reasons"):
        box = page.locator(f"[data-id={name}]").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert width < 760 or box["y"] + box["height"] <= height


def test_the_two_videos_play_in_step(open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page("Sync")
    apart = page.evaluate(
        """async () => {
            const [a, b] = document.querySelectorAll('video'); const found = [];
            for (let n = 0; n < 20; n++) { await new Promise(requestAnimationFrame);
              found.push(Math.abs(a.currentTime - b.currentTime)); }
            return found.sort((x, y) => x - y)[10];
        }"""
    )
    assert apart <= 0.125  # one frame at 8 fps


def test_no_request_leaves_the_server_and_none_fails(served: Served, browser) -> None:  # type: ignore[no-untyped-def]
    page = browser.new_page()
    seen: list[tuple[int, str]] = []
    errors: list[str] = []
    page.on("response", lambda response: seen.append((response.status, response.url)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(served.url)
    page.wait_for_selector("[data-stage=door]:visible")
    page.wait_for_timeout(500)
    assert seen
    assert all(url.startswith(served.url) for _, url in seen)
    assert [entry for entry in seen if entry[0] >= 400] == []
    assert errors == []
    page.close()


def test_the_page_is_our_file(served: Served) -> None:
    page = served.client().get("/").text
    assert Path(served.database).name not in page
    assert "What do you choose first" not in page  # questions come with their stage only
