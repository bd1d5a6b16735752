"""What a study's comparisons say: majority, vote share, reasons; one entry per match of the table."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.records import Estimate
from ti2v_bench.stats.clusters import ClusteredMeans, Clusters, cluster, clustered_means, estimates
from ti2v_bench.stats.counting import add_up, collapse, relabel
from ti2v_bench.stats.proportions import binomial_p, wilson_interval
from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable
from ti2v_bench.votes import REASONS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def vote_shares(table: VoteTable) -> ClusteredMeans:
    """Share of votes for each match's model (`tie`, `both_bad` half), clustered by scenario and annotator.

    Without a scenario column the pairs take the scenarios' place.
    """
    return match_clusters(table).means(table.score)


def match_clusters(table: VoteTable) -> Clusters:
    """Each match's votes by scenario and annotator."""
    return cluster(table.match, len(table.matches), table.scenario, table.annotator, cluster_names(table), table.pair)


def cluster_names(table: VoteTable) -> tuple[str, str]:
    """What the two kinds of clusters are called."""
    return ("scenarios" if table.scenarios is not None else "pairs", "annotators")


def unit_majorities(table: VoteTable) -> Floats:
    """Per unit: 1 where more votes name the model, 0 where more name the opponent, 1/2 where equally many do."""
    counts = table.outcomes
    majority: Floats = (1 + np.sign(counts[:, MODEL] - counts[:, OPPONENT])) / 2
    return majority


def majorities(table: VoteTable, level: float) -> list[Estimate]:
    """Share of pairs whose majority prefers the model, a tie of the vote counting half; Wilson over pairs."""
    n = np.bincount(table.unit_match, minlength=len(table.matches))
    wins = add_up(table.unit_match, unit_majorities(table), len(table.matches))
    low, high = wilson_interval(wins, n, level)
    words = "majority of each pair's votes, a tied vote counts half; Wilson over pairs, taken as independent"
    return [
        Estimate(float(w / k), float(a), float(b), level, int(k), words)
        for w, k, a, b in zip(wins, n, low, high, strict=True)
    ]


def decided_pairs(table: VoteTable) -> tuple[Ints, Ints, Ints]:
    """Per match: pairs won by the model, pairs won by the opponent, tied votes."""
    majority = unit_majorities(table)
    count = [np.bincount(table.unit_match[majority == side], minlength=len(table.matches)) for side in (1.0, 0.0, 0.5)]
    return count[0], count[1], count[2]


def majority_p_values(table: VoteTable) -> Floats:
    """Exact binomial p per match on the decided pairs, taken as independent."""
    won, lost, _ = decided_pairs(table)
    return binomial_p(won, won + lost)


def reason_shares(table: VoteTable, level: float) -> list[dict[str, dict[str, Estimate]]]:
    """Per match and reason: share of votes that chose the model (the opponent) and gave the reason, and the rest.

    Each side's four intervals hold together (Bonferroni over the four reasons). Empty where no reasons were asked.
    """
    if table.reasons is None:
        return [{} for _ in table.matches]
    note = "share of votes; simultaneous over the four reasons (Bonferroni); "
    found: list[dict[str, dict[str, Estimate]]] = [{} for _ in table.matches]
    clusters = match_clusters(table)
    for bit, reason in enumerate(REASONS):
        given = (table.reasons >> bit) & 1
        model = (given == 1) & (table.outcome == MODEL)
        opponent = (given == 1) & (table.outcome == OPPONENT)
        sides = {"model": model, "none": ~(model | opponent), "opponent": opponent}
        for side, chosen in sides.items():
            means = clusters.means(chosen.astype(float))
            for match, estimate in enumerate(estimates(means, 1 - (1 - level) / len(REASONS), note)):
                found[match].setdefault(reason, {})[side] = replace(estimate, level=level)
    return found


def choice_shares(table: VoteTable) -> list[dict[str, float]]:
    """Per match: shares of votes that were `tie` and `both_bad`."""
    n = np.bincount(table.match, minlength=len(table.matches))
    shares = [
        np.bincount(table.match[table.outcome == code], minlength=len(table.matches)) / np.maximum(n, 1)
        for code in (2, 3)
    ]
    return [{"tie": float(t), "both_bad": float(b)} for t, b in zip(*shares, strict=True)]


