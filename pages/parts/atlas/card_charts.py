"""What the card of a subspace draws; nothing here knows streamlit."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from engine.portraits import SubspacePortrait
from pages.parts.palette import ACCENT, CONTEXT, subspace_colour

_HEIGHT = 260


def spectrum_chart(portrait: SubspacePortrait, theme: str) -> go.Figure:
    """Energy held by the first directions of a subspace's rows, and where the subspace ends.

    Args:
        portrait: Of the subspace.
        theme: ``"light"`` or ``"dark"``.
    """
    held = np.concatenate([[0.0], np.cumsum(portrait.spectrum)])
    colour = subspace_colour(portrait.label, theme)
    figure = go.Figure(
        go.Scatter(
            x=np.arange(len(held)),
            y=held,
            mode="lines",
            line={"color": colour, "width": 2},
            hovertemplate="%{x} directions hold %{y:.1%}<extra></extra>",
        )
    )
    figure.add_vline(
        x=portrait.dimension,
        line={"color": ACCENT[theme], "dash": "dash", "width": 1},
        annotation={"text": f"j = {portrait.dimension}", "yanchor": "bottom", "y": 0.02},
    )
    return figure.update_layout(
        height=_HEIGHT,
        margin={"l": 48, "r": 8, "t": 8, "b": 40},
        showlegend=False,
        xaxis={"title": "directions, the strongest first", "rangemode": "tozero"},
        yaxis={"title": "energy held", "tickformat": ".0%", "range": [0, 1.02]},
    )


def angles_chart(portrait: SubspacePortrait, theme: str) -> go.Figure:
    """The principal angles to every other subspace: from the least to the greatest.

    Args:
        portrait: Of the subspace.
        theme: ``"light"`` or ``"dark"``.
    """
    figure = go.Figure()
    for angles in portrait.angles:
        if not angles.degrees:
            continue
        ends = (angles.degrees[0], angles.degrees[-1])
        middle = float(np.mean(angles.degrees))
        name = f"subspace {angles.label + 1}"
        colour = subspace_colour(angles.label, theme)
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=[name, name],
                mode="lines",
                line={"color": colour, "width": 6},
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[middle],
                y=[name],
                mode="markers",
                marker={"color": ACCENT[theme], "size": 9, "symbol": "line-ns-open"},
                hovertemplate=f"{name}: {ends[0]:.0f}° to {ends[1]:.0f}°, mean {middle:.0f}°"
                "<extra></extra>",
            )
        )
    return figure.update_layout(
        height=_HEIGHT,
        margin={"l": 8, "r": 8, "t": 8, "b": 40},
        showlegend=False,
        xaxis={
            "title": "principal angles in degrees: 0 is shared, 90 is apart",
            "range": [-2, 92],
            "gridcolor": CONTEXT[theme],
        },
        yaxis={"autorange": "reversed", "automargin": True},
    )
