"""One budget spent in two ways on the same clusters: what lessons say of dimensions and bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.budget import parameters
from engine.clustering.allocation import OptimalDimensions, spread_evenly
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import principal_subspaces
from engine.coding.allocation import SINGLE_LOSSES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpentBudget:
    """One budget of numbers spent in two ways on the same clusters.

    Attributes:
        budget: Numbers that coordinates and bases store together.
        spectra: Shape (k, d), float64: energy of each direction of each cluster, falling, as shares
            of the energy of all rows.
        even: The same dimension for all.
        bought: Dimensions in the order of what they save for what they store.
        lost_even: Share of the energy that the even dimensions lose.
        lost_bought: … that the bought ones lose.
    """

    budget: int
    spectra: Tensor
    even: tuple[int, ...]
    bought: tuple[int, ...]
    lost_even: float
    lost_bought: float


def spend_budget(points: Tensor, labels: Tensor, j: int) -> SpentBudget:
    """What dimension j for every cluster costs, and the same spent where it saves most.

    Args:
        points: Shape (n, d), float64.
        labels: Shape (n,), int64.
        j: The even dimension, 1 … d.

    Returns:
        Both ways, for the clusters as they are: no row changes its cluster.
    """
    statistics = _count(points, labels)
    k, d = statistics.sums.shape
    even = spread_evenly(k, j)
    spectra = principal_subspaces(statistics, even, points.dtype).energies
    budget = parameters(len(points), d, k, j)
    bought = OptimalDimensions(k=k, budget=budget).choose(spectra, statistics.counts).dimensions
    spectra = _shares(spectra)
    return SpentBudget(
        budget=budget,
        spectra=spectra,
        even=even.dimensions,
        bought=bought,
        lost_even=_cut_off(spectra, even.dimensions),
        lost_bought=_cut_off(spectra, bought),
    )


def _shares(spectra: Tensor) -> Tensor:
    """Energies as shares of all there is; zeros where there is none."""
    return spectra / spectra.sum().clamp(min=torch.finfo(spectra.dtype).tiny)


def _cut_off(spectra: Tensor, dimensions: tuple[int, ...]) -> float:
    return sum(float(row[j:].sum()) for row, j in zip(spectra, dimensions, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpentBits:
    """One budget of bits spent in two ways on the coordinates of the same clusters.

    Attributes:
        budget: Bits of all coordinates together.
        even: Shape (k, d), int64: as many bits for each coordinate that is kept.
        bought: Shape (k, d), int64: bits in the order of what they save.
        lost_even: Share of the energy that the even bits lose.
        lost_bought: … that the bought ones lose.
    """

    budget: int
    even: Tensor
    bought: Tensor
    lost_even: float
    lost_bought: float


def spend_bits(points: Tensor, labels: Tensor, j: int, bits: int) -> SpentBits:
    """What dimension j at so many bits a coordinate takes, and the same one bit at a time.

    Args:
        points: Shape (n, d), float64.
        labels: Shape (n,), int64.
        j: The even dimension, 1 … d.
        bits: Of each coordinate along it, 1 … `engine.coding.levels.MOST_BITS`.

    Returns:
        Both ways, of coordinates alone: bases are not counted, nor rounded. Coordinates lose what
        normal numbers do by themselves; `engine.coding.allocation` does alike for whole tables, all
        counted, with what a trellis loses.
    """
    statistics = _count(points, labels)
    k, d = statistics.sums.shape
    spectra = _shares(principal_subspaces(statistics, spread_evenly(k, j), points.dtype).energies)
    saved = torch.cat([-SINGLE_LOSSES.diff(), torch.zeros(1)])  # by one bit more
    even = bits * (torch.arange(d) < j).long().expand(k, d)
    left = budget = int(statistics.counts @ even.sum(dim=1).double())
    bought = torch.zeros_like(even)
    while True:
        # An empty cluster has no energy, nothing to gain.
        gains = spectra * saved[bought] / statistics.counts.clamp(min=1)[:, None]
        gains[statistics.counts > left] = 0
        cluster, place = torch.unravel_index(gains.argmax(), gains.shape)
        if gains[cluster, place] <= 0:
            break
        bought[cluster, place] += 1
        left -= int(statistics.counts[cluster])
    return SpentBits(
        budget=budget,
        even=even,
        bought=bought,
        lost_even=float((spectra * SINGLE_LOSSES[even]).sum()),
        lost_bought=float((spectra * SINGLE_LOSSES[bought]).sum()),
    )


def _count(points: Tensor, labels: Tensor) -> ScatterStatistics:
    statistics = ScatterStatistics(int(labels.max()) + 1, points.shape[1])
    statistics.update(points, labels)
    return statistics
