"""What the assignment promises, over many simulated orders of coming and going."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation_app.assignment import BLOCK, allowed_sides, wished_sides
from annotation_app.export import vote_table
from annotation_app.sequence import SPACING, goal_for, kind_at
from annotation_app.settings import Protocol
from tests.annotation_app.conftest import PLAIN, Lab, require_sound

MakeLab = Callable[..., Lab]
STAR = "comet"


def crowd_at_work(lab: Lab, people: int, seed: int, leave: float = 0.0) -> None:
    """People come, answer and leave in random order until nothing is left."""
    draw = random.Random(seed)
    at_work: list[int] = []
    come = 0
    for _ in range(10_000):
        if come < people and (not at_work or draw.random() < 0.1):
            come += 1
            at_work.append(lab.join(f"{seed}/{come}"))
        if not at_work:
            return
        who = draw.choice(at_work)
        if lab.store.state(who).state["stage"] != "task" or draw.random() < leave:
            at_work.remove(who)
            lab.clock.pass_seconds(60)
            lab.store.sweep()
            continue
        lab.answer(who, draw.choice(("left", "right")))


@pytest.mark.parametrize("votes", [4, 5])
def test_sides_of_a_comparison_differ_by_one_at_most_to_the_last_vote(make_lab: MakeLab, votes: int) -> None:
    lab = make_lab(pairs=16, votes=votes)
    crowd_at_work(lab, 8, seed=votes)
    table = vote_table(lab.url)
    assert len(table) == 16 * 3 * votes
    other = table["left"].where(table["left"] != STAR, table["right"])
    lefts: dict[object, Counter[bool]] = defaultdict(Counter)
    for pair, model, left in zip(table["pair_id"], other, table["left"] == STAR, strict=True):
        lefts[pair, model][left] += 1
    assert all(abs(count[True] - count[False]) <= 1 for count in lefts.values())
    require_sound(lab)


@pytest.mark.parametrize("votes", [4, 5])
def test_every_block_of_ten_is_balanced_while_comparisons_last(make_lab: MakeLab, votes: int) -> None:
    """Each of 8 people stops at 20 of 120 comparisons: never are the free ones bound to one side."""
    lab = make_lab(pairs=40, votes=votes, protocol=replace(PLAIN, per_annotator=20))
    crowd_at_work(lab, 8, seed=votes)
    table = vote_table(lab.url)
    assert set(table.groupby("annotator").size()) == {20}
    for _, own in table.groupby("annotator", sort=False):
        lefts = [int(left == STAR) for left in own["left"]]
        assert [sum(lefts[:BLOCK]), sum(lefts[BLOCK:])] == [BLOCK // 2, BLOCK // 2]


def test_pairs_of_one_image_do_not_follow_each_other_while_others_are_free(make_lab: MakeLab) -> None:
    lab = make_lab(pairs=16, images=4, votes=2)
    crowd_at_work(lab, 4, seed=1)
    table = vote_table(lab.url)
    in_a_row = total = 0
    for _, own in table.groupby("annotator", sort=False):
        images = own["image_id"].tolist()
        in_a_row += sum(a == b for a, b in pairwise(images))
        total += len(images) - 1
    assert total > 80
    assert in_a_row <= 0.05 * total  # only where nothing else was left


def test_the_least_voted_comparison_comes_first(make_lab: MakeLab) -> None:
    lab = make_lab(pairs=10, votes=3)
    people = [lab.join(f"person {n}") for n in range(3)]
    for _ in range(8):
        for who in people:
            lab.answer(who)
    # 24 votes and 3 x 2 leases on 30 comparisons: everything is given out once before anything twice,
    # but for the last ones where their picture was on the screen just before.
    once = lab.rows("SELECT count(*) FROM comparison WHERE taken = 1")
    assert once[0][0] >= 26  # type: ignore[operator]


def test_the_order_is_not_the_same_for_two_studies(make_lab: MakeLab) -> None:
    orders = []
    for _ in range(2):
        lab = make_lab(pairs=10)
        who = lab.join("Ann")
        orders.append([lab.answer(who).state["prompt"] for _ in range(10)])
    assert orders[0] != orders[1]


def test_people_who_leave_give_their_places_back(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, pairs=6, votes=3, lease_minutes=0.5)
    crowd_at_work(lab, 25, seed=3, leave=0.08)
    assert lab.rows("SELECT sum(done), sum(wanted) FROM comparison WHERE kind = 'main'") == [(54, 54)]
    require_sound(lab)


def test_nobody_gets_more_than_their_cap(make_lab: MakeLab) -> None:
    lab = make_lab(pairs=10, gold=3, protocol=replace(PLAIN, per_annotator=7, gold_every=4))
    who = lab.join("Ann")
    while lab.store.state(who).state["stage"] == "task":
        lab.answer(who)
    kinds = Counter(vote_table(lab.url)["kind"])
    assert kinds["main"] == 7
    assert kinds["gold"] >= 1


def test_gold_and_repeats_are_mixed_in_and_do_not_enter_the_counts(make_lab: MakeLab, database_url: str) -> None:
    protocol = replace(PLAIN, gold_every=6, repeat_every=8)
    lab = make_lab(database_url, pairs=12, gold=6, protocol=protocol)

    def repeats(name: str) -> int:  # those late enough for there to be something to repeat
        code = lab.store.keys.pseudonym("open", name)
        return [kind_at(place, code, protocol, 6) for place in range(20, goal_for(36, code, protocol, 6))].count(
            "repeat"
        )

    # Who repeats how often hangs on the study's key, which is drawn anew; take somebody who is to repeat three times.
    who = lab.join(next(name for name in (f"person {n}" for n in range(1000)) if repeats(name) >= 3))
    while lab.store.state(who).state["stage"] == "task":
        lab.answer(who)
    table = vote_table(lab.url)
    kinds = table["kind"].tolist()
    assert kinds.count("main") == 36
    assert kinds.count("gold") == 6
    assert kinds.count("repeat") >= 3
    assert lab.rows("SELECT sum(done) FROM comparison WHERE kind = 'main'") == [(36,)]
    for place, row in table[table["kind"] == "repeat"].iterrows():
        same = table[(table["pair_id"] == row["pair_id"]) & (table["kind"] == "main")]
        twin = same[(same["left"] == row["right"]) & (same["right"] == row["left"])]
        assert len(twin) == 1  # sides swapped
        assert int(str(place)) - int(twin.index[0]) > SPACING
    require_sound(lab)


def test_the_database_itself_refuses_one_annotator_too_many(make_lab: MakeLab, database_url: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import IntegrityError

    lab = make_lab(database_url)
    for change in ("taken = wanted + 1, first_left = 2", "taken = 3, first_left = 3", "taken = -1"):
        with pytest.raises(IntegrityError), lab.store._database.write() as connection:
            connection.execute(text(f"UPDATE comparison SET {change} WHERE id = 1"))


@settings(deadline=None)
@given(taken=st.integers(0, 20), left=st.integers(0, 20))
def test_the_side_shown_less_often_is_the_one_allowed(taken: int, left: int) -> None:
    left = min(left, taken)
    for side in allowed_sides(taken, left):
        after = (left + side) - (taken - left + (not side))
        assert abs(after) <= max(1, abs(2 * left - taken) - 1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 0.999), min_size=10, max_size=10))
def test_ten_wishes_in_a_row_are_five_and_five(draws: list[float]) -> None:
    block = ""
    for draw in draws:
        block += wished_sides(block, draw)[0]
    assert block.count("L") == 5
    assert len(wished_sides(block, 0.5)) == 2  # a new block begins


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 12), st.integers(0, 12), st.text("abc", min_size=1, max_size=5))
def test_the_goal_holds_exactly_the_main_items_asked_for(mains: int, gold: int, repeat: int, name: str) -> None:
    if gold == 1 or repeat == 1:
        return
    protocol = Protocol(gold_every=gold, repeat_every=repeat)
    goal = goal_for(mains, name, protocol, 20)
    kinds = [kind_at(position, name, protocol, 20) for position in range(1, goal + 1)]
    assert kinds.count("main") == mains
    assert kinds[-1] == "main"
