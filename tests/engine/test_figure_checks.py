"""Figures of a run that came from elsewhere: what is taken can be shown, all else is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import figure_checks
from engine.errors import FormatError
from engine.figure_checks import read_compression_figures
from engine.figures import PlanFigures
from engine.report.content import _bands  # pyright: ignore[reportPrivateUsage]
from engine.report.headline import headline_figures

BAND = {"name": "rare", "rows": 9, "share_of_text": 1.0, "error": 0.2}
PLAN: dict[str, Any] = {
    "k": 2,
    "dimensions": [2, 3],
    "bits": None,
    "parameters": 100,
    "stored_bytes": 400,
    "rate": 0.4,
    "relative_error": 0.13,
    "weighted_error": 0.1,
    "bands": [BAND],
    "neighbours_kept": {
        "mean": 0.5,
        "standard_error": 0.01,
        "count": 10,
        "queries": 9,
        "total_rows": 9,
    },
}
FIGURES: dict[str, Any] = {
    **PLAN,
    "rows": 9,
    "columns": 6,
    "parameters_before": 54,
    "dense_bytes": 216,
    "source_bytes": 108,
    "svd": {**PLAN, "k": 1, "dimensions": [3]},
    "weighted_svd": {**PLAN, "k": 1, "dimensions": [3]},
    "weights": {"source": "en", "power": 0.5, "floor": 1.0},
    "beats_svd": True,
    "verdict": "Closer.",
    "starts": [
        {
            "seeding": "norms",
            "cost": 0.1,
            "cost_history": [0.2, 0.1],
            "converged": True,
            "refilled": 0,
            "wall_seconds": 0.1,
        }
    ],
    "notes": ["A note."],
    "wall_seconds": 1.0,
}
"""Of a plan of weighted tokens."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    """The way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for key, part in inner:
        found.append((*path, key))
        if isinstance(part, dict | list):
            found += places(part, (*path, key))
    return found


def changed(path: tuple[Any, ...], value: object) -> dict[str, Any]:
    figures = copy.deepcopy(FIGURES)
    inner: Any = figures
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return figures


def test_every_figure_of_a_plan_is_checked() -> None:
    assert set(figure_checks._PLAN) == {item.name for item in fields(PlanFigures)}  # pyright: ignore[reportPrivateUsage]
    assert read_compression_figures(FIGURES) == FIGURES
    assert read_compression_figures(json.loads(json.dumps(FIGURES))) == FIGURES


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("svd", "dimensions"), [], r"svd\.dimensions must be a list of at least 1, got \[\]"),
        (("dimensions",), ["2"], r"dimensions\[0\] must be a whole number, at least 0, got '2'"),
        (("weights",), {"power": 1, "floor": 1}, r"weights must be an object with source"),
        (("weights",), None, "weighted_svd must be there where weights are"),
        (("weighted_svd", "bands"), [], "bands must be the same for the plan and each SVD"),
        (("weighted_svd", "weighted_error"), None, "weighted_error must be a number"),
        (("bands", 0, "name"), "often", r"bands\[0\]\.name must be 'never' or 'rare'"),
        (("k",), True, "k must be a whole number, at least 1, got True"),
        (("relative_error",), "0.1", "relative_error must be a number"),
        (("relative_error",), 10**400, "relative_error must be a number"),
        (("starts",), [{"cost": 1}], r"starts\[0\] must be an object with seeding"),
        (("notes",), [1], r"notes\[0\] must be text"),
        (("verdict",), ["x"], "verdict must be text"),
        (("neighbours_kept",), 0.4, "neighbours_kept must be an object with named values"),
    ],
)
def test_what_is_no_figure_is_refused(path: tuple[str, ...], value: object, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_compression_figures(changed(path, value))


@given(
    st.sampled_from(places(FIGURES)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}),
)
def test_what_is_taken_can_be_shown(path: tuple[Any, ...], value: object) -> None:
    try:
        figures = read_compression_figures(changed(path, value))
    except FormatError:
        return
    assert headline_figures(figures, None)
    assert _bands(figures) is None or figures["bands"]
