"""Figures from plain arrays; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from engine.curves import CurvePoint, Curves
from engine.measures import EXACT_ERROR
from pages.parts.palette import ACCENT, CONTEXT, SEQUENTIAL, subspace_colour, subspace_symbol
from pages.parts.wording import energy_lost, escape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPoints:
    """What a map draws.

    Attributes:
        layout: Shape (m, 2), float32.
        rows: Row number of each point, shape (m,); fewer than the table's when it is a sample.
        tokens: One a point.
        theme: ``"light"`` or ``"dark"``.
        uirevision: Zoom and pan are kept while this stays the same.
    """

    layout: NDArray[np.float32]
    rows: NDArray[np.int64]
    tokens: Sequence[str]
    theme: str
    uirevision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPlan:
    """The plan that the Explore page shows.

    Attributes:
        name: For the legend.
        rate: Its compression rate; None of a coded plan, which has no place among rates.
        stored_bytes: Of everything it stores.
        error: Its relative error.
        svd_error: That of the SVD of its size.
    """

    name: str
    rate: float | None
    stored_bytes: int
    error: float
    svd_error: float


def subspace_map(
    points: MapPoints,
    labels: NDArray[np.int64],
    names: Sequence[str],
    looks: Sequence[int] | None = None,
) -> go.Figure:
    """One trace a subspace, so that the legend hides and isolates them.

    Args:
        points: What to draw.
        labels: Subspace of each point, shape (m,).
        names: One a subspace, for the legend.
        looks: Place of each in the palette; their own number when left out.

    Returns:
        The figure; its trace c holds the points of label c, in order.
    """
    figure = go.Figure()
    for label, name in enumerate(names):
        members = np.flatnonzero(labels == label)
        look = label if looks is None else looks[label]
        figure.add_trace(
            _scatter(
                points,
                members,
                name=name,
                marker={
                    "color": subspace_colour(look, points.theme),
                    "symbol": subspace_symbol(look),
                },
            )
        )
    return _finish_map(figure, points)


def value_map(points: MapPoints, values: NDArray[np.float64], title: str) -> go.Figure:
    """Points coloured by a number.

    Args:
        points: What to draw.
        values: One a point, shape (m,).
        title: Of the colour bar.

    Returns:
        The figure; its only trace holds the points in order.
    """
    low, high = np.quantile(values, [0.01, 0.99])  # a few outliers must not flatten the rest
    marker = {
        "color": values.astype(np.float32),
        "colorscale": SEQUENTIAL[points.theme],
        "cmin": float(low),
        "cmax": float(high) if high > low else float(low) + 1,
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 10, "outlinewidth": 0},
    }
    figure = go.Figure(_scatter(points, np.arange(len(points.rows)), name=title, marker=marker))
    return _finish_map(figure, points).update_layout(showlegend=False)


def plain_map(points: MapPoints) -> go.Figure:
    """Points in one quiet colour, before there is anything to say about them."""
    marker = {"color": CONTEXT[points.theme]}
    figure = go.Figure(_scatter(points, np.arange(len(points.rows)), name="Tokens", marker=marker))
    return _finish_map(figure, points).update_layout(showlegend=False)


def error_curves(
    curves: Curves, *, theme: str, against_svd: bool, chosen: ChosenPlan | None
) -> go.Figure:
    """Error against compression rate: the SVDs and one curve a k, spread over seeds as a band.

    Args:
        curves: Of a sweep.
        theme: ``"light"`` or ``"dark"``.
        against_svd: Draw the error over that of the SVD fitted for it, at the same asked rate.
        chosen: The explored plan, to be marked.

    Returns:
        The figure.
    """
    figure = go.Figure()
    for index, points in enumerate(curves.by_k.values()):
        _add_curve(figure, points, subspace_colour(index, theme), against_svd)
    _add_svd(figure, curves.svd, "SVD (k = 1)", "dash", theme, against_svd)
    if curves.weighted_svd:
        _add_svd(figure, curves.weighted_svd, "weighted SVD", "dot", theme, against_svd)
    seen = chosen is not None and (chosen.svd_error > EXACT_ERROR or not against_svd)
    if chosen is not None and seen and chosen.rate is not None:
        scale = chosen.svd_error if against_svd else 1.0
        height = chosen.error / scale
        at = (chosen.rate, height)
        add_star(figure, chosen.name, at, figures=format(height, _shown(against_svd)), theme=theme)
    if against_svd:
        title = "error over the SVD's"
        if curves.weighted:
            title = "weighted error over the weighted SVD's"
    else:
        title = energy_lost(weighted=curves.weighted)
    return figure.update_layout(
        height=460,
        hovermode="x unified",
        margin={"l": 60, "r": 16, "t": 16, "b": 48},
        legend={"orientation": "h", "y": -0.18, "x": 0},
        xaxis={"title": "compression rate", "tickformat": ".0%"},
        yaxis={
            "title": title,
            "rangemode": "normal" if against_svd else "tozero",
            "tickformat": "" if against_svd else ".0%",
        },
    )


def _add_svd(
    figure: go.Figure,
    points: Sequence[CurvePoint],
    name: str,
    dash: str,
    theme: str,
    against_svd: bool,
) -> None:
    figure.add_trace(
        go.Scatter(
            x=[point.rate for point in points],
            y=[point.svd_ratio if against_svd else point.error for point in points],
            name=name,
            mode="lines+markers",
            line={"color": ACCENT[theme], "dash": dash, "width": 2},
            marker={"size": 6, "symbol": "circle" if dash == "dash" else "diamond"},
            hovertemplate=f"{name.partition(' (')[0]}: %{{y:{_shown(against_svd)}}}<extra></extra>",
        )
    )


def _add_curve(
    figure: go.Figure, points: Sequence[CurvePoint], colour: str, against_svd: bool
) -> None:
    shown = _shown(against_svd)
    k, rates = points[0].k, [point.rate for point in points]
    scales = [
        point.svd_ratio / point.error if against_svd and point.error else 1.0 for point in points
    ]
    low, mean, high = (
        [getattr(point, name) * scale for point, scale in zip(points, scales, strict=True)]
        for name in ("lowest", "error", "highest")
    )
    figure.add_trace(
        go.Scatter(
            x=[*rates, *reversed(rates)],
            y=[*high, *reversed(low)],
            mode="lines",
            fill="toself",
            fillcolor=colour,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            name=f"k = {k}, spread",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=rates,
            y=mean,
            customdata=np.array([low, high]).T,
            name=f"k = {k}",
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 6},
            hovertemplate=(
                f"k = {k}: %{{y:{shown}}} (%{{customdata[0]:{shown}}} – %{{customdata[1]:{shown}}})"
                "<extra></extra>"
            ),
        )
    )


def _shown(against_svd: bool) -> str:
    """How a height reads: a ratio, or else a share of the energy."""
    return ".4f" if against_svd else ".2%"


def add_star(
    figure: go.Figure, name: str, at: tuple[float, float], *, figures: str, theme: str
) -> None:
    """Mark a plan; its figures are what the hover says of it."""
    figure.add_trace(
        go.Scatter(
            x=at[:1],
            y=at[1:],
            name=name,
            mode="markers",
            marker={
                "symbol": "star",
                "size": 12,  # in the legend a larger one lies on its neighbours
                "color": "rgba(0,0,0,0)",  # hollow: the points under it stay to be seen
                "line": {"width": 2, "color": ACCENT[theme]},
            },
            hovertemplate=f"{escape(name)}: {figures}<extra></extra>",
        )
    )


def _scatter(
    points: MapPoints, members: NDArray[np.int64], *, name: str, marker: dict[str, Any]
) -> go.Scattergl:
    size = float(np.clip(700 / np.sqrt(max(1, len(points.rows))), 3, 9))
    return go.Scattergl(
        x=points.layout[members, 0],
        y=points.layout[members, 1],
        mode="markers",
        name=escape(name),
        text=[escape(points.tokens[int(i)]) for i in members],
        hovertemplate="<b>%{text}</b><br>%{fullData.name}<extra></extra>",
        marker={"size": size, "opacity": 0.75, "line": {"width": 0}, **marker},
        unselected={"marker": {"color": CONTEXT[points.theme], "opacity": 0.25}},
    )


def _finish_map(figure: go.Figure, points: MapPoints) -> go.Figure:
    hidden = {"visible": False, "showgrid": False, "zeroline": False}
    return figure.update_layout(
        height=560,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        xaxis=hidden,
        yaxis={**hidden, "scaleanchor": "x", "scaleratio": 1},
        dragmode="lasso",
        hovermode="closest",
        uirevision=points.uirevision,
        legend={
            "orientation": "h",
            "y": 0,
            "yanchor": "top",
            "x": 0,
            "itemsizing": "constant",
            "font": {"size": 13},
        },
    )
