"""How well metrics predict votes: comparison by comparison, reason by reason, and as an order of the models."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ti2v_bench.metrics.catalogue import METRICS, MetricError
from ti2v_bench.metrics.ranks import RankAgreement, rank_agreement
from ti2v_bench.metrics.table import metric_columns
from ti2v_bench.metrics.videos import STATIC
from ti2v_bench.records import Estimate
from ti2v_bench.stats.clusters import clustered_means, estimates
from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable, tabulate
from ti2v_bench.votes import REASONS

Floats = NDArray[np.float64]
OVERALL = "overall"


@dataclass(frozen=True)
class MetricAgreement:
    """How one metric stands to the votes."""

    metric: str
    predicted: dict[str, Estimate]
    """`overall` and per reason given: share of votes whose chosen video the metric scores better (equal: half)."""
    kendall: Estimate
    """Kendall's tau-b between the models ordered by the metric's mean and by votes."""
    static_preferred: Estimate
    """Share of videos that the metric scores below the still image of the same pair (equal: half)."""


@dataclass(frozen=True)
class AgreementReport:
    """All metrics, and what was left out."""

    metrics: tuple[MetricAgreement, ...]
    votes: int
    """Votes that name a model."""
    without_choice: int
    """Votes of `tie` and `both_bad`, which no metric can predict."""
    without_values: dict[str, int]
    """Per metric: votes on a comparison one of whose videos has no value."""
    simulated: bool | None
    """Whether any vote is marked as simulated; None where the table does not say."""


def agreement(votes: pd.DataFrame, frame: pd.DataFrame, level: float = 0.95, seed: int = 0) -> AgreementReport:
    """Compare every metric of a table with the votes on the same videos.

    Args:
        votes: As `ti2v_bench.votes.check_votes` gives them.
        frame: As `metrics.table.read_frame` gives it; several seeds of one video count by their mean.
        level: Two-sided coverage of the intervals.
        seed: Of the resampling behind tau's interval.

    Raises:
        MetricError: the two tables have no comparison in common.
    """
    table = tabulate(votes)
    found, missing = [], {}
    named = np.isin(table.outcome, (MODEL, OPPONENT))
    for metric in metric_columns(frame):
        values = _values(frame, metric, table)
        score = _predictions(table, values)
        usable = named & ~np.isnan(score)
        missing[metric] = int((named & np.isnan(score)).sum())
        if not usable.any():
            continue
        predicted = _by_reason(table, score, usable, level)
        order = rank_agreement(table, values, RankAgreement(level=level, seed=seed))
        found.append(MetricAgreement(metric, predicted, order, _static_preferred(frame, metric, level)))
    if not found:
        raise MetricError("The votes and the metrics have no comparison in common: other pairs, or other models.")
    simulated = bool(votes["simulated"].any()) if "simulated" in votes else None
    return AgreementReport(tuple(found), int(named.sum()), int((~named).sum()), missing, simulated)


def _values(frame: pd.DataFrame, metric: str, table: VoteTable) -> Floats:
    """(models, pairs) mean value over seeds, turned so that higher is better; NaN where there is none."""
    means = frame.groupby(["model", "pair_id"])[metric].mean()
    wide = means.unstack("pair_id").reindex(index=list(table.models), columns=list(table.pairs))
    values: Floats = wide.to_numpy(float)
    return values


def _predictions(table: VoteTable, values: Floats) -> Floats:
    """(votes,) 1 where the chosen video has the higher value, 0 where the other has, 1/2 where they are equal."""
    ends = np.array(table.matches)[table.match]
    difference = np.sign(values[ends[:, 0], table.pair] - values[ends[:, 1], table.pair])
    chosen = np.where(table.outcome == MODEL, 1.0, -1.0)
    score: Floats = (1 + difference * chosen) / 2
    return score


def _by_reason(table: VoteTable, score: Floats, usable: NDArray[np.bool_], level: float) -> dict[str, Estimate]:
    subsets = {OVERALL: usable}
    if table.reasons is not None:
        subsets |= {reason: usable & (table.reasons >> bit & 1 > 0) for bit, reason in enumerate(REASONS)}
    return {name: _share(table, score, which, level) for name, which in subsets.items()}


def _share(table: VoteTable, score: Floats, which: NDArray[np.bool_], level: float) -> Estimate:
    names = ("scenarios" if table.scenarios is not None else "pairs", "annotators")
    group = np.zeros(int(which.sum()), np.int64)
    means = clustered_means(
        score[which], group, 1, table.scenario[which], table.annotator[which], names, table.unit[which]
    )
    return estimates(means, level)[0]


def _static_preferred(frame: pd.DataFrame, metric: str, level: float) -> Estimate:
    still = frame[frame["model"] == STATIC].groupby("pair_id")[metric].mean()
    real = frame[frame["model"] != STATIC]
    difference = real["pair_id"].map(still) - real[metric]
    kept = difference.notna().to_numpy()
    if not kept.any():
        return Estimate(None, None, None, level, 0, "share of videos", why="no still beside the videos")
    score = (1 + np.sign(difference.to_numpy(float)[kept])) / 2
    kind = "scenario" if "scenario" in real else "pair_id"
    scenario = pd.factorize(real[kind][kept])[0].astype(np.int64)
    pair = pd.factorize(real["pair_id"][kept])[0].astype(np.int64)
    means = clustered_means(score, np.zeros(len(score), np.int64), 1, scenario, pair, ("scenarios", "pairs"))
    return estimates(means, level)[0]


def as_json(report: AgreementReport) -> bytes:
    """The whole report."""
    return json.dumps(asdict(report), indent=1).encode()


def as_markdown(report: AgreementReport) -> str:
    """One row per metric: share of votes predicted, overall and by reason, tau, and the still control."""
    first = report.metrics[0].predicted
    heads = [OVERALL, *(reason for reason in REASONS if reason in first)]
    lines = ["**SIMULATED votes.**", ""] if report.simulated else []
    lines += [
        f"{report.votes} votes that name a model; {report.without_choice} ties and both-bad votes left out.",
        "",
        f"| metric | {' | '.join(head.replace('_', ' ') for head in heads)} | Kendall τ | still preferred |",
        "| --- |" + " ---: |" * (len(heads) + 2),
    ]
    for row in report.metrics:
        cells = [_percent(row.predicted[head]) for head in heads]
        lines.append(
            f"| {METRICS[row.metric].title} (`{row.metric}`) | {' | '.join(cells)} | {_tau(row.kendall)} "
            f"| {_percent(row.static_preferred)} |"
        )
    level = report.metrics[0].kendall.level
    lines += [
        "",
        f"Share of votes whose chosen video the metric scores better (50 % is chance), [{level:.0%} interval, two-way "
        "over scenarios and annotators]. A column of a reason holds the votes that gave it. τ: the models by the "
        "metric's mean against the models by votes. Still preferred: share of videos that the metric scores below the "
        "unmoving image. For measures of motion, more counts as better.",
    ]
    return "\n".join(lines) + "\n"


def _percent(share: Estimate) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "–"
    return f"{share.value:.1%} [{share.low:.1%}, {share.high:.1%}] (n={share.n})"


def _tau(tau: Estimate) -> str:
    if tau.value is None:
        return f"– ({tau.why})"
    if tau.low is None or tau.high is None:
        return f"{tau.value:.2f} ({tau.why})"
    return f"{tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}]"
