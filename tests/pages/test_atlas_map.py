"""The map as plotly gets it: which trace holds what, how buttons recolour it, what stands out."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.parts.atlas.colourings import Colouring, by_subspace, encode, recolour
from pages.parts.atlas.drawing import Emphasis, Points, Rings, draw_map
from pages.parts.palette import SEQUENTIAL, subspace_colour

GENERATOR = np.random.default_rng(5)
some_labels = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def make_points(labels: Sequence[int], *, dimensions: int = 2, names: int = 4) -> Points:
    return Points(
        layout=GENERATOR.normal(size=(len(labels), dimensions)).astype(np.float32),
        rows=100 + 3 * np.arange(len(labels)),
        tokens=[f"<{row}>" for row in range(len(labels))],
        labels=np.array(labels),
        names=[f"{label + 1} · a & b" for label in range(names)],
        theme="light",
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


@given(some_labels, st.booleans())
def test_buttons_say_what_a_map_in_that_colour_is(labels: list[int], turned: bool) -> None:
    points, found = make_points(labels), ways(len(labels))
    figure = draw_map(points, found[::-1] if turned else found, "it")
    (menu,) = figure.layout.updatemenus
    names = ["Norm", "Subspace"] if turned else ["Subspace", "Norm"]
    assert [button.label for button in menu.buttons] == [*names, "…"]
    changes, rest, traces = menu.buttons[0].args
    assert list(traces) == [0, 1, 2, 3]
    for number, trace in enumerate(figure.data[:4]):
        colour = changes["marker.color"][number % len(changes["marker.color"])]
        if isinstance(colour, dict):
            packed = np.frombuffer(b64decode(colour["bdata"]), dtype=colour["dtype"])
            np.testing.assert_array_equal(packed, trace.marker.color)
        else:
            assert colour == trace.marker.color
    for path, value in rest.items():
        assert list(np.ravel(figure.layout[path])) == list(np.ravel(value))
    assert figure.layout.meta == {"shows": "it"}


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
    lacking = Colouring(name="Used", title="use", lacks="not counted yet")
    figure = draw_map(make_points([0, 1]), [by_subspace(), lacking], "it")
    methods = [button.method for button in figure.layout.updatemenus[0].buttons]
    assert methods == ["update", "skip", "skip"]  # the last is told what to do by the page


def test_scale_begins_with_grey_and_ends_as_the_palette_does() -> None:
    scale = draw_map(make_points([0]), ways(1), "it").layout.coloraxis.colorscale
    assert scale[0][1] == scale[1][1] != SEQUENTIAL["light"][0]
    assert scale[-1] == (1.0, SEQUENTIAL["light"][-1])


@given(some_labels, st.sampled_from([2, 3]))
def test_traces_part_the_points_and_the_last_is_for_rings(
    labels: list[int], dimensions: int
) -> None:
    points = make_points(labels, dimensions=dimensions)
    *traces, rings = draw_map(points, ways(len(labels)), "it").data
    assert (rings.name, len(rings.x)) == ("Found", 0)
    for trace, members in zip(traces, points.members, strict=True):
        columns = [trace.x, trace.y] + ([trace.z] if dimensions == 3 else [])
        np.testing.assert_array_equal(np.column_stack(columns), points.layout[members])
        assert list(trace.text) == [f"&lt;{row}&gt;" for row in members]
        assert list(trace.customdata) == points.rows[members].tolist()
        assert trace.name.endswith("a &amp; b")


def rings(points: Points, positions: Sequence[int] = ()) -> Rings:
    places = np.array(positions, dtype=np.int64)
    tokens = [points.tokens[place] for place in places]
    return Rings(points.rows[places], points.layout[places], tokens)


@given(some_labels, st.data(), st.sampled_from([2, 3]))
def test_chosen_points_are_told_by_their_place_in_their_trace(
    labels: list[int], data: st.DataObject, dimensions: int
) -> None:
    marks = data.draw(st.lists(st.booleans(), min_size=len(labels), max_size=len(labels)))
    chosen = np.flatnonzero(marks)
    points = make_points(labels, dimensions=dimensions)
    told = Emphasis(chosen=chosen, ringed=rings(points)).as_data(points)
    found = [
        members[places]
        for places, members in zip(told["chosen"], points.members, strict=True)
        if places
    ]
    assert sorted(np.concatenate(found).tolist() if found else []) == chosen.tolist()
    assert told["stands"]
    assert json.loads(json.dumps(told)) == told, "it goes to the browser as JSON"


def test_nothing_chosen_leaves_a_loop_alone_on_a_plane_only() -> None:
    for dimensions, picked, told in ((2, True, "leave"), (2, False, None), (3, True, None)):
        points = make_points([0, 1], dimensions=dimensions)
        emphasis = Emphasis(picked=picked, ringed=rings(points))
        assert emphasis.as_data(points)["chosen"] == told
        assert not emphasis.as_data(points)["stands"]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_matches_are_ringed_and_the_focus_is_named_among_many(dimensions: int) -> None:
    points = make_points([0, 1] * 250, dimensions=dimensions)

    def ring(count: int, focus: int | None) -> dict[str, Any]:
        own = None if focus is None else rings(points, [focus])
        return Emphasis(ringed=rings(points, range(count)), focus=own).as_data(points)["ring"]

    few = ring(2, 7)
    assert few["text"] == ["<0>", "<1>", "<7>"]  # WebGL reads no markup
    assert few["hovertext"] == ["&lt;0&gt;", "&lt;1&gt;", "&lt;7&gt;"]
    assert few["x"] == points.layout[[0, 1, 7], 0].tolist()
    assert few["customdata"] == points.rows[[0, 1, 7]].tolist(), "so that a ring can be clicked"
    assert ("z" in few) == (dimensions == 3)
    assert few["marker.size"][-1] > few["marker.size"][0]
    many = ring(40, 43)
    assert [text for text in many["text"] if text] == ["<43>"]
    assert len(many["x"]) == 41
    assert len(ring(401, None)["x"]) == 0, "so many are told by their colour alone"


def test_signature_tells_what_stands_out_apart() -> None:
    points = make_points([0, 1, 0])
    each = [
        Emphasis(ringed=rings(points)),
        Emphasis(picked=True, ringed=rings(points)),
        Emphasis(chosen=np.array([0]), ringed=rings(points)),
        Emphasis(chosen=np.array([1]), ringed=rings(points)),
        Emphasis(ringed=rings(points, [0])),
        Emphasis(ringed=rings(points), focus=rings(points, [0])),
    ]
    assert len({emphasis.as_data(points)["signature"] for emphasis in each}) == len(each)


def test_buttons_weigh_a_byte_a_point() -> None:
    count = 30_000
    points, (subspace, norm) = make_points([row % 4 for row in range(count)]), ways(count)
    one, two = (
        len(draw_map(points, [subspace, *more], "").to_json()) for more in ([norm], [norm] * 2)
    )
    assert two - one < 1.5 * count  # base64 takes four letters for three bytes


def test_map_without_a_plan_has_one_trace_without_a_legend() -> None:
    points = make_points([0, 0, 0], names=1)
    norm = Colouring(name="Norm", title="length of the row", values=np.arange(3.0))
    trace, _ = draw_map(points, [norm], "it").data
    assert list(trace.marker.color) == [1, 128, 255]
    assert not trace.showlegend


@pytest.mark.parametrize("dimensions", [2, 3])
def test_as_many_subspaces_as_can_be_chosen_look_different(dimensions: int) -> None:
    labels = list(range(32))
    points = make_points(labels, dimensions=dimensions, names=32)
    figure = draw_map(points, [by_subspace()], "Subspace")
    looks = {(trace.marker.color, trace.marker.symbol) for trace in figure.data[:32]}
    assert len(looks) == 32
