"""The page itself: a template filled in, with the scripts and figures inside."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from engine import __version__
from engine.colours import COLOURS, subspace_colour
from engine.curves import Curves, has_weights, read_curves
from engine.grid import SweepResult
from engine.paths import assets_folder
from engine.report.content import describe_curves, describe_plan, plan_name
from engine.report.drawing import draw_curves, draw_map
from engine.report.plan import ReportedMap, ReportedPlan
from engine.wording import counted


def build_report(
    plan: ReportedPlan,
    places: ReportedMap,
    *,
    sweep: SweepResult | None = None,
    origin: str = "a sweep",
) -> bytes:
    """A plan as one HTML file that needs no network.

    Args:
        plan: What to report.
        places: Where its rows are drawn.
        sweep: Of the same table: its curves are drawn with the plan on them.
        origin: Where that comes from, in words.

    Returns:
        The file, UTF-8.
    """
    charts = {"map": draw_map(plan, places)}
    curves_content = None
    if sweep is not None:
        curves, star = _curves(plan, sweep)
        charts["curves"] = draw_curves(curves, star=star, name=plan_name(plan.figures))
        origin = f"{origin}: {counted(sweep.fits, 'fit')}"
        curves_content = {**describe_curves(curves, origin), "starred": star is not None}
    content = describe_plan(plan, places)
    return _render({**content, "curves": curves_content}, charts)


def _curves(plan: ReportedPlan, sweep: SweepResult) -> tuple[Curves, tuple[float, float] | None]:
    """The curves by the error that the plan was fitted for, and its place among them, if any."""
    figures, config = plan.figures, sweep.config
    use = {"source": config.weights, "power": config.weight_power, "floor": config.weight_floor}
    # Errors by other weights are no points among these.
    weighted = has_weights(sweep.cells) and figures["weights"] == use
    error = figures["weighted_error" if weighted else "relative_error"]
    curves = read_curves(sweep.cells, weighted=weighted)
    # All curves are of numbers of 32 bits, so a coded plan has no place among them.
    return curves, None if plan.factorization.coding is not None else (figures["rate"], error)


def _render(content: Mapping[str, Any], charts: Mapping[str, Any]) -> bytes:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = (get_plotlyjs(), _part("page.js"))
    # Within a script element only "<" could end it; escaped so, JSON reads it as before.
    figures = json.dumps(charts, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    page = environment.from_string(_part("page.html")).render(
        content,
        colours={
            theme: [subspace_colour(label, theme) for label in range(COLOURS)]
            for theme in ("light", "dark")
        },
        figures=Markup(figures.replace("<", "\\u003c")),
        hashes=[_hash(script) for script in scripts],
        scripts=[Markup(script) for script in scripts],
        style=Markup(_part("page.css")),
        mark=Markup(_mark()),
        version=__version__,
    )
    return page.encode("utf-8", "replace")  # half of a surrogate pair is no text


def _part(name: str) -> str:
    return files("engine.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """How the page's policy names the only scripts it lets run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _mark() -> str:
    """The app's own, which its wheel carries."""
    return (assets_folder() / "brand" / "mark.svg").read_text(encoding="utf-8")
