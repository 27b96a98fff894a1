"""What becomes of a cluster that lost all its rows."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.clustering.weighted_rows import WeightedRows

# A residual below this share of the row's squared length is rounding, not distance.
_ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-14}


def refill_empty(
    labels: Tensor, residuals: Tensor, rows: WeightedRows, capacities: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...]]:
    """Give every empty cluster the rows that are served worst, among all processes.

    At most its capacity goes to a cluster: its refitted subspace then holds those rows exactly,
    the others only lost rows, so the cost cannot rise. One that can hold none stays empty.

    Args:
        labels: Shape (n,), int64, of this process's rows.
        residuals: Shape (n,), squared distance of each row to its subspace.
        rows: The rows.
        capacities: How many rows each subspace can hold exactly: j_c, one more when affine.

    Returns:
        The labels, a new tensor where any changed, and the clusters that were given rows.
    """
    weights = rows.weights
    present = labels if weights is None else labels[weights > 0]
    counts = present.bincount(minlength=len(capacities)).double()
    rows.group.add_up((counts,))
    empty = [c for c in (counts == 0).nonzero().squeeze(1).tolist() if capacities[c] > 0]
    if not empty:
        return labels, ()
    each = int(counts.sum()) // (2 * len(capacities))
    shares = [max(1, min(capacities[cluster], each)) for cluster in empty]
    worst, places = _worst_rows(residuals, rows, sum(shares))
    labels = labels.clone()
    refilled: list[int] = []
    for cluster, share, first in zip(empty, shares, _starts(shares), strict=True):
        chosen = worst[(places >= first) & (places < first + share)]
        labels[chosen] = cluster
        taken = torch.tensor([float(len(chosen))], dtype=torch.float64)
        rows.group.add_up((taken,))
        if float(taken) > 0:
            refilled.append(cluster)
    return labels, tuple(refilled)


def _worst_rows(residuals: Tensor, rows: WeightedRows, count: int) -> tuple[Tensor, Tensor]:
    """This process's rows among the worst of all, and the place of each in their order."""
    costs = residuals.double() if rows.weights is None else residuals.double() * rows.weights
    # Rows that are held exactly gain nothing.
    lost = (residuals > _ROUNDING[residuals.dtype] * rows.squared_norms) & (costs > 0)
    candidates = lost.nonzero().squeeze(1)
    order = costs[candidates].argsort(descending=True, stable=True)[:count]
    candidates = candidates[order]
    gathered = rows.group.gather(costs[candidates])
    ranks = torch.cat([torch.full((len(part),), i) for i, part in enumerate(gathered)])
    ordered = torch.cat(gathered).argsort(descending=True, stable=True)
    places = torch.empty_like(ordered)
    places[ordered] = torch.arange(len(ordered))
    return candidates, places[ranks == rows.group.rank]


def _starts(shares: list[int]) -> list[int]:
    return [sum(shares[:position]) for position in range(len(shares))]
