"""preferences.png and .svg: the form of the paper's Figure 4, with interval whiskers."""

import io
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ti2v_bench.leaderboard.records import Comparison, Report
from ti2v_bench.leaderboard.wording import REASON_TITLES, SIMULATED, flat
from ti2v_bench.records import Estimate

INK, PAPER, LABEL = "#1b1f24", "#ffffff", "#101418"
"""Ink and paper are exchanged in a dark page; labels stand on the bars, which stay as they are."""
MODEL, NONE, OPPONENT = "#56b4e9", "#d8dee4", "#e69f00"
"""Blue, grey, orange of Okabe and Ito: told apart with any colour vision, and in grey."""
ROWS = 24
"""Above this many comparisons the figure shows each model's averages instead."""
NAME, TITLE = 22, 70
"""Wider names and titles are cut; a letter of an East Asian script is two wide."""
LABELLED = 11.5
"""Shares in percent below which a bar's part is too narrow for its number."""


@dataclass(frozen=True)
class Bar:
    """One stacked bar: model's share, what neither got, opponent's share; all in [0, 1]."""

    model: Estimate
    opponent: Estimate | None
    """None where the bar has no middle: the opponent's share is the rest."""


@dataclass(frozen=True)
class Panel:
    """One column of the figure."""

    title: str
    bars: tuple[Bar, ...]


def pictures(report: Report) -> tuple[bytes, str]:
    """PNG bytes and SVG text of the figure; the same report gives the same bytes."""
    settings = {"svg.hashsalt": "ti2v-bench", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 8}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in any script; the page shows them
        figure = draw(report)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def draw(report: Report) -> Figure:
    """Stacked bars per comparison, one column per question; whiskers are the report's intervals."""
    names, panels = _panels(report)
    figure = Figure(figsize=(1.9 + 2.0 * len(panels), 1.5 + 0.36 * max(len(names), 1)), facecolor=PAPER)
    FigureCanvasAgg(figure)
    height = figure.get_figheight()
    figure.subplots_adjust(
        left=1.75 / figure.get_figwidth(), right=0.99, bottom=0.75 / height, top=1 - 0.75 / height, wspace=0.08
    )
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, names)
    _legend(figure, report)
    return figure


def _panels(report: Report) -> tuple[list[str], list[Panel]]:
    if len(report.comparisons) > ROWS or not report.comparisons:
        best_first = sorted(report.averages, key=lambda a: (-(a.majority.value or 0), a.model))
        scores = Panel("TI2V score (majority), mean", tuple(Bar(a.majority, None) for a in best_first))
        shares = Panel("Vote share, mean", tuple(Bar(a.vote_share, None) for a in best_first))
        return [_cut(a.model) for a in best_first], [scores, shares]
    shown = report.comparisons
    panels = [
        Panel("TI2V score (majority)", tuple(Bar(_whiskered(c), None) for c in shown)),
        Panel("Vote share", tuple(Bar(c.vote_share, None) for c in shown)),
    ]
    if all(c.reasons for c in shown):
        for reason, title in REASON_TITLES.items():
            bars = tuple(Bar(c.reasons[reason]["model"], c.reasons[reason]["opponent"]) for c in shown)
            panels.append(Panel(title, bars))
    return _names(shown), panels


def _whiskered(comparison: Comparison) -> Estimate:
    clustered = comparison.majority_clustered
    return clustered if clustered.low is not None else comparison.majority


def _names(shown: Sequence[Comparison]) -> list[str]:
    """Opponents alone where one model meets them all; else both names."""
    if len({c.model for c in shown}) == 1:
        return [_cut(c.opponent) for c in shown]
    return [f"{_cut(c.model, NAME // 2)} / {_cut(c.opponent, NAME // 2)}" for c in shown]


def _cut(name: str, most: int = NAME) -> str:
    name = flat(name)
    ends = list(accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name))
    return name if not ends or ends[-1] <= most else name[: bisect_right(ends, most - 1)] + "…"


def _draw_panel(axis: Axes, panel: Panel, names: Sequence[str]) -> None:
    axis.set_title(panel.title, color=INK, fontsize=8)
    for row, bar in enumerate(panel.bars):
        _draw_bar(axis, row, bar)
    axis.axvline(50, color=INK, linewidth=0.6, linestyle=":")
    axis.set_xlim(0, 100)
    axis.set_ylim(max(len(names), 1) - 0.45, -0.55)
    axis.set_yticks(range(len(names)), names, color=INK, parse_math=False)
    axis.set_xticks([0, 50, 100])
    first, _, last = axis.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    axis.tick_params(colors=INK, length=2)
    axis.patch.set_alpha(0)
    axis.spines[:].set_visible(False)


def _draw_bar(axis: Axes, row: int, bar: Bar) -> None:
    if bar.model.value is None:
        return
    left = 100 * bar.model.value
    right = 100 * bar.opponent.value if bar.opponent and bar.opponent.value is not None else 100 - left
    middle = 100 - left - right if bar.opponent else 0.0
    edges = [(0.0, left, MODEL), (left, middle, NONE), (100 - right, right, OPPONENT)]
    for start, width, colour in edges:
        axis.barh(row, width, left=start, height=0.62, color=colour, linewidth=0)
        if width >= LABELLED:
            axis.text(
                start + width / 2, row + 0.01, f"{width:.1f}", ha="center", va="center", fontsize=6.5, color=LABEL
            )
    _whisker(axis, row, bar.model, mirrored=False)
    if bar.opponent:
        _whisker(axis, row, bar.opponent, mirrored=True)


def _whisker(axis: Axes, row: int, estimate: Estimate, mirrored: bool) -> None:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return
    low, high = (100 - 100 * x if mirrored else 100 * x for x in (estimate.low, estimate.high))
    height = row - 0.38 if mirrored else row + 0.38  # the model's under its bar, the opponent's over it
    axis.plot([low, high], [height, height], color=INK, linewidth=1.2, solid_capstyle="butt")
    for end in (low, high):
        axis.plot([end, end], [height - 0.09, height + 0.09], color=INK, linewidth=1.0)


def _legend(figure: Figure, report: Report) -> None:
    star = {c.model for c in report.comparisons}
    model = _cut(star.pop()) if len(star) == 1 else "model"
    level = f"{100 * report.protocol.level:g} %"
    height = figure.get_figheight()
    parts = [(MODEL, model), (NONE, "none"), (OPPONENT, "opponent")]
    for at, (colour, label) in enumerate(parts):
        x = 0.02 + at * 1.75 / figure.get_figwidth()
        figure.text(x, 0.32 / height, "■", color=colour, fontsize=10, va="bottom")
        figure.text(x + 0.16 / figure.get_figwidth(), 0.33 / height, label, color=INK, va="bottom", parse_math=False)
    note = f"Shares in %; whiskers: {level} intervals over scenarios and annotators"
    if any(c.reasons for c in report.comparisons) and len(report.comparisons) <= ROWS:
        note += "; for reasons under the bar the model's, over it the opponent's"
    figure.text(0.02, 0.1 / height, note, color=INK, va="bottom")
    lines = [SIMULATED] if report.protocol.simulated else []
    title = "\n".join([*lines, _cut(report.title, TITLE)])
    figure.text(0.5, 1 - 0.08 / height, title, ha="center", va="top", color=INK, weight="bold", parse_math=False)
