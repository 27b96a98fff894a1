"""The map as a plotly figure, on a plane or in space; nothing here knows streamlit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb

from pages.parts.atlas.colourings import Colouring, add_colourings
from pages.parts.palette import ACCENT, COLOURS, CONTEXT, PAGE, subspace_symbol
from pages.parts.wording import escape

_VEIL = 0.6  # of the page, within a ring
_NAMED = 25  # rings with a name; more cover each other
_RINGED = 400  # matches with a ring; more are told by their colour alone
_HEIGHT = 560
# Symbols that plotly knows in space as well: all it has, one each time the colours start over.
_SPACE_SYMBOLS = (
    *("circle", "diamond", "square", "cross", "x"),
    *("circle-open", "diamond-open", "square-open"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """What a map draws.

    Attributes:
        layout: Shape (m, 2) or (m, 3), float32.
        rows: Of the table, one a point, shape (m,); a click on the point tells it.
        tokens: One a point.
        labels: Subspace of each point, shape (m,); all 0 where there is no plan.
        names: Of the subspaces, for the legend; one alone where there is no plan.
        theme: ``"light"`` or ``"dark"``.
    """

    layout: NDArray[np.float32]
    rows: NDArray[np.int64]
    tokens: Sequence[str]
    labels: NDArray[np.int64]
    names: Sequence[str]
    theme: str

    @property
    def members(self) -> list[NDArray[np.int64]]:
        """Positions of the points of each trace."""
        return [np.flatnonzero(self.labels == label) for label in range(len(self.names))]


class Rings(NamedTuple):
    """Where tokens have a ring: rows of the table, shape (r,), their places, (r, 2) or (r, 3)."""

    rows: NDArray[np.int64]
    places: NDArray[np.float32]
    tokens: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Emphasis:
    """What stands out on a map, without another figure.

    Attributes:
        chosen: Positions of the points that keep their colour while the others turn grey, shape
            (q,); None for all, and ``picked`` then says whether a loop on the map decides.
        picked: Whether points are picked on the map itself.
        ringed: What a search found.
        focus: The one that is looked at closely.
    """

    chosen: NDArray[np.int64] | None = None
    picked: bool = False
    ringed: Rings
    focus: Rings | None = None

    def as_data(self, points: Points) -> dict[str, Any]:
        """For ``live/map.js``, as JSON has it.

        Args:
            points: What the map draws.
        """
        chosen: Any = "leave" if self.picked and points.layout.shape[1] == 2 else None
        if self.chosen is not None:
            inside = np.zeros(len(points.labels), dtype=bool)
            inside[self.chosen] = True
            chosen = [np.flatnonzero(inside[members]).tolist() for members in points.members]
        ring = self._ring(points)
        stands = self.chosen is not None or bool(ring["x"])
        digest = blake2b(json.dumps([chosen, ring]).encode(), digest_size=8).hexdigest()
        return {"chosen": chosen, "ring": ring, "stands": stands, "signature": digest}

    def _ring(self, points: Points) -> dict[str, Any]:
        """The trace of the rings; those of a search where they can be told apart."""
        rows, places, tokens = self.ringed
        if len(tokens) > _RINGED:
            rows, places, tokens = rows[:0], places[:0], []
        names = list(tokens) if len(tokens) <= _NAMED else [""] * len(tokens)
        sizes = [9] * len(tokens)
        if self.focus is not None:
            rows = np.concatenate([rows, self.focus.rows])
            places = np.concatenate([places, self.focus.places])
            tokens, names = [*tokens, *self.focus.tokens], [*names, *self.focus.tokens]
            sizes.append(14)
        return {
            **dict(zip("xyz", places.T.tolist(), strict=False)),
            "text": names,
            # Drawn by WebGL, names are no markup; hover labels are.
            "hovertext": [escape(token) for token in tokens],
            "customdata": rows.tolist(),
            "marker.size": sizes,
        }


def draw_map(points: Points, colourings: Sequence[Colouring], shows: str) -> go.Figure:
    """A trace a subspace, so that the legend hides and isolates them; then one for rings.

    Args:
        points: What to draw, on a plane or in space.
        colourings: What it can be coloured by; see `add_colourings`.
        shows: What the figure's ``meta`` says it is.

    Returns:
        The figure in the first colours; its trace c holds the points of label c, in order. The
        last trace is empty: what stands out is told to the drawn map (`Emphasis`).
    """
    space = points.layout.shape[1] == 3
    members = points.members
    figure = go.Figure([_trace(points, positions, c) for c, positions in enumerate(members)])
    figure.add_trace(_rings(points))
    add_colourings(figure, members, colourings, points.theme)
    return _finish(figure, points, space=space).update_layout(meta={"shows": shows})


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
        # Plotly looks at each item of a list, which takes six times as long.
        "text": np.array([escape(points.tokens[int(i)]) for i in positions], dtype=object),
        "customdata": points.rows[positions],
        "hovertemplate": "<b>%{text}</b><br>%{fullData.name}<extra></extra>",
    }
    if points.layout.shape[1] == 3:
        x, y, z = points.layout[positions].T
        symbol = _SPACE_SYMBOLS[label // COLOURS % len(_SPACE_SYMBOLS)]
        return go.Scatter3d(x=x, y=y, z=z, marker={**marker, "size": 3, "symbol": symbol}, **common)
    size = float(np.clip(700 / np.sqrt(max(1, len(points.labels))), 3, 9))
    return go.Scattergl(
        x=points.layout[positions, 0],
        y=points.layout[positions, 1],
        marker={**marker, "size": size, "symbol": subspace_symbol(label)},
        unselected={"marker": {"opacity": 0.12, "color": CONTEXT[points.theme]}},
        **common,
    )


def _rings(points: Points) -> Any:  # noqa: ANN401 - of either kind
    accent, space = ACCENT[points.theme], points.layout.shape[1] == 3
    veil = "rgba({}, {}, {}, {})".format(*hex_to_rgb(PAGE[points.theme]), _VEIL)
    marker: dict[str, Any] = {
        # Veiled, for a ring among points of nearly its own colour to be seen.
        "color": accent if space else veil,
        "line": {"width": 2, "color": accent},
    }
    if space:
        marker |= {"symbol": "circle-open"}
    columns: dict[str, Any] = {axis: [] for axis in ("xyz" if space else "xy")}
    return (go.Scatter3d if space else go.Scattergl)(
        **columns,
        mode="markers+text",
        textposition="top center",
        textfont={"color": accent, "size": 12},
        hovertemplate="<b>%{hovertext}</b><extra></extra>",
        marker=marker,
        name="Found",
        showlegend=False,
    )


def _finish(figure: go.Figure, points: Points, *, space: bool) -> go.Figure:
    hidden = {"visible": False, "showgrid": False, "zeroline": False}
    figure.update_layout(
        height=_HEIGHT,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        hovermode="closest",
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
