"""Whole numbers at a fixed number of bits: nothing lost, nothing wasted."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.coding.packing import bits_for, pack_integers, packed_bytes, unpack_integers
from engine.errors import FormatError, ParameterError


@pytest.mark.parametrize(
    ("count", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (256, 8), (257, 9)]
)
def test_bits_tell_that_many_apart(count: int, bits: int) -> None:
    assert bits_for(count) == bits
    assert 2**bits >= count > (2**bits) // 2 or count == 1


@given(st.integers(0, 16), st.lists(st.integers(0, 2**16 - 1), max_size=50))
@settings(max_examples=80, deadline=None)
def test_unpacking_undoes_packing(bits: int, numbers: list[int]) -> None:
    values = torch.tensor(numbers, dtype=torch.int64) % 2**bits
    packed = pack_integers(values, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_bytes(len(values), bits) == math.ceil(len(values) * bits / 8)
    restored = unpack_integers(packed, bits, len(values))
    assert restored.dtype == torch.int64
    assert torch.equal(restored, values)


def test_layout_is_most_significant_bit_first_without_gaps() -> None:
    assert pack_integers(torch.tensor([5, 1, 7]), 3).tolist() == [0b10100111, 0b10000000]


@pytest.mark.parametrize(("values", "bits"), [([4], 2), ([0, -1], 3), ([1], 0)])
def test_values_that_do_not_fit_are_refused(values: list[int], bits: int) -> None:
    with pytest.raises(ParameterError, match=f"do not fit {bits} bits; use more bits"):
        pack_integers(torch.tensor(values), bits)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_too_few_or_many_bytes_are_damage(size: int) -> None:
    with pytest.raises(FormatError, match=f"10 numbers of 3 bits need 4 bytes, got {size}"):
        unpack_integers(torch.zeros(size, dtype=torch.uint8), 3, 10)
