"""What an approximation of rows loses, a block at a time, whatever made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from engine.errors import ShapeError
from engine.rows import RowMatrix, each_block, read_rows


class Approximation(Protocol):
    """Rows that stand for those of a matrix."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, a block at a time: the slice of rows, and those rows."""
        ...


def squared_residuals(approximation: Approximation, matrix: RowMatrix) -> Tensor:
    """Squared distance of every row to its approximation.

    Args:
        approximation: Of the matrix.
        matrix: Shape (n, d).

    Returns:
        Shape (n,), float64, in squared units of the matrix.

    Raises:
        ShapeError: If the matrix has another shape.
    """
    if tuple(matrix.shape) != approximation.shape:
        raise ShapeError(
            f"this is an approximation of a matrix {approximation.shape}, got {tuple(matrix.shape)}"
        )
    residuals = torch.empty(len(matrix), dtype=torch.float64)
    for rows, part in approximation.blocks():
        difference = read_rows(matrix, rows) - part
        residuals[rows] = difference.square_().sum(dim=1).double()
    return residuals


def energy_lost(residuals: Tensor, matrix: RowMatrix, weights: Tensor | None = None) -> float:
    """‖A − Â‖² / ‖A‖², rows weighted when weights are given.

    Args:
        residuals: Shape (n,), from `squared_residuals`.
        matrix: Shape (n, d).
        weights: Shape (n,), not negative.

    Returns:
        0 for an exact approximation; 0 as well for a matrix of zeros.

    Raises:
        ShapeError: If a shape differs.
    """
    norms = torch.empty_like(residuals)
    for rows, part in each_block(matrix):
        norms[rows] = part.double().square().sum(dim=1)
    if weights is not None:
        if weights.shape != residuals.shape:
            raise ShapeError(f"{len(residuals):,} rows need as many weights")
        residuals, norms = residuals * weights, norms * weights
    total = float(norms.sum())
    return float(residuals.sum()) / total if total > 0 else 0.0
