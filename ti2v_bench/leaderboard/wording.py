"""Numbers and untrusted names as text: the same words in every file, escaped for each."""

import html
import re
from collections.abc import Sequence

from ti2v_bench.leaderboard.records import Report
from ti2v_bench.records import Estimate

SIMULATED = "SIMULATED VOTES – these numbers are not from people."
MEANING = (
    "TI2V score (majority): share of pairs whose majority of votes prefers the model; a tied vote counts half. "
    "Vote share: share of all votes for the model; tie and both_bad count half. A majority amplifies: of five "
    "independent votes, a vote share of 62.2 % gives a majority of 72 %. Never compare one with the other."
)
INTERVALS = (
    "The interval beside the TI2V score is Wilson's over pairs and takes pairs as independent; "
    "'clustered' and the vote share's interval respect that scenarios and annotators recur."
)
AVERAGES = (
    "Intervals respect that a model's comparisons share scenarios and annotators: joint jackknife for the TI2V score, "
    "joint resampling for the vote share."
)
REASONS_READ = (
    "Share of all votes that chose the side and gave the reason; neither: the rest. Two-way clusters as for the vote "
    "share; the intervals of one side hold together over the four reasons (Bonferroni)."
)
PUBLISHED = (
    "Published: majority over the paper's 320 pairs, counts inferred from the printed scores, Wilson. "
    "Other annotators, other videos of the same models and perhaps other pairs: a difference is not an error."
)
REASON_TITLES = {
    "object_motion": "Object motion",
    "text_alignment": "Text alignment",
    "image_alignment": "Image alignment",
    "overall_quality": "Overall quality",
}


def percent(value: float | None, digits: int = 1) -> str:
    """`72.1`; a dash where there is no value."""
    return "–" if value is None else f"{100 * value:.{digits}f}"


def with_limits(estimate: Estimate, digits: int = 1) -> str:
    """`72.1 [66.9, 76.7]` in percent."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return percent(estimate.value, digits)
    return f"{percent(estimate.value, digits)} [{percent(estimate.low, digits)}, {percent(estimate.high, digits)}]"


def plain_limits(estimate: Estimate, digits: int = 2) -> str:
    """`0.31 [0.27, 0.35]`: value and limits as they are, not in percent."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def how(estimate: Estimate) -> str:
    """`n=540; percentile bootstrap …`: what stands behind a number outside a table."""
    return f"n={estimate.n}; {estimate.method}"


def p_text(p: float | None) -> str:
    """`0.012`, `<0.001`, or a dash."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def counted(report: Report) -> str:
    """One sentence: how many votes, pairs, annotators, scenarios."""
    protocol = report.protocol
    scenarios = f", {protocol.n_scenarios} scenarios" if protocol.n_scenarios is not None else ""
    left_out = "; ".join(f"{count} left out: {reason}" for reason, count in protocol.excluded.items())
    return (
        f"{protocol.n_votes} votes on {protocol.n_pairs} pairs by {protocol.n_annotators} annotators{scenarios}. "
        f"Intervals: {percent(protocol.level, 4).rstrip('0').rstrip('.')} %. Seed {protocol.seed}."
        + (f" {left_out}." if left_out else "")
    )


def leave_out_lines(report: Report) -> list[str]:
    """Which single annotator or scenario decides a winner; plain text, names as they are."""
    lines = []
    for kind in ("annotator", "scenario"):
        asked = [(c, getattr(c, f"leave_one_{kind}_out")) for c in report.comparisons]
        asked = [(c, found) for c, found in asked if found is not None]
        if not asked:
            continue
        changed = [
            f"{c.model} against {c.opponent} ({what}: without {_few(names)})"
            for c, found in asked
            for what, names in (("majority", found.changes_majority), ("vote share", found.changes_vote_share))
            if names
        ]
        if changed:
            lines.append(f"Leaving out one {kind} changes who leads in: {'; '.join(changed)}.")
        else:
            lines.append(f"Leaving out any one {kind} changes no winner, by majority or by vote share.")
    return lines


def flag_lines(report: Report) -> list[str]:
    """Annotators that invite a second look; plain text, names as they are."""
    flagged = [f"{row.annotator} ({', '.join(row.flags)})" for row in report.annotators if row.flags]
    if not flagged:
        return ["No annotator is flagged."] if report.annotators else []
    return [
        f"{len(flagged)} of {len(report.annotators)} annotators are flagged (none is excluded for it): {_few(flagged)}."
    ]


def _few(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def flat(text: str) -> str:
    """One line without control characters."""
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", text)


def markdown_text(text: str) -> str:
    """Untrusted text as Markdown that shows it literally, also inside a table."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(flat(text), quote=False))


def latex_text(text: str) -> str:
    """Untrusted text as LaTeX that prints it literally."""
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
        "[": "{[}", "]": "{]}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}",
        "–": "--", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    }  # fmt: skip
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in flat(text))


def csv_text(text: str) -> str:
    """Untrusted text as a csv cell that a spreadsheet does not run as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
