"""What a report says: its contract, hand-made studies, and what may not change when names and rows do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.votes_by_hand import COLUMNS, random_votes, votes
from ti2v_bench.leaderboard import Exclusions, Report, ReportSettings
from ti2v_bench.leaderboard.analysis import analyse
from ti2v_bench.leaderboard.exclusions import UnknownAnnotator
from ti2v_bench.leaderboard.report_json import to_json
from ti2v_bench.stats.table import UnknownStar
from ti2v_bench.votes import check_votes

QUICK = ReportSettings(resamples=200)


def report(frame: pd.DataFrame, **changes: Any) -> Report:
    return analyse(check_votes(frame), ReportSettings(resamples=200, **changes))


def as_json(found: Report) -> dict[str, Any]:
    body = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert isinstance(body, dict)
    return body


def test_report_has_every_field_of_the_contract() -> None:
    body = as_json(report(random_votes(models=("A", "B", "C"))))
    protocol = "n_votes n_pairs n_annotators n_scenarios simulated excluded seed level"
    comparison = (
        "model opponent n_pairs n_votes n_annotators majority vote_share vote_share_fixed_bench p_value p_holm "
        "p_majority_exact reasons"
    )
    expected = {
        "protocol": protocol,
        "ranking": "identifiable why models",
        "agreement": "krippendorff_alpha raw splits",
        "position_bias": "value low high level n method",
    }
    rows = {
        "comparisons": comparison,
        "averages": "model majority vote_share",
        "scenarios": "scenario model opponent vote_share",
        "annotators": "annotator n agreement_with_majority left_share flags",
    }
    for name, fields in expected.items():
        assert set(fields.split()) <= set(body[name]), name
    for name, fields in rows.items():
        assert set(fields.split()) <= set(body[name][0]), name
    reasons = body["comparisons"][0]["reasons"]
    assert set(reasons) == {"object_motion", "text_alignment", "image_alignment", "overall_quality"}
    assert set(reasons["object_motion"]) == {"model", "none", "opponent"}


def test_majority_and_vote_share_by_hand() -> None:
    found = analyse(
        votes(
            ("p", "A", "B", "left", "1"), ("p", "B", "A", "right", "2"), ("p", "A", "B", "right", "3"),
            ("q", "A", "B", "left", "1"), ("q", "A", "B", "right", "2"), ("q", "A", "B", "tie", "3"),
            ("r", "A", "B", "right", "1"), ("r", "A", "B", "both_bad", "2"), ("r", "A", "B", "tie", "3"),
        ),
        QUICK,
    ).comparisons[0]  # fmt: skip
    # p: 2-1 for A; q: 1-1 is a tie and counts half; r: the only vote that names a model names B
    assert found.majority.value == pytest.approx(1.5 / 3)
    assert (found.pairs_won, found.pairs_lost, found.pairs_tied) == (1, 1, 1)
    assert found.vote_share.value == pytest.approx((2 + 1 + 0.5 + 2 * 0.5) / 9)
    assert (found.tie_share, found.both_bad_share) == pytest.approx((2 / 9, 1 / 9))
    assert found.p_majority_exact == binomtest(1, 2).pvalue


def test_reason_shares_are_of_all_votes_and_sum_to_one() -> None:
    frame = random_votes(seed=3)
    given_ = frame["reasons"].str.contains("object_motion")
    chosen = frame["left"].where(frame["choice"] == "left", frame["right"])
    found = report(frame).comparisons[0].reasons["object_motion"]
    assert found["model"].value == pytest.approx((given_ & (chosen == "A")).mean())
    assert found["opponent"].value == pytest.approx((given_ & (chosen == "B")).mean())
    assert sum(each.value or 0 for each in found.values()) == pytest.approx(1)


def test_only_main_rows_enter() -> None:
    frame = random_votes()
    extra = frame.assign(kind="gold", vote_id="g" + frame["vote_id"], choice="left")
    both = pd.concat([frame, extra, extra.assign(kind="training", vote_id="t" + frame["vote_id"])], ignore_index=True)
    one, two = report(frame), report(both)
    assert one.comparisons == two.comparisons
    assert two.protocol.excluded == {"kind gold": 120, "kind training": 120}


def test_required_columns_alone_work_and_say_what_is_off() -> None:
    found = report(random_votes()[list(COLUMNS)])
    comparison = found.comparisons[0]
    assert "pairs x 8 annotators" in comparison.vote_share.method
    assert comparison.vote_share_fixed_bench.why == "needs the columns image_id and scenario"
    assert comparison.reasons == {}
    assert found.scenarios == ()
    assert found.protocol.n_scenarios is None
    notes = "; ".join(found.protocol.notes)
    assert all(f"no {column} column" in notes for column in ("scenario", "image_id", "reasons", "kind", "simulated"))


HAND_MADE = {
    "unanimous": random_votes(choices=(1, 0, 0, 0)).assign(left="A", right="B"),
    "all ties": random_votes(choices=(0, 0, 1, 0)),
    "all both bad": random_votes(choices=(0, 0, 0, 1)),
    "one annotator": random_votes(annotators=1, votes_each=1),
    "one scenario": random_votes(scenarios=1),
    "one pair": random_votes(pairs=1),
    "one vote": random_votes().iloc[:1],
    "two votes": random_votes().iloc[:2],
    "empty": random_votes().iloc[:0],
    "disconnected": pd.concat([random_votes(), random_votes(("C", "D")).assign(vote_id=lambda f: "x" + f["vote_id"])]),
    "separated": random_votes("ABC", star=False).assign(
        choice=lambda f: np.where(f["left"] < f["right"], "left", "right")
    ),
    "no upset": random_votes("ABCD", star=False).assign(
        choice=lambda f: np.where(f.index % 4 == 0, "tie", np.where(f["left"] < f["right"], "left", "right"))
    )[lambda f: f["left"].isin(["A", "B"]) != f["right"].isin(["A", "B"])],
    "one pair each": random_votes("ABCD", star=False, pairs=1),
}


@pytest.mark.parametrize("name", HAND_MADE)
@pytest.mark.parametrize("columns", [None, list(COLUMNS)])
def test_hand_made_studies_give_named_results_and_never_nan(name: str, columns: list[str] | None) -> None:
    frame = HAND_MADE[name].reset_index(drop=True)
    body = as_json(report(frame[columns] if columns else frame))

    def visit(value: object) -> None:
        if isinstance(value, dict):
            if {"value", "low", "high", "method"} <= set(value):
                assert value["method"]
                missing = value["value"] is None or value["low"] is None
                assert bool(value.get("why")) == missing, value
                if not missing:
                    assert value["low"] <= value["value"] <= value["high"], value
            for each in value.values():
                visit(each)
        elif isinstance(value, list):
            for each in value:
                visit(each)

    visit(body)
    assert body["ranking"]["identifiable"] or body["ranking"]["why"]


def test_refusals_are_named_in_the_report() -> None:
    words = {"disconnected": "disconnected", "separated": "separated", "empty": "no vote"}
    for name, expected in words.items():
        assert expected in (report(HAND_MADE[name].reset_index(drop=True)).ranking.why or "")
    assert report(HAND_MADE["separated"], penalised=True).ranking.method.startswith("penalised")  # type: ignore[union-attr]


def test_the_star_decides_the_side_and_an_unknown_one_is_refused() -> None:
    frame = random_votes(("B", "A", "C"))
    assert {c.model for c in report(frame).comparisons} == {"B"}
    two = random_votes(("B", "A"))
    assert report(two).comparisons[0].model == "A"
    assert report(two, star="B").comparisons[0].model == "B"
    with pytest.raises(UnknownStar, match=r"'Z' is in no vote\. Models: A, B"):
        report(two, star="Z")


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=8, deadline=None)
def test_swapping_left_and_right_changes_only_the_position(seed: int) -> None:
    frame = random_votes(("A", "B", "C"), pairs=8, seed=seed, choices=(0.4, 0.4, 0.2, 0))
    flip = np.random.default_rng(seed).random(len(frame)) < 0.5
    other = frame.copy()
    other.loc[flip, ["left", "right"]] = frame.loc[flip, ["right", "left"]].to_numpy()
    other.loc[flip, "choice"] = frame.loc[flip, "choice"].map({"left": "right", "right": "left", "tie": "tie"})
    one, two = as_json(report(frame)), as_json(report(other))
    for name in ("comparisons", "averages", "agreement", "scenarios", "ranking", "protocol"):
        assert one[name] == two[name], name
    assert one["position_bias"]["n"] == two["position_bias"]["n"]


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=8, deadline=None)
def test_renaming_and_permuting_change_only_names(seed: int) -> None:
    frame = random_votes("ABCD", pairs=6, seed=seed, star=False, choices=(0.4, 0.4, 0.1, 0.1))
    new = {"A": "Alpha", "B": "beta & <b>", "C": "c|c", "D": "délta"}  # the order of names is kept
    renamed = frame.assign(left=frame["left"].map(new), right=frame["right"].map(new))
    renamed["annotator"] = "x" + renamed["annotator"]
    one = as_json(report(frame))
    two = as_json(report(renamed.sample(frac=1, random_state=seed)))
    for row in [*two["comparisons"], *two["averages"], *two["ranking"]["models"], *two["scenarios"]]:
        for key in ("model", "opponent"):
            if key in row:
                row[key] = next(old for old, name in new.items() if name == row[key])
    for name in ("averages", "agreement", "scenarios", "ranking", "position_bias"):
        assert one[name] == two[name], name
    for first, second in zip(one["comparisons"], two["comparisons"], strict=True):
        for kind in ("leave_one_annotator_out", "leave_one_scenario_out"):
            first.pop(kind), second.pop(kind)
        assert first == second


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=6, deadline=None)
def test_a_copy_of_the_study_under_new_names_changes_no_share(seed: int) -> None:
    frame = random_votes(pairs=8, seed=seed)
    copy = frame.assign(
        vote_id="c" + frame["vote_id"], left="c" + frame["left"], right="c" + frame["right"],
        annotator="c" + frame["annotator"],
    )  # fmt: skip
    one, both = report(frame), report(pd.concat([frame, copy], ignore_index=True))
    assert both.comparisons[0].vote_share == one.comparisons[0].vote_share
    assert both.comparisons[1].vote_share == one.comparisons[0].vote_share
    assert both.comparisons[0].p_holm == pytest.approx(min(1.0, 2 * (one.comparisons[0].p_value or 0)))
    assert "disconnected" in (both.ranking.why or "")


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=6, deadline=None)
def test_the_same_votes_again_as_another_study_narrow_no_interval(seed: int) -> None:
    """Twice the votes of the same people on the same scenes are no new evidence."""
    frame = random_votes("ABC", pairs=8, seed=seed, star=False, choices=(0.4, 0.4, 0.1, 0.1))
    copy = frame.assign(vote_id="c" + frame["vote_id"], study="t")
    one, two = (as_json(report(each)) for each in (frame, pd.concat([frame, copy], ignore_index=True)))
    for before, after in zip(one["comparisons"], two["comparisons"], strict=True):
        assert after["n_votes"] == 2 * before["n_votes"]
        assert after["majority"] == before["majority"]
        for name in ("vote_share", "vote_share_fixed_bench"):
            parts = [[each[name][part] for part in ("value", "low", "high")] for each in (before, after)]
            assert parts[0] == pytest.approx(parts[1], abs=1e-9)
        assert before["p_value"] == pytest.approx(after["p_value"], rel=1e-6)
    notes = "; ".join(two["protocol"]["notes"])
    assert "votes of 2 studies are taken together: s, t" in notes
    assert f"{len(frame)} votes are second votes" in notes


@given(st.integers(0, 1000))
@settings(derandomize=True, max_examples=6, deadline=None)
def test_exchanging_the_names_of_two_models_mirrors_everything(seed: int) -> None:
    frame = random_votes(pairs=8, seed=seed, choices=(0.4, 0.4, 0.1, 0.1))
    other = frame.assign(**{side: frame[side].map({"A": "B", "B": "A"}) for side in ("left", "right")})
    one, two = (report(each).comparisons[0] for each in (frame, other))
    for name in ("majority", "majority_clustered", "vote_share", "vote_share_fixed_bench"):
        a, b = getattr(one, name), getattr(two, name)
        assert (a.value, a.low, a.high) == pytest.approx((1 - b.value, 1 - b.high, 1 - b.low), abs=1e-9)
    assert one.p_value == pytest.approx(two.p_value, abs=1e-9)
    assert one.p_majority_exact == pytest.approx(two.p_majority_exact)
    assert (one.pairs_won, one.pairs_lost, one.pairs_tied) == (two.pairs_lost, two.pairs_won, two.pairs_tied)
    for reason in one.reasons:
        a, b = one.reasons[reason]["model"], two.reasons[reason]["opponent"]
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-9)


def test_a_rule_that_the_table_cannot_follow_is_named() -> None:
    frame = random_votes()[list(COLUMNS)]
    notes = report(
        frame, exclusions=Exclusions(min_seconds=2, min_gold=0.5, min_repeat=0.5, min_votes=1)
    ).protocol.notes
    assert [note for note in notes if note.startswith("the rule")] == [
        "the rule min_seconds was not applied: the table lacks the column shown_at and the column answered_at",
        "the rule min_gold was not applied: the table lacks gold rows",
        "the rule min_repeat was not applied: the table lacks repeat rows",
    ]


def test_a_repeat_is_held_against_the_first_vote_whatever_the_order_of_rows() -> None:
    first = random_votes().iloc[:1].assign(choice="left")
    second = first.assign(vote_id="w", choice="right", answered_at="2026-01-02T00:00:00Z")
    repeat = first.assign(vote_id="x", kind="repeat", answered_at="2026-01-03T00:00:00Z")
    for rows in ([first, second, repeat], [repeat, second, first]):
        assert report(pd.concat(rows, ignore_index=True)).annotators[0].repeats == 1


def test_simulated_votes_are_marked_even_where_only_votes_left_out_are() -> None:
    frame = random_votes()
    frame["simulated"] = np.where(frame["annotator"] == "a03", "true", "false")
    assert report(frame, exclusions=Exclusions(annotators=("a03",))).protocol.simulated
    assert not report(frame.assign(simulated="false")).protocol.simulated


def test_reasons_that_count_for_nobody_are_named() -> None:
    frame = random_votes(choices=(0.5, 0.4, 0.1, 0)).assign(reasons="object_motion")
    frame.loc[:6, "reasons"] = ""
    notes = report(frame).protocol.notes
    ties = int((frame["choice"][7:] == "tie").sum())
    assert f"{ties} votes give reasons for no side; those reasons are not counted" in notes
    assert "7 votes have an empty reasons cell, which counts as none" in notes


def test_models_whose_names_look_alike_are_kept_apart_and_named() -> None:
    found = report(random_votes(("MotiF", "motif", "Moti F")))
    assert len(found.comparisons) == 2
    assert any(
        "differ only in case, spaces" in note and "'Moti F', 'MotiF', 'motif'" in note for note in found.protocol.notes
    )


def test_the_fixed_bench_method_counts_all_images_and_tests_with_those_left_to_vary() -> None:
    frame = random_votes(pairs=24, scenarios=5)  # 12 images
    assert "(12 images x 8 annotators), t with 7 df" in report(frame).comparisons[0].vote_share_fixed_bench.method
    same = frame.assign(left="A", right="B", choice="left")
    method = report(same).comparisons[0].vote_share_fixed_bench.method
    assert "each of 8 images (12 less one per stratum, plus one) counted once" in method


def test_exclusions_are_counted_and_shown_with_and_without() -> None:
    frame = random_votes(seed=2)
    found = report(frame, exclusions=Exclusions(annotators=("a03",), min_seconds=10))
    times = pd.to_datetime(frame["answered_at"]) - pd.to_datetime(frame["shown_at"])
    named = frame["annotator"] == "a03"
    fast = (times.dt.total_seconds() < 10) & ~named
    assert found.protocol.excluded == {"annotator named": int(named.sum()), "answered in under 10 s": int(fast.sum())}
    assert found.comparisons[0].n_votes == int((~named & ~fast).sum())
    assert found.without_exclusions[0].vote_share == report(frame).comparisons[0].vote_share
    assert report(frame).without_exclusions == ()
    with pytest.raises(UnknownAnnotator, match="'nobody'"):
        report(frame, exclusions=Exclusions(annotators=("nobody",)))


def test_rules_on_gold_repeats_sides_and_second_votes() -> None:
    frame = random_votes(seed=4)
    gold = frame[frame["pair_id"] < "p004"].assign(kind="gold", left="A", right="B", choice="left")
    gold.loc[gold["annotator"] == "a01", "choice"] = "right"
    repeat = frame[frame["annotator"] == "a02"].assign(kind="repeat")
    repeat["choice"] = repeat["choice"].map({"left": "right", "right": "left"})
    again = frame[:3].assign(choice="left", answered_at="2026-01-02T00:00:00Z")
    whole = pd.concat([frame, gold, repeat, again], ignore_index=True).assign(vote_id=lambda f: f.index.astype(str))
    rules = Exclusions(min_gold=0.5, min_repeat=0.5, second_votes=True)
    found = report(whole, exclusions=rules).protocol.excluded
    votes_of = frame["annotator"].value_counts()
    assert found["annotator below 0.5 on gold"] == votes_of["a01"] + (again["annotator"] == "a01").sum()
    assert found["annotator below 0.5 on repeats"] == votes_of["a02"] + (again["annotator"] == "a02").sum()
    assert found["second vote on one comparison"] == (~again["annotator"].isin(["a01", "a02"])).sum()
    left = frame.assign(choice=np.where(frame["annotator"] == "a05", "left", frame["choice"]))
    pulled = report(left, exclusions=Exclusions(max_one_side=0.95))
    assert pulled.protocol.excluded == {"annotator above 0.95 on one side": votes_of["a05"]}
    flags = {row.annotator: row.flags for row in report(whole).annotators}
    assert "gold" in flags["a01"]
    assert "repeats" in flags["a02"]


def test_an_annotator_who_always_chooses_left_is_flagged() -> None:
    frame = random_votes(pairs=80, annotators=6)
    frame.loc[frame["annotator"] == "a00", "choice"] = "left"
    flags = {row.annotator: row.flags for row in report(frame).annotators}
    assert "left-pull" in flags["a00"]
    assert all("left-pull" not in flags[name] for name in flags if name != "a00")


def test_published_numbers_stand_beside_the_study(tmp_path: Path) -> None:
    found = report(random_votes(("motif", "dynami_crafter", "SEINE")), published=True)
    rows = {row.opponent: row for row in found.published}
    assert len(rows) == 9
    assert rows["DynamiCrafter"].published.value == pytest.approx(193 / 320)
    assert rows["SEINE"].model_here == "motif"
    assert rows["SEINE"].here == next(c.majority for c in found.comparisons if c.opponent == "SEINE")
    assert rows["Cinemo"].here is None
