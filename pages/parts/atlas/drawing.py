"""The map as a plotly figure, on a plane or in space; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from pages.parts.atlas.colourings import Colouring, add_colourings
from pages.parts.palette import ACCENT, CONTEXT, subspace_symbol
from pages.parts.wording import escape

_NAMED = 25  # rings with a name; more cover each other
_RINGED = 400  # matches with a ring; more are told by their colour alone
_HEIGHT = 560
# Symbols that plotly knows in space as well; there are fewer of them.
_SPACE_SYMBOLS = ("circle", "diamond", "square", "cross", "x")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """What a map draws.

    Attributes:
        layout: Shape (m, 2) or (m, 3), float32.
        tokens: One a point.
        labels: Subspace of each point, shape (m,); all 0 where there is no plan.
        names: Of the subspaces, for the legend; one alone where there is no plan.
        theme: ``"light"`` or ``"dark"``.
        uirevision: Zoom, camera and legend are kept while this stays the same.
    """

    layout: NDArray[np.float32]
    tokens: Sequence[str]
    labels: NDArray[np.int64]
    names: Sequence[str]
    theme: str
    uirevision: str

    @property
    def members(self) -> list[NDArray[np.int64]]:
        """Positions of the points of each trace."""
        return [np.flatnonzero(self.labels == label) for label in range(len(self.names))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Emphasis:
    """What stands out on a map.

    Attributes:
        chosen: Positions of the points that keep their colour, shape (q,); None for all.
        ringed: Positions of points with a ring, shape (r,).
        focus: Position of the point that is looked at closely.
    """

    chosen: NDArray[np.int64] | None = None
    ringed: NDArray[np.int64]
    focus: int | None = None


def draw_map(
    points: Points, colourings: Sequence[Colouring], active: int, emphasis: Emphasis
) -> go.Figure:
    """A trace a subspace, so that the legend hides and isolates them; then the rings.

    Args:
        points: What to draw, on a plane or in space.
        colourings: What it can be coloured by; see `add_colourings`.
        active: Which one it is drawn in.
        emphasis: What stands out; the other points stay, in grey.

    Returns:
        The figure; its trace c holds the points of label c, in order. In space the points that do
        not stand out are a trace of their own, the last but the rings.
    """
    space = points.layout.shape[1] == 3
    members = points.members
    context = np.empty(0, dtype=np.int64)
    if space and emphasis.chosen is not None:  # plotly greys no points of a trace in space
        inside = np.isin(np.arange(len(points.labels)), emphasis.chosen)
        context = np.flatnonzero(~inside)
        members = [positions[inside[positions]] for positions in members]
    figure = go.Figure([_trace(points, positions, c) for c, positions in enumerate(members)])
    add_colourings(figure, members, colourings, active=active, theme=points.theme)
    if len(context):
        figure.add_trace(_context(points, context))
    if not space and emphasis.chosen is not None:
        place = np.full(len(points.labels), -1)
        for positions in members:
            place[positions] = np.arange(len(positions))
        for label in range(len(members)):
            own = emphasis.chosen[points.labels[emphasis.chosen] == label]
            figure.data[label].selectedpoints = place[own]
    _add_rings(figure, points, emphasis)
    return _finish(figure, points, space=space)


def _trace(points: Points, positions: NDArray[np.int64], label: int) -> Any:  # noqa: ANN401
    name = escape(points.names[label])
    marker: dict[str, Any] = {
        "opacity": 0.75,
        "line": {"width": 0},
        "coloraxis": "coloraxis",
    }
    common: dict[str, Any] = {
        "mode": "markers",
        "name": name,
        "text": [escape(points.tokens[int(i)]) for i in positions],
        "hovertemplate": "<b>%{text}</b><br>%{fullData.name}<extra></extra>",
    }
    if points.layout.shape[1] == 3:
        x, y, z = points.layout[positions].T
        symbol = subspace_symbol(label)
        if symbol not in _SPACE_SYMBOLS:
            symbol = _SPACE_SYMBOLS[label % len(_SPACE_SYMBOLS)]
        return go.Scatter3d(x=x, y=y, z=z, marker={**marker, "size": 3, "symbol": symbol}, **common)
    size = float(np.clip(700 / np.sqrt(max(1, len(points.labels))), 3, 9))
    return go.Scattergl(
        x=points.layout[positions, 0],
        y=points.layout[positions, 1],
        marker={**marker, "size": size, "symbol": subspace_symbol(label)},
        unselected={"marker": {"opacity": 0.12, "color": CONTEXT[points.theme]}},
        **common,
    )


def _context(points: Points, positions: NDArray[np.int64]) -> go.Scatter3d:
    x, y, z = points.layout[positions].T
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="markers",
        name="not selected",
        text=[escape(points.tokens[int(i)]) for i in positions],
        hovertemplate="<b>%{text}</b><extra></extra>",
        marker={"size": 2, "opacity": 0.15, "color": CONTEXT[points.theme]},
        showlegend=False,
    )


def _add_rings(figure: go.Figure, points: Points, emphasis: Emphasis) -> None:
    """Rings around what a search found, where they can be told apart, and around the focus."""
    ringed = emphasis.ringed if len(emphasis.ringed) <= _RINGED else emphasis.ringed[:0]
    if emphasis.focus is not None:
        ringed = np.append(ringed[ringed != emphasis.focus], emphasis.focus)
    if not len(ringed):
        return
    named = len(ringed) <= _NAMED
    names = [points.tokens[int(i)] for i in ringed]  # drawn by WebGL, which reads no markup
    if not named and emphasis.focus is not None:
        names = [*[""] * (len(names) - 1), names[-1]]
        named = True
    accent = ACCENT[points.theme]
    space = points.layout.shape[1] == 3
    columns = dict(zip("xyz", points.layout[ringed].T, strict=False))
    sizes = np.full(len(ringed), 9)
    if emphasis.focus is not None:
        sizes[-1] = 14
    marker: dict[str, Any] = {
        "size": sizes,
        "color": "rgba(0,0,0,0)",
        "line": {"width": 2, "color": accent},
    }
    if space:
        marker |= {"symbol": "circle-open", "color": accent}
    figure.add_trace(
        (go.Scatter3d if space else go.Scattergl)(
            **columns,
            mode="markers+text" if named else "markers",
            text=names,
            hovertext=[escape(points.tokens[int(i)]) for i in ringed],
            textposition="top center",
            textfont={"color": accent, "size": 12},
            hovertemplate="<b>%{hovertext}</b><extra></extra>",
            marker=marker,
            name="Found",
            showlegend=False,
        )
    )


def _finish(figure: go.Figure, points: Points, *, space: bool) -> go.Figure:
    hidden = {"visible": False, "showgrid": False, "zeroline": False}
    figure.update_layout(
        height=_HEIGHT,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
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
    if space:
        figure.update_layout(
            scene={
                "xaxis": hidden,
                "yaxis": hidden,
                "zaxis": hidden,
                "aspectmode": "data",
                "camera": {"eye": {"x": 0.9, "y": 0.9, "z": 0.7}},
            }
        )
    else:
        figure.update_layout(
            xaxis=hidden,
            yaxis={**hidden, "scaleanchor": "x", "scaleratio": 1},
            dragmode="lasso",
        )
    return figure
