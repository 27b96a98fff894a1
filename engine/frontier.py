"""Error against stored bytes: every way to store a table side by side, and which is best at a size.

A compression rate counts numbers (`engine.curves`); bytes are what a file takes. So fits in 32, 8
and 4 bits, coded subspaces and plain rounding of the whole table stand on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import log
from typing import Any, Literal

from numpy import interp

Family = Literal["messi", "coded", "svd", "rounding", "product"]

FAMILY_NAMES: dict[Family, str] = {
    "rounding": "Plain rounding",
    "product": "Product quantisation",
    "messi": "k subspaces",
    "coded": "Coded subspaces",
    "svd": "SVD",
}
_OF_ALL_BITS = ("coded", "product")
"""Families whose lines have no number of bits to be told apart by."""
# Shares of the table in float32. Rounding to 2, 3, 4 and 8 bits takes a little over 1/16, 3/32, 1/8
# and 1/4, and each fits in one of these.
_BUDGETS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.13, 0.2, 0.27, 0.5)

SLACK = 0.5
"""Points of an accuracy in per cent that may well be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BytePoint:
    """One way to store the table.

    Attributes:
        family: ``"messi"``, ``"coded"``, ``"svd"`` (by weights or not), ``"rounding"`` or
            ``"product"``, which is product quantisation.
        line: The method, as in ``"k = 5"``, or for rounding which numbers share a step: ``"a step a
            row"``. Points of one line differ in size and bits alone.
        k: Number of subspaces; 0 for rounding and products.
        bits: Of a coordinate, or of every number for rounding; 0 for coded, where each coordinate
            has its own, and for products.
        rate: Compression rate asked for, which counts numbers; 0 where there is none.
        stored_bytes: Of everything stored; the mean over the seeds.
        value: The error, or what else `SizeCurves.measure` is; the mean over the seeds.
        lowest: The least of them.
        highest: The greatest of them.
        plan: What makes it, as keyword arguments of `engine.plans.CompressionConfig`; None where
            nothing here does, as of rounding.
        seconds: Time it took to make where it was measured; None where that was not kept.
    """

    family: Family
    line: str
    k: int
    bits: int
    rate: float
    stored_bytes: int
    value: float
    lowest: float
    highest: float
    plan: dict[str, Any] | None = field(default=None, hash=False)
    seconds: float | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """In words: ``"k = 5 at 4 bits"``, ``"int4, a step a row"``."""
        if self.family == "rounding":
            return f"int{self.bits}, {self.line}"
        if self.family in _OF_ALL_BITS:
            return self.line
        return f"{self.line} at {self.bits} bits"


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeChoice:
    """What is best within a number of bytes.

    Attributes:
        budget: Most bytes.
        share: The same as a share of the table in float32.
        by_family: The best of each family; families with nothing so small are left out.
        best: The best of all.
    """

    budget: int
    share: float
    by_family: dict[Family, BytePoint]
    best: BytePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCurves:
    """Everything that was measured of one table, against its bytes.

    Attributes:
        measure: What `BytePoint.value` is, as an axis is called.
        points: By rising bytes.
        dense_bytes: Of the table in float32.
        higher_is_better: For accuracies; errors are better when lower.
        whole: The value of the table itself.
        check: The quick check that measures it, by its name; None of errors.
        weighted: Whether errors are weighted by use.
    """

    measure: str
    points: tuple[BytePoint, ...]
    dense_bytes: int
    higher_is_better: bool = False
    whole: float = 0.0
    check: str | None = None
    weighted: bool = False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SizeCurves:
        """Undo `dataclasses.asdict` after a trip through JSON.

        Raises:
            KeyError: If there are no points.
            TypeError: If a key is missing or unknown.
        """
        points = tuple(BytePoint(**point) for point in values["points"])
        whole: dict[str, Any] = {**values, "points": points}
        return cls(**whole)

    @property
    def families(self) -> dict[Family, str]:
        """Those that were measured, and what they are called."""
        measured = {point.family for point in self.points}
        return {family: name for family, name in FAMILY_NAMES.items() if family in measured}

    def expected(self, point: BytePoint) -> float:
        """What the plan of a point comes to: it has the best of the seeds."""
        return point.highest if self.higher_is_better else point.lowest

    def frontier(self, points: Sequence[BytePoint] | None = None) -> tuple[BytePoint, ...]:
        """The points that no other beats with as few bytes, by rising bytes.

        Args:
            points: Some of the points; all of them when left out.
        """
        found: list[BytePoint] = []
        sign = -1 if self.higher_is_better else 1
        ordered = sorted(
            self.points if points is None else points,
            key=lambda point: (point.stored_bytes, sign * point.value),
        )
        for point in ordered:
            if not found or sign * point.value < sign * found[-1].value:
                found.append(point)
        return tuple(found)

    def lines(self, bits: int | None = None) -> dict[str, tuple[BytePoint, ...]]:
        """The factorised methods, by name, each by rising bytes.

        Args:
            bits: Only points of so many bits, and families that have all of them, as coded; the
                best coding at every size when left out, those between two rates being read off a
                straight line between them.

        Returns:
            Product quantisation first, then the SVDs, then by k, coded subspaces last.
        """
        found: dict[str, dict[int, list[BytePoint]]] = {}
        for point in self.points:
            drawn = point.family in _OF_ALL_BITS or bits in (None, point.bits)
            if point.family != "rounding" and drawn:
                found.setdefault(point.line, {}).setdefault(point.bits, []).append(point)
        lines = {name: self._envelope(list(codings.values())) for name, codings in found.items()}

        def place(item: tuple[str, tuple[BytePoint, ...]]) -> tuple[bool, int, str]:
            name, (first, *_) = item
            return first.family == "coded", first.k, name

        return dict(sorted(lines.items(), key=place))

    def _envelope(self, codings: list[list[BytePoint]]) -> tuple[BytePoint, ...]:
        """The points of one method that are not beaten by another of its codings at their size."""
        sign = -1 if self.higher_is_better else 1

        def beaten(point: BytePoint, others: list[BytePoint]) -> bool:
            within = [one for one in others if one.stored_bytes <= point.stored_bytes]
            if not within:
                return False
            # numpy takes the last value for sizes past the end: fewer bytes are as good there.
            value = float(
                interp(
                    log(point.stored_bytes),
                    [log(one.stored_bytes) for one in others],
                    [one.value for one in others],
                )
            )
            return sign * value < sign * point.value

        kept = [
            point
            for own in codings
            for point in own
            if not any(beaten(point, others) for others in codings if others is not own)
        ]
        return tuple(sorted(kept, key=lambda point: point.stored_bytes))

    def roundings(self) -> dict[str, tuple[BytePoint, ...]]:
        """The table rounded, by which numbers share a step, each by rising bytes."""
        found: dict[str, list[BytePoint]] = {}
        for point in self.points:
            if point.family == "rounding":
                found.setdefault(point.line, []).append(point)
        return {name: tuple(points) for name, points in found.items()}

    def choices(self) -> tuple[SizeChoice, ...]:
        """What is best within each of a few numbers of bytes; none where nothing is so small."""
        found: list[SizeChoice] = []
        for share in _BUDGETS:
            budget = round(share * self.dense_bytes)
            within = [point for point in self.points if point.stored_bytes <= budget]
            if within:
                families: dict[Family, BytePoint] = {
                    family: self.frontier(own)[-1]
                    for family in FAMILY_NAMES
                    if (own := [point for point in within if point.family == family])
                }
                best = self.frontier(within)[-1]
                found.append(SizeChoice(budget=budget, share=share, by_family=families, best=best))
        return tuple(found)

    def verdict(self) -> str:
        """What to take from it, in words.

        Of errors: which family is best within which of the sizes of `choices`. Of accuracies, whose
        small differences are chance: how small each family gets and still scores nearly as much.
        """
        if self.higher_is_better:
            return self._least_sizes()
        choices = self.choices()
        if not choices:
            return "Nothing that was measured is half as large as the table."
        runs = [list(run) for _, run in groupby(choices, key=lambda choice: choice.best.family)]
        spans: dict[Family, list[str]] = {}
        for run in runs:
            last = run[-1] is choices[-1]
            spans.setdefault(run[0].best.family, []).append(_span(run, last=last))
        clauses = [
            f"{name} {'win' if name.endswith('s') else 'wins'} {' and '.join(spans[family])}"
            for family, name in FAMILY_NAMES.items()
            if family in spans
        ]
        said = "To win is to lose least of all that was measured and is no larger."
        return f"{'; '.join(clauses)}. {said}"

    def _least_sizes(self) -> str:
        enough = [point for point in self.points if point.value >= self.whole - SLACK]
        least = {point.family: point for point in reversed(enough)}
        parts = [
            f"{FAMILY_NAMES[point.family]} {point.stored_bytes / self.dense_bytes:.1%} "
            f"({point.name}: {point.value:.2f})"
            for point in sorted(least.values(), key=lambda point: point.stored_bytes)
        ]
        if not parts:
            return f"Nothing comes within {SLACK:g} of the table itself, {self.whole:.2f}."
        return (
            f"Bytes that it takes to stay within {SLACK:g} of the table itself, "
            f"{self.whole:.2f}: {'; '.join(parts)}. A few tenths are chance."
        )


def _span(run: Sequence[SizeChoice], *, last: bool) -> str:
    """Sizes in a row, in words."""
    low, high = f"{run[0].share:.0%}", f"{run[-1].share:.0%}"
    if last:
        return f"from {low} of the table's bytes on"
    return f"at {low}" if len(run) == 1 else f"from {low} to {high}"
