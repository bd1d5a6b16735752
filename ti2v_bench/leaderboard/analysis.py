"""From checked votes to a Report: which votes enter, and every estimate of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ti2v_bench.leaderboard.exclusions import apply, checks, switched_off
from ti2v_bench.leaderboard.notes import table_notes
from ti2v_bench.leaderboard.published import beside
from ti2v_bench.leaderboard.quality import agreement_report, annotator_rows
from ti2v_bench.leaderboard.ranked import ranking
from ti2v_bench.leaderboard.records import (
    Average,
    Comparison,
    Protocol,
    Report,
    ReportSettings,
    ScenarioRow,
    Without,
)
from ti2v_bench.records import Estimate
from ti2v_bench.stats.averages import joint_majorities, joint_vote_shares, model_mix
from ti2v_bench.stats.clusters import estimates, p_values
from ti2v_bench.stats.leave_out import leave_one_out
from ti2v_bench.stats.proportions import benjamini_hochberg, holm, mirrored
from ti2v_bench.stats.shares import (
    choice_shares,
    decided_pairs,
    fixed_bench_shares,
    majorities,
    majority_p_values,
    position_bias,
    reason_shares,
    scenario_shares,
    vote_shares,
)
from ti2v_bench.stats.table import VoteTable, tabulate

SHARE = "share of votes, tie and both_bad count half; "


def analyse(votes: pd.DataFrame, settings: ReportSettings) -> Report:
    """Estimate everything a report shows.

    Args:
        votes: As `ti2v_bench.votes.read_votes` or `check_votes` returns it.

    Raises:
        UnknownStar: the star is in no vote.
        UnknownAnnotator: an annotator to be excluded is in no vote.
    """
    seen = checks(votes)
    kept, taken = apply(votes, settings.exclusions, seen)
    table = tabulate(kept, settings.star)
    bias = position_bias(table)
    comparisons = compare(table, settings)
    return Report(
        title=settings.title,
        protocol=_protocol(votes, table, taken, settings),
        comparisons=comparisons,
        averages=_averages(table, settings),
        ranking=ranking(table, settings),
        agreement=agreement_report(table, settings),
        position_bias=estimates(bias, settings.level, "P(left chosen) among votes for a side; ")[0],
        position_bias_p=float(p_values(bias)[0]) if bias.n[0] else None,
        scenarios=_scenarios(table, settings),
        annotators=annotator_rows(table, seen),
        without_exclusions=_without(votes, settings) if any(taken.values()) else (),
        published=beside(comparisons, settings.level) if settings.published else (),
    )


def _protocol(votes: pd.DataFrame, table: VoteTable, taken: Mapping[str, int], settings: ReportSettings) -> Protocol:
    excluded: dict[str, int] = {}
    if "kind" in votes:
        counts = votes["kind"].astype(str).value_counts()
        excluded = {f"kind {kind}": int(counts[kind]) for kind in sorted(counts.index) if kind != "main"}
    return Protocol(
        n_votes=table.n,
        n_pairs=len(table.pairs),
        n_annotators=len(table.annotators),
        n_scenarios=len(table.scenarios) if table.scenarios is not None else None,
        simulated=bool(votes["simulated"].any()) if "simulated" in votes else False,
        excluded=excluded | dict(taken),
        seed=settings.seed,
        level=settings.level,
        star=table.models[table.star] if table.star is not None else None,
        notes=(*table_notes(votes, table), *switched_off(votes, settings.exclusions)),
    )


def _without(votes: pd.DataFrame, settings: ReportSettings) -> tuple[Without, ...]:
    """The comparisons of all main votes, as if no rule had been given."""
    table = tabulate(votes, settings.star)
    shares = estimates(vote_shares(table), settings.level, SHARE)
    found = zip(range(len(table.matches)), majorities(table, settings.level), shares, strict=True)
    return tuple(Without(*table.match_names(match), majority, share) for match, majority, share in found)


def _scenarios(table: VoteTable, settings: ReportSettings) -> tuple[ScenarioRow, ...]:
    """Every scenario of every comparison, with Benjamini-Hochberg over all rows: exploratory."""
    found = scenario_shares(table)
    if found is None or table.scenarios is None:
        return ()
    matches, scenarios, means = found
    p = [float(value) for value in p_values(means)]
    shares, q = estimates(means, settings.level, "exploratory; " + SHARE), benjamini_hochberg(p)
    rows = [
        ScenarioRow(table.scenarios[scenario], *table.match_names(int(match)), share, one, adjusted)
        for match, scenario, share, one, adjusted in zip(matches, scenarios, shares, p, q, strict=True)
    ]
    return tuple(rows)


def compare(table: VoteTable, settings: ReportSettings) -> tuple[Comparison, ...]:
    """Everything about each pair of models, Holm over all of them."""
    if not table.n:
        return ()
    level = settings.level
    shares = vote_shares(table)
    p = [float(value) for value in p_values(shares)]
    adjusted, exact = holm(p), majority_p_values(table)
    share = estimates(shares, level, SHARE)
    fixed = _fixed_bench(table, share, level)
    majority = majorities(table, level)
    clustered = estimates(joint_majorities(table, np.eye(len(table.matches))), level, "majority of each pair's votes; ")
    reasons, other = reason_shares(table, level), choice_shares(table)
    won, lost, tied = decided_pairs(table)
    by_annotator, by_scenario = leave_one_out(table, "annotator"), leave_one_out(table, "scenario")
    found = []
    for match in range(len(table.matches)):
        model, opponent = table.match_names(match)
        found.append(
            Comparison(
                model=model,
                opponent=opponent,
                n_pairs=majority[match].n,
                n_votes=share[match].n,
                n_annotators=int(shares.clusters[1][match]),
                majority=majority[match],
                majority_clustered=clustered[match],
                vote_share=share[match],
                vote_share_fixed_bench=fixed[match],
                p_value=p[match],
                p_holm=adjusted[match],
                p_majority_exact=float(exact[match]),
                pairs_won=int(won[match]),
                pairs_lost=int(lost[match]),
                pairs_tied=int(tied[match]),
                tie_share=other[match]["tie"],
                both_bad_share=other[match]["both_bad"],
                reasons=reasons[match],
                leave_one_annotator_out=by_annotator[match],
                leave_one_scenario_out=by_scenario[match],
            )
        )
    return tuple(found)


def _fixed_bench(table: VoteTable, share: list[Estimate], level: float) -> list[Estimate]:
    fixed = fixed_bench_shares(table)
    if fixed is not None:
        return estimates(fixed, level, "conditional on this bench, centred within scenarios; ")
    why = "needs the columns image_id and scenario"
    return [Estimate(e.value, None, None, level, e.n, "no interval", why) for e in share]


def _averages(table: VoteTable, settings: ReportSettings) -> tuple[Average, ...]:
    """Mean over each model's comparisons; a single comparison is its own mean and keeps its own interval."""
    if not table.n:
        return ()
    level, mix = settings.level, model_mix(table)
    majority = estimates(joint_majorities(table, mix), level, "mean of majority over comparisons, joint jackknife; ")
    note = f"mean of vote_share over comparisons, {settings.resamples} joint resamples; "
    votes = estimates(joint_vote_shares(table, mix, settings.resamples, settings.seed), level, note)
    own = estimates(vote_shares(table), level, "the one comparison's vote_share; ")
    found = []
    for index, model in enumerate(table.models):
        met = np.flatnonzero(mix[index])
        share = votes[index]
        if len(met) == 1:
            share = own[met[0]] if mix[index, met[0]] > 0 else mirrored(own[met[0]])
        found.append(Average(model, len(met), majority[index], share))
    return tuple(found)
