"""Voting through the store: stages, idempotence, undo, expiry. Each test runs on SQLite and on PostgreSQL."""

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError

from annotation_app.answers import UNDO_MS, Answer
from annotation_app.export import COLUMNS, vote_table
from annotation_app.store import Store
from annotation_app.study import open_study
from tests.annotation_app.conftest import PLAIN, Lab, require_sound

MakeLab = Callable[..., Lab]
LEFT = Answer("left", ("object_motion",))


def test_a_vote_is_stored_as_given_and_exported_in_the_contracts_columns(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    outcome = lab.answer(who, "right", ("overall_quality", "text_alignment"))
    assert outcome.saved is not None
    assert not outcome.saved.repeated
    table = vote_table(lab.url)
    assert tuple(table.columns) == COLUMNS
    row = table.iloc[0]
    assert (row["choice"], row["reasons"], row["kind"]) == ("right", "text_alignment;overall_quality", "main")
    assert "comet" in (row["left"], row["right"])
    assert row["answered_at"].endswith("Z")
    assert "Ann" not in table.to_csv()
    require_sound(lab)


def test_the_same_vote_sent_again_changes_nothing(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(3)
    first = lab.choose_and_vote(who, token, LEFT)
    again = lab.store.vote(who, token, Answer("right", ()))
    assert again.saved is not None
    assert again.saved.repeated
    assert again.state["token"] == first.state["token"]
    assert vote_table(lab.url)["choice"].tolist() == ["left"]
    require_sound(lab)


def test_reasons_are_taken_only_after_the_choice_was_committed(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(3)
    for choice in (None, "right"):
        if choice is not None:
            assert lab.store.choose(who, token, choice).refused is None
        refused = lab.store.vote(who, token, LEFT).refused
        assert refused is not None
        assert refused.reason == "choice"
    assert vote_table(lab.url).empty
    assert lab.store.vote(who, token, Answer("right", ())).saved is not None


def test_a_choice_may_change_until_the_vote_and_every_change_is_an_event(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(3)
    for choice in ("left", "left", "right", "right"):
        assert lab.store.choose(who, token, choice).refused is None
    assert lab.rows("SELECT count(*) FROM event WHERE what = 'task.chosen'") == [(2,)]
    assert lab.store.vote(who, token, Answer("right", ())).saved is not None
    late = lab.store.choose(who, token, "left")  # a delayed copy
    assert late.refused is not None
    assert vote_table(lab.url)["choice"].tolist() == ["right"]
    require_sound(lab)


def test_a_choice_outlives_the_server_and_an_undo(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    assert lab.store.state(who).state["choice"] is None
    lab.clock.pass_seconds(3)
    lab.store.choose(who, token, "right")
    key = lab.store._facts.media.with_name(lab.store._facts.media.name.removesuffix(".media") + ".key")
    restarted = Store(open_study(lab.url, key), lab.clock)
    assert restarted.state(who).state["choice"] == "right"
    state = restarted.vote(who, token, Answer("right", ())).state
    assert state["choice"] is None
    assert restarted.undo(who, str(state["token"])).state["choice"] == "right"
    restarted.close()


def test_nobody_chooses_in_a_task_that_is_not_on_their_screen(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    ann, bob = lab.join("Ann"), lab.join("Bob")
    token = str(lab.store.state(ann).state["token"])
    lab.store.state(bob)
    lab.clock.pass_seconds(3)
    assert lab.store.choose(bob, token, "left").refused is not None
    assert lab.store.choose(bob, "x", "left").refused is not None
    assert lab.store.choose(ann, token, "tie").refused is not None
    lab.store.report_broken(ann, token, "both")
    assert lab.store.choose(ann, token, "left").refused is not None
    assert lab.rows("SELECT count(*) FROM task WHERE choice IS NOT NULL") == [(0,)]
    require_sound(lab)


def test_a_choice_after_the_lease_takes_the_task_again_unless_another_is_open(
    make_lab: MakeLab, database_url: str
) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    for _ in range(2):
        lab.clock.pass_seconds(21 * 60)
        lab.store.sweep()
        require_sound(lab)
        assert lab.store.choose(who, token, "left").refused is None
        require_sound(lab)
    assert lab.store.state(who).state["token"] == token
    lab.clock.pass_seconds(21 * 60)
    lab.store.sweep()
    other = lab.store.state(who).state
    assert other["token"] != token
    for refused in (lab.store.choose(who, token, "right"), lab.store.vote(who, token, LEFT)):
        assert refused.refused is not None
        assert refused.state["token"] == other["token"]
    require_sound(lab)


def test_a_choice_before_the_longest_clip_has_passed_is_refused(make_lab: MakeLab) -> None:
    lab = make_lab()
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(0.249)
    early = lab.store.choose(who, token, "left")
    assert early.refused is not None
    assert early.refused.reason == "early"
    assert vote_table(lab.url).empty
    assert lab.store.vote(who, token, LEFT).refused is not None
    lab.clock.pass_seconds(0.001)
    assert lab.choose_and_vote(who, token, LEFT).saved is not None


@pytest.mark.parametrize(
    "answer",
    [
        Answer("tie", ()),
        Answer("both_bad", ()),
        Answer("middle", ()),
        Answer("left", ("beauty",)),
        Answer("left", ("object_motion", "object_motion")),
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(make_lab: MakeLab, answer: Answer) -> None:
    lab = make_lab()
    who = lab.join("Ann")
    token = str(lab.store.state(who).state["token"])
    lab.clock.pass_seconds(3)
    lab.store.choose(who, token, "left")
    refused = lab.choose_and_vote(who, token, answer).refused
    assert refused is not None
    assert refused.reason == "invalid"
    assert vote_table(lab.url).empty


def test_ties_are_taken_where_the_study_allows_them_but_carry_no_reasons(make_lab: MakeLab) -> None:
    from dataclasses import replace

    lab = make_lab(protocol=replace(PLAIN, tie=True))
    who = lab.join("Ann")
    assert lab.answer(who, "tie", ("object_motion",)).refused is not None
    assert lab.answer(who, "tie", ()).saved is not None
    assert vote_table(lab.url)[["choice", "reasons"]].iloc[0].tolist() == ["tie", "none"]


def test_a_foreign_or_forged_token_is_refused_and_changes_nothing(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    ann, bob = lab.join("Ann"), lab.join("Bob")
    token = str(lab.store.state(ann).state["token"])
    lab.store.state(bob)
    lab.clock.pass_seconds(3)
    foreign = lab.choose_and_vote(bob, token, LEFT)
    forged = lab.choose_and_vote(bob, token[:-1] + "~", LEFT)
    assert foreign.refused is not None
    assert forged.refused is not None
    assert (foreign.refused.reason, forged.refused.reason) == ("foreign", "stale")
    assert vote_table(lab.url).empty
    require_sound(lab)


def test_the_preloaded_task_cannot_be_answered_before_it_is_shown(make_lab: MakeLab) -> None:
    lab = make_lab()
    who = lab.join("Ann")
    lab.store.state(who)
    (token,) = lab.rows("SELECT token FROM task WHERE status = 'ready'")[0]
    lab.clock.pass_seconds(30)
    assert lab.store.choose(who, str(token), "left").refused is not None
    assert lab.store.vote(who, str(token), LEFT).refused is not None
    assert vote_table(lab.url).empty


def test_a_reload_and_a_second_tab_show_the_same_task(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    assert lab.store.state(who).state["token"] == lab.store.state(who).state["token"]
    assert lab.join("  Ann") != who  # names are brought to one form by the route, not here
    assert lab.store.enter("open", "Ann") == who


def test_undo_opens_the_last_task_again_and_a_repeated_undo_does_not(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    before = lab.store.state(who).state
    after = lab.answer(who).state
    undone = lab.store.undo(who, str(after["token"]))
    assert undone.previous == LEFT
    assert undone.state["prompt"] == before["prompt"]
    assert undone.state["token"] != before["token"]
    assert vote_table(lab.url).empty
    twice = lab.store.undo(who, str(after["token"]))
    assert twice.refused is not None
    late = lab.store.vote(who, str(before["token"]), LEFT)  # a delayed copy of the undone vote
    assert late.refused is not None
    require_sound(lab)
    assert lab.answer(who, "right").state["prompt"] == after["prompt"]
    assert vote_table(lab.url)["choice"].tolist() == ["right"]
    require_sound(lab)


def test_an_old_answer_cannot_be_undone(make_lab: MakeLab) -> None:
    lab = make_lab()
    who = lab.join("Ann")
    token = str(lab.answer(who).state["token"])
    lab.clock.pass_seconds(UNDO_MS / 1000 + 1)
    assert lab.store.undo(who, token).refused is not None
    assert len(vote_table(lab.url)) == 1


def test_an_expired_lease_returns_and_its_late_vote_counts_only_while_there_is_room(
    make_lab: MakeLab, database_url: str
) -> None:
    lab = make_lab(database_url, pairs=1, models=("comet", "alpha"), votes=1)
    ann, bob = lab.join("Ann"), lab.join("Bob")
    token = str(lab.store.state(ann).state["token"])
    assert lab.store.state(bob).state["stage"] == "finished"
    lab.clock.pass_seconds(21 * 60)
    assert lab.store.sweep() == 1
    require_sound(lab)
    assert lab.store.more(bob).state["stage"] == "task"
    assert lab.choose_and_vote(ann, token, LEFT).refused is not None
    lab.clock.pass_seconds(21 * 60)
    lab.store.sweep()
    assert lab.choose_and_vote(ann, token, LEFT).saved is not None
    require_sound(lab)
    assert len(vote_table(lab.url)) == 1


def test_a_video_that_does_not_play_is_recorded_and_its_place_returns(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url)
    who = lab.join("Ann")
    state = lab.store.state(who).state
    outcome = lab.store.report_broken(who, str(state["token"]), "left")
    assert outcome.saved is not None
    assert outcome.state["token"] != state["token"]
    assert outcome.state["done"] == 1
    assert lab.rows("SELECT count(*) FROM event WHERE what = 'task.broken'") == [(1,)]
    require_sound(lab)


def test_every_comparison_ends_with_exactly_k_annotators(make_lab: MakeLab, database_url: str) -> None:
    lab = make_lab(database_url, pairs=5, votes=3)
    people = [lab.join(f"person {n}") for n in range(5)]
    for _ in range(60):
        for who in people:
            if lab.store.state(who).state["stage"] == "task":
                lab.answer(who)
    table = vote_table(lab.url)
    assert len(table) == 5 * 3 * 3
    keys = table["pair_id"] + [min(pair) + "/" + max(pair) for pair in zip(table["left"], table["right"], strict=True)]
    assert set(Counter(keys).values()) == {3}
    assert not (keys + table["annotator"]).duplicated().any()
    require_sound(lab)


def test_events_cannot_be_changed_or_deleted(make_lab: MakeLab, database_url: str) -> None:
    from sqlalchemy import text

    lab = make_lab(database_url)
    lab.join("Ann")
    for statement in ("UPDATE event SET what = 'x'", "DELETE FROM event"):
        with pytest.raises(DBAPIError, match="never changed"), lab.store._database.write() as connection:
            connection.execute(text(statement))
    assert lab.rows("SELECT count(*) FROM event") != [(0,)]
