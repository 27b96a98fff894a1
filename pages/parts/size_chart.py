"""The figure of error (or accuracy) against stored bytes; nothing here knows streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from math import asinh, log10, sqrt
from typing import Any

import plotly.graph_objects as go

from engine.frontier import BytePoint, SizeCurves
from pages.parts.charts import ChosenPlan, add_star
from pages.parts.palette import ACCENT, CONTEXT, PAGE, subspace_colour
from pages.parts.wording import energy_lost, escape, lost, short_bytes

BIT_SYMBOLS = {0: "cross", 4: "diamond", 8: "square", 32: "circle"}
_SYMBOL_KEY = "◆ 4 bits   ■ 8 bits   ● 32 bits"
_CODED_KEY = "✚ coded"
_ROUNDED_KEY = "▼ rounding, its bits inside"
_FRONTIER = "not reached"
_CHANCE = 0.3  # points of an accuracy: a few tenths are chance, and drawn all but alike
_DROP_TICKS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_ERROR_TICKS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_SHARE_TICKS = tuple(step * 10.0**power for power in range(-5, 1) for step in (1, 2, 5))
_HOVER = (
    "<b>%{text}</b><br>%{customdata[0]}, %{customdata[1]:.1%} of the table<br>"
    "%{customdata[2]}<extra></extra>"
)


def size_chart(
    curves: SizeCurves,
    *,
    theme: str,
    bits: int | None = None,
    chosen: ChosenPlan | None = None,
    told: BytePoint | None = None,
    clicked: bool = False,
) -> go.Figure:
    """One line a method, its markers saying the bits; rounding as markers; the frontier behind.

    Args:
        curves: Of a sweep, or of measured accuracies.
        theme: ``"light"`` or ``"dark"``.
        bits: Draw the fits in so many bits; each method's best coding at every size when left out.
        chosen: The explored plan, to be marked.
        told: The point that is told of, to be ringed.
        clicked: Whether that was clicked: then the chart itself says what it is, in its margin.

    Returns:
        The figure; the last of a point's custom data is its number among those of the curves. The
        frontier is that of everything measured, whatever is drawn.
    """
    figure = go.Figure()
    _add_frontier(figure, curves, theme)
    _add_lines(figure, curves, bits, theme)
    _add_roundings(figure, curves, theme)
    if chosen is not None:
        at = (chosen.stored_bytes, _height(curves, chosen.error))
        said = f"{short_bytes(chosen.stored_bytes)}, {lost(chosen.error)}"
        add_star(figure, chosen.name, at, figures=said, theme=theme)
    if told is not None:
        _add_ring(figure, curves, told, theme)
        if clicked:
            _say_clicked(figure, curves, told)
    return _lay_out(figure, curves, theme)


def _add_ring(figure: go.Figure, curves: SizeCurves, told: BytePoint, theme: str) -> None:
    """Round what is told of, without hiding what is under it."""
    ring = {"color": "rgba(0,0,0,0)", "size": 20, "line": {"width": 2.5, "color": ACCENT[theme]}}
    figure.add_trace(
        go.Scatter(
            x=[told.stored_bytes],
            y=[_height(curves, told.value)],
            mode="markers",
            marker=ring,
            name="told",
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _say_clicked(figure: go.Figure, curves: SizeCurves, point: BytePoint) -> None:
    """Short, since a phone's toolbar stands on the right of it."""
    value = f"{point.value:.2f}" if curves.higher_is_better else lost(point.value)
    figure.add_annotation(
        {"x": 0, "xref": "paper", "xanchor": "left", "y": 1, "yref": "paper"},
        yanchor="bottom",
        yshift=4,
        align="left",
        showarrow=False,
        text=f"<b>{escape(point.name)}</b>: see below<br>"
        f"{short_bytes(point.stored_bytes)}, {value}",
    )


def _add_frontier(figure: go.Figure, curves: SizeCurves, theme: str) -> None:
    """The steps of what is best so far, and what lies beyond them shaded."""
    front = curves.frontier()
    x = [*(point.stored_bytes for point in front), 2 * curves.dense_bytes]
    y = [_height(curves, point.value) for point in (*front, *front[-1:])]
    fill = "tozeroy"
    if curves.higher_is_better:
        fill, (_, top) = "toself", _accuracy_range(curves)
        x, y = [*x, x[-1], x[0]], [*y, top, top]
        level = _height(curves, curves.whole)
        figure.add_hline(level, line={"color": CONTEXT[theme], "dash": "dot", "width": 1})
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


def _accuracy_range(curves: SizeCurves) -> tuple[float, float]:
    """Where an axis of accuracies begins and ends: a little beyond the worst and the best."""
    values = [curves.whole, *(value for one in curves.points for value in (one.lowest, one.value))]
    low, high = (_height(curves, value) for value in (min(values), max(values)))
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _add_lines(figure: go.Figure, curves: SizeCurves, bits: int | None, theme: str) -> None:
    others = {"svd", "product"}
    ours = [name for name, points in curves.lines().items() if points[0].family not in others]
    for name, points in curves.lines(bits).items():
        line: dict[str, Any] = {"width": 2}
        if points[0].family == "svd":
            line |= {"color": ACCENT[theme], "dash": "dot" if "weighted" in name else "dash"}
        elif points[0].family == "product":
            line |= {"color": CONTEXT[theme], "dash": "dot" if "weighted" in name else "dash"}
        else:
            line |= {"color": subspace_colour(ours.index(name), theme)}
        size = 9 if points[0].family == "coded" else 7  # a cross has little surface
        marker = {"symbol": [_symbol(point) for point in points], "size": size}
        figure.add_trace(
            _points(curves, points, name=name, mode="lines+markers", line=line, marker=marker)
        )


