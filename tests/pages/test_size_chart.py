"""The figure against bytes: which trace holds what, and what its axes say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.frontier import BytePoint, SizeCurves
from pages.parts.charts import ChosenPlan
from pages.parts.palette import PAGE, subspace_colour
from pages.parts.size_chart import BIT_SYMBOLS, size_chart

MB = 1_000_000


def point(stored_bytes: int, value: float, line: str, bits: int, k: int) -> BytePoint:
    return BytePoint(
        family="rounding" if k == 0 else "svd" if k == 1 else "messi",
        line=line,
        k=k,
        bits=bits,
        rate=0.5,
        stored_bytes=stored_bytes,
        value=value,
        lowest=value - 0.001,
        highest=value + 0.001,
    )


CURVES = SizeCurves(
    measure="relative squared error",
    dense_bytes=40 * MB,
    points=(
        point(1 * MB, 0.49, "k = 10", 4, 10),
        point(2 * MB, 0.36, "k = 2", 4, 2),
        point(3 * MB, 0.30, "SVD", 4, 1),
        point(4 * MB, 0.16, "a step a row", 4, 0),
        point(5 * MB, 0.09, "groups of 32", 4, 0),
        point(6 * MB, 0.25, "k = 2", 8, 2),
        point(7 * MB, 0.24, "k = 10", 8, 10),
        point(9 * MB, 0.04, "a step a row", 8, 0),
        point(20 * MB, 0.26, "k = 2", 32, 2),
    ),
)


def test_lines_are_the_best_codings_and_rounding_stands_alone() -> None:
    figure = size_chart(CURVES, theme="light")
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == [
        "not reached", "SVD", "k = 2", "k = 10", "int, a step a row", "int, groups of 32",
    ]  # fmt: skip
    two = traces["k = 2"]
    assert two.x == (2 * MB, 6 * MB)  # at 32 bits it is larger and loses more
    np.testing.assert_allclose(np.square(two.y), [0.36, 0.25])
    assert list(two.marker.symbol) == [BIT_SYMBOLS[4], BIT_SYMBOLS[8]]
    assert list(two.text) == ["k = 2 at 4 bits", "k = 2 at 8 bits"]
    assert [row[0] for row in two.customdata] == ["2.0 MB", "6.0 MB"]
    assert two.customdata[0][2] == "36% (35.9% – 36.1%)"
    for trace in figure.data:  # a click finds its point by the last of them
        for row, name in zip(trace.customdata or (), trace.text or (), strict=True):
            assert CURVES.points[row[-1]].name == name
    assert traces["SVD"].line.dash == "dash"
    rounded = traces["int, a step a row"]
    assert (rounded.mode, rounded.x) == ("markers", (4 * MB, 9 * MB))
    inside = figure.layout.annotations[:2]  # of the markers, where no line crosses them
    assert [note.text for note in inside] == ["<b>4</b>", "<b>8</b>"]
    for note, x, y in zip(inside, rounded.x, rounded.y, strict=True):
        assert (note.x, note.y) == (pytest.approx(math.log10(x)), y)
        assert (note.showarrow, note.font.color) == (False, PAGE["light"])
    assert "▼ rounding, its bits inside" in figure.layout.annotations[-1].text
    assert (
        "▼"
        not in size_chart(replace(CURVES, points=CURVES.points[:3]), theme="light")
        .layout["annotations"][-1]
        .text
    )


def test_what_is_not_reached_ends_at_the_best_so_far() -> None:
    edge = size_chart(CURVES, theme="light").data[0]
    assert edge.x[:-1] == tuple(one.stored_bytes for one in CURVES.frontier())
    np.testing.assert_allclose(np.square(edge.y), [*(one.value for one in CURVES.frontier()), 0.04])
    assert edge.line.shape == "hv"


@pytest.mark.parametrize(("bits", "names"), [
    (4, ["SVD", "k = 2", "k = 10"]), (8, ["k = 2", "k = 10"]), (32, ["k = 2"]),
])  # fmt: skip
def test_a_number_of_bits_draws_its_own_lines_in_the_same_colours(
    bits: int, names: list[str]
) -> None:
    figure = size_chart(CURVES, theme="dark", bits=bits)
    drawn = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [trace.name for trace in drawn] == names
    for trace in drawn:
        assert set(trace.marker.symbol) == {BIT_SYMBOLS[bits]}
        if trace.name != "SVD":
            label = ["k = 2", "k = 10"].index(trace.name)
            assert trace.line.color == subspace_colour(label, "dark")
    assert figure.data[0].x == size_chart(CURVES, theme="dark").data[0].x


def test_axis_says_shares_and_bytes() -> None:
    axis = size_chart(CURVES, theme="light").layout.xaxis
    assert axis.type == "log"
    assert dict(zip(axis.ticktext, axis.tickvals, strict=True)) == {
        "5 %<br>2.0 MB": 2 * MB, "10 %<br>4.0 MB": 4 * MB, "20 %<br>8.0 MB": 8 * MB,
        "50 %<br>20.0 MB": 20 * MB, "100 %<br>40.0 MB": 40 * MB,
    }  # fmt: skip
    heights = size_chart(CURVES, theme="light").layout.yaxis
    np.testing.assert_allclose(
        [float(text.removesuffix(" %")) / 100 for text in heights.ticktext],
        np.square(heights.tickvals),
    )
    assert heights.title.text == "energy lost (relative squared error)"


def test_explored_plan_is_a_star_at_its_bytes() -> None:
    chosen = ChosenPlan(
        name="explored: k = 5", rate=0.4, stored_bytes=28 * MB, error=0.16, svd_error=0.2
    )
    star = size_chart(CURVES, theme="light", chosen=chosen).data[-1]
    assert (star.name, star.x, star.y) == ("explored: k = 5", (28 * MB,), (0.4,))
    assert "28.0 MB, 16.00%" in star.hovertemplate
    assert 1.4 * star.marker.size < 19, "as high as a row of the legend"


def test_accuracies_are_drawn_by_what_they_lose() -> None:
    points = tuple(
        replace(one, value=(value := 90 - 40 * one.value), lowest=value, highest=value)
        for one in CURVES.points
    )
    curves = replace(CURVES, measure="STS-B", points=points, higher_is_better=True, whole=89.5)
    figure = size_chart(curves, theme="light")
    lost = [0.3 * math.sinh(-y) for y in figure.data[2].y]
    assert lost == pytest.approx([89.5 - (90 - 40 * 0.36), 89.5 - (90 - 40 * 0.25)])
    axis = figure.layout.yaxis
    assert axis.title.text == "STS-B, points below 89.50"
    drops = [float(text.replace("−", "")) for text in axis.ticktext]
    assert drops == pytest.approx([0.3 * math.sinh(-y) for y in axis.tickvals])
    assert drops == [0, 0.5, 1, 2, 5, 10, 20]
    edge, top = figure.data[0], axis.range[1]
    assert (edge.fill, edge.y[-1]) == ("toself", top)  # what is not reached lies above
    assert top > 0
    assert figure.layout.shapes[0].y0 == 0  # the table as it is


def test_an_exact_fit_is_drawn_at_nothing() -> None:
    exact = replace(CURVES, points=(point(MB, 0.001, "SVD", 32, 1),))
    figure = size_chart(exact, theme="light")
    assert all(math.isfinite(y) for trace in figure.data for y in trace.y)


def test_of_nothing_only_axes_are_drawn() -> None:
    figure = size_chart(replace(CURVES, points=()), theme="light")
    assert [list(trace.y) for trace in figure.data] == [[]]


def test_coded_subspaces_are_crosses_and_the_key_says_so_only_then() -> None:
    coded = replace(point(3 * MB, 0.05, "coded, k = 4", 0, 4), family="coded")
    figure = size_chart(replace(CURVES, points=(*CURVES.points, coded)), theme="dark", bits=8)
    (trace,) = (trace for trace in figure.data if trace.name == "coded, k = 4")
    assert list(trace.marker.symbol) == ["cross"]
    assert any("✚ coded" in note.text for note in figure.layout.annotations)
    without = size_chart(CURVES, theme="dark")
    assert not any("✚" in note.text for note in without.layout.annotations)


def test_the_point_that_is_told_of_is_ringed() -> None:
    told = CURVES.points[1]
    ring = size_chart(CURVES, theme="light", told=told).data[-1]
    assert (ring.name, ring.x) == ("told", (told.stored_bytes,))
    np.testing.assert_allclose(np.square(ring.y), [told.value])
    clicked = size_chart(CURVES, theme="light", told=told, clicked=True)
    assert any(
        note.text == "<b>k = 2 at 4 bits</b>: see below<br>2.0 MB, 36.00%"
        for note in clicked.layout.annotations
    )
    assert all(trace.name != "told" for trace in size_chart(CURVES, theme="light").data)


def test_product_quantisation_has_a_line_of_its_own_mark() -> None:
    product = replace(CURVES.points[0], family="product", line="product quantisation", k=0, bits=0)
    figure = size_chart(replace(CURVES, points=(*CURVES.points, product)), theme="dark", bits=32)
    (line,) = [trace for trace in figure.data if trace.name == "product quantisation"]
    assert list(line.marker.symbol) == ["hexagon"]
