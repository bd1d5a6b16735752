"""Writes every report file."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ti2v_bench.files import storage_errors, write_bytes
from ti2v_bench.leaderboard.analysis import analyse
from ti2v_bench.leaderboard.figure import pictures
from ti2v_bench.leaderboard.latex import latex
from ti2v_bench.leaderboard.markdown import markdown
from ti2v_bench.leaderboard.page import page
from ti2v_bench.leaderboard.records import Report, ReportSettings
from ti2v_bench.leaderboard.report_json import Json, dump, to_json
from ti2v_bench.leaderboard.spreadsheet import spreadsheet

FILES = (
    "report.json",
    "leaderboard.md",
    "leaderboard.csv",
    "leaderboard.tex",
    "leaderboard.html",
    "preferences.png",
    "preferences.svg",
)


def write_report(votes: pd.DataFrame, out: Path, settings: ReportSettings | None = None) -> Report:
    """Estimate and write all files of a report into `out` (made if absent), each whole or not at all.

    Args:
        votes: As `ti2v_bench.votes.read_votes` or `check_votes` returns it.
        settings: Same votes and settings give the same bytes, but for `created_at` in report.json.

    Raises:
        StorageError: `out` cannot be made or written to.
    """
    report = analyse(votes, settings or ReportSettings())
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, data in render(report, datetime.now(UTC)).items():
        write_bytes(out / name, data)
    return report


def render(report: Report, created_at: datetime) -> Mapping[str, bytes]:
    """Every file's bytes by name; only report.json carries the time."""
    png, svg = pictures(report)
    body = to_json(report)
    assert isinstance(body, dict)
    stamped: Json = {"created_at": created_at.isoformat(timespec="seconds"), **body}
    return {
        "report.json": dump(stamped),
        "leaderboard.md": markdown(report).encode(),
        "leaderboard.csv": spreadsheet(report).encode(),
        "leaderboard.tex": latex(report).encode(),
        "leaderboard.html": page(report, svg).encode(),
        "preferences.png": png,
        "preferences.svg": svg.encode(),
    }
