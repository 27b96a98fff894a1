"""Columns with bits of their own: nothing lost, whole bytes a row, damage refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.coding.codes import pack_levels
from engine.coding.levels import MOST_BITS, levels_of
from engine.coding.mixed import (
    MixedMatrix,
    pack_columns,
    round_columns,
    unpack_columns,
)
from engine.coding.packing import row_bytes
from engine.errors import ParameterError, ShapeError

BITS = st.lists(st.integers(1, MOST_BITS), max_size=20)


def as_bits(numbers: list[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.uint8)


def some_levels(rows: int, bits: Tensor, seed: int) -> Tensor:
    """Levels drawn evenly from all that the bits of each column know."""
    return levels_of(some_codes(rows, bits, seed), bits)


def some_codes(rows: int, bits: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(rows, len(bits), generator=generator, dtype=torch.float64)
    return (drawn * torch.exp2(bits.double())).int()


@given(BITS, st.integers(0, 9), st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_unpacking_undoes_packing(numbers: list[int], rows: int, seed: int) -> None:
    bits = as_bits(numbers)
    levels = some_levels(rows, bits, seed)
    codes = pack_columns(levels, bits)
    assert codes.shape == (rows, math.ceil(sum(numbers) / 8))
    assert torch.equal(unpack_columns(codes, bits), levels)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_equal_bits_lie_as_the_packing_of_one_width_lays_them(bits: int) -> None:
    widths = as_bits([bits] * 11)
    levels, even = some_levels(6, widths, 1), some_codes(6, widths, 1) - (2**bits - 1) / 2
    assert torch.equal(pack_columns(levels, widths), pack_levels(even, bits))


def test_layout_is_most_significant_bit_first_without_gaps() -> None:
    # Codes 5 of 3 bits, 1 of 2 bits, 200 of 8 bits: 101 01 110|01000 and filled up.
    bits = as_bits([3, 2, 8])
    levels = levels_of(torch.tensor([[5, 1, 200]], dtype=torch.int32), bits)
    assert pack_columns(levels, bits).tolist() == [[0b10101110, 0b01000000]]


def test_a_level_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ParameterError, match="does not fit the bits of its column"):
        pack_columns(torch.tensor([[1.5, 2.5]]), as_bits([2, 2]))


@given(BITS, st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_number_goes_to_its_nearest_level(numbers: list[int], rows: int, seed: int) -> None:
    bits, generator = as_bits(numbers), torch.Generator().manual_seed(seed)
    values = 3 * torch.randn(rows, len(bits), generator=generator)
    steps = torch.rand(len(bits), generator=generator) + 0.1
    found = round_columns(values, steps, bits)
    for column, width in enumerate(numbers):
        every = levels_of(torch.arange(2**width, dtype=torch.int32), width)
        distance = (values[:, column, None] - every * steps[column]).abs()
        own = (values[:, column] - found[:, column] * steps[column]).abs()
        # A tie may fall either way, and float32 holds values of up to 12 or so.
        torch.testing.assert_close(own, distance.min(dim=1).values, rtol=0, atol=1e-5)


def matrix(turned: bool = False) -> MixedMatrix:
    bits = as_bits([1, 7, 12, 3])
    steps = torch.tensor([0.5, 0.0, 2.0, 1.5])
    return MixedMatrix(
        codes=pack_columns(some_levels(6, bits, 5), bits), steps=steps, bits=bits, turned=turned
    )


def test_decoding_multiplies_levels_by_steps_and_takes_rows() -> None:
    plain = matrix()
    expected = some_levels(6, plain.bits, 5) * plain.steps
    chosen = torch.tensor([4, 0, 4])
    assert torch.equal(plain.decode(), expected)
    assert torch.equal(plain.decode(chosen), expected[chosen])
    assert torch.equal(plain.decode(slice(1, 3)), expected[1:3])
    assert torch.equal(torch.cat([part for _, part in plain.blocks(4)]), expected)


def test_a_turned_matrix_is_the_transpose() -> None:
    plain, turned = matrix(), matrix(turned=True)
    assert (plain.shape, turned.shape) == ((6, 4), (4, 6))
    assert (len(turned), turned.numel()) == (4, 24)
    assert torch.equal(turned.decode(), plain.decode().T)
    assert torch.equal(turned.decode(torch.tensor([3, 1])), plain.decode().T[[3, 1]])
    assert torch.equal(torch.cat([part for _, part in turned.blocks(3)]), plain.decode().T)


def test_bytes_are_those_of_the_three_tensors() -> None:
    found = matrix()
    assert row_bytes(found.bits) == 3  # 23 bits
    assert found.stored_bytes == 6 * 3 + 4 * 4 + 4
    halves = MixedMatrix(codes=found.codes, steps=found.steps.half(), bits=found.bits)
    assert halves.stored_bytes == 6 * 3 + 4 * 2 + 4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"codes": torch.zeros(6, 2, dtype=torch.uint8)}, ShapeError, r"need codes \(rows, 3\)"),
        ({"codes": torch.zeros(18, dtype=torch.uint8)}, ShapeError, r"need codes \(rows, 3\)"),
        ({"codes": torch.zeros(6, 3)}, ShapeError, "codes and bits must be uint8"),
        ({"steps": torch.ones(3)}, ShapeError, "one step a column"),
        ({"steps": torch.ones(4, dtype=torch.float64)}, ShapeError, "float32 or float16"),
        ({"bits": torch.ones(4)}, ShapeError, "codes and bits must be uint8"),
        ({"bits": as_bits([0, 8, 12, 3])}, ParameterError, r"must have 1 … 12 bits, got 0 … 12"),
        ({"bits": as_bits([1, 6, 13, 3])}, ParameterError, r"must have 1 … 12 bits, got 1 … 13"),
        ({"steps": torch.tensor([1.0, math.nan, 1, 1])}, ParameterError, "must be finite"),
        ({"steps": torch.tensor([1.0, -1, 1, 1])}, ParameterError, "not negative"),
        (
            {"bits": as_bits([1, *[11] * 6]), "steps": torch.ones(7)},
            ParameterError,
            r"must have 1 … 10 bits, got 1 … 11",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    changes: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    good = matrix()
    parts = {"codes": good.codes, "steps": good.steps, "bits": good.bits}
    with pytest.raises(error, match=message):
        MixedMatrix(**{**parts, **changes})
