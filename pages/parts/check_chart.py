"""The figure of one check: what is lost against stored bytes; nothing here knows streamlit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go

from engine.evaluation.results import CheckResult, Score
from engine.evaluation.scores import Interval
from pages.parts.palette import ACCENT, CONTEXT, WEIGHTED_SVD, subspace_colour
from pages.parts.wording import decimals, escape, interval, printed_difference, short_bytes

_CLOSE = 0.02  # of the axis: nearer points would hide each other's bars
_STEP = 0.05  # of the axis, between points that stand side by side
_EDGE = 0.06  # of the axis, beyond the outermost points
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_LEAST = 0.2  # of the table: the axis begins here or at something smaller
_FAINT = 0.35
_ROUNDED = 0.011  # two figures of two decimals, and the last digit of a float
_GLYPHS = {"circle-open": "○", "circle": "●", "square": "■", "diamond": "◆"}
_HOVER = "<b>%{text}</b><br>%{customdata}<extra></extra>"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How points of a kind look; the legend has one entry a kind."""

    colour: str
    symbol: str


def check_chart(
    result: CheckResult, *, others: Sequence[CheckResult] = (), theme: str
) -> go.Figure:
    """What each variant loses against the bytes of its table, with 95 % intervals.

    Args:
        result: The check of the plan at hand.
        others: The same check of other plans of the same table; drawn faint, without intervals.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. Above zero is worse than the original. Points of nearly the same size stand
        side by side; the hover has their bytes.
    """
    figure = go.Figure()
    figure.add_hline(0, line={"color": CONTEXT[theme], "width": 1, "dash": "dot"})
    whole = result.scores[0].stored_bytes
    faint = [score for other in others for score in other.scores if score.role != "original"]
    for score in faint:
        kind = _kind(score, theme)
        figure.add_trace(_point(result, score, at=score.stored_bytes, kind=kind, opacity=_FAINT))
    own = [score.stored_bytes for score in result.scores]
    sizes = [*own, *(score.stored_bytes for score in faint)]
    low, high = math.log10(min(_LEAST * whole, *sizes)), math.log10(max(sizes))
    edge = _EDGE * (high - low)
    places = _side_by_side(own, high - low)
    low, high = min(low, *map(math.log10, places)), max(high, *map(math.log10, places))
    for score, at in zip(result.scores, places, strict=True):
        figure.add_trace(_point(result, score, at=at, kind=_kind(score, theme), bars=True))
    return figure.update_layout(
        height=270,
        hovermode="closest",
        margin={"l": 44, "r": 8, "t": 8, "b": 56},
        showlegend=False,
        xaxis={
            "type": "log",
            "range": [low - edge, high + edge],
            "tickvals": [share * whole for share in _TICKS],
            "ticktext": [
                f"{share:.1%}".replace(".0%", "%") + f"<br>{short_bytes(share * whole)}"
                for share in _TICKS
            ],
            "tickangle": 0,
            "title": {"text": "stored", "standoff": 4},
            "zeroline": False,
        },
        yaxis={"title": loss_word(result), "zeroline": False, "nticks": 6},
    )


def loss_word(result: CheckResult) -> str:
    """What getting worse is, by this figure."""
    return "drop" if result.higher_is_better else "rise"


def printed_loss(result: CheckResult, score: Score) -> Interval:
    """What a variant loses, as the scores read that are printed beside it.

    The difference of two rounded figures may be a hundredth off the rounded difference.
    """
    loss, (whole, *_) = result.loss(score), result.scores
    first, last = whole.value.value, score.value.value
    worse = (
        printed_difference(first, last)
        if result.higher_is_better
        else (printed_difference(last, first))
    )
    return replace(loss, value=worse) if abs(worse - loss.value) < _ROUNDED else loss


def score_glyph(score: Score) -> str:
    """The sign that stands for a variant on the chart, as text."""
    return _GLYPHS[_kind(score, "light").symbol]


def _kind(score: Score, theme: str) -> _Kind:
    if score.role == "original":
        return _Kind(colour=CONTEXT[theme], symbol="circle-open")
    if score.role == "compressed":
        return _Kind(colour=subspace_colour(0, theme), symbol="circle")
    weighted = "weighted" in score.variant
    return _Kind(
        colour=WEIGHTED_SVD if weighted else ACCENT[theme],
        symbol="diamond" if weighted else "square",
    )


def _point(
    result: CheckResult,
    score: Score,
    *,
    at: float,
    kind: _Kind,
    opacity: float = 1.0,
    bars: bool = False,
) -> go.Scatter:
    loss, shown = result.loss(score), printed_loss(result, score)
    said = (
        f"{short_bytes(score.stored_bytes)}<br>{decimals(score.value.value)} "
        f"{interval(score.value)}<br>{loss_word(result)} {decimals(shown.value)} {interval(shown)}"
    )
    error: dict[str, Any] | None = None
    if bars and score.role != "original":
        error = {
            "array": [loss.high - loss.value],
            "arrayminus": [loss.value - loss.low],
            "thickness": 1.5,
            "width": 4,
        }
    return go.Scatter(
        x=[at],
        y=[loss.value],
        error_y=error,
        mode="markers",
        name=escape(score.variant),
        text=[escape(score.variant)],
        customdata=[said],
        hovertemplate=_HOVER,
        opacity=opacity,
        marker={"color": kind.colour, "symbol": kind.symbol, "size": 10 if bars else 8},
    )


def _side_by_side(sizes: Sequence[int], span: float) -> list[float]:
    """Where each point stands: at its size, or beside those of nearly that size.

    Args:
        sizes: Bytes, each at least 1.
        span: Length of the axis, in powers of ten.
    """
    logs = [math.log10(size) for size in sizes]
    places = list(map(float, sizes))
    order = sorted(range(len(sizes)), key=lambda index: sizes[index])
    group: list[int] = []
    for index in [*order, None]:
        if index is not None and (not group or logs[index] - logs[group[0]] <= _CLOSE * span):
            group.append(index)
            continue
        # In the order given, so that a variant stands on the same side in every chart.
        centre = sum(logs[member] for member in group) / len(group)
        for position, member in enumerate(sorted(group)):
            if len(group) > 1:
                places[member] = 10 ** (centre + (position - (len(group) - 1) / 2) * _STEP * span)
        group = [] if index is None else [index]
    return places
