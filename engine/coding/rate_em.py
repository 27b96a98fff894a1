"""Rate-aware EM: rows go where weighted distortion and the price of their bits are least."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.clustering.statistics import CHUNK_ROWS, ScatterStatistics
from engine.clustering.weighted_rows import WeightedRows, weighted_sum
from engine.coding.allocation import (
    PATH_LOSSES,
    SINGLE_LOSSES,
    BitAllocation,
    allocate_bits,
)
from engine.coding.mixed import round_columns
from engine.coding.packing import row_bytes
from engine.coding.trellis import LEAST_BYTES
from engine.rows import row_slices

# What the trellis leaves of what single numbers lose; no row is sent through it before the end.
_LEFT = (PATH_LOSSES / SINGLE_LOSSES[: len(PATH_LOSSES)]).float()
_ADDED_ROWS = 4 * CHUNK_ROWS  # at once: as many as a few hundred columns take no half second for
_EMPTIED = 1e-3  # of its energy left: float32 products keep 1e-7 of what was taken away


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedSubspace:
    """One subspace while it is fitted: its eigenvectors that get bits, and what they get.

    Attributes:
        basis: Shape (j, d), float32, orthonormal.
        bits: Shape (j,), uint8, of each coordinate.
        basis_bits: Shape (j,), uint8, of each basis vector's numbers.
        steps: Shape (j,), float32, of the coordinates' quantisers.
        offset: Shape (d,), float32; None for a linear subspace.
    """

    basis: Tensor
    bits: Tensor
    basis_bits: Tensor
    steps: Tensor
    offset: Tensor | None

    def distortions(self, points: Tensor, norms: Tensor) -> Tensor:
        """What is lost of each row when it is stored here: shape (m,), never negative.

        Args:
            points: Shape (m, d), float32.
            norms: Shape (m,), their squared lengths.
        """
        if self.offset is not None:
            points = points - self.offset
            norms = points.square().sum(dim=1)
        coordinates = points @ self.basis.T
        rounded = round_columns(coordinates, self.steps, self.bits).mul_(self.steps)
        squares = coordinates.square()
        # The basis is rounded as well, which costs a row the more the longer its coordinates are.
        kept = squares @ (1 - SINGLE_LOSSES[self.basis_bits.long()].float())
        lost = rounded.sub_(coordinates).square_()
        if row_bytes(self.bits) >= LEAST_BYTES:
            lost = lost.mul_(_LEFT[self.bits.long()])
        return (norms - kept + lost.sum(dim=1)).clamp_(min=0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateStep:
    """The subspaces fitted to a partition, and where rows go next.

    Attributes:
        subspaces: Fitted to ``labels`` within the budget.
        labels: Shape (n,), int64: the partition they were fitted to.
        cost: Σ w·distortion / Σ w·‖x‖² at it.
        moved: How many rows would rather be elsewhere.
    """

    subspaces: tuple[CodedSubspace, ...]
    labels: Tensor
    cost: float
    moved: int


def rate_steps(
    rows: WeightedRows,
    labels: Tensor,
    k: int,
    budget: int,
    *,
    affine: bool,
    on_block: Callable[[], None] = lambda: None,
) -> Iterator[RateStep]:
    """Rate-aware EM without an end.

    Args:
        rows: The rows.
        labels: A first partition, shape (n,), int64.
        k: Number of subspaces.
        budget: Most bytes for coordinates and bases.
        affine: Whether subspaces may miss zero.
        on_block: Called after every few rows and every eigen-solve; may raise to stop.

    Yields:
        The state after each refit. Under the model, before whole bytes, distortion and price
        together fall at one price; the price follows the budget, so the cost may rise from one
        step to the next.

    Cost of a step: 2·n·d·Σ j_c flops, the sums over the rows that moved, k eigen-solves.
    """
    labels = labels.clone()
    statistics = ScatterStatistics(k, rows.points.shape[1])
    _add_rows(rows, labels, statistics, on_block)
    largest = _energies(rows, labels, k)
    while True:
        _renew_emptied(rows, labels, statistics, largest)
        allocation, subspaces = _refit(statistics, budget, affine=affine, on_block=on_block)
        held = labels.clone()
        cost, moved = _reassign(rows, labels, statistics, (subspaces, allocation), on_block)
        yield RateStep(subspaces=subspaces, labels=held, cost=cost, moved=moved)


def _add_rows(
    rows: WeightedRows,
    labels: Tensor,
    statistics: ScatterStatistics,
    on_block: Callable[[], None],
) -> None:
    for where, points in rows.blocks():
        weights = _part(rows.weights, where)
        for part in row_slices(len(points), _ADDED_ROWS):
            statistics.update(points[part], labels[where][part], _part(weights, part))
            on_block()


def _energies(rows: WeightedRows, labels: Tensor, k: int) -> Tensor:
    """Σ w·‖x‖² of each subspace's rows, shape (k,), float64: added up, nothing ever taken away."""
    energies = rows.squared_norms.double()
    return labels.bincount(energies if rows.weights is None else energies * rows.weights, k)