def _symbol(point: BytePoint) -> str:
    return "hexagon" if point.family == "product" else BIT_SYMBOLS[point.bits]


def _add_roundings(figure: go.Figure, curves: SizeCurves, theme: str) -> None:
    """Triangles; those of the first way say their bits inside, where no line can cross the words.

    The others stand close beside.
    """
    for index, (name, points) in enumerate(curves.roundings().items()):
        marker: dict[str, Any] = {"symbol": "triangle-down", "size": 20, "color": ACCENT[theme]}
        if index:
            marker |= {"symbol": "triangle-down-open", "size": 11}
        figure.add_trace(
            _points(curves, points, name=f"int, {name}", mode="markers", marker=marker)
        )
        for point in points if index == 0 else ():
            figure.add_annotation(
                x=log10(point.stored_bytes),
                y=_height(curves, point.value),
                text=f"<b>{point.bits}</b>",
                font={"size": 10, "color": PAGE[theme]},
                showarrow=False,
                yshift=1,  # a triangle is broader above
            )


def _height(curves: SizeCurves, value: float) -> float:
    """Where a value is drawn. Errors by their square root, with the errors on the axis.

    Drawn straight, all below 0.05 would be one line; drawn by logarithms, 8 bits would leave no
    room for the others. Accuracies by what they lose: straight as far as that may be chance, then
    ever closer, or the worst would leave no room for all that are good.
    """
    if curves.higher_is_better:
        return asinh((value - curves.whole) / _CHANCE)
    return sqrt(value)


def _points(curves: SizeCurves, points: Sequence[BytePoint], **trace: object) -> go.Scatter:
    return go.Scatter(
        x=[point.stored_bytes for point in points],
        y=[_height(curves, point.value) for point in points],
        text=[point.name for point in points],
        customdata=[
            (
                short_bytes(point.stored_bytes),
                point.stored_bytes / curves.dense_bytes,
                _value(curves, point),
                curves.points.index(point),
            )
            for point in points
        ],
        hovertemplate=_HOVER,
        unselected={"marker": {"opacity": 1}},  # a click rings its point, and pales none
        **trace,  # pyright: ignore[reportArgumentType]
    )


def _value(curves: SizeCurves, point: BytePoint) -> str:
    """In words, with the range over the seeds where it was measured by several."""
    values = (point.value, point.lowest, point.highest)
    if curves.higher_is_better:
        value, lowest, highest = (f"{one:.4g}" for one in values)
    else:
        value, lowest, highest = (f"{100 * one:.4g}%" for one in values)
    return value if lowest == highest else f"{value} ({lowest} – {highest})"


def _lay_out(figure: go.Figure, curves: SizeCurves, theme: str) -> go.Figure:
    dense = curves.dense_bytes
    sizes = [dense, *(point.stored_bytes for point in curves.points)]
    low, high = min(sizes) / 1.15, max(sizes) * 1.08
    ticks = [share for share in _SHARE_TICKS if low <= share * dense <= high]
    families = {point.family for point in curves.points}
    key = f"{_CODED_KEY}   {_SYMBOL_KEY}" if "coded" in families else _SYMBOL_KEY
    key += f"<br>{_ROUNDED_KEY}" if "rounding" in families else ""
    figure.add_annotation(
        {"x": 1, "xref": "paper", "xanchor": "right", "yref": "paper", "showarrow": False},
        text=key,
        align="right",
        y=0 if curves.higher_is_better else 1,
        yanchor="bottom" if curves.higher_is_better else "top",
    )
    return figure.update_layout(
        height=500,
        hovermode="closest",
        margin={"l": 56, "r": 12, "t": 40, "b": 64},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
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
        low, high = _accuracy_range(curves)
        heights = {drop: _height(curves, curves.whole - drop) for drop in _DROP_TICKS}
        drops = [drop for drop, height in heights.items() if height >= low]
        name = curves.measure.partition(" (")[0]  # a phone has room for no more
        return {
            "title": f"{name}, points below {curves.whole:.2f}",
            "range": [low, high],
            "tickvals": [heights[drop] for drop in drops],
            "ticktext": [f"−{drop:g}" if drop else "0" for drop in drops],
        }
    highest = max((point.highest for point in curves.points), default=1.0)
    ticks = [error for error in _ERROR_TICKS if error <= highest]
    return {
        "title": energy_lost(weighted=curves.weighted),
        "range": [-0.03 * sqrt(highest), 1.05 * sqrt(highest)],  # int8 is all but 0
        "tickvals": [sqrt(error) for error in ticks],
        "ticktext": [f"{100 * error:g} %" for error in ticks],
    }
