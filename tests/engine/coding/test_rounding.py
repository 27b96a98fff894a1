"""From numbers to codes: within half a step, better than no cut, and bytes as promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine import rows as rows_module
from engine.coding import rounding
from engine.coding.codes import CODE_BITS, CodedMatrix
from engine.coding.rounding import code_columns, round_to_nearest
from engine.errors import ParameterError, ShapeError
from tests.engine.problems import KINDS, make_rows

SHAPES = {"n": st.integers(0, 40), "d": st.integers(1, 12), "seed": st.integers(0, 9999)}
ROUNDING = 1e-6  # float32: a few units of 1.2e-7 of the largest number


def drawn(kind: str, n: int, d: int, seed: int) -> Tensor:
    return make_rows(kind, max(n, 1), d, torch.Generator().manual_seed(seed))[:n].float()


def coded_columns(numbers: Tensor, bits: int) -> CodedMatrix:
    return code_columns(lambda rows: numbers[rows], (len(numbers), numbers.shape[1]), bits=bits)


@given(
    kind=st.sampled_from(KINDS), bits=st.sampled_from(CODE_BITS), group=st.integers(1, 15), **SHAPES
)
@settings(max_examples=120)
def test_rounded_numbers_are_within_half_a_step(
    kind: str, bits: int, group: int, n: int, d: int, seed: int
) -> None:
    numbers = drawn(kind, n, d, seed)
    coded = round_to_nearest(numbers, bits=bits, group=group)
    assert coded.steps.dtype == torch.float16
    assert bool(torch.isfinite(coded.decode()).all())
    for start in range(0, d, group):
        own = slice(start, start + group)
        largest = numbers[:, own].abs().amax(dim=1, keepdim=True)
        # A step that float16 rounds down cuts 2**-11 off the largest number; one below 2**-14 is
        # rounded to a multiple of 2**-24, and there are 2**(bits − 1) steps to that number.
        cut = largest * (2**-11 + ROUNDING) + 2**-25 * 2 ** (bits - 1)
        bound = largest / 2**bits + cut
        assert bool(((coded.decode()[:, own] - numbers[:, own]).abs() <= bound).all())


@given(kind=st.sampled_from(KINDS), bits=st.sampled_from((4, 8)), **SHAPES)
@settings(max_examples=120)
def test_a_column_never_loses_more_than_without_a_cut(
    kind: str, bits: int, n: int, d: int, seed: int
) -> None:
    numbers = drawn(kind, n, d, seed)
    coded = coded_columns(numbers, bits)
    assert (coded.group, coded.steps.shape, coded.steps.dtype) == (1, (1, d), torch.float32)
    largest = numbers.abs().amax(dim=0) if n else torch.zeros(d)
    steps = (largest / 2 ** (bits - 1)).clamp(min=1e-30)
    top = (2**bits - 1) / 2
    uncut = ((numbers / steps).floor() + 0.5).clamp(-top, top) * steps
    lost, worst = ((part - numbers).square().sum(dim=0) for part in (coded.decode(), uncut))
    assert bool((lost <= worst * 1.001 + n * (largest * ROUNDING).square()).all())


@pytest.mark.parametrize(("bits", "expected"), [(4, 0.01154), (8, 1.1e-4)])
def test_a_normal_column_loses_what_the_best_even_levels_do(bits: int, expected: float) -> None:
    """0.01154 is the mean squared error of the best 16 even levels for a normal (Max, 1960).

    For 256 it is 1.04e-4 at the best step; the cuts tried may miss that by a little.
    """
    numbers = torch.randn(30_000, 3, generator=torch.Generator().manual_seed(0))
    assert coded_columns(numbers, bits).relative_error(numbers) <= expected * 1.03


def test_cutting_off_pays_where_one_number_is_large() -> None:
    numbers = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
    numbers[0] = 12.0
    assert float(coded_columns(numbers, 4).steps) < 0.7 * 12 / 8


@pytest.mark.parametrize("bits", CODE_BITS)
def test_zeros_stay_zeros(bits: int) -> None:
    numbers = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    numbers[2] = 0
    numbers[:, 32:] = 0
    found = round_to_nearest(numbers, bits=bits, group=32).decode()
    assert not bool(found[2].any())
    assert not bool(found[:, 32:].any())
    assert bool(found[0, :32].all())
    if bits in (4, 8):
        columns = coded_columns(numbers, bits).decode()
        assert not bool(columns[:, 32:].any())


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-8, 1.0, 1e6, 1e30, 1e38])
@pytest.mark.parametrize("bits", [4, 8])
def test_no_size_of_numbers_makes_nan(scale: float, bits: int) -> None:
    numbers = torch.linspace(-1, 1, 24).view(8, 3) * scale
    columns = coded_columns(numbers, bits)
    assert bool(torch.isfinite(columns.decode()).all())
    if scale > 1e-35:  # below, float32 itself has few digits left
        assert columns.relative_error(numbers.double()) < 0.02
    assert bool(torch.isfinite(round_to_nearest(numbers, bits=bits).decode()).all())


@given(kind=st.sampled_from(KINDS), **SHAPES)
@settings(max_examples=40, deadline=None)
def test_chunked_is_whole(kind: str, n: int, d: int, seed: int) -> None:
    numbers = drawn(kind, n, d, seed)
    whole = round_to_nearest(numbers, bits=3, group=4), coded_columns(numbers, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "BLOCK_ROWS", 7)
        patch.setattr(rounding, "_BLOCK_ROWS", 5)
        chunked = round_to_nearest(numbers, bits=3, group=4), coded_columns(numbers, 4)
        error = chunked[0].relative_error(numbers)
    assert torch.equal(chunked[0].decode(), whole[0].decode())
    assert error == pytest.approx(whole[0].relative_error(numbers), rel=1e-9)
    # Two cuts may lose as good as the same: which is taken may hang on the order of a sum.
    losses = [coded.relative_error(numbers) for coded in (whole[1], chunked[1])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5, abs=1e-12)


def test_errors_are_those_of_the_decoded_rows() -> None:
    numbers = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    weights = torch.arange(50).double()
    coded = round_to_nearest(numbers, bits=2, group=3)
    lost = (coded.decode() - numbers).double().square().sum(dim=1)
    norms = numbers.double().square().sum(dim=1)
    assert coded.relative_error(numbers) == pytest.approx(float(lost.sum() / norms.sum()))
    expected = float((weights @ lost) / (weights @ norms))
    assert coded.relative_error(numbers, weights) == pytest.approx(expected)
    with pytest.raises(ShapeError, match=r"of a matrix \(50, 9\), got \(49, 9\)"):
        coded.relative_error(numbers[1:])


def test_codes_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    numbers = torch.randn(50, 9, generator=torch.Generator().manual_seed(0))
    there = round_to_nearest(numbers.half(), bits=4, workspace=tmp_path)
    assert torch.equal(there.codes, round_to_nearest(numbers.half(), bits=4).codes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused(wrong: float) -> None:
    numbers = torch.ones(3, 2)
    numbers[1, 1] = wrong
    for code in (lambda: round_to_nearest(numbers, bits=8), lambda: coded_columns(numbers, 8)):
        with pytest.raises(ParameterError, match="finite in float32"):
            code()


@pytest.mark.parametrize(("bits", "group"), [(5, None), (16, None), (4, 0), (4, -2)])
def test_bits_and_groups_that_are_not_offered_are_refused(bits: int, group: int | None) -> None:
    with pytest.raises(ParameterError, match=r"bits must be one of .* and group at least 1"):
        round_to_nearest(torch.ones(3, 2), bits=bits, group=group)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "group", "share", "error"), [(4, None, 0.1263, 0.0135), (2, 32, 0.0781, 0.1262)]
)
def test_baselines_of_the_bundled_table(
    bits: int, group: int | None, share: float, error: float
) -> None:
    table = engine.load_table("bundled:minilm")
    coded = round_to_nearest(table.matrix, bits=bits, group=group)
    assert coded.stored_bytes / table.dense_bytes == pytest.approx(share, abs=1e-4)
    assert coded.relative_error(table.matrix) == pytest.approx(error, abs=1e-4)
