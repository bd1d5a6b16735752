"""Joint means against direct bootstraps and jackknives written out row by row."""

import numpy as np
import pandas as pd
import pytest

from tests.votes_by_hand import random_votes
from ti2v_bench.stats.averages import joint_majorities, joint_vote_shares, model_mix
from ti2v_bench.stats.clusters import intervals
from ti2v_bench.stats.leave_out import leave_one_out
from ti2v_bench.stats.shares import majorities, vote_shares
from ti2v_bench.stats.table import VoteTable, tabulate
from ti2v_bench.votes import check_votes


def table_of(seed: int = 0, **kwargs: object) -> tuple[pd.DataFrame, VoteTable]:
    frame = random_votes(models=("A", "B", "C"), seed=seed, choices=(0.6, 0.3, 0.1, 0.0), **kwargs)  # type: ignore[arg-type]
    table = tabulate(check_votes(frame))
    chosen = frame["left"].where(frame["choice"] == "left", frame["right"])
    frame["score"] = np.where(frame["choice"] == "tie", 0.5, (chosen == "A").astype(float))
    frame["opponent"] = np.where(frame["left"] == "A", frame["right"], frame["left"])
    return frame, table


def mean_share(rows: pd.DataFrame, weights: "np.ndarray | None" = None) -> float:
    w = np.ones(len(rows)) if weights is None else weights
    score, against = rows["score"].to_numpy(), rows["opponent"].to_numpy()
    return float(np.mean([np.average(score[against == name], weights=w[against == name]) for name in ("B", "C")]))


def mean_majority(rows: pd.DataFrame) -> float:
    sign = np.sign((rows["score"] - 0.5).groupby([rows["opponent"], rows["pair_id"]]).sum().round(9))
    return float(((1 + sign) / 2).groupby(level=0).mean().mean())


def test_average_share_agrees_with_a_bootstrap_of_rows() -> None:
    frame, table = table_of(pairs=20)
    means = joint_vote_shares(table, model_mix(table), 4000, 0)
    assert means.value[0] == pytest.approx(mean_share(frame), abs=1e-12)
    rng, spread = np.random.default_rng(5), []
    for column in ("scenario", "annotator"):
        codes, names = pd.factorize(frame[column])
        size = len(names)
        draws = [
            mean_share(frame, np.bincount(rng.integers(0, size, size), minlength=size)[codes] + 1e-12)
            for _ in range(600)
        ]
        spread.append(np.var(draws) * size / (size - 1))
    rest = frame["score"] - frame.groupby("opponent")["score"].transform("mean")
    share = rest / frame.groupby("opponent")["score"].transform("size") / 2
    cells = share.groupby([frame["scenario"], frame["annotator"]]).sum()
    cell = (cells**2).sum() * len(cells) / (len(cells) - 1)
    expected = max(spread[0] + spread[1] - cell, *spread)
    assert means.variance[0] == pytest.approx(expected, rel=0.15)


def test_average_of_one_comparison_has_that_comparisons_interval() -> None:
    _, table = table_of()
    mixed = joint_vote_shares(table, np.eye(2), 20_000, 0)
    own = vote_shares(table)
    assert mixed.value == pytest.approx(own.value, abs=1e-12)
    assert np.sqrt(mixed.variance) == pytest.approx(np.sqrt(own.variance), rel=0.05)


def test_majority_variance_agrees_with_a_jackknife_of_rows() -> None:
    frame, table = table_of(pairs=20, votes_each=4)
    means = joint_majorities(table, model_mix(table))
    assert means.value[0] == pytest.approx(mean_majority(frame), abs=1e-12)
    jackknife = []
    for keys in (frame["annotator"], frame["scenario"] + frame["annotator"]):
        without = np.array([mean_majority(frame[keys != name]) for name in keys.unique()])
        jackknife.append((len(without) - 1) / len(without) * ((without - without.mean()) ** 2).sum())
    sign = np.sign((frame["score"] - 0.5).groupby([frame["opponent"], frame["pair_id"]]).sum().round(9))
    majority = ((1 + sign) / 2).reset_index(name="m")
    majority["scenario"] = majority["pair_id"].map(dict(zip(frame["pair_id"], frame["scenario"], strict=True)))
    rest = (majority["m"] - majority.groupby("opponent")["m"].transform("mean")) / 20 / 2
    sums = rest.groupby(majority["scenario"]).sum()
    scenario = (sums**2).sum() * len(sums) / (len(sums) - 1)
    assert means.variance[0] == pytest.approx(scenario + max(jackknife[0] - jackknife[1], 0), rel=1e-9)


def test_same_seed_gives_the_same_resamples_and_another_seed_others() -> None:
    _, table = table_of()
    mix = model_mix(table)
    first, again, other = (joint_vote_shares(table, mix, 200, seed).variance for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_majority_of_both_sides_adds_to_one_and_limits_mirror() -> None:
    _, table = table_of()
    low, high = intervals(joint_majorities(table, np.array([[1.0, 0.0], [-1.0, 0.0]])), 0.95)
    assert low[0] == pytest.approx(1 - high[1], abs=1e-12)
    assert majorities(table, 0.95)[0].value == pytest.approx(joint_majorities(table, np.eye(2)).value[0], abs=1e-12)


def test_leaving_one_out_agrees_with_counting_again() -> None:
    frame, table = table_of(pairs=12, votes_each=3)
    rows = frame[frame["opponent"] == "B"]
    for kind in ("annotator", "scenario"):
        found = leave_one_out(table, kind)[0]  # type: ignore[arg-type]
        assert found is not None
        without = {name: rows[rows[kind] != name] for name in sorted(rows[kind].unique())}
        shares = {name: part["score"].mean() for name, part in without.items()}
        majority = {name: mean_majority(part) for name, part in without.items()}
        assert (found.vote_share_low, found.vote_share_high) == pytest.approx(
            (min(shares.values()), max(shares.values()))
        )
        assert (found.majority_low, found.majority_high) == pytest.approx(
            (min(majority.values()), max(majority.values()))
        )
        side, pairs = np.sign(rows["score"].mean() - 0.5), np.sign(round(mean_majority(rows) - 0.5, 12))
        assert found.changes_vote_share == tuple(n for n, s in shares.items() if np.sign(round(s - 0.5, 12)) != side)
        assert found.changes_majority == tuple(n for n, m in majority.items() if np.sign(round(m - 0.5, 12)) != pairs)
