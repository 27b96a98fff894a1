"""Bits for coordinates and bases under a byte budget: reverse water-filling with whole bits.

README.md in this folder derives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.coding.levels import MOST_BITS, NORMAL_LOSSES
from engine.coding.trellis import TRELLIS_LOSSES, WINDOW

VECTOR_BYTES = 8  # a float32 step and the bits of a coordinate, a float16 step and those of a basis
_HALVINGS = 60  # of the price's logarithm: to the last digit of a float
PATH_LOSSES = torch.tensor((1.0, *TRELLIS_LOSSES), dtype=torch.float64)
"""The share of its energy that a coordinate loses at 0 … `WINDOW` bits."""
SINGLE_LOSSES = torch.tensor((1.0, *NORMAL_LOSSES), dtype=torch.float64)
"""The same of numbers that stand alone, at 0 … `MOST_BITS` bits; what a vector's bits cost, too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BitAllocation:
    """How many bits each coordinate and each basis vector of k subspaces gets.

    Attributes:
        bits: Shape (k, d), int64: of a coordinate along each eigenvector; 0 leaves it out.
        basis_bits: Shape (k, d), int64: of a number of that eigenvector; 0 where it is left out.
        price: What a bit had to save, in weighted squared distance, to be bought: of the model,
            in which bits are paid singly. What whole bytes left over was then spent for less.
    """

    bits: Tensor
    basis_bits: Tensor
    price: float

    @property
    def row_bits(self) -> Tensor:
        """Bits that one row of each subspace takes, whole bytes: shape (k,), float64."""
        return 8.0 * _whole_bytes(self.bits)

    def stored_bytes(self, counts: Tensor) -> int:
        """Bytes of coordinates and bases, steps and bits among them.

        Args:
            counts: Shape (k,), float64: rows of each subspace.
        """
        return int(_spent(self.bits, self.basis_bits, counts))


def _bytes(bits: Tensor) -> Tensor:
    return bits.add(7).div(8, rounding_mode="floor").double()


def _whole_bytes(bits: Tensor) -> Tensor:
    return _bytes(bits.sum(dim=1))


def _spent(bits: Tensor, basis_bits: Tensor, counts: Tensor) -> float:
    vectors = float((bits > 0).sum())
    rows = float(counts @ _whole_bytes(bits))
    return rows + bits.shape[1] * float(_whole_bytes(basis_bits).sum()) + VECTOR_BYTES * vectors


def allocate_bits(energies: Tensor, counts: Tensor, budget: int) -> BitAllocation:
    """The bits that lose least within a budget.

    Coordinate i of subspace c, of energy E, loses E·D(b) when stored at b bits, D being what the
    trellis loses of normal numbers (rows too short for one lose somewhat more, which is not known
    before their bits are), and E·S(a) more when its eigenvector is stored at a bits a
    number, S being what the levels of single numbers lose. It costs n_c·b + d·a bits, and
    `VECTOR_BYTES`. At a price of a bit each takes the pair (b, a) whose loss and cost together are
    least; the price is the least that the budget allows. What is left goes to single coordinates
    that a little lower price would give more, and then bit by bit to where it saves most a byte.
    Where all that the price would buy is too dear, one coordinate of one bit is bought.

    Args:
        energies: Shape (k, d), float64, not negative: Σ w·y² along each eigenvector.
        counts: Shape (k,), float64: rows of each subspace.
        budget: Most bytes for coordinates and bases.

    Returns:
        The bits; none at all only where not even one coordinate of one bit fits.

    Source: Huang and Schultheiss (1963), Shoham and Gersho (1988); README.md in this folder.

    Cost: O(k·d·120) for each of 60 prices.
    """
    found, missed, price = _find_price(_Market.of(energies, counts), budget)
    if missed is not None:
        found = _move_towards(energies, counts, found, missed, budget)
    if not bool(found.any()):
        found = _buy_one(energies, counts, budget)
    found = _spend_rest(energies, counts, found, budget)
    return BitAllocation(bits=found[0], basis_bits=found[1], price=price)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Market:
    """What can be bought: for each coordinate one pair of bits (b, a), or (0, 0).

    Attributes:
        energies: Shape (k, d), float64.
        counts: Shape (k,), float64.
        pairs: Shape (p, 2), int64.
        losses: Shape (p,), float64: the share of its energy that a coordinate loses.
        costs: Shape (k, p), float64: bits.
    """

    energies: Tensor
    counts: Tensor
    pairs: Tensor
    losses: Tensor
    costs: Tensor

    @classmethod
    def of(cls, energies: Tensor, counts: Tensor) -> _Market:
        some = torch.cartesian_prod(torch.arange(1, WINDOW + 1), torch.arange(1, MOST_BITS + 1))
        pairs = torch.cat([torch.zeros(1, 2, dtype=torch.int64), some])
        vectors = 8.0 * VECTOR_BYTES * (pairs[:, 0] > 0)
        costs = counts[:, None] * pairs[:, 0] + energies.shape[1] * pairs[:, 1] + vectors
        return cls(
            energies=energies,
            counts=counts,
            pairs=pairs,
            losses=_pair_losses(pairs[:, 0], pairs[:, 1]),
            costs=costs,
        )

    def buy(self, price: float) -> Tensor:
        """The pairs of least loss and cost together at a price of a bit: shape (2, k, d)."""
        # One subspace at a time: all pairs of all dimensions of all of them would be large.
        best = [
            torch.addmm(price * cost.unsqueeze(0), energy.unsqueeze(1), self.losses.unsqueeze(0))
            .argmin(dim=1)
            for energy, cost in zip(self.energies, self.costs, strict=True)
        ]  # fmt: skip
        return self.pairs[torch.stack(best)].movedim(2, 0)


