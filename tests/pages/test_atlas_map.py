"""The map as plotly gets it: which trace holds what, how buttons recolour it, what stands out."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.parts.atlas.colourings import Colouring, add_colourings, by_subspace, encode, recolour
from pages.parts.atlas.drawing import Emphasis, Points, draw_map
from pages.parts.palette import SEQUENTIAL, subspace_colour

GENERATOR = np.random.default_rng(5)
NOTHING = np.empty(0, dtype=np.int64)
some_labels = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def make_points(labels: Sequence[int], *, dimensions: int = 2, names: int = 4) -> Points:
    return Points(
        layout=GENERATOR.normal(size=(len(labels), dimensions)).astype(np.float32),
        tokens=[f"<{row}>" for row in range(len(labels))],
        labels=np.array(labels),
        names=[f"{label + 1} · a & b" for label in range(names)],
        theme="light",
        uirevision="one",
    )


def ways(count: int) -> list[Colouring]:
    values = GENERATOR.normal(size=count)
    return [by_subspace(), Colouring(name="Norm", title="length", values=values)]


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=200))
def test_codes_keep_the_order_of_the_values(values: list[float]) -> None:
    array = np.array(values)
    codes, (low, high) = encode(array)
    order = np.argsort(array, kind="stable")
    assert (np.diff(codes[order].astype(int)) >= 0).all()
    assert codes.min() >= 1
    assert low < high


def test_outliers_do_not_flatten_the_colours() -> None:
    codes, ends = encode(np.concatenate([np.linspace(1, 2, 999), [1000.0]]))
    assert ends == pytest.approx((1, 2), abs=0.02)
    assert len(np.unique(codes)) > 200


def test_what_is_not_known_has_a_code_of_its_own() -> None:
    codes, _ = encode(np.array([np.nan, 1.0, 2.0, np.inf]))
    assert codes[0] == 0
    assert codes[3] == 0
    assert (codes[1:3] >= 1).all()
    assert (encode(np.array([np.nan]))[0] == 0).all()


def test_equal_values_still_have_two_ends() -> None:
    for value in (0.0, 3.0, -2.0):
        _, (low, high) = encode(np.array([value, value]))
        assert low == value < high


@given(some_labels)
def test_each_button_says_what_the_drawn_colouring_is(labels: list[int]) -> None:
    points = make_points(labels)
    found = ways(len(labels))
    for active in range(len(found)):
        figure = draw_map(points, found, active, Emphasis(ringed=NOTHING))
        (menu,) = figure.layout.updatemenus
        assert menu.active == active
        assert [button.label for button in menu.buttons] == ["Subspace", "Norm"]
        changes, rest, traces = menu.buttons[active].args
        assert list(traces) == [0, 1, 2, 3]
        for number, trace in enumerate(figure.data):
            colour = changes["marker.color"][number % len(changes["marker.color"])]
            if isinstance(colour, dict):
                packed = np.frombuffer(b64decode(colour["bdata"]), dtype=colour["dtype"])
                np.testing.assert_array_equal(packed, trace.marker.color)
            else:
                assert colour == trace.marker.color
        for path, value in rest.items():
            assert list(np.ravel(figure.layout[path])) == list(np.ravel(value))


def test_by_subspace_has_a_legend_and_values_have_a_bar() -> None:
    members = [np.array([0, 2]), np.array([1])]
    changes, rest = recolour(by_subspace(), members, "dark")
    assert changes["marker.color"] == [subspace_colour(label, "dark") for label in (0, 1)]
    assert changes["showlegend"] == [True]
    assert rest["coloraxis.showscale"] is False
    values = Colouring(
        name="E", title="error", values=np.array([0.0, 0.5, 1.0]), write="{:.0%}".format
    )
    changes, rest = recolour(values, members, "dark")
    assert changes["showlegend"] == [False]
    assert rest["coloraxis.showscale"] is True
    assert rest["coloraxis.colorbar.title.text"] == "error"
    assert rest["coloraxis.colorbar.ticktext"] == ["1%", "50%", "99%"]
    assert [codes.tolist() for codes in changes["marker.color"]] == [[1, 255], [128]]


def test_colouring_that_lacks_something_does_nothing() -> None:
    points = make_points([0, 1])
    lacking = Colouring(name="Used", title="use", lacks="not counted yet")
    figure = draw_map(points, [by_subspace(), lacking], 0, Emphasis(ringed=NOTHING))
    assert [button.method for button in figure.layout.updatemenus[0].buttons] == ["update", "skip"]


def test_scale_begins_with_grey_and_ends_as_the_palette_does() -> None:
    figure = draw_map(make_points([0]), ways(1), 1, Emphasis(ringed=NOTHING))
    scale = figure.layout.coloraxis.colorscale
    assert scale[0][1] == scale[1][1] != SEQUENTIAL["light"][0]
    assert scale[-1] == (1.0, SEQUENTIAL["light"][-1])


@given(some_labels, st.sampled_from([2, 3]))
def test_traces_part_the_points(labels: list[int], dimensions: int) -> None:
    points = make_points(labels, dimensions=dimensions)
    figure = draw_map(points, ways(len(labels)), 0, Emphasis(ringed=NOTHING))
    assert len(figure.data) == 4
    for trace, members in zip(figure.data, points.members, strict=True):
        columns = [trace.x, trace.y] + ([trace.z] if dimensions == 3 else [])
        np.testing.assert_array_equal(np.column_stack(columns), points.layout[members])
        assert list(trace.text) == [f"&lt;{row}&gt;" for row in members]
        assert trace.name.endswith("a &amp; b")


@given(some_labels, st.data())
def test_chosen_points_stand_out_on_a_plane(labels: list[int], data: st.DataObject) -> None:
    chosen = np.flatnonzero(
        data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    )
    points = make_points(labels)
    emphasis = Emphasis(chosen=chosen, ringed=NOTHING)
    figure = draw_map(points, ways(len(labels)), 0, emphasis)
    found = [
        members[list(trace.selectedpoints)]
        for trace, members in zip(figure.data, points.members, strict=True)
    ]
    assert sorted(np.concatenate(found).tolist()) == chosen.tolist()


@given(some_labels, st.data())
def test_chosen_points_stand_out_in_space(labels: list[int], data: st.DataObject) -> None:
    chosen = np.flatnonzero(
        data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    )
    points = make_points(labels, dimensions=3)
    figure = draw_map(points, ways(len(labels)), 1, Emphasis(chosen=chosen, ringed=NOTHING))
    context = [trace for trace in figure.data if trace.name == "not selected"]
    assert sum(len(trace.x) for trace in context) == len(labels) - len(chosen)
    assert sum(len(trace.x) for trace in figure.data[:4]) == len(chosen)
    for trace in figure.data[:4]:
        assert len(trace.marker.color) == len(trace.x)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_matches_are_ringed_and_the_focus_is_named_among_many(dimensions: int) -> None:
    points = make_points([0, 1] * 40, dimensions=dimensions)
    few = draw_map(points, ways(80), 0, Emphasis(ringed=np.array([1, 5]), focus=7)).data[-1]
    assert few.name == "Found"
    assert list(few.text) == ["<1>", "<5>", "<7>"]  # WebGL reads no markup
    assert list(few.hovertext) == ["&lt;1&gt;", "&lt;5&gt;", "&lt;7&gt;"]
    np.testing.assert_array_equal(few.x, points.layout[[1, 5, 7], 0])
    many = draw_map(points, ways(80), 0, Emphasis(ringed=np.arange(40), focus=3)).data[-1]
    assert [text for text in many.text if text] == ["<3>"]
    unnamed = draw_map(points, ways(80), 0, Emphasis(ringed=np.arange(40))).data[-1]
    assert unnamed.mode == "markers"


def test_nothing_ringed_adds_no_trace() -> None:
    assert len(draw_map(make_points([0, 1]), ways(2), 0, Emphasis(ringed=NOTHING)).data) == 4


def test_buttons_weigh_a_byte_a_point() -> None:
    count = 30_000
    points = make_points([row % 4 for row in range(count)])
    one, two = (
        len(draw_map(points, [by_subspace(), *[w] * extra], 0, Emphasis(ringed=NOTHING)).to_json())
        for w, extra in ((ways(count)[1], 1), (ways(count)[1], 2))
    )
    assert two - one < 1.5 * count  # base64 takes four letters for three bytes


def test_map_without_a_plan_has_one_trace_without_a_legend() -> None:
    points = make_points([0, 0, 0], names=1)
    norm = Colouring(name="Norm", title="length", values=np.arange(3.0))
    figure = draw_map(points, [norm], 0, Emphasis(ringed=NOTHING))
    (trace,) = figure.data
    assert list(trace.marker.color) == [1, 128, 255]
    assert not trace.showlegend


def test_colourings_leave_the_other_traces_alone() -> None:
    points = make_points([0, 1, 2, 3])
    figure = draw_map(points, ways(4), 0, Emphasis(ringed=np.array([0])))
    add_colourings(figure, points.members, ways(4), active=1, theme="light")
    assert figure.data[-1].marker.color == "rgba(0,0,0,0)"
