"""The rows to be clustered, with what every step needs to know about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.clustering.group import ALONE, Group
from engine.clustering.losses import Loss
from engine.clustering.statistics import CHUNK_ROWS
from engine.clustering.subspaces import row_squared_norms
from engine.errors import ParameterError
from engine.rows import RowMatrix, compute_dtype, read_rows

# Rows read and worked on together: enough that one cluster's share of them fills whole chunks.
BLOCK_ROWS = 16 * CHUNK_ROWS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedRows:
    """Rows of one process with their weights and lengths.

    Attributes:
        points: Shape (n, d), float; may be mapped from a file, or in 16 bits.
        weights: Shape (n,), float64, not negative; None for all ones.
        stands_for: Shape (n,), float64: how many rows of the table each one is counted as, where
            they are a sample of it; None for all ones. Weights are those of the sample already.
        squared_norms: Shape (n,), ‖x‖².
        energy: Σ w·‖x‖² over all processes, what a cost is measured against; never 0.
        group: The processes that hold the other rows.
    """

    points: RowMatrix
    weights: Tensor | None
    squared_norms: Tensor
    energy: float
    stands_for: Tensor | None = None
    group: Group = ALONE

    @classmethod
    def of(
        cls,
        points: RowMatrix,
        weights: Tensor | None = None,
        stands_for: Tensor | None = None,
        group: Group = ALONE,
    ) -> WeightedRows:
        """Measure the rows once.

        Raises:
            ParameterError: If the rows are too large or too small to be squared in their dtype.
        """
        norms = row_squared_norms(points)
        energy = add_up(weighted_sum(norms, weights), group)
        limits = torch.finfo(norms.dtype)
        lost = not bool(norms.any()) and any(bool(points[rows].any()) for rows in _slices(points))
        if lost or not (energy == 0 or limits.tiny <= energy <= limits.max):
            raise ParameterError(
                f"the squared lengths of the rows, weights included, sum to {energy:g}, outside "
                f"what {norms.dtype} can hold; scale the matrix or the weights"
            )
        return cls(
            points=points,
            weights=weights,
            squared_norms=norms,
            energy=energy if energy > 0 else 1.0,  # all rows zero: every cost is 0 anyway
            stands_for=stands_for,
            group=group,
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the rows are computed in."""
        return compute_dtype(self.points)

    @property
    def table_rows(self) -> float:
        """How many rows of the table they stand for, over all processes."""
        own = len(self.points) if self.stands_for is None else float(self.stands_for.sum())
        return add_up(own, self.group)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, in blocks that fit into memory, in the compute dtype."""
        for rows in _slices(self.points):
            yield rows, read_rows(self.points, rows)

    def energy_under(self, loss: Loss) -> float:
        """Σ w·φ(‖x‖²) over all processes, what a cost under this loss is measured against."""
        if loss.squared:
            return self.energy
        return add_up(weighted_sum(loss.value(self.squared_norms), self.weights), self.group) or 1.0

    def select(self, chosen: Tensor, factors: Tensor | None = None) -> WeightedRows:
        """Some of this process's rows, in memory and on their own.

        Args:
            chosen: Row numbers, shape (m,), int64.
            factors: How many rows each of them stands for, shape (m,), float64.
        """
        weights = None if self.weights is None else self.weights[chosen]
        if factors is not None:
            weights = factors if weights is None else weights * factors
        return WeightedRows.of(read_rows(self.points, chosen), weights, factors)


def weighted_sum(values: Tensor, weights: Tensor | None) -> float:
    """Σ w·v in float64; all weights one when left out."""
    doubled = values.double()
    return float(doubled.sum() if weights is None else doubled @ weights)


def add_up(value: float, group: Group) -> float:
    """The sum of one number over the processes."""
    total = torch.tensor([value], dtype=torch.float64)
    group.add_up((total,))
    return float(total)


def _slices(points: RowMatrix) -> Iterator[slice]:
    for start in range(0, len(points), BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, len(points)))
