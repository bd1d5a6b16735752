"""leaderboard.csv: one row per comparison, every Estimate as three columns; methods in the last ones."""

import csv
import io

from ti2v_bench.leaderboard.records import Comparison, Report
from ti2v_bench.leaderboard.wording import csv_text
from ti2v_bench.records import Estimate
from ti2v_bench.votes import REASONS

ESTIMATES = ("majority", "majority_clustered", "vote_share", "vote_share_fixed_bench")
PLAIN = ("n_pairs", "n_votes", "n_annotators", "pairs_won", "pairs_lost", "pairs_tied")
NUMBERS = ("p_value", "p_holm", "p_majority_exact", "tie_share", "both_bad_share")
SIDES = ("model", "none", "opponent")


def spreadsheet(report: Report) -> str:
    """Comma-separated text with a header; names that a spreadsheet would run as formulas get a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    reasons = any(c.reasons for c in report.comparisons)
    head = ["model", "opponent", *PLAIN]
    names = [*ESTIMATES, *(f"{reason}_{side}" for reason in REASONS for side in SIDES if reasons)]
    head += [f"{name}{part}" for name in names for part in ("", "_low", "_high")]
    writer.writerow([*head, *NUMBERS, "level", "simulated", *(f"{name}_method" for name in ESTIMATES)])
    for comparison in report.comparisons:
        row = [csv_text(comparison.model), csv_text(comparison.opponent)]
        row += [str(getattr(comparison, name)) for name in PLAIN]
        row += [cell for estimate in _estimates(comparison, reasons) for cell in _cells(estimate)]
        row += [_number(getattr(comparison, name)) for name in NUMBERS]
        row += [_number(report.protocol.level), str(report.protocol.simulated).lower()]
        writer.writerow([*row, *(getattr(comparison, name).method for name in ESTIMATES)])
    return out.getvalue()


def _estimates(comparison: Comparison, reasons: bool) -> list[Estimate]:
    found: list[Estimate] = [getattr(comparison, name) for name in ESTIMATES]
    if reasons:
        found += [comparison.reasons[reason][side] for reason in REASONS for side in SIDES]
    return found


def _cells(estimate: Estimate) -> list[str]:
    return [_number(value) for value in (estimate.value, estimate.low, estimate.high)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
