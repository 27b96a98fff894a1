"""The two charts of a report, as plain values for plotly's script.

Colours are names of the style sheet: see the room's docstring. Texts are as they are, so that the
page can be searched; its script escapes them for plotly, which reads a few tags.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.colours import COLOURS, subspace_symbol
from engine.curves import CurvePoint, Curves
from engine.report.plan import ReportedMap, ReportedPlan

_HOVER = "<b>%{text}</b><br>%{fullData.name}<br>error %{customdata:.1%}<extra></extra>"


def colour_of(label: int) -> str:
    """Colour of a subspace, or of a k, by its name in the style sheet."""
    return f"var(--subspace-{label % COLOURS})"


def mark_of(label: int) -> dict[str, str]:
    """Colour and symbol of a subspace, as the map has them."""
    return {"colour": colour_of(label), "symbol": subspace_symbol(label)}


def draw_map(plan: ReportedPlan, places: ReportedMap) -> dict[str, Any]:
    """The tokens, one trace a subspace.

    Args:
        plan: Whose subspaces.
        places: Where its rows lie, and which are drawn.
    """
    labels, layout = plan.labels[places.rows], places.layout[places.rows]
    errors = np.round(plan.row_errors[places.rows], 4)
    size = float(np.clip(700 / np.sqrt(max(1, len(places.rows))), 3, 9))
    traces: list[dict[str, Any]] = []
    for label, name in enumerate(plan.subspace_names):
        members = np.flatnonzero(labels == label)
        traces.append(
            {
                "type": "scattergl",
                "mode": "markers",
                "name": name,
                "x": _packed(layout[members, 0]),
                "y": _packed(layout[members, 1]),
                "text": [plan.table.tokens[int(row)] for row in places.rows[members]],
                "customdata": errors[members].tolist(),
                "hovertemplate": _HOVER,
                "marker": {
                    "color": colour_of(label),
                    "symbol": subspace_symbol(label),
                    "size": size,
                    "opacity": 0.75,
                    "line": {"width": 0},
                },
            }
        )
    hidden = {"visible": False}
    layout_of_map = {
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "xaxis": hidden,
        "yaxis": {**hidden, "scaleanchor": "x", "scaleratio": 1},
        "dragmode": "zoom",
        "hovermode": "closest",
        "showlegend": False,  # the page has one of its own, which wraps and takes the keyboard
        "uirevision": True,
    }
    return {"data": traces, "layout": _on_paper(layout_of_map)}


def draw_curves(curves: Curves, *, star: tuple[float, float] | None, name: str) -> dict[str, Any]:
    """Error against compression rate: the SVDs, and one line a k with its spread over seeds.

    Args:
        curves: Of a sweep.
        star: Rate and error of the reported plan, where it has a place among them.
        name: Of that plan.
    """
    traces: list[dict[str, Any]] = []
    for index, points in enumerate(curves.by_k.values()):
        traces += _curve(points, colour_of(index))
    svds = [("SVD (k = 1)", "dash", curves.svd), ("weighted SVD", "dot", curves.weighted_svd)]
    traces += [_svd(title, dash, points) for title, dash, points in svds if points]
    if star is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": star[:1],
                "y": star[1:],
                "marker": {
                    "symbol": "star",
                    "size": 17,
                    "color": "rgba(0,0,0,0)",  # hollow: the points under it stay to be seen
                    "line": {"width": 2, "color": "var(--ink)"},
                },
                "hovertemplate": "%{fullData.name}: %{y:.4f}<extra></extra>",
            }
        )
    lines = {"gridcolor": "var(--rule)", "zerolinecolor": "var(--rule)"}
    error = "squared error, weighted by use" if curves.weighted else "relative squared error"
    layout = {
        "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": "compression rate"}, "tickformat": ".0%", **lines},
        "yaxis": {"title": {"text": error}, "rangemode": "tozero", **lines},
    }
    return {"data": traces, "layout": _on_paper(layout)}


def _curve(points: Sequence[CurvePoint], colour: str) -> list[dict[str, Any]]:
    """The spread over the seeds as a band, and the mean as a line."""
    name, rates = f"k = {points[0].k}", [point.rate for point in points]
    low, high = [point.lowest for point in points], [point.highest for point in points]
    band = {
        "type": "scatter",
        "mode": "lines",
        "name": f"{name}, spread",
        "x": [*rates, *reversed(rates)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.2,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": rates,
        "y": [point.error for point in points],
        "customdata": [list(pair) for pair in zip(low, high, strict=True)],
        "line": {"color": colour, "width": 2},
        "marker": {"size": 6},
        "hovertemplate": "%{fullData.name}: %{y:.4f} "
        "(%{customdata[0]:.4f} – %{customdata[1]:.4f})<extra></extra>",
    }
    return [band, line]


def _svd(name: str, dash: str, points: Sequence[CurvePoint]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [point.rate for point in points],
        "y": [point.error for point in points],
        "line": {"color": "var(--ink)", "dash": dash, "width": 2},
        "marker": {"size": 6, "symbol": "circle" if dash == "dash" else "diamond"},
        "hovertemplate": "%{fullData.name}: %{y:.4f}<extra></extra>",
    }


def _on_paper(layout: dict[str, Any]) -> dict[str, Any]:
    """A layout in the page's own colours and font."""
    return {
        **layout,
        "font": {"color": "var(--ink)", "family": "system-ui, sans-serif", "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": "var(--card)",
            "bordercolor": "var(--rule)",
            "font": {"color": "var(--ink)"},
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--quiet)"},
    }


def _packed(values: NDArray[np.float32]) -> dict[str, str]:
    """Numbers as plotly's script takes them in a third of their length as text."""
    little_endian = values.astype("<f4")
    return {"dtype": "f4", "bdata": base64.b64encode(little_endian.tobytes()).decode("ascii")}