def position_bias(table: VoteTable) -> ClusteredMeans:
    """P(left chosen) among votes that chose a side, clustered by scenario and annotator; one group."""
    sided = table.left >= 0
    return clustered_means(
        table.left[sided].astype(float), np.zeros(int(sided.sum()), dtype=np.int64), 1,
        table.scenario[sided], table.annotator[sided], cluster_names(table), table.pair[sided],
    )  # fmt: skip


def fixed_bench_shares(table: VoteTable) -> ClusteredMeans | None:
    """Vote shares with the spread that remains when this bench's scenarios are given: image x annotator, centred.

    Scores are centred within each match's scenarios before they are added up by image and by annotator. None where
    the table has no images or no scenarios.
    """
    if table.images is None or table.scenarios is None:
        return None
    n_scenarios = len(table.scenarios)
    key = table.match * n_scenarios + table.scenario
    sums = collapse(key, table.score)
    mean = np.zeros(max(len(table.matches) * n_scenarios, 1))
    mean[sums.key] = sums.total / sums.n
    return _centred(table, mean)


def _centred(table: VoteTable, mean: Floats) -> ClusteredMeans:
    """Two-way variance of scores minus `mean` of their (match, scenario)."""
    assert table.images is not None
    assert table.scenarios is not None
    nested, images_of = relabel(table.scenario * len(table.images) + table.image)
    scenario_of = nested // max(len(table.images), 1)
    m, i, a = len(table.matches), max(len(nested), 1), max(len(table.annotators), 1)
    cells = collapse((table.match * i + images_of) * a + table.annotator, table.score)
    match, image, annotator = cells.key // (i * a), cells.key // a % i, cells.key % a
    rest = cells.total - mean[match * len(table.scenarios) + scenario_of[image]] * cells.n
    n, total = add_up(match, cells.n, m), add_up(match, cells.total, m)
    images, annotators = collapse(match * i + image, rest), collapse(match * a + annotator, rest)
    n_image, n_annotator = np.bincount(images.key // i, minlength=m), np.bincount(annotators.key // a, minlength=m)
    pairs_of = np.unique(match * len(table.scenarios) + scenario_of[image]) // len(table.scenarios)
    strata = np.bincount(pairs_of, minlength=m)
    by_image = add_up(images.key // i, images.total**2, m) * _over(n_image, n_image - strata)
    by_annotator = add_up(annotators.key // a, annotators.total**2, m) * _over(n_annotator, n_annotator - 1)
    n_cell = np.bincount(match, minlength=m)
    by_cell = add_up(match, rest**2, m) * _over(n_cell, n_cell - strata)
    larger = np.maximum(by_image, by_annotator)
    usable = (n_image > strata) & (n_annotator > 1)
    variance = np.where(usable, np.maximum(by_image + by_annotator - by_cell, larger), larger) / np.maximum(n, 1) ** 2
    variance = np.where(variance > 1e-12 / np.maximum(n, 1), variance, 0.0)
    pairs = np.bincount(table.unit_match, minlength=m)
    clusters = (n_image, n_annotator)
    value = total / np.maximum(n, 1)
    return ClusteredMeans(value, n.astype(np.int64), variance, clusters, pairs, ("images", "annotators"), strata)


def _over(count: Ints, left: Ints) -> Floats:
    """Small-sample factor count / left; 0 where nothing is left to vary."""
    return np.where(left > 0, count / np.maximum(left, 1), 0.0)


def scenario_shares(table: VoteTable) -> tuple[Ints, Ints, ClusteredMeans] | None:
    """Vote share per match and scenario: (match, scenario) codes that occur and their means; None without scenarios.

    Clusters are images (pairs without an `image_id` column) and annotators, within the scenario.
    """
    if table.scenarios is None:
        return None
    found, group = relabel(table.match * max(len(table.scenarios), 1) + table.scenario)
    names = ("images" if table.images is not None else "pairs", "annotators")
    means = clustered_means(table.score, group, len(found), table.image, table.annotator, names, table.pair)
    return found // max(len(table.scenarios), 1), found % max(len(table.scenarios), 1), means
