"""Two plans on the same map; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from pages.parts import charts
from pages.parts.charts import MapPoints
from pages.parts.palette import COLOURS, CONTEXT, DIVERGING
from pages.parts.wording import escape

_UNMOVED = 0.12  # opacity: they stay as the shape that the others moved in


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairLabels:
    """Who is where in two plans.

    Attributes:
        first: Number of each point in plan A, shape (m,).
        second: Number of each point in plan B, shape (m,); matched to A's.
        names: One a number, for the legend.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    names: Sequence[str]

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Whether a point's number differs, shape (m,)."""
        return self.first != self.second

    @property
    def looks(self) -> list[int]:
        """Place of each number in the palette, whose colours repeat after `COLOURS`.

        Where there are more, those that both plans have come first: no two of them look alike.
        """
        numbers = range(len(self.names))
        if len(numbers) <= COLOURS:
            return [*numbers]
        both = np.intersect1d(self.first, self.second).tolist()
        order = [*both, *(number for number in numbers if number not in both)]
        return [order.index(number) for number in numbers]


def pair_map(
    points: MapPoints,
    labels: PairLabels,
    titles: tuple[str, str],
    *,
    moved_only: bool,
    stacked: bool,
) -> go.Figure:
    """Two maps of the same layout whose zoom is one, the same group in the same colour.

    Args:
        points: What both draw.
        labels: Who is where.
        titles: Of plan A's map and of plan B's.
        moved_only: Let the points that did not move step back.
        stacked: One below the other, for a narrow page.

    Returns:
        The figure: A's traces, then B's, one a number that has points; before each the points that
        step back, if any.
    """
    figure = make_subplots(
        rows=2 if stacked else 1,
        cols=1 if stacked else 2,
        subplot_titles=[escape(title) for title in titles],
        horizontal_spacing=0.02,
        vertical_spacing=0.05,
    )
    named: set[str] = set()
    for place, own in enumerate((labels.first, labels.second)):
        row, column = (place + 1, 1) if stacked else (1, place + 1)
        for trace in _traces(points, labels, own, moved_only=moved_only):
            name = str(trace.name)
            first_of_name = trace.showlegend is not False and name not in named
            trace.update(legendgroup=name, showlegend=first_of_name)
            named.add(name)
            figure.add_trace(trace, row=row, col=column)
    return _finish(figure, points, stacked=stacked)


def gain_map(points: MapPoints, gain: NDArray[np.float64]) -> go.Figure:
    """Where one of two plans is closer to the rows.

    Args:
        points: What it draws.
        gain: Error of each point in plan A less that in plan B, shape (m,).

    Returns:
        The figure; its only trace holds the points in order, the middle colour at 0.
    """
    figure = charts.value_map(points, gain, "")
    ends = float(np.quantile(np.abs(gain), 0.99)) or 1.0  # a few outliers must not flatten the rest
    return figure.update_traces(
        marker={
            "colorscale": list(DIVERGING[points.theme]),
            "cmin": -ends,
            "cmax": ends,
            "colorbar": {
                "orientation": "h",
                "y": 0,
                "yanchor": "top",
                "len": 0.6,
                "thickness": 12,
                "outlinewidth": 0,
                "tickvals": [-ends, 0, ends],
                "ticktext": [f"A closer by {ends:.1%}", "equal", f"B closer by {ends:.1%}"],
                "ticklabeloverflow": "allow",
            },
        },
        customdata=gain,
        hovertemplate="<b>%{text}</b><br>A’s error less B’s: %{customdata:+.2%}<extra></extra>",
    ).update_layout(dragmode="pan", margin={"l": 0, "r": 0, "t": 0, "b": 56})


def _traces(
    points: MapPoints, labels: PairLabels, own: NDArray[np.int64], *, moved_only: bool
) -> list[Any]:
    shown = np.flatnonzero(labels.moved) if moved_only else np.arange(len(own))
    some = _subset(points, shown)
    whole: Any = charts.subspace_map(some, own[shown], labels.names, labels.looks)
    traces = [trace for trace in whole.data if len(trace.x)]
    if moved_only:
        others: Any = charts.plain_map(_subset(points, np.flatnonzero(~labels.moved)))
        (rest,) = others.data
        rest.update(
            name="stayed",
            hovertemplate="<b>%{text}</b><br>stayed<extra></extra>",
            marker={"color": CONTEXT[points.theme], "opacity": _UNMOVED},
            showlegend=False,
        )
        traces = [rest, *traces]
    size = float(np.clip(500 / np.sqrt(max(1, len(own))), 2.5, 8))
    for trace in traces:
        trace.marker.size = size
    return traces


def _subset(points: MapPoints, shown: NDArray[np.int64]) -> MapPoints:
    return replace(
        points,
        layout=points.layout[shown],
        rows=points.rows[shown],
        tokens=[points.tokens[int(i)] for i in shown],
    )


def _finish(figure: go.Figure, points: MapPoints, *, stacked: bool) -> go.Figure:
    figure.update_xaxes(visible=False, matches="x")
    figure.update_yaxes(visible=False, matches="y")
    figure.update_yaxes(scaleanchor="x", scaleratio=1, selector=0)
    return figure.update_layout(
        height=800 if stacked else 480,
        margin={"l": 0, "r": 0, "t": 32, "b": 0},
        dragmode="pan",
        hovermode="closest",
        uirevision=f"{points.uirevision}-{stacked}",
        legend={
            "orientation": "h",
            "y": 0,
            "yanchor": "top",
            "x": 0,
            "itemsizing": "constant",
            "font": {"size": 13},
        },
    )
