"""leaderboard.html in a browser: it sorts, needs nothing from elsewhere, and fits a telephone in the dark."""

from pathlib import Path

import pytest

from tests.votes_by_hand import random_votes
from ti2v_bench.leaderboard import write_report
from ti2v_bench.votes import check_votes


@pytest.mark.browser
def test_the_page_sorts_by_a_click_and_asks_for_nothing_from_elsewhere(tmp_path: Path, browser) -> None:  # type: ignore[no-untyped-def]
    report = write_report(check_votes(random_votes(("M", "a2", "a10", "b"))), tmp_path)
    page = browser.new_page(color_scheme="dark", viewport={"width": 400, "height": 800})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "leaderboard.html").as_uri())
    table = page.locator("table.sortable").first

    def opponents() -> list[str]:
        return [str(name) for name in table.locator("tbody tr td:nth-child(2)").all_inner_texts()]

    table.get_by_role("button", name="Opponent").click()
    assert opponents() == ["b", "a10", "a2"]  # falling; numbers in names count as numbers
    table.get_by_role("button", name="Vote share").click()
    falling = sorted(report.comparisons, key=lambda c: -(c.vote_share.value or 0))
    assert opponents() == [c.opponent for c in falling]
    table.get_by_role("button", name="Vote share").press("Enter")
    assert opponents() == [c.opponent for c in reversed(falling)]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert asked == [(tmp_path / "leaderboard.html").as_uri()]
    assert errors == []
    page.close()
