"""The one additive statistic: k weighted scatter matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import ShapeError

CHUNK_ROWS = 2048  # 3 MB of float32 at 384 columns: large enough for BLAS, small enough for cache
_SORTED_CHUNKS = 16  # sorted by cluster together: one cluster's share then fills whole chunks


class ScatterStatistics:
    """Adds up Σ w·x·xᵀ, Σ w·x, Σ w and the number of rows for each of k clusters.

    Row chunks, row weights and several machines all go through `update` and `merge`: the sums of
    the parts are the sums of the whole. Sums are kept in float64, so that adding and removing the
    same rows many times leaves no visible trace.

    Args:
        k: Number of clusters.
        width: Number of columns d.

    Attributes:
        scatter: Shape (k, d, d), float64: Σ w·x·xᵀ.
        sums: Shape (k, d), float64: Σ w·x.
        weights: Shape (k,), float64: Σ w.
        counts: Shape (k,), float64: rows, each as often as it stands for.

    Cost: 2·n·d² flops for n rows; extra memory O(chunk·d + k·d²).
    """

    def __init__(self, k: int, width: int) -> None:
        self.scatter = torch.zeros(k, width, width, dtype=torch.float64)
        self.sums = torch.zeros(k, width, dtype=torch.float64)
        self.weights = torch.zeros(k, dtype=torch.float64)
        self.counts = torch.zeros(k, dtype=torch.float64)

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Everything that is added up; processes add theirs to each other's."""
        return self.scatter, self.sums, self.weights, self.counts

    def update(
        self,
        points: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
        stands_for: Tensor | None = None,
    ) -> None:
        """Add rows.

        Args:
            points: Shape (n, d), float.
            labels: Shape (n,), int64, each in 0 … k−1.
            weights: Shape (n,), not negative; all ones when left out.
            stands_for: Shape (n,), float64: how many rows of the table each one is counted as
                (a coreset's rows stand for many); all ones when left out.

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
        self.counts += _count(labels, stands_for, len(self.counts))

    def move(
        self,
        points: Tensor,
        old: Tensor,
        new: Tensor,
        weights: Tensor | None = None,
        stands_for: Tensor | None = None,
    ) -> None:
        """Account for rows that changed cluster, touching only those.

        Args:
            points: All rows, shape (n, d).
            old: Labels already counted, shape (n,).
            new: Labels from now on, shape (n,).
            weights: Shape (n,), as given to `update`.
            stands_for: Shape (n,), as given to `update`.

        Cost: 4·m·d² flops for m moved rows.
        """
        moved = (old != new).nonzero().squeeze(1)
        for rows in moved.split(_SORTED_CHUNKS * CHUNK_ROWS):
            self._add(points, rows, old, weights, -1)
            self._add(points, rows, new, weights, 1)
        self.counts += _count(new, stands_for, len(self.counts))
        self.counts -= _count(old, stands_for, len(self.counts))

    def merge(self, other: ScatterStatistics) -> None:
        """Add the sums of another part of the rows."""
        for own, others in zip(self.parts, other.parts, strict=True):
            own += others

    def blend(self, other: ScatterStatistics, share: float) -> ScatterStatistics:
        """The weighted mean (1 − share)·self + share·other, a new one; counts are the other's."""
        k, width = self.sums.shape
        result = ScatterStatistics(k, width)
        pairs = zip(result.parts, self.parts, other.parts, strict=True)
        for target, mine, theirs in pairs:
            torch.lerp(mine, theirs, share, out=target)
        result.counts.copy_(other.counts)
        return result

    def centred(self) -> tuple[Tensor, Tensor]:
        """Means (k, d) and Σ w·(x − mean)(x − mean)ᵀ (k, d, d) of each cluster, float64."""
        totals = self.weights.clamp(min=torch.finfo(torch.float64).tiny)
        means = self.sums / totals[:, None]
        return means, torch.baddbmm(
            self.scatter, self.sums[:, :, None], means[:, None, :], alpha=-1
        )

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
                self.sums[cluster].add_(scaled.sum(dim=0), alpha=sign)
                self.weights[cluster] += sign * total


def _count(labels: Tensor, stands_for: Tensor | None, k: int) -> Tensor:
    return labels.bincount(stands_for, minlength=k).double()
