"""Paths through the trellis: nearly the best, read back bit for bit, near what theory allows."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.coding import trellis
from engine.coding.levels import NORMAL_LOSSES, levels_of
from engine.coding.mixed import unpack_columns
from engine.coding.packing import pack_codes
from engine.coding.trellis import (
    LEVEL_UNIT,
    STATES,
    TRELLIS_LEVELS,
    TRELLIS_LOSSES,
    WINDOW,
    find_paths,
)
from engine.errors import Cancelled


def as_bits(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8)


def normal(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def paths(numbers: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    """Of numbers in units of the levels."""
    return find_paths(numbers, torch.ones(len(bits)), bits)


def levels_by_definition(codes: list[int], widths: list[int]) -> list[float]:
    """The window before each number's end, bit by bit, the row's end before its beginning."""
    row = "".join(format(code, f"0{width}b") for code, width in zip(codes, widths, strict=True))
    ends = itertools.accumulate(widths)
    windows = [int((row[-WINDOW:] + row)[end : end + WINDOW], 2) for end in ends]
    return [
        float(TRELLIS_LEVELS[width - 1][window])
        for width, window in zip(widths, windows, strict=True)
    ]


LONG = st.lists(st.integers(1, WINDOW), min_size=2, max_size=20).filter(lambda own: sum(own) >= 57)


@given(LONG, st.integers(0, 9), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_codes_are_read_back_as_the_levels_that_were_found(
    widths: list[int], rows: int, seed: int
) -> None:
    bits = as_bits(widths)
    codes, levels = paths(normal(rows, len(widths), seed), bits)
    packed = pack_codes(codes, bits)
    assert packed.shape == (rows, math.ceil(sum(widths) / 8))
    assert torch.equal(unpack_columns(packed, bits, trellis=True), levels)
    for own, found in zip(codes.tolist(), levels.tolist(), strict=True):
        assert levels_by_definition(own, widths) == found


@given(LONG, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_no_change_of_one_number_is_nearer(widths: list[int], seed: int) -> None:
    """A change of one code changes the levels of those after it, too."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.rand(len(widths), generator=generator) + 0.1
    numbers = normal(1, len(widths), seed) * steps
    codes, levels = find_paths(numbers, steps, as_bits(widths))
    own = codes[0].tolist()
    # What the last `WINDOW` bits are is settled first, by less than the whole row.
    free = [place for place in range(len(widths)) if sum(widths[place + 1 :]) >= WINDOW]
    for place in free:
        for code in range(min(16, 1 << widths[place])):
            other = torch.tensor(
                levels_by_definition([*own[:place], code, *own[place + 1 :]], widths)
            )
            lost = (steps * other - numbers[0]).square().sum()
            assert float(lost) >= float((steps * levels[0] - numbers[0]).square().sum()) - 1e-4


def least_loss(numbers: Tensor, steps: Tensor, bits: Tensor) -> float:
    """Of one row, whatever its end: a way from every end to itself, all tried."""
    scaled = steps.unsqueeze(1) * TRELLIS_LEVELS[bits.long() - 1]
    columns = trellis._Columns(widths=bits.tolist(), scaled=scaled)
    costs = torch.empty(len(bits) + 1, STATES, STATES)
    every = torch.arange(STATES)
    trellis._add_up(numbers.unsqueeze(1).expand(-1, STATES).contiguous(), columns, costs, every)
    return float(costs[-1].diagonal().min())


@pytest.mark.parametrize(
    ("widths", "most"),
    [([1] * 64, 0.03), ([2] * 40, 0.03), ([4] * 2 + [3] * 4 + [2] * 21 + [1] * 74, 0.02)],
    ids=["shortest rows", "short rows", "rows of MiniLM at 2 %"],
)
def test_rows_end_nearly_as_well_as_they_could(widths: list[int], most: float) -> None:
    bits = as_bits(widths)
    steps = torch.tensor(TRELLIS_LOSSES)[bits.long() - 1].rsqrt()
    numbers = normal(12, len(widths), 1) * steps
    _, levels = find_paths(numbers, steps, bits)
    lost = (levels * steps - numbers).square().sum(dim=1)
    least = torch.tensor([least_loss(own, steps, bits) for own in numbers])
    assert bool((lost >= least * (1 - 1e-4)).all())
    assert float(lost.sum()) < (1 + most) * float(least.sum())


@pytest.mark.parametrize("bits", range(1, WINDOW + 1))
def test_losses_are_those_of_normal_numbers_and_no_less_than_shannon_allows(bits: int) -> None:
    numbers = normal(600, 64, 7)
    _, levels = paths(numbers, as_bits([bits] * 64))
    lost = float((levels - numbers).square().mean())
    # 38,400 numbers: their mean square is known to a hundredth, rare large ones weigh at many bits.
    assert lost == pytest.approx(TRELLIS_LOSSES[bits - 1], rel=0.06)
    assert lost > 4.0**-bits
    gain = 10 * math.log10(NORMAL_LOSSES[bits - 1] / TRELLIS_LOSSES[bits - 1])
    assert gain > (0.8, 1.7, 2.2, 2.3, 2.0, 1.2, 0.9, 0.9, 0.9, -0.2)[bits - 1]  # decibels


def test_small_columns_are_not_lost_beside_wide_ones() -> None:
    """Float32 sums of what the wide ones weigh would round away all that the others lose."""
    bits = as_bits([*[10] * 60, *[2] * 60, *[1] * 60])
    steps = torch.exp2(bits.float())
    numbers = normal(200, 180, 0) * steps
    _, levels = find_paths(numbers, steps, bits)
    lost = ((levels * steps - numbers) / steps).square().mean(dim=0)
    assert float(lost[64:120].mean()) < 1.1 * TRELLIS_LOSSES[1]
    assert float(lost[120:].mean()) < 1.1 * TRELLIS_LOSSES[0]


def test_levels_are_whole_units_and_those_of_the_widest_numbers_stand_alone() -> None:
    assert TRELLIS_LEVELS.shape == (WINDOW, STATES)
    units = TRELLIS_LEVELS / LEVEL_UNIT
    assert torch.equal(units, units.round()), "the same on every machine"
    single = levels_of(torch.arange(STATES, dtype=torch.int32), WINDOW)
    assert float((TRELLIS_LEVELS[-1] - single).abs().max()) <= LEVEL_UNIT


def test_rows_block_by_block_are_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, bits = normal(70, 30, 3), as_bits([5, 4, 3, 3, *[2] * 12, *[1] * 14])
    whole = paths(numbers, bits)
    monkeypatch.setattr(trellis, "_MOST_ROWS", 9)
    told: list[int] = []
    parts = find_paths(numbers, torch.ones(30), bits, on_block=told.append)
    assert torch.equal(parts[0], whole[0])
    assert torch.equal(parts[1], whole[1])
    assert told == [*range(9, 70, 9), 70]


def test_numbers_far_out_and_steps_of_zero_are_fine() -> None:
    bits = as_bits([3, 1] * 20)
    for step in (1e-15, 1e15, 0.0):
        steps = torch.tensor([step, 0.0] * 20)
        codes, levels = find_paths(torch.tensor([[1e9, -1e6] * 20, [0.0] * 40]), steps, bits)
        assert bool(torch.isfinite(levels).all())
        assert torch.equal(unpack_columns(pack_codes(codes, bits), bits, trellis=True), levels)


def test_it_stops_when_told() -> None:
    def stop(_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        find_paths(normal(3, 2, 0), torch.ones(2), as_bits([9, 9]), on_block=stop)
