"""One start of EM: refit the subspaces, reassign the rows, until the cost settles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import SubspaceSet, principal_subspaces, row_squared_norms
from engine.errors import ParameterError

# A residual below this share of the row's squared length is rounding, not distance.
_ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-14}
_MOVE_SHARE = 0.25  # moving a row costs twice adding it: past this a fresh sum is no dearer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedRows:
    """The rows to be clustered with what every step needs to know about them.

    Attributes:
        points: Shape (n, d), float32 or float64.
        weights: Shape (n,), float64, not negative; None for all ones.
        squared_norms: Shape (n,), ‖x‖².
        energy: Σ w·‖x‖², what a cost is measured against; never 0.
    """

    points: Tensor
    weights: Tensor | None
    squared_norms: Tensor
    energy: float

    @classmethod
    def of(cls, points: Tensor, weights: Tensor | None = None) -> WeightedRows:
        """Measure the rows once.

        Raises:
            ParameterError: If the rows are too large or too small to be squared in their dtype.
        """
        norms = row_squared_norms(points)
        energy = weighted_sum(norms, weights)
        limits = torch.finfo(points.dtype)
        lost = not bool(norms.any()) and bool(points.any())
        if lost or not (energy == 0 or limits.tiny <= energy <= limits.max):
            raise ParameterError(
                f"the squared lengths of the rows, weights included, sum to {energy:g}, outside "
                f"what {points.dtype} can hold; scale the matrix or the weights"
            )
        return cls(
            points=points,
            weights=weights,
            squared_norms=norms,
            energy=energy if energy > 0 else 1.0,  # all rows zero: every cost is 0 anyway
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EMStep:
    """The subspaces after one step and the rows' closest among them.

    Attributes:
        subspaces: The k subspaces.
        labels: Shape (n,), int64, the closest subspace of every row; the lowest number on a tie.
        residuals: Shape (n,), squared distance to it.
        cost: Σ w·dist² / Σ w·‖x‖².
        refilled: Clusters that came out empty and were given rows for the next step.
    """

    subspaces: SubspaceSet
    labels: Tensor
    residuals: Tensor
    cost: float
    refilled: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EMResult:
    """Where one start ended.

    Attributes:
        labels: Shape (n,), int64: the closest of ``subspaces`` for every row.
        subspaces: The k subspaces.
        cost_history: Σ w·dist² / Σ w·‖x‖² after each step; never rises.
        converged: Whether it settled before the step limit.
        refilled: How many times an empty cluster was given rows.
    """

    labels: Tensor
    subspaces: SubspaceSet
    cost_history: tuple[float, ...]
    converged: bool
    refilled: int


def weighted_sum(values: Tensor, weights: Tensor | None) -> float:
    """Σ w·v in float64; all weights one when left out."""
    doubled = values.double()
    return float(doubled.sum() if weights is None else doubled @ weights)


def em_steps(rows: WeightedRows, labels: Tensor, dimensions: tuple[int, ...]) -> Iterator[EMStep]:
    """EM without an end: every item is one M-step and the E-step after it.

    Args:
        rows: The rows.
        labels: The first partition, shape (n,), int64.
        dimensions: j_1 … j_k.

    Yields:
        The state after each step; its labels match its subspaces. In exact arithmetic the cost
        never rises from one to the next.

    Source: paper, section 2 (a generalised Lloyd iteration).

    Cost of a step: 2·n·d² + 2·n·d·Σ min(j_c, d−j_c) flops and k eigen-solves; the first term
    shrinks to the rows that moved. Extra memory O(chunk·d + k·d² + n).
    """
    statistics = _count(rows, labels, len(dimensions))
    peaks = statistics.energies()
    while True:
        subspaces = principal_subspaces(statistics.scatter, dimensions, rows.points.dtype)
        new, residuals = subspaces.assign(rows.points, rows.squared_norms)
        target, refilled = _refill_empty(new, residuals, rows, dimensions)
        cost = weighted_sum(residuals, rows.weights) / rows.energy
        yield EMStep(
            subspaces=subspaces, labels=new, residuals=residuals, cost=cost, refilled=refilled
        )
        moved = int((labels != target).sum())
        if moved <= _MOVE_SHARE * len(target):
            statistics.move(rows.points, labels, target, rows.weights)
        # A sum that shrank a lot keeps the rounding of what it was: count such a one afresh.
        peaks = peaks.maximum(statistics.energies())
        if moved > _MOVE_SHARE * len(target) or bool((2 * statistics.energies() < peaks).any()):
            statistics = _count(rows, target, len(dimensions))
            peaks = statistics.energies()
        labels = target


def run_em(
    rows: WeightedRows,
    labels: Tensor,
    dimensions: tuple[int, ...],
    *,
    max_iterations: int,
    tolerance: float,
    on_step: Callable[[EMStep], None] = lambda _: None,
) -> EMResult:
    """EM from a partition until the cost settles.

    Args:
        rows: The rows.
        labels: The first partition, shape (n,), int64.
        dimensions: j_1 … j_k.
        max_iterations: Step limit, at least 1.
        tolerance: Settled when a step lowers the cost by no more than this share of it.
        on_step: Called after every step; may raise to stop.

    Returns:
        The last state whose cost had not risen (rounding can lift it once settled).
    """
    history: list[float] = []
    refilled = 0
    best: EMStep | None = None
    converged = False
    for step in em_steps(rows, labels, dimensions):
        if best is not None and step.cost > best.cost:
            converged = True
            break
        settled = best is not None and best.cost - step.cost <= tolerance * step.cost
        best = step
        history.append(step.cost)
        on_step(step)
        converged = settled and not step.refilled
        if converged or len(history) == max_iterations:
            break
        refilled += len(step.refilled)
    assert best is not None
    return EMResult(
        labels=best.labels,
        subspaces=best.subspaces,
        cost_history=tuple(history),
        converged=converged,
        refilled=refilled,
    )


def _count(rows: WeightedRows, labels: Tensor, k: int) -> ScatterStatistics:
    statistics = ScatterStatistics(k, rows.points.shape[1])
    statistics.update(rows.points, labels, rows.weights)
    return statistics


def _refill_empty(
    labels: Tensor, residuals: Tensor, rows: WeightedRows, dimensions: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...]]:
    """Give every empty cluster the rows that are served worst.

    At most j_c rows go to cluster c: its refitted subspace then holds them exactly, the others
    only lost rows, so the cost cannot rise.
    """
    weights = rows.weights
    present = labels if weights is None else labels[weights > 0]
    counts = present.bincount(minlength=len(dimensions))
    empty = tuple((counts == 0).nonzero().squeeze(1).tolist())
    if not empty:
        return labels, ()
    costs = residuals.double() if weights is None else residuals.double() * weights
    worst = costs.argsort(descending=True, stable=True)
    lost = (residuals > _ROUNDING[residuals.dtype] * rows.squared_norms) & (costs > 0)
    worst = worst[lost[worst]].tolist()  # rows that are held exactly gain nothing
    labels = labels.clone()
    position, refilled = 0, list[int]()
    for cluster in empty:
        share = max(1, min(dimensions[cluster], len(present) // (2 * len(dimensions))))
        chosen = worst[position : position + share]
        if chosen:
            labels[torch.tensor(chosen)] = cluster
            refilled.append(cluster)
        position += share
    return labels, tuple(refilled)
