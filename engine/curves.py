"""A sweep read as curves: one for each k, the SVD as k = 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from engine.measures import EXACT_ERROR
from engine.sweep import SweepCell

Curves = dict[int, tuple["CurvePoint", ...]]
"""k → its points by rising rate; the SVD is k = 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One k at one rate, over the seeds.

    Attributes:
        rate: The rate asked for.
        k: Number of subspaces.
        j: Their dimension.
        error: Mean ‖A − Â‖² / ‖A‖² over the seeds.
        lowest: The least of them.
        highest: The greatest of them.
        svd_ratio: ``error`` over the SVD's at the same rate; 1 where the SVD is exact.
    """

    rate: float
    k: int
    j: int
    error: float
    lowest: float
    highest: float
    svd_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChoice:
    """What is closest at one rate.

    Attributes:
        svd: The SVD's point.
        best: The point of the k ≥ 2 with the least mean error.
        losing: The k ≥ 2 that are no closer than the SVD; all of them where it is exact.
    """

    svd: CurvePoint
    best: CurvePoint
    losing: tuple[int, ...]


def read_curves(cells: Sequence[SweepCell]) -> Curves:
    """Gather the cells of a sweep by k and rate.

    Args:
        cells: Of one sweep; the SVD at every rate among them.

    Returns:
        The curves, the SVD first, then by rising k.
    """
    svd = {cell.asked_rate: cell.relative_error for cell in cells if cell.k == 1}
    groups: dict[tuple[int, float], list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault((cell.k, cell.asked_rate), []).append(cell)
    curves: dict[int, list[CurvePoint]] = {}
    for (k, rate), group in sorted(groups.items()):
        errors = [cell.relative_error for cell in group]
        error = fmean(errors)
        point = CurvePoint(
            rate=rate,
            k=k,
            j=group[0].j,
            error=error,
            lowest=min(errors),
            highest=max(errors),
            svd_ratio=error / svd[rate] if svd.get(rate, 0.0) > EXACT_ERROR else 1.0,
        )
        curves.setdefault(k, []).append(point)
    return {k: tuple(points) for k, points in curves.items()}


def choose_by_rate(curves: Curves) -> tuple[RateChoice, ...]:
    """At each rate where more than the SVD was swept: what is closest, and which k lose to it."""
    choices: list[RateChoice] = []
    for svd in curves.get(1, ()):
        rivals = [
            point
            for k, points in curves.items()
            if k > 1
            for point in points
            if point.rate == svd.rate
        ]
        if rivals:
            choices.append(
                RateChoice(
                    svd=svd,
                    best=min(rivals, key=lambda point: point.error),
                    losing=tuple(
                        point.k
                        for point in rivals
                        if point.error >= svd.error or svd.error <= EXACT_ERROR
                    ),
                )
            )
    return tuple(choices)
