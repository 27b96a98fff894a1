"""A jump out of a local optimum: merge the two clusters that cost least together, split the worst.

EM moves one row at a time and never takes a whole subspace from where it is hardly needed to where
two would be better; this does, and leaves it to EM to show whether it paid.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from engine.clustering.em import EMPlan, EMResult
from engine.clustering.seeding import split_worst
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.weighted_rows import WeightedRows
from engine.rows import read_rows


def merge_and_split(rows: WeightedRows, result: EMResult, plan: EMPlan, number: int) -> Tensor:
    """The partition after one move.

    Args:
        rows: The rows, in one process.
        result: Where EM settled, k ≥ 2.
        plan: What is fitted.
        number: Of the move: the first splits the cluster that loses most, the second the next …

    Returns:
        Labels, shape (n,), int64, to start EM from.

    Cost: one pass over the rows, and an eigen-solve for each pair of clusters.
    """
    statistics = ScatterStatistics(plan.k, rows.points.shape[1])
    for where, points in rows.blocks():
        weights = None if rows.weights is None else rows.weights[where]
        statistics.update(points, result.labels[where], weights)
    lost = result.subspaces.lost_energies()
    worst = int(lost.argsort(descending=True, stable=True)[number % plan.k])
    kept, freed = _cheapest_merger(statistics, result, worst)
    labels = torch.where(result.labels == freed, kept, result.labels)
    only_worst = torch.full_like(lost, -torch.inf)
    only_worst[worst] = 0.0
    return split_worst(read_rows(rows.points, slice(None)), labels, only_worst, freed, number)


def _cheapest_merger(
    statistics: ScatterStatistics, result: EMResult, spared: int
) -> tuple[int, int]:
    """The pair of clusters, other than the one to be split, that one subspace serves best."""
    k = len(result.subspaces.dimensions)
    pairs = [pair for pair in combinations(range(k), 2) if spared not in pair]
    if not pairs:  # k = 2: the other cluster gives way to the split
        other = 1 - spared
        return spared, other
    scatter = statistics.scatter
    spectra = torch.linalg.eigvalsh(scatter).flip(1)
    best, least = pairs[0], float("inf")
    for first, second in pairs:
        dimension = max(result.subspaces.dimensions[first], result.subspaces.dimensions[second])
        together = torch.linalg.eigvalsh(scatter[first] + scatter[second]).flip(0)
        apart = sum(float(spectra[c, dimension:].sum()) for c in (first, second))
        price = float(together[dimension:].sum()) - apart
        if price < least:
            best, least = (first, second), price
    return best
