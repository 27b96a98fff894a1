"""What a map can be coloured by, and buttons that recolour it in the browser, without a rerun.

Every colouring is a restyle of the traces that are there: a trace a subspace, whatever the colour.
Values travel as one byte a point, so that all colourings together weigh less than the points.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from pages.parts.palette import CONTEXT, SEQUENTIAL, subspace_colour
from pages.parts.wording import escape

Changes = tuple[dict[str, list[Any]], dict[str, Any]]
"""Of the traces and of the layout, as plotly's ``update`` takes them."""
_CODES = 255  # of values; code 0 is a point without one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Colouring:
    """One way to colour the points.

    Attributes:
        name: What its button says.
        title: Of the colour bar; empty where every subspace has its own colour.
        values: One a point, shape (m,); NaN is grey. None by subspace, or where not known yet.
        write: A value as a tick of the bar says it.
        lacks: Why it cannot be chosen now; empty where it can.
    """

    name: str
    title: str = ""
    values: NDArray[np.floating[Any]] | None = None
    write: Callable[[float], str] = "{:.2f}".format
    lacks: str = ""


def by_subspace(name: str = "Subspace") -> Colouring:
    """Every subspace in its own colour."""
    return Colouring(name=name)


def add_colourings(
    figure: go.Figure,
    members: Sequence[NDArray[np.int64]],
    colourings: Sequence[Colouring],
    theme: str,
) -> None:
    """Colour a map in the first way, and give it a button for each.

    Args:
        figure: Its first traces are those of the subspaces; changed in place.
        members: Positions of the points of each of these traces.
        colourings: In the order of the buttons, the first one known; those that lack something do
            nothing.
        theme: ``"light"`` or ``"dark"``.
    """
    traces = list(range(len(members)))
    changes = [recolour(colouring, members, theme) for colouring in colourings]
    of_traces, of_layout = changes[0]
    for trace in traces:
        for path, values in of_traces.items():
            figure.data[trace][path] = values[trace % len(values)]
    buttons = [
        {
            "label": escape(colouring.name),
            "method": "skip" if colouring.lacks else "update",
            "args": [
                {path: _packed(values) for path, values in found.items()},
                rest,
                traces,
            ],
        }
        for colouring, (found, rest) in zip(colourings, changes, strict=True)
    ]
    # The last one is told what to do by `map_control`, which hides them all: its own buttons are
    # reached by the keyboard as well. Small and inside the map, or plotly would make room for them.
    buttons.append({"label": "…", "method": "skip", "args": []})
    figure.update_layout(
        coloraxis={
            "colorscale": _scale(theme),
            "cmin": 0,
            "cmax": _CODES,
            "colorbar": {"title": {"side": "right"}, "thickness": 10, "outlinewidth": 0},
        },
        updatemenus=[
            {
                "type": "buttons",
                "active": 0,
                "buttons": buttons,
                "font": {"size": 1},
                "x": 0,
                "y": 0,
                "xanchor": "left",
                "yanchor": "bottom",
            }
        ],
    )
    for path, value in of_layout.items():
        figure.layout[path] = value


def recolour(colouring: Colouring, members: Sequence[NDArray[np.int64]], theme: str) -> Changes:
    """What changes in the traces of the subspaces, and in the layout.

    Args:
        colouring: The way to colour.
        members: Positions of the points of each trace.
        theme: ``"light"`` or ``"dark"``.
    """
    if colouring.values is None:
        colours = [subspace_colour(label, theme) for label in range(len(members))]
        return {"marker.color": colours, "showlegend": [len(members) > 1]}, {
            "coloraxis.showscale": False
        }
    codes, ends = encode(colouring.values)
    middle = (ends[0] + ends[1]) / 2
    return {
        "marker.color": [codes[positions] for positions in members],
        "showlegend": [False],
    }, {
        "coloraxis.showscale": True,
        "coloraxis.colorbar.title.text": escape(colouring.title),
        "coloraxis.colorbar.tickvals": [1, (1 + _CODES) / 2, _CODES],
        "coloraxis.colorbar.ticktext": [
            colouring.write(value) for value in (ends[0], middle, ends[1])
        ],
    }


def encode(
    values: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Values as codes 1 … 255 between two ends, which a few outliers do not move; NaN as 0.

    Args:
        values: Shape (m,).

    Returns:
        The codes, shape (m,), and the values of the first and the last.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values), dtype=np.uint8), (0.0, 1.0)
    low, high = (float(end) for end in np.quantile(known, [0.01, 0.99]))
    if high <= low:
        high = low + max(abs(low), 1.0)
    steps = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    codes = 1 + np.rint(np.clip(steps, 0, 1) * (_CODES - 1))
    return np.where(np.isfinite(values), codes, 0).astype(np.uint8), (low, high)


def _scale(theme: str) -> list[list[Any]]:
    """Grey for code 0, then the colours of values."""
    colours = SEQUENTIAL[theme]
    start = 0.5 / _CODES
    steps = np.linspace(start, 1, len(colours))
    grey = CONTEXT[theme]
    return [
        [0, grey],
        [start, grey],
        *([float(at), c] for at, c in zip(steps, colours, strict=True)),
    ]


def _packed(values: list[Any]) -> list[Any]:
    """Arrays as plotly's typed arrays: its encoder looks for them in traces alone."""
    return [
        {"dtype": "u1", "bdata": b64encode(value.tobytes()).decode()}
        if isinstance(value, np.ndarray)
        else value
        for value in values
    ]
