"""leaderboard.html: one page that needs nothing else, in light and dark."""

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ti2v_bench.leaderboard import figure, wording
from ti2v_bench.leaderboard.records import Report, ScenarioRow


def page(report: Report, svg: str) -> str:
    """The page as text; everything from the votes is escaped by the template."""
    return _template().render(report=report, wording=wording, picture=_inline(svg), heat=_heat(report))


@dataclass(frozen=True)
class Cell:
    """One scenario of one comparison as the heat map shows it."""

    row: ScenarioRow
    colour: str
    bold: bool


@dataclass(frozen=True)
class Heat:
    """The heat map: a column per comparison, a row per scenario; None where a comparison lacks the scenario."""

    columns: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def _heat(report: Report) -> Heat:
    matches = [(c.model, c.opponent) for c in report.comparisons]
    one = len({model for model, _ in matches}) == 1
    columns = [opponent if one else f"{model} / {opponent}" for model, opponent in matches]
    cells = {(row.scenario, row.model, row.opponent): row for row in report.scenarios}
    scenarios = sorted({row.scenario for row in report.scenarios})
    least = 1 - report.protocol.level
    rows = [(scenario, [_cell(cells.get((scenario, *match)), least) for match in matches]) for scenario in scenarios]
    return Heat(columns, rows)


def _cell(row: ScenarioRow | None, least: float) -> Cell | None:
    if row is None or row.vote_share.value is None:
        return None
    return Cell(row, _colour(row.vote_share.value), row.q_value is not None and row.q_value < least)


def _colour(share: float) -> str:
    """White at one half, towards the figure's blue above and its orange below."""
    end = figure.MODEL if share > 0.5 else figure.OPPONENT
    weight = abs(share - 0.5) * 2
    channels = (round(255 + weight * (int(end[at : at + 2], 16) - 255)) for at in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("ti2v_bench.leaderboard", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"limits": wording.with_limits, "percent": wording.percent, "p": wording.p_text}
    environment.filters["plain_limits"] = wording.plain_limits
    return environment.get_template("leaderboard.html.j2")


def _inline(svg: str) -> Markup:
    """The figure inside the page: its ink and paper follow the reader's light or dark setting."""
    body = svg[svg.index("<svg") :]
    body = body.replace(f"fill: {figure.PAPER}", "fill: none").replace(figure.INK, "var(--figure-ink)")
    return Markup(body)  # drawn by matplotlib, which escapes the names in it
