"""leaderboard.html: one page that needs nothing else, in light and dark."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ti2v_bench.leaderboard import figure, wording
from ti2v_bench.leaderboard.records import Report


def page(report: Report, svg: str) -> str:
    """The page as text; everything from the votes is escaped by the template."""
    return _template().render(report=report, wording=wording, picture=_inline(svg))


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
