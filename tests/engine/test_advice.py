"""Advice: worked by hand, against what was measured, and never worse than what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import load_table
from engine.advice import CHANCE, advise_reaching, advise_within, several_as_good
from engine.frontier import BytePoint, SizeCurves
from engine.library import find_starter
from engine.paths import assets_folder
from tests.benchmarks.shipped_accuracy import RESULTS, read_accuracy
from tests.engine.test_frontier import ROW, curves, point

PLAN = {"method": "coded", "k": 4, "max_bytes": "2%"}
LOW = replace(point(20, 0.4, "coded, k = 4", bits=0, k=4), plan=PLAN)
HIGH = replace(point(40, 0.1, "coded, k = 4", bits=0, k=4), plan=PLAN)
KNOWN = curves(
    LOW, HIGH, point(25, 0.35), point(100, 0.05, ROW, k=0), point(200, 0.01, "SVD", bits=8, k=1)
)


def test_within_bytes_coded_is_read_off_between_its_sizes() -> None:
    found = advise_within(KNOWN, 30)
    assert found is not None
    assert found.between
    assert found.point.stored_bytes == 30
    assert found.point.plan == {"method": "coded", "k": 4, "max_bytes": 30}
    assert found.point.value == pytest.approx(exp((log(0.4) + log(0.1)) / 2))  # half-way
    assert [one.name for one in found.others] == ["k = 2 at 4 bits"]
    assert found.made_here == found.point


def test_within_bytes_of_a_measured_size_it_is_that() -> None:
    found = advise_within(KNOWN, 40)
    assert found is not None
    assert not found.between
    assert found.point == HIGH
    past = advise_within(KNOWN, 60)
    assert past is not None
    assert past.point == HIGH


def test_one_coded_subspace_that_scores_as_well_as_several_is_told() -> None:
    one = point(30, 86.8, "coded, k = 1", bits=0, k=1)
    four = point(30, 86.4, "coded, k = 4", bits=0, k=4)
    known = replace(curves(one, four, higher_is_better=True), whole=86.7)
    assert several_as_good(known, one) == four
    assert several_as_good(known, four) is None
    worse = replace(four, value=86.1)  # more than chance below the table itself
    assert several_as_good(replace(known, points=(one, worse)), one) is None
    larger = replace(four, stored_bytes=40)
    assert several_as_good(replace(known, points=(one, larger)), one) is None
    assert several_as_good(replace(known, higher_is_better=False), one) is None, "errors tell apart"


def test_where_rounding_is_best_what_can_be_made_is_named_beside_it() -> None:
    found = advise_within(KNOWN, 120)
    assert found is not None
    assert found.point.family == "rounding"
    assert found.made_here == HIGH
    alone = advise_within(curves(point(100, 0.05, ROW, k=0)), 120)
    assert alone is not None
    assert alone.made_here is None


def test_nothing_so_small_and_nothing_so_good_is_none() -> None:
    assert advise_within(KNOWN, 19) is None
    assert advise_reaching(KNOWN, 0.009) is None
    assert advise_within(curves(), 10) is advise_reaching(curves(), 0.5) is None


def test_reaching_an_error_coded_is_read_off_between_its_sizes() -> None:
    found = advise_reaching(KNOWN, 0.2)
    assert found is not None
    assert found.between
    assert (found.point.stored_bytes, found.point.value) == (30, 0.2)
    assert [one.family for one in found.others] == ["rounding", "svd"]
    exact = advise_reaching(KNOWN, 0.1)
    assert exact is not None
    assert exact.point == HIGH
    below = advise_reaching(KNOWN, 0.5)
    assert below is not None
    assert below.point == LOW


def test_scores_are_reached_from_below_and_read_off_straight() -> None:
    points = (replace(LOW, value=80.0), replace(HIGH, value=86.0), point(90, 86.5, ROW, k=0))
    known = curves(*points, higher_is_better=True)
    found = advise_reaching(known, 83.0)
    assert found is not None
    assert (found.point.stored_bytes, found.point.value, found.between) == (30, 83.0, True)
    within = advise_within(known, 25)
    assert within is not None
    assert within.point.value == pytest.approx(81.5)
    assert advise_reaching(known, 86.6) is None


def test_of_scores_that_differ_by_chance_the_smallest_is_taken() -> None:
    known = curves(
        point(20, 86.0), point(30, 86.71), point(80, 86.77, "SVD", k=1), higher_is_better=True
    )
    found = advise_within(known, 100)
    assert found is not None
    assert found.point.stored_bytes == 30
    assert [one.family for one in found.others] == ["svd"]


def test_sizes_whose_plans_differ_in_more_are_not_read_between() -> None:
    other = replace(HIGH, plan={**PLAN, "weights": "en"})
    found = advise_within(curves(LOW, other), 30)
    assert found is not None
    assert found.point == LOW
    nothing = advise_reaching(curves(replace(LOW, value=9e-13), replace(HIGH, value=1e-13)), 5e-13)
    assert nothing is not None
    assert nothing.point.stored_bytes == HIGH.stored_bytes


def test_an_error_of_nothing_has_neighbours_too() -> None:
    found = advise_within(curves(LOW, replace(HIGH, value=0.0)), 30)
    assert found is not None
    assert 0 < found.point.value < 0.4


POINTS = st.lists(
    st.builds(
        point,
        st.integers(1, 600),
        st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5]),
        st.sampled_from(["SVD", "k = 2", ROW, "coded, k = 4"]),
    ),
    min_size=1,
    max_size=12,
)


@given(POINTS, st.integers(1, 700), st.booleans())
def test_advice_is_within_and_never_worse_than_what_was_measured(
    points: list[BytePoint], budget: int, higher: bool
) -> None:
    known = curves(*points, higher_is_better=higher)
    found = advise_within(known, budget)
    fitting = [one for one in points if one.stored_bytes <= budget]
    assert (found is None) == (not fitting)
    if found is None:
        return
    assert found.point.stored_bytes <= budget
    sign, chance = (-1, CHANCE) if higher else (1, 0.0)
    assert sign * found.point.value <= min(sign * one.value for one in fitting) + chance + 1e-9
    families = [found.point.family, *(one.family for one in found.others)]
    assert len(set(families)) == len(families)
    assert set(families) == {one.family for one in fitting}


@given(POINTS, st.sampled_from([0.0, 0.05, 0.15, 0.25, 0.4, 0.6]), st.booleans())
def test_advice_reaches_and_is_never_larger_than_what_was_measured(
    points: list[BytePoint], value: float, higher: bool
) -> None:
    known = curves(*points, higher_is_better=higher)
    found = advise_reaching(known, value)
    sign = -1 if higher else 1
    good = [one for one in points if sign * one.value <= sign * value]
    assert (found is None) == (not good)
    if found is None:
        return
    assert sign * found.point.value <= sign * value
    assert found.point.stored_bytes <= min(one.stored_bytes for one in good)


def test_what_is_read_off_is_close_to_what_was_measured() -> None:
    """Leaving out every size in turn, on the table that ships."""
    ways = json.loads(RESULTS.read_text(encoding="utf-8"))["ways"]
    off: list[float] = []
    for k in (1, 4):
        line = [
            replace(point(way["stored_bytes"], way["weighted_error"], "coded", bits=0, k=k))
            for way in ways
            if way["line"].startswith("coded") and way["k"] == k
        ]
        for low, out in pairwise(line):
            rest = [one for one in line if one is not out]
            found = advise_within(curves(*rest), out.stored_bytes)
            if out is line[-1] or found is None or out.value < 1e-3:
                continue
            assert low.value > found.point.value
            off.append(abs(found.point.value / out.value - 1))
    assert len(off) >= 8
    assert max(off) < 0.2, off  # with neighbours twice as far away as they are
    assert sorted(off)[len(off) // 2] < 0.05, off


def test_shipped_accuracy_is_what_was_measured() -> None:
    table = load_table("bundled:minilm")
    starter = find_starter(table.fingerprint)
    assert starter is not None
    known = read_accuracy(table.matrix.shape[1])
    assert starter.accuracy == known
    assert isinstance(known, SizeCurves)
    assert {"coded", "product", "rounding", "svd", "messi"} == set(known.families)
    assert (assets_folder() / "minilm" / "accuracy.json").stat().st_size < 60_000
