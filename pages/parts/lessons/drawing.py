"""Rows, subspaces and costs of the lessons as figures; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from pages.parts.palette import ACCENT, CONTEXT, subspace_colour

Floats = NDArray[np.float64]

_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}
_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneScene:
    """Rows in the plane and lines through zero.

    Attributes:
        points: Shape (n, 2).
        labels: Line of each row, shape (n,); rows are grey where None.
        directions: Unit vector of each line, shape (k, 2); None before there are lines.
        height: In pixels.
        reach: Half the side of what is shown.
    """

    points: Floats
    labels: NDArray[np.int64] | None
    directions: Floats | None
    height: int = 400
    reach: float = 1.25


def draw_plane(scene: PlaneScene, theme: str, *, names: Sequence[str] = ()) -> go.Figure:
    """Rows in the colour of their line, the lines, and what each row loses as a thin line.

    Args:
        scene: What to draw.
        theme: ``"light"`` or ``"dark"``.
        names: One a line, for the hover; “subspace 1” and so on when left out.
    """
    figure = go.Figure()
    k = 0 if scene.directions is None else len(scene.directions)
    names = names or [f"subspace {label + 1}" for label in range(k)]
    for label in range(k):
        colour = subspace_colour(label, theme)
        assert scene.directions is not None
        end = 2 * scene.reach * scene.directions[label]
        figure.add_trace(_line(np.array([-end, end]), names[label], colour, width=2.5))
    if scene.labels is None:
        figure.add_trace(_dots(scene.points, "rows", CONTEXT[theme]))
    else:
        for label in range(max(k, int(scene.labels.max()) + 1)):
            own = scene.points[scene.labels == label]
            colour = subspace_colour(label, theme)
            if scene.directions is not None and len(own):
                figure.add_trace(_residuals(own, scene.directions[label], colour))
            name = f"rows of {names[label]}" if names else f"rows of part {label + 1}"
            figure.add_trace(_dots(own, name, colour))
    hidden: dict[str, Any] = {
        "range": [-scene.reach, scene.reach],
        "showticklabels": False,
        "showgrid": False,
        "zeroline": True,
        "zerolinewidth": 1,
        "fixedrange": True,
    }
    return figure.update_layout(
        height=scene.height,
        margin=_MARGIN,
        showlegend=False,
        hovermode="closest",
        dragmode=False,
        xaxis=hidden,
        yaxis={**hidden, "scaleanchor": "x", "scaleratio": 1},
    )


def draw_space(
    points: Floats, labels: NDArray[np.int64], bases: Sequence[Floats], theme: str
) -> go.Figure:
    """Rows in R^3 with a plane, or with lines through zero; it can be turned.

    Args:
        points: Shape (n, 3).
        labels: Subspace of each row, shape (n,).
        bases: Of each subspace, shape (1, 3) or (2, 3), orthonormal rows.
        theme: ``"light"`` or ``"dark"``.
    """
    figure = go.Figure()
    for label, basis in enumerate(bases):
        colour = subspace_colour(label, theme)
        own = points[labels == label]
        feet = own @ basis.T @ basis
        name = f"subspace {label + 1}" if len(bases) > 1 else "plane"
        if len(basis) == 2:
            figure.add_trace(_sheet(1.1 * _CORNERS @ basis, name, colour))
        else:
            end = 1.15 * basis[0]
            figure.add_trace(_line_in_space(np.array([-end, end]), name, colour, width=5))
        figure.add_trace(_line_in_space(_pairs(own, feet), f"lost in {name}", colour, width=1.5))
        figure.add_trace(
            go.Scatter3d(
                x=own[:, 0],
                y=own[:, 1],
                z=own[:, 2],
                mode="markers",
                name=f"rows of {name}",
                marker={"size": 3, "color": colour if len(bases) > 1 else CONTEXT[theme]},
                hovertemplate=f"rows of {name}<extra></extra>",
            )
        )
    axis = {
        "showticklabels": False,
        "title": "",
        "range": [-1.2, 1.2],
        "showspikes": False,
        "backgroundcolor": "rgba(0,0,0,0)",
        "gridcolor": CONTEXT[theme],
        "nticks": 4,
    }
    return figure.update_layout(
        height=380,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        showlegend=False,
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "cube",
            "camera": {"eye": {"x": 1.25, "y": 1.02, "z": 0.74}},
        },
    )


def draw_costs(
    costs: Sequence[float | None], phases: Sequence[str], at: int, theme: str
) -> go.Figure:
    """The cost after every half-step, the one that is shown ringed.

    Args:
        costs: One a half-step; None where there is none yet.
        phases: What each half-step did, for the hover.
        at: Which one is shown.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; point i of its first trace is half-step i.
    """
    figure = go.Figure(
        go.Scatter(
            x=list(range(len(costs))),
            y=list(costs),
            mode="lines+markers",
            name="cost",
            text=list(phases),
            line={"color": ACCENT[theme], "width": 1.5},
            marker={"size": 8},
            cliponaxis=False,
            hovertemplate="half-step %{x}, %{text}<br>%{y:.1%} lost<extra></extra>",
        )
    )
    if costs[at] is not None:
        figure.add_trace(
            go.Scatter(
                x=[at],
                y=[costs[at]],
                mode="markers",
                name="shown",
                hoverinfo="skip",
                cliponaxis=False,
                marker={
                    "size": 18,
                    "color": "rgba(0,0,0,0)",
                    "line": {"width": 2.5, "color": subspace_colour(1, theme)},
                },
            )
        )
    return _finish_curve(figure, "half-step", "energy lost", 230).update_xaxes(
        range=[-0.5, len(costs) - 0.3], tickformat="d"
    )


def draw_starts(costs: Sequence[float], at: int | None, theme: str) -> go.Figure:
    """Where every start ended, the lowest in one colour, those that got stuck in another.

    Args:
        costs: Final cost of each start.
        at: The start that is shown; None when it is none of them.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; point i of its first trace is start i.
    """
    best = min(costs)
    stuck = [cost > 1.05 * best for cost in costs]
    colours = [subspace_colour(1 if bad else 0, theme) for bad in stuck]
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(costs) + 1)),
            y=list(costs),
            mode="markers",
            name="starts",
            marker={
                "size": 12,
                "color": colours,
                "symbol": ["x" if bad else "circle" for bad in stuck],
                "line": {"width": [3 if i == at else 0 for i in range(len(costs))]}
                | {"color": ACCENT[theme]},
            },
            hovertemplate="start %{x}: %{y:.1%} lost<extra></extra>",
        )
    )
    return _finish_curve(figure, "start", "energy lost at its end", 230)


def draw_angles(degrees: Floats, costs: Floats, at: float, best: float, theme: str) -> go.Figure:
    """What a line of every angle loses, the chosen and the best one marked.

    Args:
        degrees: Shape (m,), angles of the line.
        costs: Shape (m,), energy lost at each.
        at: The chosen angle.
        best: The SVD's angle.
        theme: ``"light"`` or ``"dark"``.
    """
    figure = go.Figure(
        go.Scatter(
            x=degrees,
            y=costs,
            mode="lines",
            name="every line",
            line={"color": CONTEXT[theme], "width": 2},
            hovertemplate="%{x:.0f}°: %{y:.1%} lost<extra></extra>",
        )
    )
    # Beside the curve, on the side that it leaves free.
    left = float(np.interp(at + 1, degrees, costs) - np.interp(at - 1, degrees, costs)) >= 0
    free = "middle left" if left else "middle right"
    for place, name, colour, symbol, side in (
        (best, "the SVD's line", ACCENT[theme], "diamond", "bottom center"),
        (at, "your line", subspace_colour(0, theme), "circle", free),
    ):
        figure.add_trace(
            go.Scatter(
                x=[place],
                y=[float(np.interp(place, degrees, costs))],
                mode="markers+text",
                name=name,
                text=[name],
                textposition=side,
                cliponaxis=False,
                marker={"size": 12, "color": colour, "symbol": symbol},
                hovertemplate=f"{name}: %{{y:.1%}} lost at %{{x:.0f}}°<extra></extra>",
            )
        )
    figure = _finish_curve(figure, "angle of the line", "energy lost", 400)
    return figure.update_xaxes(ticksuffix="°", range=[0, 180], dtick=45).update_yaxes(
        range=[-0.14, 1.08 * float(costs.max()) + 0.05]
    )


def draw_spectra(spectra: Floats, kept: Sequence[int], theme: str) -> go.Figure:
    """The energy of each direction of each subspace: kept in its colour, cut in grey.

    Args:
        spectra: Shape (k, d), falling, as shares of the whole energy.
        kept: Dimension of each subspace.
        theme: ``"light"`` or ``"dark"``.
    """
    colours = [
        [subspace_colour(label, theme)] * dimension + [CONTEXT[theme]] * (len(row) - dimension)
        for label, (row, dimension) in enumerate(zip(spectra, kept, strict=True))
    ]
    names = [f"{dimension} kept" for dimension in kept]
    figure = _bars(spectra, names, colours, "%{y:.1%} of all energy")
    return _finish_curve(figure, "direction", "share of all energy", 300)


def draw_bits(bits: NDArray[np.int64], theme: str) -> go.Figure:
    """The bits of each coordinate of each subspace.

    Args:
        bits: Shape (k, d).
        theme: ``"light"`` or ``"dark"``.
    """
    colours = [[subspace_colour(label, theme)] * len(row) for label, row in enumerate(bits)]
    names = [f"{row.sum()} bits" for row in bits]
    figure = _finish_curve(_bars(bits, names, colours, "%{y} bits"), "direction", "bits", 300)
    return figure.update_yaxes(tickformat="d", dtick=1)


def _bars(
    heights: NDArray[Any], names: Sequence[str], colours: Sequence[list[str]], told: str
) -> go.Figure:
    """A bar a direction, a group a subspace."""
    figure = go.Figure(
        [
            go.Bar(
                x=[[f"subspace {label + 1}: {name}"] * len(row), list(range(1, len(row) + 1))],
                y=row,
                name=f"subspace {label + 1}",
                marker={"color": colour},
                hovertemplate=f"direction %{{x}}<br>{told}<extra></extra>",
            )
            for label, (row, name, colour) in enumerate(zip(heights, names, colours, strict=True))
        ]
    )
    figure.update_layout(bargap=0.15, barmode="stack")
    return figure.update_xaxes(tickfont={"size": 11}, showdividers=False)


def _finish_curve(figure: go.Figure, x: str, y: str, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 56, "r": 8, "t": 12, "b": 44},
        showlegend=False,
        dragmode=False,
        hovermode="closest",
        xaxis={"title": x, "fixedrange": True},
        yaxis={"title": y, "rangemode": "tozero", "tickformat": ".0%", "fixedrange": True},
    )


def _dots(points: Floats, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=points[:, 0],
        y=points[:, 1],
        mode="markers",
        name=name,
        marker={"size": 7, "color": colour},
        hovertemplate=f"{name}<extra></extra>",
    )


def _line(ends: Floats, name: str, colour: str, *, width: float) -> go.Scatter:
    return go.Scatter(
        x=ends[:, 0],
        y=ends[:, 1],
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hovertemplate=f"{name}<extra></extra>",
    )


def _residuals(points: Floats, direction: Floats, colour: str) -> go.Scatter:
    feet = (points @ direction)[:, None] * direction
    path = _pairs(points, feet)
    return go.Scatter(
        x=path[:, 0],
        y=path[:, 1],
        mode="lines",
        name="what is lost",
        line={"color": colour, "width": 1},
        opacity=0.6,
        hoverinfo="skip",
    )


def _pairs(starts: Floats, ends: Floats) -> Floats:
    """Separate lines from start to end, shape (3·m, d): a row of NaN lifts the pen."""
    return np.stack([starts, ends, np.full_like(starts, np.nan)], axis=1).reshape(
        -1, starts.shape[1]
    )


def _line_in_space(path: Floats, name: str, colour: str, *, width: float) -> go.Scatter3d:
    return go.Scatter3d(
        x=path[:, 0],
        y=path[:, 1],
        z=path[:, 2],
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hovertemplate=f"{name}<extra></extra>",
    )


def _sheet(corners: Floats, name: str, colour: str) -> go.Mesh3d:
    return go.Mesh3d(
        x=corners[:, 0],
        y=corners[:, 1],
        z=corners[:, 2],
        i=[0, 0],
        j=[1, 2],
        k=[2, 3],
        name=name,
        color=colour,
        opacity=0.28,
        hovertemplate=f"{name}<extra></extra>",
    )
