"""The drawing of the network: well-formed, its numbers those of the plan, colours of the map."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import PlanSizes
from pages.parts.network_drawing import TokenPath, draw_network
from pages.parts.palette import subspace_colour
from pages.parts.wording import shorten

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLE = PlanSizes(d=10, sizes=(12, 8), dimensions=(3, 3))  # the paper's: 120 numbers of 200


def draw(
    plan: PlanSizes, *, rank: int = 4, name: str = "berlin", label: int = 0, theme: str = "light"
) -> ET.Element:
    text = draw_network(plan, rank, TokenPath(name=name, label=label), theme)
    assert "\n" not in text, "an empty line would end it for Markdown"
    return ET.fromstring(text)


def titles(drawing: ET.Element) -> list[str]:
    return [strong.text or "" for strong in drawing.iter("strong")]


def captions(drawing: ET.Element) -> list[list[str]]:
    return [list(caption.itertext()) for caption in drawing.iter("figcaption")]


def texts(panel: ET.Element) -> list[str]:
    return ["|".join(text.itertext()) for text in panel.iter(f"{SVG}text")]


def panels(drawing: ET.Element) -> list[ET.Element]:
    return list(drawing.iter(f"{SVG}svg"))


def bands(panel: ET.Element) -> list[str]:
    return [band.get("fill", "") for band in panel.iter(f"{SVG}polygon")]


def columns(panel: ET.Element, x: float) -> list[ET.Element]:
    """The layers whose left edge is here."""
    return [rect for rect in panel.iter(f"{SVG}rect") if float(rect.get("x", "")) == x]


def lefts(panel: ET.Element) -> list[float]:
    return sorted({float(rect.get("x", "")) for rect in panel.iter(f"{SVG}rect")})


def test_worked_example_counts_as_the_paper_does() -> None:
    drawing = draw(EXAMPLE)
    assert titles(drawing) == [
        "Before: one layer",
        "SVD: one subspace of rank 4",
        "2 subspaces of dimension 3",
    ]
    assert captions(drawing) == [
        ["200 numbers", "n·d = 20 × 10"],
        ["120 numbers, 40.0% fewer", "r·(n + d) = 4 × (20 + 10)"],
        ["120 numbers, 40.0% fewer", "n·j + k·j·d = 60 + 60"],
    ]
    before, svd, ours = map(texts, panels(drawing))
    assert before == ["20|tokens", "10|numbers", "20 × 10|200 numbers", "berlin"]
    assert {"20 × 4|80 numbers", "4 × 10|40 numbers", "4|coordinates"} < set(svd)
    assert {"1: 12 × 3|36 numbers", "2: 8 × 3|24 numbers", "6 × 10|60 numbers"} < set(ours)


def test_small_layers_have_every_node() -> None:
    _, svd, ours = panels(draw(EXAMPLE))
    for panel, expected in ((svd, 20 + 4 + 10), (ours, 20 + 3 + 3 + 10)):
        rings = 1  # around the token
        assert len(list(panel.iter(f"{SVG}circle"))) == expected + rings


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_subspaces_have_the_colours_of_the_map(theme: str) -> None:
    plan = PlanSizes(d=384, sizes=(6169, 7251, 5877, 8290, 2935), dimensions=(216,) * 5)
    *_, ours = panels(draw(plan, rank=227, theme=theme))
    colours = [subspace_colour(label, theme) for label in range(5)]
    assert bands(ours) == [colour for colour in colours for _ in range(2)]


@pytest.mark.parametrize("label", range(5))
def test_token_takes_exactly_one_small_layer(label: int) -> None:
    plan = PlanSizes(d=384, sizes=(6169, 7251, 5877, 8290, 2935), dimensions=(216,) * 5)
    *_, ours = panels(draw(plan, rank=227, label=label))
    tokens, hidden, _ = lefts(ours)
    (path,) = ours.iter(f"{SVG}path")
    ends = re.findall(r"M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)", path.get("d", ""))
    own = columns(ours, hidden)[label]
    top, height = float(own.get("y", "")), float(own.get("height", ""))
    middle = float(own.get("width", "")) / 2
    first = [end for end in ends if float(end[0]) == tokens + middle]
    assert len({(x, y) for x, y, _, _ in first}) == 1
    assert all(float(x) == hidden + middle for _, _, x, _ in first)
    assert all(top < float(y) < top + height for *_, y in first)
    begun = {(x, y) for x, y, _, _ in ends if (x, y) not in {end[:2] for end in first}}
    assert begun == {(x, y) for *_, x, y in first}, "it goes on from there and nowhere else"


@pytest.mark.parametrize(
    ("affine", "formula"),
    [(False, "r·(n + d) = 4 × (20 + 10)"), (True, "n·j + k·j·d + k·d = 80 + 40 + 10")],
)
def test_one_subspace_is_drawn_beside_an_svd_only_when_it_is_none(
    affine: bool, formula: str
) -> None:
    plan = PlanSizes(d=10, sizes=(20,), dimensions=(4,), affine=affine)
    drawing = draw(plan, rank=5)
    assert len(panels(drawing)) == (3 if affine else 2)
    assert captions(drawing)[-1][1] == formula
    assert titles(drawing)[-1] == (
        "One affine subspace of dimension 4" if affine else "One subspace of rank 4"
    )
    assert "alone" not in panels(drawing)[-1].get("aria-label", "")


@pytest.mark.parametrize(("label", "shown"), [(31, [28, 29, 30, 31, 32]), (2, [3, 29, 30, 31, 32])])
def test_of_many_subspaces_the_largest_and_the_tokens_own_are_drawn(
    label: int, shown: list[int]
) -> None:
    sizes = tuple(100 + 10 * place for place in range(32))
    plan = PlanSizes(d=384, sizes=sizes, dimensions=(150,) * 32)
    *_, ours = panels(draw(plan, rank=190, label=label))
    rest = [place for place in range(32) if place + 1 not in shown]
    numbers = sum(sizes[place] for place in rest) * 150
    named = [text for text in texts(ours) if re.match(r"\d+: ", text)]
    assert [int(text.partition(":")[0]) for text in named] == shown
    assert [text for text in texts(ours) if text.startswith("and 27 more|")] == [
        f"and 27 more|{numbers / 1000:.0f} k numbers"
    ]
    assert captions(draw(plan, rank=190))[-1][0].startswith(f"{plan.parameters:,} numbers, ")


def test_point_and_empty_subspace_have_their_place() -> None:
    plan = PlanSizes(d=384, sizes=(30_000, 0, 522), dimensions=(0, 5, 300))
    *_, ours = panels(draw(plan, rank=120))
    assert {"1: 30,000 × 0|0 numbers", "2: 0 × 5|0 numbers", "3: 522 × 300|157 k numbers"} < set(
        texts(ours)
    )
    tokens, hidden, _ = lefts(ours)
    assert [float(part.get("height", "")) for part in columns(ours, tokens)][1] == 0
    point, *others = columns(ours, hidden)
    assert point.get("stroke-dasharray")
    assert not any(other.get("stroke-dasharray") for other in others)
    assert len(bands(ours)) == 5, "nothing comes out of a point"


@given(st.text(min_size=1, max_size=30))
def test_any_name_is_written_as_it_is(name: str) -> None:
    *_, ours = panels(draw(EXAMPLE, name=name))
    (written,) = [text.text for text in ours.iter(f"{SVG}text") if not len(text)]
    assert written == shorten(name, 10)


def test_long_name_is_cut_where_seen_and_whole_where_told() -> None:
    name = "<script>&amp;\"'" * 3
    *_, ours = panels(draw(EXAMPLE, name=name))
    assert name in (ours.get("aria-label") or "")
    assert any(text.endswith("…") for text in texts(ours))
    assert "<script>" not in draw_network(EXAMPLE, 4, TokenPath(name=name, label=0), "light")


def _inside(panel: ET.Element) -> bool:
    _, _, width, height = map(float, panel.get("viewBox", "").split())
    points: list[Sequence[float]] = [
        [float(circle.get("cx", "")), float(circle.get("cy", ""))]
        for circle in panel.iter(f"{SVG}circle")
    ]
    for band in panel.iter(f"{SVG}polygon"):
        points += [
            [float(x) for x in corner.split(",")] for corner in band.get("points", "").split()
        ]
    return all(0 <= x <= width and 0 <= y <= height for x, y in points)


@st.composite
def plans(draw_: st.DrawFn) -> PlanSizes:
    k, d = draw_(st.integers(1, 32)), draw_(st.integers(1, 4096))
    sizes = draw_(st.lists(st.integers(0, 200_000), min_size=k, max_size=k).filter(any))
    dimensions = draw_(st.lists(st.integers(0, d), min_size=k, max_size=k))
    return PlanSizes(
        d=d, sizes=tuple(sizes), dimensions=tuple(dimensions), affine=draw_(st.booleans())
    )


@given(plans(), st.data())
def test_every_plan_stays_inside_its_drawing(plan: PlanSizes, data: st.DataObject) -> None:
    label = data.draw(st.sampled_from([c for c in range(plan.k) if plan.sizes[c]]))
    rank = data.draw(st.integers(1, plan.d))
    for panel in panels(draw(plan, rank=rank, label=label)):
        assert panel.get("role") == "img"
        assert _inside(panel)
