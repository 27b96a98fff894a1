"""Error against bytes: hulls, lines and verdicts from points worked by hand, then by hypothesis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.frontier import BytePoint, Family, SizeCurves, read_size_curves
from engine.grid import PLAIN_BITS, ROUNDING, SweepCell
from engine.sweep import SweepConfig, run_sweep
from tests.engine.tables import gaussian, lines, make_table

DENSE = 1000
ROW = "a step a row"


def point(
    stored_bytes: int, value: float, line: str = "k = 2", *, bits: int = 4, k: int = 2
) -> BytePoint:
    family: Family = "rounding" if line == ROW else "svd" if "SVD" in line else "messi"
    return BytePoint(
        family=family,
        line=line,
        k=k,
        bits=bits,
        rate=0.5,
        stored_bytes=stored_bytes,
        value=value,
        lowest=value,
        highest=value,
    )


def curves(*points: BytePoint, higher_is_better: bool = False) -> SizeCurves:
    return SizeCurves(
        measure="error",
        points=tuple(sorted(points, key=lambda one: one.stored_bytes)),
        dense_bytes=DENSE,
        higher_is_better=higher_is_better,
    )


# Below 100 bytes k subspaces alone; from there on plain rounding, whatever k subspaces do between
# two of its sizes; from 300 on the SVD.
ROUNDING_WINS = curves(
    point(20, 0.6),
    point(60, 0.4),
    point(100, 0.2, ROW, bits=2, k=0),
    point(110, 0.3),
    point(120, 0.15, bits=8),
    point(130, 0.1, ROW, bits=3, k=0),
    point(300, 0.05, "SVD", bits=8, k=1),
    point(310, 0.12, "k = 10", bits=8, k=10),
    point(400, 0.2, "k = 2", bits=32),
)


def test_verdict_says_where_rounding_wins() -> None:
    assert ROUNDING_WINS.verdict() == (
        "Plain rounding wins from 10% to 27%; k subspaces win from 2% to 8%; SVD wins from 50% of "
        "the table's bytes on. To win is to lose least of all that was measured and is no larger."
    )
    alone = curves(point(70, 0.5), point(130, 0.1, ROW, k=0), point(190, 0.05))
    assert alone.verdict().startswith(
        "Plain rounding wins at 13%; k subspaces win from 7% to 10% and from 20% of the table's"
    )


def test_verdict_names_nobody_who_never_wins() -> None:
    verdict = curves(point(20, 0.6), point(60, 0.4), point(70, 0.5, "SVD", k=1)).verdict()
    assert verdict.startswith("k subspaces win from 2% of the table's bytes on. To win")
    assert "SVD" not in verdict
    assert "rounding" not in verdict


def test_of_nothing_nothing_is_said() -> None:
    assert curves().verdict() == "Nothing that was measured is half as large as the table."
    assert curves().frontier() == curves().choices() == ()
    assert curves().lines() == curves().roundings() == {}


def test_accuracies_are_better_when_higher() -> None:
    points = (
        point(20, 60.0), point(50, 89.6), point(55, 70.0, "SVD", k=1), point(60, 90.1),
        point(90, 90.0, ROW, k=0), point(95, 89.9, ROW, bits=8, k=0),
    )  # fmt: skip
    found = replace(curves(*points, higher_is_better=True), whole=90.0)
    assert [one.value for one in found.frontier()] == [60, 89.6, 90.1]
    assert found.choices()[-1].best.value == 90.1
    # The tenth by which one beats the other is chance, the 40 bytes are not.
    assert found.verdict() == (
        "Bytes that it takes to stay within 0.5 of the table itself, 90.00: k subspaces 5.0% "
        "(k = 2 at 4 bits: 89.60); Plain rounding 9.0% (int4, a step a row: 90.00). "
        "A few tenths are chance."
    )
    far = replace(found, whole=95.0)
    assert far.verdict() == "Nothing comes within 0.5 of the table itself, 95.00."


def test_lines_are_by_method_and_take_the_best_coding_at_each_size() -> None:
    assert list(ROUNDING_WINS.lines()) == ["SVD", "k = 2", "k = 10"]
    best = ROUNDING_WINS.lines()["k = 2"]
    assert [(one.stored_bytes, one.bits) for one in best] == [(20, 4), (60, 4), (110, 4), (120, 8)]
    assert [one.name for one in best][-2:] == ["k = 2 at 4 bits", "k = 2 at 8 bits"]
    assert {name: len(found) for name, found in ROUNDING_WINS.lines(8).items()} == {
        "SVD": 1, "k = 2": 1, "k = 10": 1,
    }  # fmt: skip
    assert [one.stored_bytes for one in ROUNDING_WINS.lines(32)["k = 2"]] == [400]
    (rounded,) = ROUNDING_WINS.roundings().values()
    assert [one.name for one in rounded] == ["int2, a step a row", "int3, a step a row"]


def test_choices_are_the_best_of_each_family_that_fits() -> None:
    found = {choice.budget: choice for choice in ROUNDING_WINS.choices()}
    assert list(found) == [20, 30, 40, 50, 60, 70, 80, 100, 130, 200, 270, 500]
    assert found[80].by_family == {"messi": point(60, 0.4)}
    assert (found[100].best.name, found[100].share) == ("int2, a step a row", 0.1)
    assert found[130].by_family["messi"] == point(120, 0.15, bits=8)
    assert found[500].best == found[500].by_family["svd"]
    assert curves(point(900, 0.1)).choices() == ()


POINTS = st.lists(
    st.builds(
        point,
        st.integers(1, 600),
        st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        st.sampled_from(["SVD", "k = 2", ROW]),
    ),
    min_size=1,
    max_size=20,
)


@given(POINTS, st.booleans())
def test_frontier_is_the_lower_envelope(points: list[BytePoint], higher: bool) -> None:
    found = curves(*points, higher_is_better=higher)
    front = found.frontier()
    sign = -1 if higher else 1
    sizes = [one.stored_bytes for one in front]
    values = [sign * one.value for one in front]
    assert sizes == sorted(set(sizes))
    assert values == sorted(set(values), reverse=True)
    assert set(front) <= set(points)
    for one in points:  # at every size, the last point of the frontier is the best that fits
        best = [edge for edge in front if edge.stored_bytes <= one.stored_bytes][-1]
        assert sign * best.value == min(
            sign * other.value for other in points if other.stored_bytes <= one.stored_bytes
        )


@given(POINTS)
def test_choice_and_verdict_agree_with_the_frontier(points: list[BytePoint]) -> None:
    found = curves(*points)
    for choice in found.choices():
        fitting = [one for one in found.frontier() if one.stored_bytes <= choice.budget]
        assert choice.best == fitting[-1]
        assert choice.best.value == min(one.value for one in choice.by_family.values())
    families = {choice.best.family for choice in found.choices()}
    words = {"rounding": "Plain rounding wins", "messi": "k subspaces win", "svd": "SVD wins"}
    assert {name for name, said in words.items() if said in found.verdict()} == families


def test_points_are_mean_and_range_over_the_seeds() -> None:
    cell = SweepCell(
        method="messi", k=3, j=4, asked_rate=0.4, rate=0.41, parameters=90, stored_bytes=100,
        seed=0, relative_error=0.2, steps=3, wall_seconds=0.1, least_j=4, weighted_error=0.1,
        bits=8, basis_bits=8,
    )  # fmt: skip
    other = replace(cell, seed=1, relative_error=0.4, weighted_error=0.3, stored_bytes=103)
    rounded = replace(cell, method=ROUNDING, k=0, asked_rate=0.0, bits=2, basis_bits=0, group=64)
    groups = replace(rounded, group=32, stored_bytes=400)
    cells = (cell, rounded, other, groups)
    found = read_size_curves(cells, dense_bytes=DENSE)
    three, row, apart = (
        next(one for one in found.points if one.name == name)
        for name in ("k = 3 at 8 bits", "int2, a step a row", "int2, groups of 32")
    )
    assert len(found.points) == 3
    assert (three.family, three.k, three.bits, three.rate) == ("messi", 3, 8, 0.4)
    assert (three.stored_bytes, three.lowest, three.highest) == (102, 0.2, 0.4)
    assert three.value == pytest.approx(0.3)
    assert (row.family, row.k, row.value, apart.stored_bytes) == ("rounding", 0, 0.2, 400)
    weighted = read_size_curves(cells, dense_bytes=DENSE, weighted=True)
    assert weighted.lines()["k = 3"][0].value == pytest.approx(0.2)
    with pytest.raises(ParameterError, match="no weighted errors; run it again with weights"):
        read_size_curves([replace(cell, weighted_error=None)], dense_bytes=DENSE, weighted=True)


def test_unstructured_rows_are_best_rounded_and_lines_best_kept_as_lines() -> None:
    # Gaussian rows have no subspaces to find; three lines in R^8 are all subspaces.
    for matrix, sure in ((gaussian(400, 8), "rounding"), (lines(), "messi")):
        config = SweepConfig(rates=(0.3, 0.6), ks=(3,), seeds=(0,))
        cells = run_sweep(make_table(matrix), config).cells
        found = read_size_curves(cells, dense_bytes=4 * matrix.numel())
        winner = found.choices()[-2].best if sure == "rounding" else found.choices()[0].best
        assert winner.family == sure, found.verdict()
    assert {one.bits for one in found.points} == {2, 3, 4, 8, PLAIN_BITS}
