"""Leaderboards: a study's Estimates arranged for a reader, as report.json, Markdown, CSV, LaTeX, HTML and a figure."""

from ti2v_bench.leaderboard.records import Exclusions, Report, ReportSettings
from ti2v_bench.leaderboard.write import write_report

__all__ = ["Exclusions", "Report", "ReportSettings", "write_report"]