def _renew_emptied(
    rows: WeightedRows, labels: Tensor, statistics: ScatterStatistics, largest: Tensor
) -> None:
    """Add up anew the sums of subspaces that nearly all energy has left, in place.

    Sums that rows were taken from keep rounding of what they once held. Where next to nothing is
    left that rounding would pass for rows: divided by a weight of 0, for infinite steps and means.

    Args:
        rows: The rows.
        labels: Where they are now, shape (n,).
        statistics: Their sums.
        largest: Shape (k,), float64: the most energy that each subspace's sums held; follows.
    """
    k = len(largest)
    energies = _energies(rows, labels, k)
    emptied = energies < _EMPTIED * largest
    if bool(emptied.any()):
        fresh = ScatterStatistics(k, rows.points.shape[1])
        for where, points in rows.blocks():
            own = emptied[labels[where]].nonzero().squeeze(1)
            weights = _part(rows.weights, where)
            fresh.update(points[own], labels[where][own], None if weights is None else weights[own])
        for part, renewed in zip(statistics.parts, fresh.parts, strict=True):
            part[emptied] = renewed[emptied]
    largest.copy_(torch.where(emptied, energies, torch.maximum(largest, energies)))


def _refit(
    statistics: ScatterStatistics,
    budget: int,
    *,
    affine: bool,
    on_block: Callable[[], None],
) -> tuple[BitAllocation, tuple[CodedSubspace, ...]]:
    means, scatter = statistics.centred() if affine else (None, statistics.scatter)
    energies = torch.empty(scatter.shape[:2], dtype=torch.float64)
    frames: list[Tensor] = []
    for cluster, sums in enumerate(scatter):
        values, vectors = torch.linalg.eigh(sums)
        energies[cluster] = values.flip(0).clamp(min=0)
        frames.append(vectors.flip(1).mT)
        on_block()
    allocation = allocate_bits(energies, statistics.counts, budget)
    weights = statistics.weights.unsqueeze(1)
    # Without weight there is no energy; see `_renew_emptied`.
    spread = torch.where(weights > 0, energies / weights, 0.0).sqrt()
    subspaces: list[CodedSubspace] = []
    for cluster, (bits, basis_bits) in enumerate(
        zip(allocation.bits, allocation.basis_bits, strict=True)
    ):
        used = bits > 0
        subspaces.append(
            CodedSubspace(
                basis=frames[cluster][used].float(),
                bits=bits[used].to(torch.uint8),
                basis_bits=basis_bits[used].to(torch.uint8),
                steps=spread[cluster][used].float(),
                offset=None if means is None else means[cluster].float(),
            )
        )
    return allocation, tuple(subspaces)


def _reassign(
    rows: WeightedRows,
    labels: Tensor,
    statistics: ScatterStatistics,
    fitted: tuple[tuple[CodedSubspace, ...], BitAllocation],
    on_block: Callable[[], None],
) -> tuple[float, int]:
    """Move every row to where it costs least; labels and statistics follow in place.

    Returns:
        What the rows cost where they were, and how many moved.
    """
    subspaces, allocation = fitted
    charges = allocation.price * allocation.row_bits
    lost, moved = 0.0, 0
    for where, points in rows.blocks():
        weights = _part(rows.weights, where)
        distortions = _distortions(points, rows.squared_norms[where], subspaces, on_block)
        own = labels[where].clone()
        lost += weighted_sum(distortions.gather(1, own.unsqueeze(1)).squeeze(1), weights)
        paid = distortions if weights is None else distortions * weights.unsqueeze(1)
        nearest = (paid + charges).argmin(dim=1)
        moved += int((nearest != own).sum())
        for part in row_slices(len(points), _ADDED_ROWS):
            statistics.move(points[part], own[part], nearest[part], _part(weights, part))
            on_block()
        labels[where] = nearest
    return lost / rows.energy, moved


def _distortions(
    points: Tensor,
    norms: Tensor,
    subspaces: tuple[CodedSubspace, ...],
    on_block: Callable[[], None],
) -> Tensor:
    """What is lost of each row in each subspace: shape (m, k), float64."""
    found = torch.empty(len(points), len(subspaces), dtype=torch.float64)
    for rows in row_slices(len(points), CHUNK_ROWS):
        part, lengths = points[rows].float(), norms[rows].float()
        for cluster, one in enumerate(subspaces):
            found[rows, cluster] = one.distortions(part, lengths).double()
        on_block()
    return found


def _part(values: Tensor | None, where: slice) -> Tensor | None:
    return None if values is None else values[where]
