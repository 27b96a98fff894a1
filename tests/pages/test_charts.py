"""The figures as plotly gets them: which trace holds what, and what stands in its labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.curves import read_curves
from engine.sweep import SweepCell
from pages.parts import charts
from pages.parts.charts import ChosenPlan, MapPoints

GENERATOR = np.random.default_rng(3)


def make_points(tokens: Sequence[str], *, rows: NDArray[np.int64] | None = None) -> MapPoints:
    count = len(tokens)
    return MapPoints(
        layout=GENERATOR.normal(size=(count, 2)).astype(np.float32),
        rows=np.arange(count) if rows is None else rows,
        tokens=tokens,
        theme="light",
        uirevision="one",
    )


def make_cell(
    k: int,
    rate: float,
    error: float,
    *,
    seed: int = 0,
    method: str = "",
    weighted: float | None = None,
) -> SweepCell:
    return SweepCell(
        method=method or ("svd" if k == 1 else "messi"),
        k=k,
        j=4,
        asked_rate=rate,
        rate=rate + 0.001,
        parameters=100,
        stored_bytes=400,
        seed=seed,
        relative_error=error,
        steps=3,
        wall_seconds=0.1,
        least_j=4,
        weighted_error=weighted,
    )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_traces_part_the_points_and_positions_lead_back(labels: list[int]) -> None:
    points = make_points([f"token {i}" for i in range(len(labels))])
    names = [f"{label + 1} · a" for label in range(5)]
    figure = charts.subspace_map(points, np.array(labels), names)
    positions = [np.flatnonzero(np.array(labels) == label) for label in range(5)]
    assert [trace.name for trace in figure.data] == names
    assert sorted(np.concatenate(positions).tolist()) == list(range(len(labels)))
    for label, (trace, members) in enumerate(zip(figure.data, positions, strict=True)):
        assert all(labels[i] == label for i in members)
        np.testing.assert_array_equal(trace.x, points.layout[members, 0])
        np.testing.assert_array_equal(trace.y, points.layout[members, 1])
        assert list(trace.text) == [points.tokens[i] for i in members]


def test_maps_without_subspaces_have_one_trace_in_order() -> None:
    points = make_points([f"token {i}" for i in range(7)])
    for figure in (charts.plain_map(points), charts.value_map(points, np.arange(7.0), "norm")):
        (trace,) = figure.data
        np.testing.assert_array_equal(trace.x, points.layout[:, 0])
        assert not figure.layout.showlegend


def test_outliers_do_not_flatten_the_colours_of_a_value_map() -> None:
    values = np.concatenate([np.linspace(1, 2, 999), [1000.0]])
    points = make_points([str(i) for i in range(1000)])
    (trace,) = charts.value_map(points, values, "norm").data
    assert trace.marker.cmin == pytest.approx(1, abs=0.02)
    assert trace.marker.cmax == pytest.approx(2, abs=0.02)
    assert trace.marker.colorbar.title.text == "norm"
    np.testing.assert_allclose(trace.marker.color, values, rtol=1e-6)  # sent as float32


def test_equal_values_still_give_a_colour_scale() -> None:
    (trace,) = charts.value_map(make_points(["a", "b"]), np.array([3.0, 3.0]), "norm").data
    assert trace.marker.cmin == 3.0 < trace.marker.cmax


def test_labels_hold_no_markup_of_a_token() -> None:
    points = make_points(["<b>x</b>", "a & b"])
    (trace,) = charts.subspace_map(points, np.array([0, 0]), ["1 · <i>"]).data
    assert list(trace.text) == ["&lt;b&gt;x&lt;/b&gt;", "a &amp; b"]
    assert trace.name == "1 · &lt;i&gt;"


def test_curves_show_mean_and_spread_over_the_seeds() -> None:
    errors = {(2, 0.2): [0.10, 0.14], (2, 0.6): [0.30, 0.32]}
    cells = [make_cell(1, 0.2, 0.2), make_cell(1, 0.6, 0.5)]
    cells += [
        make_cell(k, rate, error, seed=seed)
        for (k, rate), found in errors.items()
        for seed, error in enumerate(found)
    ]
    band, curve, svd = charts.error_curves(
        read_curves(cells), theme="light", against_svd=False, chosen=None
    ).data
    assert (curve.name, svd.name) == ("k = 2", "SVD (k = 1)")
    assert curve.y == pytest.approx([0.12, 0.31])
    assert band.y == pytest.approx([0.14, 0.32, 0.30, 0.10])
    assert band.x == (0.2, 0.6, 0.6, 0.2)
    assert svd.y == (0.2, 0.5)
    band, curve, svd = charts.error_curves(
        read_curves(cells), theme="light", against_svd=True, chosen=None
    ).data
    assert curve.y == pytest.approx([0.6, 0.62])
    assert band.y == pytest.approx([0.7, 0.64, 0.60, 0.50])
    assert svd.y == (1.0, 1.0)


@pytest.mark.parametrize(
    ("weighted", "against_svd", "heights", "title"),
    [
        (False, False, (0.2, 0.22, 0.21), "energy lost (relative squared error)"),
        (False, True, (1, 1.1, 1.05), "error over the SVD's"),
        (True, False, (0.3, 0.25, 0.2), "energy lost (squared error, weighted by use)"),
        (True, True, (1.2, 1, 0.8), "weighted error over the weighted SVD's"),
    ],
)
def test_weighted_svd_is_a_line_of_its_own(
    weighted: bool, against_svd: bool, heights: tuple[float, float, float], title: str
) -> None:
    cells = [
        make_cell(1, 0.4, 0.20, weighted=0.30),
        make_cell(1, 0.4, 0.22, weighted=0.25, method="weighted svd"),
        make_cell(2, 0.4, 0.21, weighted=0.20),
    ]
    curves = read_curves(cells, weighted=weighted)
    figure = charts.error_curves(curves, theme="light", against_svd=against_svd, chosen=None)
    traces = {trace.name: trace for trace in figure.data}
    names = ("SVD (k = 1)", "weighted SVD", "k = 2")
    assert [traces[name].y[0] for name in names] == pytest.approx(heights)
    plain, rival = traces["SVD (k = 1)"].line, traces["weighted SVD"].line
    assert plain.color == rival.color
    assert (plain.dash, rival.dash) == ("dash", "dot")
    assert figure.layout.yaxis.title.text == title


@pytest.mark.parametrize(("against_svd", "height"), [(False, 0.3), (True, 0.75)])
def test_explored_plan_is_a_star(against_svd: bool, height: float) -> None:
    chosen = ChosenPlan(name="explored: k = 3", rate=0.5, stored_bytes=70, error=0.3, svd_error=0.4)
    curves = read_curves([make_cell(1, 0.5, 0.4), make_cell(3, 0.5, 0.31)])
    figure = charts.error_curves(curves, theme="dark", against_svd=against_svd, chosen=chosen)
    star = figure.data[-1]
    assert (star.name, star.marker.symbol) == ("explored: k = 3", "star")
    assert star.x == (0.5,)
    assert star.y == pytest.approx([height])


@pytest.mark.parametrize("error", [0.0, 1e-30])
def test_exact_svd_is_no_yardstick(error: float) -> None:
    chosen = ChosenPlan(
        name="explored: k = 3", rate=0.5, stored_bytes=70, error=0.1, svd_error=error
    )
    curves = read_curves([make_cell(1, 0.5, error), make_cell(3, 0.5, 0.1)])
    figure = charts.error_curves(curves, theme="light", against_svd=True, chosen=chosen)
    assert "explored: k = 3" not in {trace.name for trace in figure.data}
    heights = [y for trace in figure.data for y in trace.y]
    assert all(math.isfinite(y) for y in heights)


def test_sweep_of_the_svd_alone_is_drawn() -> None:
    curves = read_curves([make_cell(1, 0.5, 0.2)])
    figure = charts.error_curves(curves, theme="light", against_svd=False, chosen=None)
    assert [trace.name for trace in figure.data] == ["SVD (k = 1)"]
