"""Error against stored bytes: every way to store a table side by side, and which is best at a size.

A compression rate counts numbers (`engine.curves`); bytes are what a file takes. So fits in 32, 8
and 4 bits and plain rounding of the whole table stand on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from engine.curves import error_of
from engine.grid import ROUNDING, WEIGHTED_SVD, SweepCell

Family = Literal["messi", "svd", "rounding"]

FAMILY_NAMES: dict[Family, str] = {
    "rounding": "Plain rounding",
    "messi": "k subspaces",
    "svd": "The SVD",
}
# Shares of the table in float32. Rounding to 2, 3, 4 and 8 bits by the row takes a little over
# 1/16, 3/32, 1/8 and 1/4, and each fits in one of these.
_BUDGETS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.27, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class BytePoint:
    """One way to store the table.

    Attributes:
        family: ``"messi"``, ``"svd"`` (by weights or not) or ``"rounding"``.
        line: The method, as in ``"k = 5"``; points of one line differ in size and bits alone.
        k: Number of subspaces; 0 for rounding.
        bits: Of a coordinate, or of every number for rounding.
        rate: Compression rate asked for, which counts numbers; 0 for rounding.
        stored_bytes: Of everything stored; the mean over the seeds.
        value: The error, or what else `SizeCurves.measure` is; the mean over the seeds.
        lowest: The least of them.
        highest: The greatest of them.
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

    @property
    def name(self) -> str:
        """In words: ``"k = 5 at 4 bits"``; for rounding its line, ``"int4, a step a row"``."""
        return self.line if self.family == "rounding" else f"{self.line} at {self.bits} bits"


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
    """

    measure: str
    points: tuple[BytePoint, ...]
    dense_bytes: int
    higher_is_better: bool = False
    whole: float = 0.0

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
            bits: Only points of so many bits; the best coding at every size when left out.

        Returns:
            The SVDs first, then by k.
        """
        found: dict[str, list[BytePoint]] = {}
        for point in self.points:
            if point.family != "rounding" and bits in (None, point.bits):
                found.setdefault(point.line, []).append(point)
        names = sorted(found, key=lambda name: (found[name][0].k, name))
        return {
            name: tuple(found[name]) if bits is not None else self.frontier(found[name])
            for name in names
        }

    def roundings(self) -> tuple[BytePoint, ...]:
        """The table rounded, by rising bytes."""
        return tuple(point for point in self.points if point.family == "rounding")

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
        """Which family is best at which sizes, in a sentence a family."""
        front = self.frontier()
        if not front:
            return "Nothing was measured."
        starts = [front[0], *(b for a, b in pairwise(front) if a.family != b.family)]
        ends = [*starts[1:], None]
        spans: dict[Family, list[str]] = {}
        for first, end in zip(starts, ends, strict=True):
            spans.setdefault(first.family, []).append(self._span(first, end))
        said = [
            f"{FAMILY_NAMES[family]} {'win' if family == 'messi' else 'wins'} "
            f"{' and '.join(spans[family])}."
            for family in FAMILY_NAMES
            if family in spans
        ]
        best = "scores highest" if self.higher_is_better else "loses least"
        return f"{' '.join(said)} To win is to be what {best} of all that fits in so many bytes."

    def _span(self, first: BytePoint, end: BytePoint | None) -> str:
        low = f"{first.stored_bytes / self.dense_bytes:.1%}"
        if end is None:
            return f"from {low} of the table's bytes on"
        return f"from {low} to {end.stored_bytes / self.dense_bytes:.1%}"


def read_size_curves(
    cells: Sequence[SweepCell], *, dense_bytes: int, weighted: bool = False
) -> SizeCurves:
    """Gather the cells of a sweep by how the table is stored.

    Args:
        cells: Of one sweep.
        dense_bytes: Of the table in float32.
        weighted: Read the weighted error.

    Raises:
        ParameterError: If the weighted error is asked for and was not measured.
    """
    groups: dict[tuple[object, ...], list[SweepCell]] = {}
    for cell in cells:
        key = (cell.method, cell.k, cell.asked_rate, cell.bits, cell.group)
        groups.setdefault(key, []).append(cell)
    columns = max((cell.group for cell in cells), default=0)
    points = [_point(group, columns, weighted=weighted) for group in groups.values()]
    return SizeCurves(
        measure="squared error, weighted by use" if weighted else "relative squared error",
        points=tuple(sorted(points, key=lambda point: point.stored_bytes)),
        dense_bytes=dense_bytes,
    )


def _point(group: list[SweepCell], columns: int, *, weighted: bool) -> BytePoint:
    cell = group[0]
    errors = [error_of(one, weighted=weighted) for one in group]
    family: Family = "messi"
    line = f"k = {cell.k}"
    if cell.method == ROUNDING:
        family, line = "rounding", name_rounding(cell.bits, cell.group, columns)
    elif cell.method in ("svd", WEIGHTED_SVD):
        family, line = "svd", "SVD" if cell.method == "svd" else "weighted SVD"
    return BytePoint(
        family=family,
        line=line,
        k=cell.k,
        bits=cell.bits,
        rate=cell.asked_rate,
        stored_bytes=round(fmean(one.stored_bytes for one in group)),
        value=fmean(errors),
        lowest=min(errors),
        highest=max(errors),
    )


def name_rounding(bits: int, group: int, columns: int) -> str:
    """A way to round in words: ``"int4, a step a row"``, ``"int4, groups of 32"``."""
    return f"int{bits}, {'a step a row' if group >= columns else f'groups of {group}'}"
