"""One start of EM: refit the subspaces, reassign the rows, until the cost settles.

Losses, weights, affine subspaces and dimensions bought from a budget all go through the same two
steps; README.md in this folder has the derivations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.clustering.allocation import Allocation, spread_evenly
from engine.clustering.losses import SQUARED, Loss
from engine.clustering.refill import refill_empty
from engine.clustering.statistics import CHUNK_ROWS, ScatterStatistics
from engine.clustering.subspaces import SubspaceSet, principal_subspaces
from engine.clustering.weighted_rows import WeightedRows, add_up, weighted_sum

_MOVE_SHARE = 0.25  # moving a row costs twice adding it: past this a fresh sum is no dearer
_ROUGH_DROP = 0.01  # while steps gain more than this, float32 solves (0.01 % off) will do
_SMALLEST_BLEND = 4.0**-10  # eigenvalues that nearly meet turn far on the shortest of steps


@dataclass(frozen=True, slots=True, kw_only=True)
class EMPlan:
    """What is fitted.

    Attributes:
        allocation: Gives each subspace its dimension.
        affine: Whether subspaces need not pass through zero.
        loss: What a distance costs; its scale known.
    """

    allocation: Allocation
    affine: bool = False
    loss: Loss = SQUARED

    @classmethod
    def even(cls, k: int, dimension: int) -> EMPlan:
        """The paper's plan: k linear subspaces of one dimension, squared distances."""
        return cls(allocation=spread_evenly(k, dimension))

    @property
    def k(self) -> int:
        """Number of subspaces."""
        return self.allocation.k

    def with_k(self, k: int) -> EMPlan:
        """The same for the first k subspaces, or for k of the same budget."""
        return replace(self, allocation=self.allocation.with_k(k))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EMStep:
    """The subspaces after one step and the subspace of every row.

    Attributes:
        subspaces: The k subspaces.
        labels: Shape (n,), int64: the closest subspace of every row, the lowest number on a tie.
            Where dimensions are bought from a budget, the rows that the subspaces were fitted to:
            with them the budget holds.
        residuals: Shape (n,), squared distance to it.
        cost: Σ w·φ(dist²) / Σ w·φ(‖x‖²).
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
        labels: Shape (n,), int64: the subspace of every row.
        subspaces: The k subspaces.
        cost_history: Σ w·φ(dist²) / Σ w·φ(‖x‖²) after each step; never rises.
        converged: Whether it settled before the step limit.
        refilled: How many times an empty cluster was given rows.
    """

    labels: Tensor
    subspaces: SubspaceSet
    cost_history: tuple[float, ...]
    converged: bool
    refilled: int


def em_steps(rows: WeightedRows, start: Tensor | SubspaceSet, plan: EMPlan) -> Iterator[EMStep]:
    """EM without an end: every item is one refit and the assignment after it.

    Args:
        rows: The rows.
        start: The first partition, shape (n,), int64, or the first subspaces.
        plan: What is fitted.

    Yields:
        The state after each step. In exact arithmetic the cost never rises from one to the next,
        except where dimensions are bought from a budget: there loss and price together never
        rise at one price, and the price follows the budget.

    Source: paper, section 2 (a generalised Lloyd iteration).

    Cost of a step: 2·n·d² + 2·n·d·Σ min(j_c, d−j_c) flops and k eigen-solves; for the squared
    loss the first term shrinks to the rows that moved. One pass over the rows. Extra memory
    O(block·d + k·d² + n).
    """
    descent = _Descent(rows, start, plan)
    while True:
        yield descent.step()


class EMRun:
    """Steps of one start taken one at a time, the best state kept.

    Args:
        steps: From `em_steps`.
        tolerance: Settled when a step lowers the cost by no more than this share of it.
        patience: How many steps in a row may fail to lower the cost before it counts as settled;
            one where the cost cannot rise.
    """

    def __init__(self, steps: Iterator[EMStep], *, tolerance: float, patience: int = 1) -> None:
        self._steps = steps
        self._tolerance = tolerance
        self._patience = patience
        self._failed = 0
        self._pending = 0
        self.best: EMStep | None = None
        self.history: list[float] = []
        self.refilled = 0
        self.converged = False

    @property
    def cost(self) -> float:
        """The lowest cost so far; infinite before the first step."""
        return self.history[-1] if self.history else float("inf")

    def advance(self) -> EMStep:
        """Take one step; does nothing new once converged."""
        if self.converged and self.best is not None:
            return self.best
        self.refilled += self._pending  # rows given away count once their subspace was refitted
        step = next(self._steps)
        self._pending = len(step.refilled)
        if self.best is not None and step.cost > self.best.cost:
            self._failed += 1
            self.converged = self._failed >= self._patience
            return step
        drop = self.cost - step.cost
        small = self.best is not None and drop <= self._tolerance * step.cost
        self._failed = self._failed + 1 if small else 0
        self.best = step
        self.history.append(step.cost)
        self.converged = self._failed >= self._patience and not step.refilled
        return step

    def result(self) -> EMResult:
        """The best state so far; call it after a step at least."""
        assert self.best is not None
        return EMResult(
            labels=self.best.labels,
            subspaces=self.best.subspaces,
            cost_history=tuple(self.history),
            converged=self.converged,
            refilled=self.refilled,
        )


