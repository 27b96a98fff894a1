"""k linear subspaces: the M-step makes them, the E-step measures rows against them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.clustering.statistics import CHUNK_ROWS
from engine.errors import ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class SubspaceSet:
    """k linear subspaces of R^d, each with a full orthonormal frame.

    Attributes:
        frames: Shape (k, d, d); row i of a frame is its i-th direction, most energy first.
        dimensions: j_1 … j_k: how many leading directions span each subspace.
        energies: Shape (k, d): Σ w·⟨x, direction⟩² over the cluster's rows, largest first.
    """

    frames: Tensor
    dimensions: tuple[int, ...]
    energies: Tensor

    @property
    def bases(self) -> tuple[Tensor, ...]:
        """Orthonormal rows spanning each subspace, shape (j_c, d)."""
        return tuple(
            frame[:dimension] for frame, dimension in zip(self.frames, self.dimensions, strict=True)
        )

    @cached_property
    def _cheaper_sides(self) -> tuple[Tensor, list[int], list[bool]]:
        """Directions to project on: the subspace or its complement, whichever is smaller."""
        width = self.frames.shape[1]
        kept = [dimension <= width - dimension for dimension in self.dimensions]
        sides = [
            frame[:dimension] if inside else frame[dimension:]
            for frame, dimension, inside in zip(self.frames, self.dimensions, kept, strict=True)
        ]
        return torch.cat(sides).T.contiguous(), [len(side) for side in sides], kept

    def squared_residuals(self, points: Tensor, squared_norms: Tensor | None = None) -> Tensor:
        """Squared distance of every row to every subspace.

        Args:
            points: Shape (n, d), same dtype as the frames.
            squared_norms: Shape (n,), ‖x‖² of each row when already known.

        Returns:
            Shape (n, k), in squared units of ``points``, never negative.

        Raises:
            ShapeError: If the widths differ.

        Cost: 2·n·d·Σ min(j_c, d−j_c) flops: a residual is either what the complement holds or the
        norm less what the subspace holds.
        """
        directions, widths, kept = self._cheaper_sides
        if points.shape[1] != len(directions):
            raise ShapeError(
                f"rows of width {points.shape[1]} cannot be measured against subspaces of "
                f"R^{len(directions)}"
            )
        if squared_norms is None:
            squared_norms = row_squared_norms(points)
        parts = (points @ directions).split(widths, dim=1)
        residuals = torch.empty(len(points), len(widths), dtype=points.dtype)
        for cluster, (part, inside) in enumerate(zip(parts, kept, strict=True)):
            energy = torch.linalg.vector_norm(part, dim=1).square_()
            residuals[:, cluster] = squared_norms - energy if inside else energy
        return residuals.clamp_(min=0)

    def assign(self, points: Tensor, squared_norms: Tensor) -> tuple[Tensor, Tensor]:
        """E-step: the closest subspace of every row, and the squared distance to it.

        Args:
            points: Shape (n, d).
            squared_norms: Shape (n,).

        Returns:
            Labels (n,) int64 (the lowest number on a tie) and squared residuals (n,).

        Cost: as `squared_residuals`; extra memory O(chunk·Σ min(j_c, d−j_c) + n).
        """
        labels = torch.empty(len(points), dtype=torch.int64)
        residuals = torch.empty(len(points), dtype=points.dtype)
        for start in range(0, len(points), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            distances = self.squared_residuals(points[rows], squared_norms[rows])
            torch.min(distances, dim=1, out=(residuals[rows], labels[rows]))
        return labels, residuals


def principal_subspaces(
    scatter: Tensor, dimensions: tuple[int, ...], dtype: torch.dtype
) -> SubspaceSet:
    """M-step: the best subspace of each cluster from its scatter matrix.

    The span of the leading j eigenvectors of Σ w·x·xᵀ minimises the weighted sum of squared
    distances (Eckart–Young), so no n × d decomposition is ever made.

    Args:
        scatter: Shape (k, d, d), float64, symmetric.
        dimensions: j_1 … j_k.
        dtype: Dtype of the frames: that of the rows to be measured.

    Returns:
        The subspaces, each with its whole frame.

    Cost: one symmetric eigen-solve in float64, O(d³), a cluster. In float32 it would take half
    the time (0.03 s less of a step of five clusters in R^384) and end up to 0.01 % higher.
    """
    energies, vectors = torch.linalg.eigh(scatter)
    return SubspaceSet(
        frames=vectors.flip(2).transpose(1, 2).to(dtype).contiguous(),
        dimensions=dimensions,
        energies=energies.flip(1).clamp(min=0),
    )


def row_squared_norms(points: Tensor) -> Tensor:
    """‖x‖² of each row, shape (n,), without a second copy of the rows."""
    norms = torch.empty(len(points), dtype=points.dtype)
    for start in range(0, len(points), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        torch.linalg.vector_norm(points[rows], dim=1, out=norms[rows])
    return norms.square_()
