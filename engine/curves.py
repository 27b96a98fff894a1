"""A sweep read as curves against compression rate: one for each k, beside the SVDs.

A rate counts numbers, so these are the fits in 32 bits; `engine.frontier` counts bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from engine.errors import ParameterError
from engine.grid import WEIGHTED_SVD, SweepCell, plain_cells
from engine.measures import EXACT_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One k at one rate, over the seeds.

    Attributes:
        rate: The rate asked for.
        k: Number of subspaces.
        j: Their dimension; the largest where they differ.
        error: Mean error over the seeds.
        lowest: The least of them.
        highest: The greatest of them.
        svd_ratio: ``error`` over that of `Curves.baseline` at the same rate; 1 where that is exact.
        parameters: Numbers stored, of the first seed: the same for all where dimensions are even.
        stored_bytes: Bytes stored, likewise.
    """

    rate: float
    k: int
    j: int
    error: float
    lowest: float
    highest: float
    svd_ratio: float
    parameters: int
    stored_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of a sweep by one error.

    Attributes:
        weighted: Whether the error is the weighted one, else it is ‖A − Â‖² / ‖A‖².
        svd: The SVD, by rising rate.
        weighted_svd: The weighted SVD; empty where the sweep had no weights.
        by_k: k ≥ 2 → its points by rising rate, in the order of k.
    """

    weighted: bool
    svd: tuple[CurvePoint, ...]
    weighted_svd: tuple[CurvePoint, ...]
    by_k: dict[int, tuple[CurvePoint, ...]]

    @property
    def baseline(self) -> tuple[CurvePoint, ...]:
        """The SVD that was fitted for this error."""
        return self.weighted_svd if self.weighted else self.svd


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChoice:
    """What is closest at one rate.

    Attributes:
        svd: The point of the SVD fitted for this error.
        best: The point of the k ≥ 2 with the least mean error.
        losing: The k ≥ 2 that are no closer than that SVD; all of them where it is exact.
    """

    svd: CurvePoint
    best: CurvePoint
    losing: tuple[int, ...]


def has_weights(cells: Sequence[SweepCell]) -> bool:
    """Whether a sweep measured weighted errors."""
    return any(cell.weighted_error is not None for cell in cells)


def read_curves(cells: Sequence[SweepCell], *, weighted: bool = False) -> Curves:
    """Gather the cells of a sweep by method, k and rate.

    Args:
        cells: Of one sweep; the SVD at every rate among them. Those in fewer bits are left out.
        weighted: Read the weighted error.

    Returns:
        The curves.

    Raises:
        ParameterError: If the weighted error is asked for and was not measured.
    """
    cells = plain_cells(cells)
    base = WEIGHTED_SVD if weighted else "svd"
    least = {
        cell.asked_rate: error_of(cell, weighted=weighted) for cell in cells if cell.method == base
    }
    groups: dict[tuple[str, int, float], list[SweepCell]] = {}
    for cell in cells:
        groups.setdefault((cell.method, cell.k, cell.asked_rate), []).append(cell)
    curves: dict[tuple[str, int], list[CurvePoint]] = {}
    for (method, k, rate), group in sorted(groups.items()):
        errors = [error_of(cell, weighted=weighted) for cell in group]
        error = fmean(errors)
        point = CurvePoint(
            rate=rate,
            k=k,
            j=group[0].j,
            error=error,
            lowest=min(errors),
            highest=max(errors),
            svd_ratio=error / least[rate] if least.get(rate, 0.0) > EXACT_ERROR else 1.0,
            parameters=group[0].parameters,
            stored_bytes=group[0].stored_bytes,
        )
        curves.setdefault((method, k), []).append(point)
    return Curves(
        weighted=weighted,
        svd=tuple(curves.pop(("svd", 1), ())),
        weighted_svd=tuple(curves.pop((WEIGHTED_SVD, 1), ())),
        by_k={k: tuple(points) for (_, k), points in curves.items()},
    )


def choose_by_rate(curves: Curves) -> tuple[RateChoice, ...]:
    """At each rate where more than the SVD was swept: what is closest, and which k lose to it."""
    choices: list[RateChoice] = []
    for svd in curves.baseline:
        rivals = [
            point for points in curves.by_k.values() for point in points if point.rate == svd.rate
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


def error_of(cell: SweepCell, *, weighted: bool) -> float:
    """One of the errors of a cell.

    Raises:
        ParameterError: If it is the weighted one and was not measured.
    """
    if not weighted:
        return cell.relative_error
    if cell.weighted_error is None:
        raise ParameterError("this sweep has no weighted errors; run it again with weights")
    return cell.weighted_error
