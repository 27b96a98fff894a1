"""Numbers of few bits: packing loses nothing, every level is used, contradictions are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.coding.codes import (
    CODE_BITS,
    CodedMatrix,
    Coding,
    bytes_of,
    decoded,
    pack_levels,
    unpack_levels,
)
from engine.errors import EngineError, ParameterError, ShapeError

BITS = st.sampled_from(CODE_BITS)


def random_levels(rows: int, columns: int, bits: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**bits, (rows, columns), generator=generator) - (2**bits - 1) / 2


def random_matrix(rows: int, columns: int, bits: int, group: int, seed: int = 0) -> CodedMatrix:
    groups = -(-columns // group)
    steps = torch.rand(rows, groups, generator=torch.Generator().manual_seed(seed))
    codes = pack_levels(random_levels(rows, columns, bits, seed), bits)
    return CodedMatrix(codes=codes, steps=steps, bits=bits, columns=columns, group=group)


@given(rows=st.integers(0, 5), columns=st.integers(0, 40), bits=BITS, seed=st.integers(0, 999))
@settings(max_examples=150, deadline=None)
def test_unpacked_is_what_was_packed(rows: int, columns: int, bits: int, seed: int) -> None:
    levels = random_levels(rows, columns, bits, seed)
    codes = pack_levels(levels, bits)
    assert (codes.shape, codes.dtype) == ((rows, -(-columns * bits // 8)), torch.uint8)
    again = unpack_levels(codes, bits, columns)
    assert again.dtype == torch.float32
    assert torch.equal(again, levels)


@given(rows=st.integers(1, 4), columns=st.integers(1, 30), bits=BITS, seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_every_row_is_packed_by_itself(rows: int, columns: int, bits: int, seed: int) -> None:
    levels = random_levels(rows, columns, bits, seed)
    one_by_one = [pack_levels(row[None], bits) for row in levels]
    assert torch.equal(pack_levels(levels, bits), torch.cat(one_by_one))


@pytest.mark.parametrize(
    ("bits", "codes", "levels"),
    [
        (8, [0, 255, 128], [-127.5, 127.5, 0.5]),
        (4, [0x0F, 0x80], [-7.5, 7.5, 0.5]),
        (3, [0b000_111_10, 0b0_0000000], [-3.5, 3.5, 0.5]),
        (2, [0b00_11_10_00], [-1.5, 1.5, 0.5]),
    ],
)
def test_bytes_by_hand(bits: int, codes: list[int], levels: list[float]) -> None:
    packed = pack_levels(torch.tensor([levels]), bits)
    assert packed.tolist() == [codes]
    assert unpack_levels(packed, bits, len(levels)).tolist() == [levels]


@pytest.mark.parametrize("bits", CODE_BITS)
def test_all_levels_are_used_and_lie_evenly_about_zero(bits: int) -> None:
    levels = (torch.arange(2**bits) - (2**bits - 1) / 2)[None]
    found = unpack_levels(pack_levels(levels, bits), bits, 2**bits)
    assert len(found.unique()) == 2**bits
    assert torch.equal(found, -found.flip(1))


@pytest.mark.parametrize("wrong", [-8.5, 8.5, float("nan"), float("inf")])
def test_a_level_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ParameterError, match=r"do not fit 4 bits; they end at ±7\.5"):
        pack_levels(torch.tensor([[0.5, wrong]]), 4)


@pytest.mark.parametrize("bits", CODE_BITS)
def test_unpacking_compiles_whole_for_any_number_of_rows(bits: int) -> None:
    """As the network needs it: exported once, with the number of rows left open."""

    class Unpack(torch.nn.Module):
        def forward(self, codes: torch.Tensor) -> torch.Tensor:
            return unpack_levels(codes, bits, 11)

    codes = pack_levels(random_levels(6, 11, bits), bits)
    rows = {"codes": {0: torch.export.Dim("rows")}}
    exported = torch.export.export(Unpack(), (codes,), dynamic_shapes=rows).module()
    for some in (codes, codes[:3], codes.repeat(5, 1)):
        assert torch.equal(exported(some), unpack_levels(some, bits, 11))


@given(
    rows=st.integers(0, 9),
    columns=st.integers(0, 20),
    bits=BITS,
    group=st.integers(1, 25),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_decoded_is_level_times_step(
    rows: int, columns: int, bits: int, group: int, data: st.DataObject
) -> None:
    coded = random_matrix(rows, columns, bits, group)
    levels = unpack_levels(coded.codes, bits, columns)
    expected = torch.empty(rows, columns)
    for column in range(columns):
        expected[:, column] = levels[:, column] * coded.steps[:, column // group]
    assert (coded.shape, len(coded), coded.numel()) == ((rows, columns), rows, rows * columns)
    assert torch.equal(coded.decode(), expected)
    chosen = st.lists(st.integers(0, max(rows - 1, 0)), max_size=5 if rows else 0)
    some = torch.tensor(data.draw(chosen), dtype=torch.int64)
    assert torch.equal(coded.decode(some), expected[some])
    assert torch.equal(coded.decode(slice(2, 7)), expected[2:7])
    blocks = list(coded.blocks(4))
    assert torch.equal(torch.cat([expected[:0], *(part for _, part in blocks)]), expected)
    assert all(torch.equal(expected[own], part) for own, part in blocks)


def test_one_row_of_steps_serves_all_rows() -> None:
    codes = pack_levels(random_levels(5, 3, 4), 4)
    steps = torch.tensor([[1.0, 0.5, 0.0]])
    coded = CodedMatrix(codes=codes, steps=steps, bits=4, columns=3, group=1)
    assert torch.equal(coded.decode(), unpack_levels(codes, 4, 3) * steps)
    assert torch.equal(coded.decode(torch.tensor([4, 0])), coded.decode()[[4, 0]])


def test_bytes_are_those_of_codes_and_steps() -> None:
    coded = random_matrix(7, 5, 3, 2)
    assert coded.stored_bytes == 7 * 2 + 7 * 3 * 4  # ⌈15 / 8⌉ bytes and three float32 steps a row
    assert bytes_of(coded) == coded.stored_bytes
    assert bytes_of(torch.ones(7, 5).half()) == 70


def test_what_is_stored_in_16_bits_is_computed_in_32() -> None:
    half = torch.tensor([[1.5], [2.0]]).half()
    assert decoded(half).dtype == torch.float32
    assert torch.equal(decoded(half, slice(1, 2)), torch.tensor([[2.0]]))
    double = torch.ones(1, 1).double()
    assert decoded(double) is double


def matrix_parts(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - wrong on purpose
    whole: dict[str, Any] = {
        "codes": torch.zeros(3, 3, dtype=torch.uint8),
        "steps": torch.ones(3, 3),
        "bits": 4,
        "columns": 5,
        "group": 2,
    }
    return whole | changed


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"bits": 5}, ParameterError, r"bits must be one of \(2, 3, 4, 8\).* got 5, 5 and 2"),
        ({"columns": -1}, ParameterError, "columns at least 0"),
        ({"group": 0}, ParameterError, "group at least 1"),
        ({"bits": 8}, ShapeError, r"need codes \(rows, 5\) in uint8, got \(3, 3\)"),
        ({"columns": 7}, ShapeError, r"need codes \(rows, 4\)"),
        ({"codes": torch.zeros(3, 3)}, ShapeError, "in uint8, got .* in torch.float32"),
        ({"codes": torch.zeros(3, dtype=torch.uint8)}, ShapeError, r"got \(3,\)"),
        ({"steps": torch.ones(2, 3)}, ShapeError, r"need steps \(3, 3\) or \(1, 3\).* \(2, 3\)"),
        ({"steps": torch.ones(3, 2)}, ShapeError, r"need steps \(3, 3\) or \(1, 3\)"),
        ({"steps": torch.ones(3, 3).double()}, ShapeError, "float32 or float16, got .*float64"),
        ({"steps": -torch.ones(3, 3)}, ParameterError, "finite and not negative"),
        ({"steps": torch.full((1, 3), torch.nan)}, ParameterError, "finite and not negative"),
        ({"steps": torch.full((1, 3), torch.inf)}, ParameterError, "finite and not negative"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    changed: dict[str, Any], kind: type[EngineError], message: str
) -> None:
    CodedMatrix(**matrix_parts())
    with pytest.raises(kind, match=message):
        CodedMatrix(**matrix_parts(**changed))


@pytest.mark.parametrize(
    ("bits", "basis_bits", "message"),
    [
        (3, 16, "bits must be 8 or 4, got 3"),
        ("4", 16, "bits must be 8 or 4, got '4'"),
        (4, 4, "basis_bits must be 16 or 8, got 4"),
        (None, 8, "basis_bits=8 .* give bits"),
        (None, 12, "basis_bits must be 16 or 8, got 12"),
    ],
)
def test_bits_that_are_not_offered_are_refused(
    bits: Any,  # noqa: ANN401 - wrong on purpose
    basis_bits: int,
    message: str,
) -> None:
    with pytest.raises(ParameterError, match=message):
        Coding.asked(bits, basis_bits)


def test_nothing_is_coded_unless_asked() -> None:
    assert Coding.asked(None, 16) is None
    assert Coding.asked(4, 8) == Coding(bits=4, basis_bits=8)
