"""The one additive statistic: k weighted scatter matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import ShapeError

CHUNK_ROWS = 2048  # 3 MB of float32 at 384 columns: large enough for BLAS, small enough for cache
_SORTED_CHUNKS = 16  # sorted by cluster together: one cluster's share then fills whole chunks


class ScatterStatistics:
    """Adds up Σ w·x·xᵀ, Σ w and the number of rows for each of k clusters.

    Row chunks, row weights and several machines all go through `update` and `merge`: the sums of
    the parts are the sums of the whole. Sums are kept in float64, so that adding and removing the
    same rows many times leaves no visible trace.

    Args:
        k: Number of clusters.
        width: Number of columns d.

    Attributes:
        scatter: Shape (k, d, d), float64.
        weights: Shape (k,), float64: Σ w of each cluster.
        counts: Shape (k,), int64: rows of each cluster.

    Cost: 2·n·d² flops for n rows; extra memory O(chunk·d + k·d²).
    """

    def __init__(self, k: int, width: int) -> None:
        self.scatter = torch.zeros(k, width, width, dtype=torch.float64)
        self.weights = torch.zeros(k, dtype=torch.float64)
        self.counts = torch.zeros(k, dtype=torch.int64)

    def update(self, points: Tensor, labels: Tensor, weights: Tensor | None = None) -> None:
        """Add rows.

        Args:
            points: Shape (n, d), float.
            labels: Shape (n,), int64, each in 0 … k−1.
            weights: Shape (n,), not negative; all ones when left out.

        Raises:
            ShapeError: If the lengths or widths differ.
        """
        lengths = {len(points), len(labels), len(points if weights is None else weights)}
        if points.shape[1] != self.scatter.shape[1] or len(lengths) > 1:
            raise ShapeError(
                f"rows {tuple(points.shape)} need width {self.scatter.shape[1]} and as many "
                f"labels and weights, got {sorted(lengths)} of them"
            )
        for rows in torch.arange(len(points)).split(_SORTED_CHUNKS * CHUNK_ROWS):
            self._add(points, rows, labels, weights, 1)

    def move(self, points: Tensor, old: Tensor, new: Tensor, weights: Tensor | None = None) -> None:
        """Account for rows that changed cluster, touching only those.

        Args:
            points: All rows, shape (n, d).
            old: Labels already counted, shape (n,).
            new: Labels from now on, shape (n,).
            weights: Shape (n,), as given to `update`.

        Cost: 4·m·d² flops for m moved rows.
        """
        moved = (old != new).nonzero().squeeze(1)
        for rows in moved.split(_SORTED_CHUNKS * CHUNK_ROWS):
            self._add(points, rows, old, weights, -1)
            self._add(points, rows, new, weights, 1)

    def merge(self, other: ScatterStatistics) -> None:
        """Add the sums of another part of the rows."""
        self.scatter += other.scatter
        self.weights += other.weights
        self.counts += other.counts

    def energies(self) -> Tensor:
        """Σ w·‖x‖² of each cluster, shape (k,), float64: the traces of the scatter matrices."""
        return self.scatter.diagonal(dim1=1, dim2=2).sum(dim=1)

    def _add(
        self, points: Tensor, rows: Tensor, labels: Tensor, weights: Tensor | None, sign: int
    ) -> None:
        own = labels[rows]
        counts = own.bincount(minlength=len(self.counts))
        for cluster, members in enumerate(rows[own.argsort(stable=True)].split(counts.tolist())):
            for chunk in members.split(CHUNK_ROWS):
                chosen = points.index_select(0, chunk)
                scaled, total = chosen, float(len(chunk))
                if weights is not None:
                    factors = weights[chunk].double()
                    scaled = chosen * factors.to(chosen.dtype).unsqueeze(1)
                    total = float(factors.sum())
                self.scatter[cluster].add_(scaled.T @ chosen, alpha=sign)
                self.weights[cluster] += sign * total
        self.counts += sign * counts
