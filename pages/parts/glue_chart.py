"""The figure of a GLUE task: drop against compression rate; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from engine.evaluation.glue.ensembles import is_ensemble
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.summary import GluePoint
from pages.parts.palette import ACCENT, CONTEXT, WEIGHTED_SVD, subspace_colour
from pages.parts.wording import decimals, escape, interval

_INK = 7  # of the palette: the ensemble's, which is of no one k


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueLine:
    """A plan on a task, before or after further training.

    Attributes:
        plan: Which.
        name: For the legend.
        points: By rising rate.
    """

    plan: str
    name: str
    points: tuple[GluePoint, ...]


def glue_chart(lines: Sequence[GlueLine], *, ks: Sequence[int], theme: str) -> go.Figure:
    """Accuracy drop against compression rate, a line a plan, its 95 % interval as a band.

    Args:
        lines: What to draw.
        ks: Every k of the results, rising: a k has its colour whatever is drawn beside it.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. Higher is worse; zero is the network with its whole embedding.
    """
    figure = go.Figure()
    figure.add_hline(0, line={"color": CONTEXT[theme], "width": 1, "dash": "dot"})
    looks = [_look(line.plan, ks, theme) for line in lines]
    for line, look in zip(lines, looks, strict=True):
        _add_band(figure, line, str(look["color"]))
    for line, look in zip(lines, looks, strict=True):
        _add_line(figure, line, look)
    return figure.update_layout(
        height=480,
        hovermode="x unified",
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        legend={"orientation": "h", "y": -0.18, "x": 0},
        xaxis={"title": "compression rate of the embedding", "tickformat": ".0%"},
        yaxis={"title": "accuracy drop, points", "zeroline": False},
    )


def _look(plan: str, ks: Sequence[int], theme: str) -> dict[str, Any]:
    if is_ensemble(plan):
        return {"color": subspace_colour(_INK, theme), "width": 3}
    parsed = GluePlan.parse(plan)
    if parsed.k > 1:
        return {"color": subspace_colour(ks.index(parsed.k), theme), "width": 2}
    colour = WEIGHTED_SVD if parsed.weighted else ACCENT[theme]
    return {"color": colour, "width": 2, "dash": "dash"}


def _add_band(figure: go.Figure, line: GlueLine, colour: str) -> None:
    rates = [point.rate for point in line.points]
    high = [point.drop.high for point in line.points]
    low = [point.drop.low for point in line.points]
    figure.add_trace(
        go.Scatter(
            x=[*rates, *reversed(rates)],
            y=[*high, *reversed(low)],
            mode="lines",
            fill="toself",
            fillcolor=colour,
            opacity=0.12,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=line.plan,  # hidden with its line
            name=f"{escape(line.name)}, 95 %",
        )
    )


def _add_line(figure: go.Figure, line: GlueLine, look: dict[str, Any]) -> None:
    name = escape(line.name)
    figure.add_trace(
        go.Scatter(
            x=[point.rate for point in line.points],
            y=[point.drop.value for point in line.points],
            customdata=[
                f"{decimals(point.drop.value)} {interval(point.drop)}" for point in line.points
            ],
            name=name,
            legendgroup=line.plan,
            mode="lines+markers",
            line=look,
            marker={"size": 6},
            hovertemplate=f"{name}: %{{customdata}}<extra></extra>",
        )
    )
