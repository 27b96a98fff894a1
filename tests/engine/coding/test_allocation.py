"""Bits under a byte budget: never over it, hardly under it, and no better spent by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.coding.allocation import VECTOR_BYTES, BitAllocation, allocate_bits
from engine.coding.levels import MOST_BITS, NORMAL_LOSSES
from engine.coding.trellis import TRELLIS_LOSSES, WINDOW

LOST = torch.tensor((1.0, *TRELLIS_LOSSES), dtype=torch.float64)
TURNED = torch.tensor((0.0, *NORMAL_LOSSES), dtype=torch.float64)


def expected_loss(energies: Tensor, found: BitAllocation) -> float:
    shares = (LOST[found.bits] + TURNED[found.basis_bits]).clamp(max=1.0)
    return float((energies * shares).sum())


@st.composite
def spectra(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    k, d = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    falling = torch.exp(-draw(st.floats(0, 1)) * torch.arange(d, dtype=torch.float64))
    energies = falling * torch.rand(k, 1, generator=generator, dtype=torch.float64)
    counts = torch.randint(0, 300, (k,), generator=generator).double()
    return energies * (counts > 0).unsqueeze(1), counts


@given(spectra(), st.integers(0, 3000))
@settings(max_examples=120, deadline=None)
def test_a_budget_is_never_exceeded(problem: tuple[Tensor, Tensor], budget: int) -> None:
    energies, counts = problem
    found = allocate_bits(energies, counts, budget)
    assert found.stored_bytes(counts) <= budget
    assert int(found.bits.max()) <= WINDOW
    assert int(found.basis_bits.max()) <= MOST_BITS
    assert torch.equal(found.bits > 0, found.basis_bits > 0)
    assert not bool(found.bits[energies == 0].any())  # nothing is bought for nothing


@given(spectra(), st.integers(50, 3000))
@settings(max_examples=60, deadline=None)
def test_twice_the_bytes_never_lose_more(problem: tuple[Tensor, Tensor], budget: int) -> None:
    """Whole bytes make steps, at which a few bytes more may serve worse; twice as many do not."""
    energies, counts = problem
    less = expected_loss(energies, allocate_bits(energies, counts, budget))
    more = expected_loss(energies, allocate_bits(energies, counts, 2 * budget))
    assert more <= less * (1 + 1e-12)


def test_the_best_whole_bits_of_the_same_bytes_lose_at_most_15_percent_less() -> None:
    """All 11²·13² ways to give one subspace of two dimensions bits, by brute force."""
    energies = torch.tensor([[5.0, 1.0]], dtype=torch.float64)
    counts = torch.tensor([64.0], dtype=torch.float64)
    ranges = [range(WINDOW + 1)] * 2 + [range(MOST_BITS + 1)] * 2
    for budget in (120, 200, 330):
        found = allocate_bits(energies, counts, budget)
        best = min(
            expected_loss(energies, one)
            for pairs in itertools.product(*ranges)
            if all((pairs[i] > 0) == (pairs[i + 2] > 0) for i in (0, 1))
            and (one := _allocation(pairs)).stored_bytes(counts) <= budget
        )
        # A price reaches the corners of the convex hull; single bits fill what lies between.
        assert expected_loss(energies, found) <= 1.15 * best


def _allocation(pairs: tuple[int, ...]) -> BitAllocation:
    both = torch.tensor(pairs).view(2, 1, 2)
    return BitAllocation(bits=both[0], basis_bits=both[1], price=0.0)


def test_more_energy_gets_more_bits_and_dearer_subspaces_fewer() -> None:
    energies = torch.tensor([[8.0, 2.0, 0.5, 0.1]] * 2, dtype=torch.float64)
    counts = torch.tensor([100.0, 10_000.0], dtype=torch.float64)
    found = allocate_bits(energies, counts, 4000)
    assert found.bits[0].tolist() == sorted(found.bits[0].tolist(), reverse=True)
    assert bool((found.bits[0] >= found.bits[1]).all())
    assert int(found.bits[0].sum()) > int(found.bits[1].sum())


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("budget", [700, 2000, 4000])
def test_equal_energies_do_not_leave_the_budget_unspent(k: int, budget: int) -> None:
    """They change their bits at one price, all at once: none would fit, or all would have to."""
    energies, counts = torch.ones(k, 64).double(), torch.full((k,), 64 / k).double()
    found = allocate_bits(energies, counts, budget)
    assert 0.9 * budget <= found.stored_bytes(counts) <= budget


def test_row_bits_are_whole_bytes() -> None:
    found = BitAllocation(
        bits=torch.tensor([[3, 2], [4, 4], [0, 0]]),
        basis_bits=torch.tensor([[1, 1], [1, 1], [0, 0]]),
        price=0.0,
    )
    assert found.row_bits.tolist() == [8.0, 8.0, 0.0]


@given(spectra(), st.integers(0, 400))
@settings(max_examples=120, deadline=None)
def test_something_is_bought_where_anything_fits(
    problem: tuple[Tensor, Tensor], budget: int
) -> None:
    energies, counts = problem
    cheapest = torch.where(energies.amax(dim=1) > 0, counts, torch.inf).min()
    fits = float(cheapest) + energies.shape[1] + VECTOR_BYTES <= budget
    assert bool(allocate_bits(energies, counts, budget).bits.any()) == fits


def test_a_cheap_subspace_is_bought_where_the_price_would_buy_a_dear_one() -> None:
    energies = torch.tensor([[0.1], [1.0]]).double() * torch.exp(-0.3 * torch.arange(20))
    counts = torch.tensor([2.0, 50.0]).double()
    found = allocate_bits(energies, counts, 39)
    assert (found.bits > 0).nonzero().tolist() == [[0, 0]]
    assert found.stored_bytes(counts) == 32  # two bytes a row, one of each number of the vector


def test_nothing_is_bought_where_nothing_fits() -> None:
    energies, counts = torch.tensor([[1.0, 0.5]]).double(), torch.tensor([40.0]).double()
    for budget in (-5, 0, 48):
        assert not bool(allocate_bits(energies, counts, budget).bits.any())
