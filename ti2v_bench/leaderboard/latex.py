"""leaderboard.tex: booktabs tables to be \\input into a paper."""

from collections.abc import Iterator, Sequence

from ti2v_bench.leaderboard.records import Report
from ti2v_bench.leaderboard.wording import SIMULATED, counted, latex_text, p_text, percent, with_limits
from ti2v_bench.records import Estimate


def latex(report: Report) -> str:
    """LaTeX (needs \\usepackage{booktabs}); names from the votes are escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield "% needs \\usepackage{booktabs} and \\usepackage{textcomp}; beyond Latin letters also lualatex or xelatex"
    banner = f"\\textbf{{{latex_text(SIMULATED)}}} " if report.protocol.simulated else ""
    caption = (
        f"{banner}{latex_text(report.title)}. TI2V score: share of pairs whose majority prefers the model "
        "(Wilson over pairs). Vote share: share of votes (two-way cluster-robust over scenarios and annotators). "
        f"{latex_text(counted(report))}"
    )
    head = ["Model", "Opponent", "Pairs", "Votes", "TI2V score", "Vote share", "$p$", "$p_\\mathrm{Holm}$"]
    rows = [
        [
            latex_text(c.model), latex_text(c.opponent), str(c.n_pairs), str(c.n_votes),
            _cell(c.majority), _cell(c.vote_share), _p(c.p_value), _p(c.p_holm),
        ]
        for c in report.comparisons
    ]  # fmt: skip
    yield from _table("llrrrrrr", head, rows, caption, "tab:ti2v-comparisons")
    if report.averages:
        rows = [
            [
                latex_text(a.model), str(a.n_comparisons), str(a.majority.n), str(a.vote_share.n),
                _cell(a.majority), _cell(a.vote_share),
            ]
            for a in report.averages
        ]  # fmt: skip
        caption = f"{banner}Means over each model's comparisons, with joint intervals over scenarios and annotators."
        yield ""
        head = ["Model", "Comparisons", "Pairs", "Votes", "TI2V score", "Vote share"]
        yield from _table("lrrrrr", head, rows, caption, "tab:ti2v-means")


def _table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, label: str) -> Iterator[str]:
    yield "\\begin{table}"
    yield "\\centering"
    yield f"\\caption{{{caption}}}"
    yield f"\\label{{{label}}}"
    yield f"\\begin{{tabular}}{{{columns}}}"
    yield "\\toprule"
    yield " & ".join(head) + " \\\\"
    yield "\\midrule"
    for row in rows:
        yield " & ".join(row) + " \\\\"
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


def _cell(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return percent(estimate.value).replace("–", "--")
    return with_limits(estimate).replace("[", "{\\footnotesize [").replace("]", "]}")


def _p(p: float | None) -> str:
    return p_text(p).replace("<", "$<$").replace("–", "--")
