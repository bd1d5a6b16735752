"""Who meets whom, counted independently of the planner."""

from collections import Counter
from itertools import combinations

import pytest

from annotation_app.design import Meeting, plan_meetings
from annotation_app.settings import StudyError

MODELS = ["a", "b", "c", "d", "e"]
HAVE = {f"p{n}": MODELS for n in range(40)}


def couples(meetings: list[Meeting]) -> Counter[frozenset[str]]:
    return Counter(frozenset((meeting.first, meeting.second)) for meeting in meetings)


def test_a_star_meets_every_other_model_on_every_pair() -> None:
    meetings = plan_meetings("star", HAVE, MODELS, star="c")
    assert couples(meetings) == {frozenset(("c", other)): 40 for other in "abde"}
    assert {meeting.first for meeting in meetings} == {"c"}


def test_a_round_robin_holds_every_couple_on_every_pair() -> None:
    assert couples(plan_meetings("round-robin", HAVE, MODELS)) == {frozenset(c): 40 for c in combinations(MODELS, 2)}


@pytest.mark.parametrize("per_pair", [1, 2, 3, 7])
def test_a_balanced_design_gives_each_pair_as_many_and_each_couple_alike(per_pair: int) -> None:
    meetings = plan_meetings("balanced", HAVE, MODELS, per_pair=per_pair)
    assert set(Counter(meeting.pair_id for meeting in meetings).values()) == {per_pair}
    counts = couples(meetings)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(set(meetings)) == len(meetings)


def test_a_balanced_design_that_grows_keeps_what_it_had() -> None:
    before = plan_meetings("balanced", HAVE, MODELS[:4])
    after = plan_meetings("balanced", HAVE, MODELS, existing=before)
    assert set(before) <= set(after)
    assert any("e" in (meeting.first, meeting.second) for meeting in after)


def test_a_missing_video_leaves_out_its_meetings_only() -> None:
    have = {**HAVE, "p0": ["a", "c", "d"], "p1": ["c"], "p2": ["a", "b"]}
    meetings = plan_meetings("star", have, MODELS, star="c")
    assert {m.second for m in meetings if m.pair_id == "p0"} == {"a", "d"}
    assert not [m for m in meetings if m.pair_id in ("p1", "p2")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"design": "ring"}, "no design 'ring'"),
        ({"models": ["a"]}, "at least two models"),
        ({"models": ["a", "b", "a"]}, "'a' is named twice"),
        ({"design": "star", "star": "z"}, "star 'z' is not among"),
        ({"design": "balanced", "per_pair": 11}, "11 comparisons per pair"),
    ],
)
def test_what_cannot_be_planned_is_said(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        plan_meetings(**{"design": "round-robin", "have": HAVE, "models": MODELS, **arguments})  # type: ignore[arg-type]