def begin(rows: WeightedRows, start: Tensor | SubspaceSet, plan: EMPlan, tolerance: float) -> EMRun:
    """A start that is ready for its first step."""
    patience = 3 if plan.allocation.priced else 1
    return EMRun(em_steps(rows, start, plan), tolerance=tolerance, patience=patience)


def run_em(
    rows: WeightedRows,
    start: Tensor | SubspaceSet,
    plan: EMPlan,
    *,
    max_iterations: int,
    tolerance: float,
    on_step: Callable[[EMStep], None] = lambda _: None,
) -> EMResult:
    """EM until the cost settles.

    Args:
        rows: The rows.
        start: The first partition, shape (n,), int64, or the first subspaces.
        plan: What is fitted.
        max_iterations: Step limit, at least 1.
        tolerance: Settled when a step lowers the cost by no more than this share of it.
        on_step: Called after every step; may raise to stop.

    Returns:
        The state of lowest cost (rounding can lift it once settled).
    """
    run = begin(rows, start, plan, tolerance)
    for _ in range(max_iterations):
        step = run.advance()
        if step is run.best:
            on_step(step)
        if run.converged:
            break
    return run.result()


@dataclass(frozen=True, slots=True, eq=False)
class _Assignment:
    """One pass over the rows: where each goes, and the sums for the next refit."""

    labels: Tensor  # where each row goes
    residuals: Tensor  # squared distance to there
    kept: Tensor  # squared distance to where the row was: what a budget's cost is counted on
    statistics: ScatterStatistics
    moved: float


