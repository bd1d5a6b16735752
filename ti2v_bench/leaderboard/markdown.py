"""leaderboard.md."""

from collections.abc import Iterator, Sequence

from ti2v_bench.leaderboard.records import Report
from ti2v_bench.leaderboard.wording import (
    AVERAGES,
    INTERVALS,
    MEANING,
    PUBLISHED,
    REASON_TITLES,
    REASONS_READ,
    SIMULATED,
    counted,
    flag_lines,
    how,
    leave_out_lines,
    markdown_text,
    p_text,
    percent,
    plain_limits,
    with_limits,
)


def markdown(report: Report) -> str:
    """The whole leaderboard as GitHub-flavoured Markdown; names from the votes are escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {markdown_text(report.title)}"
    yield ""
    if report.protocol.simulated:
        yield f"> **{SIMULATED}**"
        yield ""
    yield markdown_text(counted(report))
    yield ""
    yield MEANING
    yield ""
    yield INTERVALS
    yield from _comparisons(report)
    yield from _averages(report)
    yield from _ranking(report)
    yield from _reasons(report)
    yield from _agreement(report)
    yield from _checks(report)
    yield from _without(report)
    yield from _published(report)
    yield from _scenarios(report)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> Iterator[str]:
    """A Markdown table; columns from `numbers_from` on are aligned to the right. Cells are Markdown already."""
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" if at < numbers_from else "---:" for at in range(len(head))) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _comparisons(report: Report) -> Iterator[str]:
    yield ""
    yield "## Comparisons (%)"
    yield ""
    if not report.comparisons:
        yield "No vote, no comparison."
        return
    head = ["Model", "Opponent", "Pairs", "Votes", "TI2V score (majority)",
            "clustered", "Vote share", "this bench only", "p", "p (Holm)", "tied votes"]  # fmt: skip
    rows = [
        [
            markdown_text(c.model), markdown_text(c.opponent), str(c.n_pairs), str(c.n_votes),
            with_limits(c.majority), _limits(c.majority_clustered.low, c.majority_clustered.high),
            with_limits(c.vote_share), _limits(c.vote_share_fixed_bench.low, c.vote_share_fixed_bench.high),
            p_text(c.p_value), p_text(c.p_holm), str(c.pairs_tied),
        ]
        for c in report.comparisons
    ]  # fmt: skip
    yield from table(head, rows, 2)
    yield ""
    yield (
        "p: two-sided for a vote share of one half, same clusters and t as the vote share's interval; Holm over the "
        f"{len(report.comparisons)} comparisons of this report. Tied votes: pairs whose votes are split equally."
    )


def _limits(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def _averages(report: Report) -> Iterator[str]:
    if not report.averages:
        return
    yield ""
    yield "## Averages over a model's comparisons (%)"
    yield ""
    rows = [
        [markdown_text(a.model), str(a.n_comparisons), str(a.majority.n), str(a.vote_share.n),
         with_limits(a.majority), with_limits(a.vote_share)]
        for a in report.averages
    ]  # fmt: skip
    yield from table(["Model", "Comparisons", "Pairs", "Votes", "TI2V score (majority)", "Vote share"], rows)
    yield ""
    yield AVERAGES


def _reasons(report: Report) -> Iterator[str]:
    if not any(c.reasons for c in report.comparisons):
        return
    yield ""
    yield "## Reasons (%)"
    yield ""
    yield REASONS_READ
    yield ""
    rows = [
        [markdown_text(c.model), markdown_text(c.opponent), title, str(c.n_votes),
         *(with_limits(c.reasons[reason][side]) for side in ("model", "none", "opponent"))]
        for c in report.comparisons
        for reason, title in REASON_TITLES.items()
    ]  # fmt: skip
    yield from table(["Model", "Opponent", "Reason", "Votes", "for the model", "neither", "for the opponent"], rows, 3)


def _ranking(report: Report) -> Iterator[str]:
    yield ""
    yield "## Ranking"
    yield ""
    if not report.ranking.identifiable:
        yield f"None: {markdown_text(report.ranking.why or '')}."
        return
    tie = "" if report.ranking.tie_parameter is None else f" (nu = {report.ranking.tie_parameter:.3f})"
    yield (
        f"{report.ranking.method}{tie}. Strength: log, with sum zero. Ranks hold for all models together at "
        f"{percent(report.protocol.level)} %. Intervals: {how(report.ranking.models[0].strength)}."
    )
    yield ""
    rows = [
        [markdown_text(m.model), plain_limits(m.strength), str(m.rank_low), str(m.rank_high)]
        for m in report.ranking.models
    ]
    yield from table(["Model", "Strength", "best rank", "worst rank"], rows)


def _agreement(report: Report) -> Iterator[str]:
    found = report.agreement
    yield ""
    yield "## Agreement"
    yield ""
    yield f"- Raw agreement of two votes on one comparison: {with_limits(found.raw)} % ({how(found.raw)})."
    alpha = f"– ({found.why})"
    if found.krippendorff_alpha:
        alpha = f"{plain_limits(found.krippendorff_alpha, 3)} ({how(found.krippendorff_alpha)})"
    yield f"- Krippendorff's alpha (nominal, coded within each comparison): {alpha}."
    splits = ", ".join(f"{name}: {count}" for name, count in found.splits.items())
    yield f"- Splits of the votes on one comparison: {splits or 'none'}."


def _checks(report: Report) -> Iterator[str]:
    yield ""
    yield "## Checks"
    yield ""
    bias = report.position_bias
    share = f"{with_limits(bias)} % of votes for a side"
    yield f"- Position: the left video was chosen in {share} (p {p_text(report.position_bias_p)}; {how(bias)})."
    for line in [*leave_out_lines(report), *flag_lines(report)]:
        yield f"- {markdown_text(line)}"
    for note in report.protocol.notes:
        yield f"- {markdown_text(note)}."


def _without(report: Report) -> Iterator[str]:
    if not report.without_exclusions:
        return
    yield ""
    yield "## With and without the exclusions (%)"
    yield ""
    kept = {(c.model, c.opponent): c for c in report.comparisons}
    rows = []
    for all_votes in report.without_exclusions:
        c = kept.get((all_votes.model, all_votes.opponent))
        with_rules = [with_limits(c.majority), with_limits(c.vote_share)] if c else ["–", "–"]
        without = [with_limits(all_votes.majority), with_limits(all_votes.vote_share)]
        rows.append([markdown_text(all_votes.model), markdown_text(all_votes.opponent), *with_rules, *without])
    head = ["Model", "Opponent", "TI2V score", "Vote share", "TI2V score, all votes", "Vote share, all votes"]
    yield from table(head, rows, 2)


def _published(report: Report) -> Iterator[str]:
    if not report.published:
        return
    yield ""
    yield "## Beside the published TI2V scores (%)"
    yield ""
    yield PUBLISHED
    yield ""
    rows = [
        [row.opponent, markdown_text(row.model_here or "–"), with_limits(row.published),
         with_limits(row.here) if row.here else "–"]
        for row in report.published
    ]  # fmt: skip
    yield from table(["Opponent", "model here", "published: MotiF, 320 pairs", "here"], rows, 2)


def _scenarios(report: Report) -> Iterator[str]:
    """Only what stands out; every row is in report.json and in the page's heat map."""
    if not report.scenarios:
        return
    yield ""
    yield "## Scenarios (exploratory)"
    yield ""
    rows = [
        [markdown_text(r.scenario), markdown_text(r.model), markdown_text(r.opponent), str(r.vote_share.n),
         with_limits(r.vote_share), p_text(r.p_value), p_text(r.q_value)]
        for r in report.scenarios
        if r.q_value is not None and r.q_value < 1 - report.protocol.level
    ]  # fmt: skip
    yield (
        f"{len(rows)} of {len(report.scenarios)} rows differ from one half at a false-discovery rate of "
        f"{percent(1 - report.protocol.level)} % (Benjamini-Hochberg); all rows are in report.json."
    )
    if rows:
        yield ""
        yield from table(["Scenario", "Model", "Opponent", "Votes", "Vote share", "p", "q"], rows, 3)
