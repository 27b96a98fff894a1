"""A small weighted sample of the rows that costs what all of them cost, for every set of subspaces.

Rows are kept independently (Poisson sampling), so each process can draw from its own rows, and the
draw does not depend on how many processes there are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.clustering.em import EMPlan, run_em
from engine.clustering.seeding import direction_kmeans
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import BLOCK_ROWS, WeightedRows, add_up
from engine.rows import read_rows

_PILOT_STEPS = 4  # enough to tell far rows from near ones, which is all the pilot is for
_FILLING_STEPS = 6  # a row is drawn once at most; what it cannot take goes to the others


def uniform_sample(rows: WeightedRows, size: int, seed: int) -> WeightedRows:
    """About ``size`` rows, each as likely as any other, in memory in every process.

    Args:
        rows: The rows.
        size: Expected number of rows.
        seed: Decides the draw.
    """
    chance = min(1.0, size / rows.table_rows)
    return _draw(rows, torch.full((len(rows.points),), chance), seed)


def coreset(rows: WeightedRows, size: int, plan: EMPlan, seed: int) -> WeightedRows:
    """About ``size`` rows, drawn by how much each can matter to any set of subspaces.

    A row's chance adds up three shares, each of the whole: of the loss at a pilot solution, of its
    cluster's directions (leverage), and of its cluster's weight. They bound its sensitivity, the
    largest share of the cost it can have. Every row of the sample is weighted by the inverse of
    its chance, which keeps every cost's expectation.

    Args:
        rows: The rows.
        size: Expected number of rows.
        plan: What will be fitted; the pilot fits the same to a uniform sample.
        seed: Decides the draws.

    Returns:
        The sample, in memory in every process, with what each row stands for.

    Source: Feldman, Langberg, *A unified framework for approximating and clustering data*, STOC
    2011; Varadarajan, Xiao, *On the sensitivity of shape fitting problems*, FSTTCS 2012.

    Cost: one pass over the rows, 2·n·d·(Σ min(j_c, d−j_c) + max j_c) flops.
    """
    if size >= rows.table_rows:
        return uniform_sample(rows, size, seed)
    pilot_rows = uniform_sample(rows, size, seed)
    points = read_rows(pilot_rows.points, slice(None))
    labels = direction_kmeans(points, plan.k, seed)
    pilot = run_em(pilot_rows, labels, plan, max_iterations=_PILOT_STEPS, tolerance=0.0)
    chances = _sensitivities(rows, pilot.subspaces, plan)
    for _ in range(_FILLING_STEPS):
        total = add_up(float(chances.double().sum()), rows.group)
        chances.mul_(size / total).clamp_(max=1.0)
    return _draw(rows, chances, seed + 1)


def _sensitivities(rows: WeightedRows, subspaces: SubspaceSet, plan: EMPlan) -> Tensor:
    """The three shares of every row, added up, shape (n,), float32: n may be very large."""
    n, k = len(rows.points), len(subspaces.dimensions)
    lost, leverage = torch.empty(n), torch.empty(n)
    labels = torch.empty(n, dtype=torch.int32)
    totals = torch.zeros(k, dtype=torch.float64)
    for where, points in rows.blocks():
        own, residuals = subspaces.assign(points, rows.squared_norms[where])
        weights = None if rows.weights is None else rows.weights[where]
        labels[where] = own
        lost[where] = plan.loss.value(residuals)
        leverage[where] = _leverage(points, own, subspaces)
        totals += own.bincount(weights, minlength=k)
        if weights is not None:
            lost[where] *= weights
            leverage[where] *= weights
    rows.group.add_up((totals,))
    shares = 1 / totals.clamp(min=torch.finfo(torch.float32).tiny).float()
    for part in (lost, leverage):
        part /= add_up(float(part.double().sum()), rows.group) or 1.0
    chances = lost.add_(leverage)
    for where in torch.arange(n).split(BLOCK_ROWS):
        share = shares[labels[where]] / k
        chances[where] += share if rows.weights is None else share * rows.weights[where]
    return chances


def _leverage(points: Tensor, labels: Tensor, subspaces: SubspaceSet) -> Tensor:
    """Σ ⟨x, direction⟩² / energy of each row over its own subspace's directions, shape (n,)."""
    leverage = torch.zeros(len(points))
    for cluster, basis in enumerate(subspaces.bases):
        members = (labels == cluster).nonzero().squeeze(1)
        strengths = subspaces.energies[cluster, : len(basis)]
        useful = basis[strengths > 1e-9 * strengths.max()] if len(basis) else basis
        scales = strengths[: len(useful)].rsqrt().to(points.dtype)
        lengths = torch.linalg.vector_norm((points[members] @ useful.T) * scales, dim=1)
        leverage[members] = lengths.square().float()
    return leverage


def _draw(rows: WeightedRows, chances: Tensor, seed: int) -> WeightedRows:
    """Keep each row with its chance; the same rows however they are spread over processes."""
    group = rows.group
    lengths = [int(part) for part in group.gather(torch.tensor([len(chances)]))]
    before, total = sum(lengths[: group.rank]), sum(lengths)
    generator = torch.Generator().manual_seed(seed % 2**63)
    drawn = torch.rand(total, generator=generator)[before : before + len(chances)]
    chosen = (drawn < chances).nonzero().squeeze(1)
    factors = 1 / chances[chosen].double()
    if rows.stands_for is not None:
        factors = factors * rows.stands_for[chosen]
    own_weights = factors if rows.weights is None else factors * rows.weights[chosen]
    points = torch.cat(group.gather(read_rows(rows.points, chosen)))
    weights = torch.cat(group.gather(own_weights))
    return WeightedRows.of(points, weights, torch.cat(group.gather(factors)))