def _pair_losses(bits: Tensor, basis_bits: Tensor) -> Tensor:
    """The share of its energy that a coordinate stored at these bits loses; all of it at 0."""
    return (PATH_LOSSES[bits] + SINGLE_LOSSES[basis_bits]).clamp(max=1.0)


def _find_price(market: _Market, budget: int) -> tuple[Tensor, Tensor | None, float]:
    """The least price whose bits fit, by bisection of its logarithm.

    Returns:
        The bits at that price, (2, k, d); those at the price just below, which do not fit, or None
        where all prices do; and the price.
    """
    scale = math.log(float(market.energies.sum()) / max(1, budget) or 1.0)
    low, high = scale - 60, scale + 10
    found, missed = market.buy(math.exp(high)), None
    if _spent(found[0], found[1], market.counts) > budget:
        missed, found = found, torch.zeros_like(found)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = market.buy(math.exp(middle))
        if _spent(tried[0], tried[1], market.counts) <= budget:
            high, found = middle, tried
        else:
            low, missed = middle, tried
    return found, missed, math.exp(high)


def _move_towards(
    energies: Tensor, counts: Tensor, found: Tensor, missed: Tensor, budget: int
) -> Tensor:
    """Give single coordinates what they would have at the price just below, while that fits.

    Coordinates of the same energy change their bits at one price, all of them at once: between
    the two states may lie most of the budget.

    Args:
        energies: Shape (k, d).
        counts: Shape (k,).
        found: Bits within the budget, shape (2, k, d).
        missed: Bits beyond it.
        budget: Most bytes.

    Returns:
        Shape (2, k, d), new memory.
    """
    held, width = found.clone(), energies.shape[1]
    gains = energies * (_pair_losses(found[0], found[1]) - _pair_losses(missed[0], missed[1]))
    more = missed - found
    opened = VECTOR_BYTES * ((found[0] == 0) & (missed[0] > 0))
    left = budget - _spent(held[0], held[1], counts)
    while True:
        # In a row whose last byte is begun, the next bits may be free.
        begun = held.sum(dim=2, keepdim=True)
        added = _bytes(begun + more) - _bytes(begun)
        costs = counts[:, None] * added[0] + width * added[1] + opened
        affordable = (gains > 0) & (costs <= left)
        if not bool(affordable.any()):
            return held
        ratios = torch.where(affordable, gains / costs.clamp(min=0.5), -1.0)
        cluster, place = torch.unravel_index(ratios.argmax(), ratios.shape)
        left -= float(costs[cluster, place])
        held[:, cluster, place] = missed[:, cluster, place]
        gains[cluster, place] = 0


def _buy_one(energies: Tensor, counts: Tensor, budget: int) -> Tensor:
    """The most energy that a bit a row and a bit of each number of a vector pay for, if any."""
    costs = (counts + energies.shape[1] + VECTOR_BYTES).unsqueeze(1)
    gains = torch.where(costs <= budget, energies, 0.0)
    cluster, place = torch.unravel_index(gains.argmax(), gains.shape)
    held = torch.zeros(2, *energies.shape, dtype=torch.int64)
    held[:, cluster, place] = int(gains[cluster, place] > 0)
    return held


def _spend_rest(energies: Tensor, counts: Tensor, found: Tensor, budget: int) -> Tensor:
    """Buy single bits where they save most a byte, until none that saves anything fits.

    A row's last byte is filled up for nothing, and so is that of a basis.
    """
    held = found.clone()  # (2, k, d)
    used = held[0] > 0
    saved = [-torch.cat([lost, lost[-1:]]).diff() for lost in (PATH_LOSSES, SINGLE_LOSSES)]
    unit = torch.stack([counts, torch.full_like(counts, energies.shape[1])])  # of a byte more
    left = budget - _spent(held[0], held[1], counts)
    while True:
        full = held.sum(dim=2) % 8 == 0
        price = torch.where(full, unit, 0.0)
        next_bit = torch.stack([own[part] for own, part in zip(saved, held, strict=True)])
        gains = torch.where(used, energies * next_bit, 0.0)
        affordable = (gains > 0) & (price <= left).unsqueeze(2)
        if not bool(affordable.any()):
            return held
        # By the bit: a byte that is begun has room for seven more.
        ratios = torch.where(affordable, gains / unit.clamp(min=1).unsqueeze(2), -1.0)
        free = ~full.unsqueeze(2) & affordable
        ratios = torch.where(free, ratios, -1.0) if bool(free.any()) else ratios
        which, cluster, place = torch.unravel_index(ratios.argmax(), ratios.shape)
        left -= float(price[which, cluster])
        held[which, cluster, place] += 1
