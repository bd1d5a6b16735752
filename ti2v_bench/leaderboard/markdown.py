"""leaderboard.md."""

from collections.abc import Iterator, Sequence

from ti2v_bench.leaderboard.records import Report
from ti2v_bench.leaderboard.wording import (
    INTERVALS,
    MEANING,
    REASON_TITLES,
    SIMULATED,
    counted,
    markdown_text,
    p_text,
    percent,
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
    yield from _reasons(report)
    yield from _checks(report)


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
        [markdown_text(a.model), str(a.n_comparisons), with_limits(a.majority), with_limits(a.vote_share)]
        for a in report.averages
    ]
    yield from table(["Model", "Comparisons", "TI2V score (majority)", "Vote share"], rows)


def _reasons(report: Report) -> Iterator[str]:
    if not any(c.reasons for c in report.comparisons):
        return
    yield ""
    yield "## Reasons (% of votes: model / none / opponent)"
    yield ""
    rows = []
    for c in report.comparisons:
        cells = [
            " / ".join(percent(c.reasons[reason][side].value) for side in ("model", "none", "opponent"))
            for reason in REASON_TITLES
        ]
        rows.append([markdown_text(c.model), markdown_text(c.opponent), *cells])
    yield from table(["Model", "Opponent", *REASON_TITLES.values()], rows, 2)
    yield ""
    yield "Simultaneous intervals over the four reasons are in report.json, leaderboard.csv and the figure."


def _checks(report: Report) -> Iterator[str]:
    yield ""
    yield "## Checks"
    yield ""
    bias = f"{with_limits(report.position_bias)} % of votes for a side (p {p_text(report.position_bias_p)})"
    yield f"- Position: the left video was chosen in {bias}."
    for note in report.protocol.notes:
        yield f"- {markdown_text(note)}."
