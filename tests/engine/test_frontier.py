"""Error against bytes: hulls, lines and verdicts from points worked by hand, then by hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.frontier import BytePoint, Family, SizeCurves

DENSE = 1000
ROW = "a step a row"


def point(
    stored_bytes: int, value: float, line: str = "k = 2", *, bits: int = 4, k: int = 2
) -> BytePoint:
    family: Family = "rounding" if line == ROW else "svd" if "SVD" in line else "messi"
    family = "coded" if line.startswith("coded") else family
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


def test_coded_subspaces_are_a_family_whose_line_is_drawn_at_any_bits() -> None:
    ours = [
        point(size, value, "coded, k = 4", bits=0, k=4) for size, value in ((20, 0.5), (60, 0.3))
    ]
    found = curves(*ours, point(60, 0.4), point(65, 0.39, bits=32))
    assert list(found.lines(32)) == list(found.lines()) == ["k = 2", "coded, k = 4"]
    assert found.lines(32)["coded, k = 4"] == tuple(ours)
    assert ours[0].name == "coded, k = 4"
    assert found.choices()[-1].best == ours[1]
    assert found.verdict().startswith("Coded subspaces win from 2% of the table's bytes on.")


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
