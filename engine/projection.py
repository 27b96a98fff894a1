"""From labels and bases to a factorization: every row's place in its own subspace."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engine.factorization import Factorization, FitRecord
from engine.rows import RowMatrix, compute_dtype, each_block, empty_rows, group_by_label


def project_rows(
    matrix: RowMatrix,
    labels: Tensor,
    bases: tuple[Tensor, ...],
    record: FitRecord,
    *,
    offsets: tuple[Tensor, ...] | None = None,
    workspace: Path | None = None,
) -> Factorization:
    """Coordinates of every row in its own subspace.

    Args:
        matrix: Shape (n, d).
        labels: Shape (n,), int64.
        bases: Orthonormal bases, shapes (j_c, d).
        record: How it was made.
        offsets: One a subspace, shape (d,), orthogonal to its basis; so the coordinates of a row
            are its products with the basis, offset or not.
        workspace: A folder on a disk with room for the coordinates: they are then kept in a file
            there that has no name and is gone with them, not in memory.

    Returns:
        The factorization.

    Raises:
        OSError: If the disk of the workspace is full.

    Cost: 2·n·j·d flops, one pass over the rows; extra memory O(chunk·d) beside the result.
    """
    sizes = labels.bincount(minlength=len(bases)).tolist()
    dtype = compute_dtype(matrix)
    coordinates = tuple(
        empty_rows(size, len(basis), dtype, workspace)
        for size, basis in zip(sizes, bases, strict=True)
    )
    written = [0] * len(bases)
    for rows, part in each_block(matrix):
        order, counts = group_by_label(labels[rows], len(bases))
        for cluster, own in enumerate(part[order].split(counts)):
            place = slice(written[cluster], written[cluster] + len(own))
            torch.mm(own, bases[cluster].T, out=coordinates[cluster][place])
            written[cluster] = place.stop
    return Factorization(
        labels=labels,
        bases=tuple(basis.clone() for basis in bases),  # not views of whole frames
        coordinates=coordinates,
        record=record,
        offsets=None if offsets is None else tuple(offset.clone() for offset in offsets),
    )