class _Descent:
    """State of one start between its steps."""

    def __init__(self, rows: WeightedRows, start: Tensor | SubspaceSet, plan: EMPlan) -> None:
        self._rows, self._plan = rows, plan
        self._baseline = rows.energy_under(plan.loss)
        self._table_rows = rows.table_rows
        self._cost = float("inf")
        self._precise = False
        self._blended: ScatterStatistics | None = None  # what the last guarded refit was made from
        self._held: EMStep | None = None  # the state before a guarded step
        if isinstance(start, SubspaceSet):
            first = self._assign(start, None, None)
            self._labels, self._statistics = first.labels, first.statistics
        else:
            self._labels, self._statistics = start, self._count(start)
        self._peaks = self._statistics.energies()
        self._fresh = True

    def step(self) -> EMStep:
        """Refit, reassign, and hand out the state between."""
        subspaces, after, cost = self._lower()
        if self._held is not None and cost > self._held.cost:
            return replace(self._held, refilled=())  # no step in this direction is short enough
        target, refilled = after.labels, tuple[int, ...]()
        if not self._plan.allocation.priced:
            held = tuple(dimension + self._plan.affine for dimension in subspaces.dimensions)
            target, refilled = refill_empty(after.labels, after.residuals, self._rows, held)
            if refilled:
                self._move_refilled(after, target)
        priced = self._plan.allocation.priced
        step = EMStep(
            subspaces=subspaces,
            labels=self._labels if priced else after.labels,
            residuals=after.kept if priced else after.residuals,
            cost=cost,
            refilled=refilled,
        )
        self._held = None if self._plan.loss.concave else step
        self._precise = self._precise or self._cost - cost <= _ROUGH_DROP * cost
        self._cost, self._labels, self._statistics = cost, target, after.statistics
        # A sum that shrank a lot keeps the rounding of what it was: count such a one afresh.
        self._peaks = self._peaks.maximum(self._statistics.energies())
        shrunk = bool((2 * self._statistics.energies() < self._peaks).any())
        if shrunk and not self._fresh:
            self._statistics = self._count(target)
        if shrunk:
            self._peaks = self._statistics.energies()
        few = self._plan.loss.squared and after.moved <= _MOVE_SHARE * self._table_rows
        self._fresh = not few  # sums under reweighting never carry over
        return step

    def _lower(self) -> tuple[SubspaceSet, _Assignment, float]:
        """The next refit and assignment; tried again where rounding or the loss lifted the cost."""
        share = 1.0
        while True:
            sums = self._statistics
            if self._blended is not None and share < 1:
                sums = self._blended.blend(self._statistics, share)
            subspaces = principal_subspaces(
                sums,
                self._plan.allocation,
                self._rows.dtype,
                affine=self._plan.affine,
                precise=self._precise,
            )
            after = self._assign(subspaces, self._labels, self._statistics)
            cost = self._cost_of(after)
            rose = cost > self._cost
            if rose and not self._precise:
                self._precise = True
            elif rose and self._blended is not None and share > _SMALLEST_BLEND:
                share /= 4
            else:
                break
        if not self._plan.loss.concave:
            self._blended = sums
        return subspaces, after, cost

    def _cost_of(self, after: _Assignment) -> float:
        residuals = after.kept if self._plan.allocation.priced else after.residuals
        lost = weighted_sum(self._plan.loss.value(residuals), self._rows.weights)
        return add_up(lost, self._rows.group) / self._baseline

    def _assign(
        self, subspaces: SubspaceSet, labels: Tensor | None, before: ScatterStatistics | None
    ) -> _Assignment:
        """One pass over the rows: where each goes, and the statistics of the new clusters."""
        rows, loss, k = self._rows, self._plan.loss, self._plan.k
        chosen = torch.empty(len(rows.points), dtype=torch.int64)
        residuals = torch.empty_like(rows.squared_norms)
        priced = self._plan.allocation.priced
        kept = torch.empty_like(residuals) if priced and labels is not None else residuals
        only_moved = before is not None and loss.squared and not self._fresh
        delta = ScatterStatistics(k, rows.points.shape[1])
        moved = 0.0
        for where, points in rows.blocks():
            own = None if labels is None else labels[where]
            chosen[where], residuals[where], lost = self._closest(subspaces, points, where, own)
            if kept is not residuals:
                kept[where] = lost
            weights, stands_for = _part(rows.weights, where), _part(rows.stands_for, where)
            if own is not None:
                changed = (own != chosen[where]).double()
                moved += weighted_sum(changed, stands_for)
            if only_moved and own is not None:
                delta.move(points, own, chosen[where], weights, stands_for)
            else:
                weights = self._reweighted(weights, residuals[where])
                delta.update(points, chosen[where], weights, stands_for)
        rows.group.add_up(delta.parts)
        if only_moved and before is not None:
            delta.merge(before)
        return _Assignment(chosen, residuals, kept, delta, add_up(moved, rows.group))

    def _closest(
        self, subspaces: SubspaceSet, points: Tensor, where: slice, own: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where each row of a block goes, the squared distance to there and to where it was."""
        norms = self._rows.squared_norms[where]
        if not self._plan.allocation.priced:
            labels, residuals = subspaces.assign(points, norms)
            return labels, residuals, residuals
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        weights, stands_for = _part(self._rows.weights, where), _part(self._rows.stands_for, where)
        for start in range(0, len(points), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            distances = subspaces.squared_residuals(points[chunk], norms[chunk])
            paid = self._plan.loss.value(distances)
            if weights is not None:
                paid = paid * weights[chunk, None].to(paid.dtype)
            charges = subspaces.charges
            if stands_for is not None:
                charges = charges * stands_for[chunk, None].to(paid.dtype)
            labels = (paid + charges).argmin(dim=1)
            before = labels if own is None else own[chunk]
            pair = torch.stack([labels, before], dim=1)
            nearest, lost = distances.gather(1, pair).unbind(dim=1)
            found.append((labels, nearest, lost))
        labels, nearest, lost = (torch.cat(parts) for parts in zip(*found, strict=True))
        return labels, nearest, lost

    def _reweighted(self, weights: Tensor | None, residuals: Tensor) -> Tensor | None:
        if self._plan.loss.squared:
            return weights
        slopes = self._plan.loss.slope(residuals).double()
        return slopes if weights is None else weights * slopes

    def _move_refilled(self, after: _Assignment, target: Tensor) -> None:
        changed = (target != after.labels).nonzero().squeeze(1)
        rows = self._rows
        delta = ScatterStatistics(self._plan.k, rows.points.shape[1])
        chosen = rows.select(changed)
        stands_for = None if rows.stands_for is None else rows.stands_for[changed]
        weights = self._reweighted(chosen.weights, after.residuals[changed])
        assert isinstance(chosen.points, Tensor)
        delta.move(chosen.points, after.labels[changed], target[changed], weights, stands_for)
        rows.group.add_up(delta.parts)
        after.statistics.merge(delta)

    def _count(self, labels: Tensor) -> ScatterStatistics:
        """Statistics of a first partition, all rows at their plain weights."""
        statistics = ScatterStatistics(self._plan.k, self._rows.points.shape[1])
        for where, points in self._rows.blocks():
            weights = _part(self._rows.weights, where)
            stands_for = _part(self._rows.stands_for, where)
            statistics.update(points, labels[where], weights, stands_for)
        self._rows.group.add_up(statistics.parts)
        return statistics


def _part(values: Tensor | None, where: slice) -> Tensor | None:
    return None if values is None else values[where]
