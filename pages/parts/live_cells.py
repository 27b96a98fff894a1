"""Every cell of a sweep in words and as two small pictures, for sliders that ask no server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.curves import CurvePoint, Curves
from engine.grid import SweepResult
from engine.measures import EXACT_ERROR
from pages.parts.palette import ACCENT, subspace_colour
from pages.parts.run_words import EVEN
from pages.parts.wording import short_bytes

_ROUND = 0.05  # the axis of shares ends at multiples of it
_RATE_TICKS = (0.2, 0.4, 0.6, 0.8)


def describe_cells(sweep: SweepResult, curves: Curves, *, theme: str) -> dict[str, Any]:
    """What the sliders choose from, as JSON has it.

    Args:
        sweep: A sweep with a k ≥ 2.
        curves: Read from it.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        ``ks`` and ``rates`` as they are written beside the sliders; ``cells[k][rate]``, the texts
        of each; ``by_k[rate]`` and ``by_rate[k]``, what the pictures draw.
    """
    ks, rates = list(curves.by_k), rates_of(curves)
    ours = {(k, point.rate): point for k in ks for point in curves.by_k[k]}
    svds = {point.rate: point for point in curves.baseline}
    return {
        "theme": theme,
        "ks": [str(k) for k in ks],
        "rates": [f"{rate:.0%}" for rate in rates],
        "cells": [
            [
                _describe(sweep, ours.get((k, rate)), svds[rate], k, weighted=curves.weighted)
                for rate in rates
            ]
            for k in ks
        ],
        "by_k": [_shares_at(curves, rate, theme) for rate in rates],
        "by_rate": [_errors_of(curves, k, theme) for k in ks],
    }


def rates_of(curves: Curves) -> list[float]:
    """The rates at which more than the SVD was swept, rising."""
    return sorted({point.rate for points in curves.by_k.values() for point in points})


def say_who_wins(ours: CurvePoint, svd: CurvePoint, *, weighted: bool) -> tuple[str, str]:
    """The verdict on one cell: who wins, and the rest of the sentence.

    Args:
        ours: A k at a rate.
        svd: The SVD fitted for the same error at the same rate.
        weighted: Whether errors are weighted by use.
    """
    name, at = "weighted SVD" if weighted else "SVD", f"{ours.rate:.0%}"
    if svd.error <= EXACT_ERROR:
        return f"The {name} wins", f": at {at} it keeps everything."
    change = ours.svd_ratio - 1
    more = "more" if change > 0 else "less"
    if abs(change) <= EVEN:
        return "About even", f": at {at}, {ours.k} subspaces lose {abs(change):.1%} {more}."
    if change < 0:
        return (
            f"{ours.k} subspaces win",
            f": at {at} they lose {-change:.0%} less than the {name} of the same size.",
        )
    return (
        f"The {name} wins",
        f": at {at}, {ours.k} subspaces lose {change:.0%} more, since {ours.k} bases leave their "
        "tokens fewer dimensions.",
    )


def _describe(
    sweep: SweepResult, ours: CurvePoint | None, svd: CurvePoint, k: int, *, weighted: bool
) -> dict[str, Any]:
    """Texts of one cell; of one that could not be fitted, that it is not there."""
    texts: dict[str, Any] = {"ours": f"{k} subspaces", "svd": "SVD (k = 1)", "rows": []}
    if ours is None:
        why = f" of k = {k} at {svd.rate:.0%} was possible: its bases alone would take the room."
        return {**texts, "winner": "No fit", "why": why}
    winner, why = say_who_wins(ours, svd, weighted=weighted)
    error = "Error, weighted by use" if weighted else "Error (energy lost)"
    texts["rows"] = [
        [error, *_pair(ours, svd, lambda point: (f"{point.error:.2%}", ""))],
        ["Of the SVD’s error", [f"{ours.svd_ratio:.0%}", ""], ["100%", ""]],
        ["Dimension j", *_pair(ours, svd, lambda p: (f"{p.j}", f"of {sweep.columns}"))],
        ["Numbers n·j + k·j·d", *_pair(ours, svd, lambda p: _numbers(sweep, p))],
        ["Bytes stored", *_pair(ours, svd, lambda p: (short_bytes(p.stored_bytes), ""))],
    ]
    return {**texts, "winner": winner, "why": why}


def _pair(
    ours: CurvePoint, svd: CurvePoint, say: Callable[[CurvePoint], tuple[str, str]]
) -> list[list[str]]:
    return [list(say(ours)), list(say(svd))]


def _numbers(sweep: SweepResult, point: CurvePoint) -> tuple[str, str]:
    """The count, and how it comes about where dimensions are even and subspaces pass through 0."""
    n, d, k, j = sweep.rows, sweep.columns, point.k, point.j
    counted = n * j + k * j * d == point.parameters
    return f"{point.parameters:,}", f"{n:,}·{j} + {k}·{j}·{d}" if counted else ""


def _shares_at(curves: Curves, rate: float, theme: str) -> dict[str, Any]:
    """A picture of every k at a rate: its error as a share of the SVD's."""
    found = {
        cell: point
        for cell, points in enumerate(curves.by_k.values())
        for point in points
        if point.rate == rate
    }
    values = [1.0, *(point.svd_ratio for point in found.values())]
    low, high = _rounded(min(values), max(values))
    names = ["SVD", *(str(k) for k in curves.by_k)]
    across = [(place + 0.5) / len(names) for place in range(len(names))]
    even = (1 - low) / (high - low)
    marks = [_mark(across[0], even, ACCENT[theme], "100%")]
    for cell, point in found.items():
        height = (point.svd_ratio - low) / (high - low)
        colour = subspace_colour(cell, theme)
        marks.append(_mark(across[cell + 1], height, colour, f"{point.svd_ratio:.0%}", cell))
    return {
        "title": f"Every k at {rate:.0%}: error as a share of the SVD’s",
        "alt": f"Error of every k at {rate:.0%} as a share of the SVD’s; it is in the table below.",
        "xTicks": [[place, name] for place, name in zip(across, names, strict=True)],
        "yTicks": [
            [share, f"{low + share * (high - low):.0%}"] for share in sorted({0.0, even, 1.0})
        ],
        "lines": [
            {"colour": None, "points": [[0, even], [1, even]]},
            {"colour": ACCENT[theme], "points": [[mark["x"], mark["y"]] for mark in marks]},
        ],
        "marks": marks,
    }


