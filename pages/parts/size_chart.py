"""The figure of error (or accuracy) against stored bytes; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10, sqrt
from typing import Any

import plotly.graph_objects as go

from engine.frontier import BytePoint, SizeCurves
from pages.parts.charts import ChosenPlan, add_star
from pages.parts.palette import ACCENT, CONTEXT, subspace_colour
from pages.parts.wording import short_bytes

BIT_SYMBOLS = {4: "diamond", 8: "square", 32: "circle"}
_SYMBOL_KEY = "◆ 4 bits   ■ 8 bits   ● 32 bits"
_FRONTIER = "not reached"
# Where curves fall, a label has room on their left below; where they rise, above.
_BESIDE: dict[bool, dict[str, Any]] = {
    False: {"xanchor": "right", "xshift": -8, "yshift": -4},
    True: {"yanchor": "bottom", "yshift": 6},
}
_ERROR_TICKS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_SHARE_TICKS = tuple(step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5))
_HOVER = (
    "<b>%{text}</b><br>%{customdata[0]}, %{customdata[1]:.1%} of the table<br>"
    "%{customdata[2]} (%{customdata[3]} – %{customdata[4]})<extra></extra>"
)


def size_chart(
    curves: SizeCurves, *, theme: str, bits: int | None = None, chosen: ChosenPlan | None = None
) -> go.Figure:
    """One line a method, its markers saying the bits; rounding as markers; the frontier behind.

    Args:
        curves: Of a sweep, or of measured accuracies.
        theme: ``"light"`` or ``"dark"``.
        bits: Draw the fits in so many bits; each method's best coding at every size when left out.
        chosen: The explored plan, to be marked.

    Returns:
        The figure. The frontier is that of everything measured, whatever is drawn.
    """
    figure = go.Figure()
    _add_frontier(figure, curves, theme)
    _add_lines(figure, curves, bits, theme)
    _add_roundings(figure, curves, theme)
    if chosen is not None:
        at = (chosen.stored_bytes, _height(curves, chosen.error))
        said = f"{short_bytes(chosen.stored_bytes)}, {chosen.error:.4f}"
        add_star(figure, chosen.name, at, figures=said, theme=theme)
    return _lay_out(figure, curves, theme)


def _add_frontier(figure: go.Figure, curves: SizeCurves, theme: str) -> None:
    """The steps of what is best so far, and what lies beyond them shaded."""
    front = curves.frontier()
    x = [*(point.stored_bytes for point in front), 2 * curves.dense_bytes]
    y = [_height(curves, point.value) for point in (*front, *front[-1:])]
    fill = "tozeroy"
    if curves.higher_is_better:
        fill, top = "toself", _highest(curves)
        x, y = [*x, x[-1], x[0]], [*y, top, top]
        figure.add_hline(curves.whole, line={"color": CONTEXT[theme], "dash": "dot", "width": 1})
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": CONTEXT[theme], "width": 1, "shape": "hv"},
            fill=fill,
            fillcolor="rgba(140,148,158,0.13)",
            name=_FRONTIER,
            hoverinfo="skip",
        )
    )


def _highest(curves: SizeCurves) -> float:
    """Where an axis of accuracies ends: a little above the best of all."""
    values = [curves.whole, *(point.value for point in curves.points)]
    return max(values) + 0.08 * (max(values) - min(values))


def _add_lines(figure: go.Figure, curves: SizeCurves, bits: int | None, theme: str) -> None:
    ours = [name for name, points in curves.lines().items() if points[0].family == "messi"]
    for name, points in curves.lines(bits).items():
        line: dict[str, Any] = {"width": 2}
        if points[0].family == "svd":
            line |= {"color": ACCENT[theme], "dash": "dot" if "weighted" in name else "dash"}
        else:
            line |= {"color": subspace_colour(ours.index(name), theme)}
        marker = {"symbol": [BIT_SYMBOLS[point.bits] for point in points], "size": 7}
        figure.add_trace(
            _points(curves, points, name=name, mode="lines+markers", line=line, marker=marker)
        )


def _add_roundings(figure: go.Figure, curves: SizeCurves, theme: str) -> None:
    for index, (name, points) in enumerate(curves.roundings().items()):
        symbol = "triangle-down" if index == 0 else "triangle-down-open"
        marker = {"symbol": symbol, "size": 11, "color": ACCENT[theme]}
        figure.add_trace(
            _points(curves, points, name=f"int, {name}", mode="markers", marker=marker)
        )
        for point in points if index == 0 else ():  # the others stand close beside
            figure.add_annotation(
                x=log10(point.stored_bytes),
                y=_height(curves, point.value),
                text=f"int{point.bits}",
                showarrow=False,
                **_BESIDE[curves.higher_is_better],
            )


def _height(curves: SizeCurves, value: float) -> float:
    """Where a value is drawn. Errors by their square root, with the errors on the axis.

    Drawn straight, all below 0.05 would be one line; drawn by logarithms, 8 bits would leave no
    room for the others.
    """
    return value if curves.higher_is_better else sqrt(value)


def _points(curves: SizeCurves, points: Sequence[BytePoint], **trace: object) -> go.Scatter:
    return go.Scatter(
        x=[point.stored_bytes for point in points],
        y=[_height(curves, point.value) for point in points],
        text=[point.name for point in points],
        customdata=[
            (
                short_bytes(point.stored_bytes),
                point.stored_bytes / curves.dense_bytes,
                *(f"{value:.4g}" for value in (point.value, point.lowest, point.highest)),
            )
            for point in points
        ],
        hovertemplate=_HOVER,
        **trace,  # pyright: ignore[reportArgumentType]
    )


def _lay_out(figure: go.Figure, curves: SizeCurves, theme: str) -> go.Figure:
    dense = curves.dense_bytes
    sizes = [dense, *(point.stored_bytes for point in curves.points)]
    low, high = min(sizes) / 1.15, max(sizes) * 1.08
    ticks = [share for share in _SHARE_TICKS if low <= share * dense <= high]
    figure.add_annotation(
        {"x": 1, "xref": "paper", "xanchor": "right", "yref": "paper", "showarrow": False},
        text=_SYMBOL_KEY,
        y=0 if curves.higher_is_better else 1,
        yanchor="bottom" if curves.higher_is_better else "top",
    )
    return figure.update_layout(
        height=500,
        hovermode="closest",
        margin={"l": 56, "r": 12, "t": 40, "b": 64},
        legend={"orientation": "h", "y": -0.24, "x": 0},
        xaxis={
            "type": "log",
            "range": [log10(low), log10(high)],
            "tickvals": [share * dense for share in ticks],
            "ticktext": [f"{100 * share:g} %<br>{short_bytes(share * dense)}" for share in ticks],
            "title": {"text": "stored, of the table in float32", "standoff": 8},
        },
        yaxis=_value_axis(curves),
    )


def _value_axis(curves: SizeCurves) -> dict[str, Any]:
    if curves.higher_is_better:
        lowest = min((point.lowest for point in curves.points), default=0.0)
        top = _highest(curves)
        return {"title": curves.measure, "range": [lowest - 0.05 * (top - lowest), top]}
    highest = max((point.highest for point in curves.points), default=1.0)
    ticks = [error for error in _ERROR_TICKS if error <= highest]
    return {
        "title": curves.measure,
        "range": [-0.03 * sqrt(highest), 1.05 * sqrt(highest)],  # int8 is all but 0
        "tickvals": [sqrt(error) for error in ticks],
        "ticktext": [f"{error:g}" for error in ticks],
    }
