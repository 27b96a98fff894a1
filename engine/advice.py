"""Just tell me: the way to store a table in so many bytes, or at so small a loss.

Read off what was measured (`engine.frontier`), and nothing is fitted. Coded subspaces come in any
size, so that of them what lies between two measured sizes is read off as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, exp, log

from engine.frontier import SLACK, BytePoint, SizeCurves

CHANCE = 0.1
"""Points of a score that are surely chance: of what comes so near the most, the least is taken."""
_AS_SMALL = 1.01  # budgets are filled to a few bytes, not to the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to do, and what else there is.

    Attributes:
        point: The best; its value is what to expect of it.
        between: Whether that is read off between two sizes that were measured.
        others: The best of each other family that reaches what was asked, the best first.
    """

    point: BytePoint
    between: bool
    others: tuple[BytePoint, ...]

    @property
    def made_here(self) -> BytePoint | None:
        """The best that there is a plan for; None where none has one."""
        return next((one for one in (self.point, *self.others) if one.plan is not None), None)


def advise_within(curves: SizeCurves, max_bytes: int) -> Advice | None:
    """What loses least of all that is no larger; of scores the smallest of what scores most.

    Args:
        curves: What was measured.
        max_bytes: All that it may store.

    Returns:
        None where nothing is so small.
    """
    found = [point for point in curves.points if point.stored_bytes <= max_bytes]
    for low, high in _steps(curves):
        if low.stored_bytes < max_bytes < high.stored_bytes:
            found.append(_between(curves, low, high, max_bytes))
    if not curves.higher_is_better:
        return _advise(curves, sorted(found, key=lambda one: (one.value, one.stored_bytes)))
    most = max((one.value for one in found), default=0.0)
    falling = sorted(found, key=lambda one: (-one.value, one.stored_bytes))
    nearly = [one for one in found if one.value >= most - CHANCE]
    return _advise(curves, [*sorted(nearly, key=lambda one: one.stored_bytes), *falling])


def advise_reaching(curves: SizeCurves, value: float) -> Advice | None:
    """What is smallest of all that loses no more, or scores no less.

    Args:
        curves: What was measured.
        value: The largest error, or the lowest score.

    Returns:
        None where nothing that was measured is so good.
    """
    sign = -1 if curves.higher_is_better else 1

    def enough(point: BytePoint) -> bool:
        return sign * point.value <= sign * value

    found = [point for point in curves.points if enough(point)]
    for low, high in _steps(curves):
        if enough(high) and not enough(low):
            at = _bytes_at(curves, low, high, value)
            if low.stored_bytes < at < high.stored_bytes:
                found.append(
                    replace(
                        _between(curves, low, high, at), value=value, lowest=value, highest=value
                    )
                )
    return _advise(curves, sorted(found, key=lambda one: (one.stored_bytes, sign * one.value)))


def several_as_good(curves: SizeCurves, point: BytePoint) -> BytePoint | None:
    """Several coded subspaces that do as well as one, by a score that both all but keep.

    Args:
        curves: What was measured; only of scores is there anything to say.
        point: One coded subspace, for which there is.

    Returns:
        The best of several that is as small, where both are within chance of the table itself.
    """
    if not curves.higher_is_better or (point.family, point.k) != ("coded", 1):
        return None
    enough = curves.whole - SLACK
    found = [
        one
        for one in curves.points
        if one.family == "coded"
        and one.k > 1
        and one.stored_bytes <= _AS_SMALL * point.stored_bytes
    ]
    best = max(found, key=lambda one: one.value, default=None)
    return best if best is not None and min(best.value, point.value) >= enough else None


def _advise(curves: SizeCurves, ordered: list[BytePoint]) -> Advice | None:
    if not ordered:
        return None
    best, *_ = ordered
    others: dict[str, BytePoint] = {}
    for point in ordered:
        if point.family != best.family:
            others.setdefault(point.family, point)
    return Advice(point=best, between=best not in curves.points, others=tuple(others.values()))


def _steps(curves: SizeCurves) -> Iterator[tuple[BytePoint, BytePoint]]:
    """Neighbouring sizes of coded subspaces, of each k."""
    for line in {point.line: None for point in curves.points if point.family == "coded"}:
        points = [point for point in curves.points if point.line == line]
        yield from (pair for pair in pairwise(points) if _alike(*pair))


def _alike(low: BytePoint, high: BytePoint) -> bool:
    """Whether the size is all that two plans differ in."""
    if low.plan is None or high.plan is None:
        return low.plan is high.plan
    return {**low.plan, "max_bytes": 0} == {**high.plan, "max_bytes": 0}


def _between(curves: SizeCurves, low: BytePoint, high: BytePoint, at: int) -> BytePoint:
    """A plan of so many bytes, and what to expect of it."""
    part = (at - low.stored_bytes) / (high.stored_bytes - low.stored_bytes)
    first, last = (_scaled(curves, point.value) for point in (low, high))
    value = _unscaled(curves, first + part * (last - first))
    plan = None if low.plan is None else {**low.plan, "max_bytes": at}
    return replace(low, stored_bytes=at, value=value, lowest=value, highest=value, plan=plan)


def _bytes_at(curves: SizeCurves, low: BytePoint, high: BytePoint, value: float) -> int:
    """Where the line between two sizes reaches a value; rounded up."""
    first, last, wanted = (_scaled(curves, one) for one in (low.value, high.value, value))
    if first == last:  # errors of nothing
        return high.stored_bytes
    part = (wanted - first) / (last - first)
    return ceil(low.stored_bytes + part * (high.stored_bytes - low.stored_bytes))


_SMALLEST = 1e-12  # errors below count as that, since zero has no logarithm


def _scaled(curves: SizeCurves, value: float) -> float:
    """On a scale where a value is straight in the bytes between two sizes.

    A bit more for every coefficient quarters the squared error (6 dB), so that its logarithm is
    straight wherever all of them have bits. Of every second size that was measured of MiniLM's
    table, the error that the others tell so is mostly within a tenth of the true one.
    """
    return value if curves.higher_is_better else log(max(value, _SMALLEST))


def _unscaled(curves: SizeCurves, value: float) -> float:
    return value if curves.higher_is_better else exp(value)