def _errors_of(curves: Curves, k: int, theme: str) -> dict[str, Any]:
    """A picture of a k at every rate, beside the SVD."""
    rates, points = rates_of(curves), curves.by_k[k]
    svd = [point for point in curves.baseline if point.rate in rates]
    top = max(point.error for point in (*svd, *points)) * 1.05 or 1.0
    colour = subspace_colour(list(curves.by_k).index(k), theme)
    low, high = min(rates) - 0.05, max(rates) + 0.05

    def place(point: CurvePoint) -> tuple[float, float]:
        return (point.rate - low) / (high - low), point.error / top

    step = 0.2 if top > 0.5 else 0.1 if top > 0.25 else 0.05
    ticks = [step * count for count in range(int(top / step) + 1)]
    return {
        "title": f"k = {k} (solid) and the SVD (dashed) at every rate: error",
        "alt": f"Error of k = {k} and of the SVD against rate; it is in the table below.",
        "xTicks": [
            [(rate - low) / (high - low), f"{rate:.0%}"]
            for rate in _RATE_TICKS
            if low <= rate <= high
        ],
        "yTicks": [[tick / top, f"{tick:.0%}"] for tick in ticks],
        "lines": [
            {"colour": None, "points": [place(point) for point in svd]},
            {"colour": colour, "points": [place(point) for point in points]},
        ],
        "marks": [_mark(*place(p), colour, cell=rates.index(p.rate)) for p in points],
    }


def _mark(x: float, y: float, colour: str, text: str = "", cell: int = -1) -> dict[str, Any]:
    """A dot; ``cell`` is the place of the slider that rings it, or -1."""
    return {"x": x, "y": y, "colour": colour, "text": text, "cell": cell}


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis that holds all values with some room."""
    steps = int((low - 0.01) / _ROUND), int((high + 0.03) / _ROUND) + 1
    return steps[0] * _ROUND, steps[1] * _ROUND


def closest(values: Sequence[float], wanted: float) -> int:
    """Place of the value that is closest to another."""
    return min(range(len(values)), key=lambda place: abs(values[place] - wanted))
