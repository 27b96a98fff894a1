"""Levels of few bits: the best for normal numbers, found without a search, the same everywhere."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from engine.coding.levels import (
    LEVELS,
    MOST_BITS,
    NORMAL_LOSSES,
    levels_of,
    nearest_codes,
    nearest_levels,
)

# Max, Quantizing for minimum distortion (1960), table I: 2, 4, 8, 16 and 32 levels.
LLOYD_MAX = (0.3634, 0.1175, 0.03454, 0.009497, 0.002499)
WIDTHS = range(1, MOST_BITS + 1)


def every_level(bits: int) -> Tensor:
    return levels_of(torch.arange(2**bits, dtype=torch.int32), bits)


@pytest.mark.parametrize("bits", WIDTHS)
def test_levels_rise_evenly_about_zero_in_whole_units(bits: int) -> None:
    levels = every_level(bits)
    assert bool((levels.diff() > 0).all())
    assert torch.equal(levels, -levels.flip(0))
    assert torch.equal(levels * 2**13, (levels * 2**13).round()), "the same on every machine"
    assert len(LEVELS) == 2 ** (MOST_BITS + 1) - 2


@pytest.mark.parametrize("bits", WIDTHS)
def test_losses_are_those_of_a_normal_number(bits: int) -> None:
    levels = every_level(bits).double()
    edges = torch.cat([torch.tensor([-40.0]), (levels[1:] + levels[:-1]) / 2, torch.tensor([40.0])])
    mass = torch.tensor(norm.cdf(edges.numpy())).diff()
    density = torch.tensor(norm.pdf(edges.numpy()))
    means = -density.diff() / mass.clamp(min=1e-300)
    second = mass - (edges * density).diff()
    loss = float((second - 2 * levels * means * mass + levels.square() * mass).sum())
    assert pytest.approx(loss, rel=1e-6) == NORMAL_LOSSES[bits - 1]
    if bits <= len(LLOYD_MAX):
        # Each level is the mean of what it stands for, as the best are; to the unit.
        torch.testing.assert_close(means, levels, rtol=0, atol=2**-13)
        assert loss == pytest.approx(LLOYD_MAX[bits - 1], rel=3e-3)
    else:  # Panter and Dite: what the best of many levels lose
        assert loss == pytest.approx(math.sqrt(3) * math.pi / 2 / 4**bits, rel=0.03)


@given(st.integers(1, MOST_BITS), st.integers(0, 999), st.floats(0.01, 20))
@settings(max_examples=80, deadline=None)
def test_every_number_goes_to_its_nearest_level(bits: int, seed: int, spread: float) -> None:
    numbers = spread * torch.randn(500, generator=torch.Generator().manual_seed(seed))
    levels = every_level(bits)
    edges = (levels[1:] + levels[:-1]) / 2
    expected = torch.bucketize(numbers, edges, out_int32=True)
    codes = nearest_codes(numbers, bits)
    # On an edge, to a float, either is the nearest.
    apart = (numbers[:, None] - edges).abs().amin(dim=1) > 1e-5
    assert torch.equal(codes[apart], expected[apart])
    assert int((codes - expected).abs().max()) <= 1


def test_widths_of_columns_are_those_of_one_width_side_by_side() -> None:
    bits = torch.tensor([1, 12, 4, 4, 7], dtype=torch.uint8)
    numbers = 2 * torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    found = nearest_levels(numbers, bits)
    for column, width in enumerate(bits.tolist()):
        assert torch.equal(found[:, column], nearest_levels(numbers[:, column], width))


def test_what_is_no_number_stays_within_the_levels() -> None:
    numbers = torch.tensor([math.inf, -math.inf, 1e30, -1e30, math.nan])
    for bits in WIDTHS:
        codes = nearest_codes(numbers, bits)
        assert codes[:4].tolist() == [2**bits - 1, 0, 2**bits - 1, 0]
        assert 0 <= int(codes[4]) < 2**bits
