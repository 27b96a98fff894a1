"""Fewer bits: what rounding adds to the error is bounded by the steps, and bytes are counted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine.coding.codes import CodedMatrix, Coding, decoded
from engine.coding.rounding import code_columns
from engine.errors import ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.projection import project_rows
from tests.engine.problems import Problem, problems
from tests.engine.tables import gaussian

CODINGS = st.tuples(st.sampled_from((8, 4)), st.sampled_from((16, 8)))
RECORD = FitRecord(method="messi", config={"k": 2}, source="none", versions={}, notes=("One.",))


def factorized(problem: Problem, affine: bool) -> Factorization:
    """The rows in random orthonormal bases, off zero where affine."""
    generator = torch.Generator().manual_seed(3)
    d, dtype = problem.points.shape[1], problem.points.dtype
    frames = torch.linalg.qr(torch.randn(problem.k, d, d, generator=generator).double()).Q
    bases = frames[:, : problem.j]
    outside = torch.randn(problem.k, d, 1, generator=generator).double()
    offsets = (outside - bases.mT @ (bases @ outside)).squeeze(2).to(dtype)
    return project_rows(
        problem.points,
        problem.labels,
        tuple(bases.to(dtype)),
        RECORD,
        offsets=tuple(offsets) if affine else None,
    )


def added_bound(plan: Factorization, coded: Factorization) -> float:
    """Most that coding may move the rows, ‖Â − Âq‖, from what is stored.

    Refitted rows are the closest to the old ones that the coded bases allow, so no further than
    old coordinates on coded bases, c·V̂ + ô; on top comes rounding of refitted coordinates, each
    within half a step when nothing is cut off, and a cut is only taken where it loses less.
    """
    moved = rounded = 0.0
    for c, size in enumerate(plan.sizes):
        old, new = decoded(plan.bases[c]).double(), decoded(coded.bases[c]).double()
        block = decoded(plan.coordinates[c]).double()
        shift = torch.zeros(old.shape[1]).double()
        if plan.offsets is not None and coded.offsets is not None:
            shift = plan.offsets[c].double() - coded.offsets[c].double()
        target = block @ old + shift
        moved += float((target - block @ new).square().sum())
        refitted = target @ torch.linalg.pinv(new)
        assert coded.coding is not None
        if size:
            halves = refitted.abs().amax(dim=0) / 2**coded.coding.bits
            stretch = float(torch.linalg.matrix_norm(new, ord=2)) if new.numel() else 0.0
            rounded += size * float(halves.square().sum()) * stretch**2
    return math.sqrt(moved) + math.sqrt(rounded)


@given(problems(), CODINGS, st.booleans())
@settings(max_examples=120)
def test_coding_moves_rows_no_further_than_the_steps_say(
    problem: Problem, bits: tuple[int, int], affine: bool
) -> None:
    plan = factorized(problem, affine)
    coded = plan.quantize(bits=bits[0], basis_bits=bits[1])
    before, after = plan.reconstruct().double(), coded.reconstruct().double()
    bound = added_bound(plan, coded)
    # float32, in which coded rows are computed: some units of 1e-7 of the whole.
    slack = 1e-5 * (float(before.norm()) + 1)
    assert float((before - after).norm()) <= bound + slack
    norm = float(problem.points.double().norm())
    errors = [p.squared_residuals(problem.points).sum().sqrt() for p in (plan, coded)]
    assert float(errors[1]) <= float(errors[0]) + bound + slack + 1e-5 * norm


@given(problems(), CODINGS, st.booleans())
@settings(max_examples=60)
def test_every_way_to_the_rows_gives_the_same_ones(
    problem: Problem, bits: tuple[int, int], affine: bool
) -> None:
    coded = factorized(problem, affine).quantize(bits=bits[0], basis_bits=bits[1])
    whole = coded.reconstruct()
    assert (whole.dtype, coded.dtype) == (torch.float32, torch.float32)
    expected = torch.empty(whole.shape)
    for c in range(coded.k):
        rows = decoded(coded.coordinates[c]) @ decoded(coded.bases[c])
        if coded.offsets is not None:
            rows = rows + coded.offsets[c].float()
        expected[coded.labels == c] = rows
    scale = 1e-5 * (1 + float(problem.points.abs().max()))
    torch.testing.assert_close(whole, expected, rtol=0, atol=scale)
    blocks = torch.cat([part for _, part in coded.blocks(7)])
    torch.testing.assert_close(blocks, whole, rtol=0, atol=scale)
    rows = torch.arange(len(whole)).flip(0)[::2]
    torch.testing.assert_close(coded.reconstruct(rows), whole[rows], rtol=0, atol=scale)
    residuals = coded.squared_residuals(problem.points)
    squares = (problem.points.double() - whole.double()).square().sum(dim=1)
    largest = float(problem.points.double().square().sum(dim=1).max()) + 1
    torch.testing.assert_close(residuals, squares, rtol=0, atol=1e-4 * largest)


@given(problems(), CODINGS, st.booleans())
@settings(max_examples=60)
def test_numbers_count_as_before_and_bytes_as_stored(
    problem: Problem, bits: tuple[int, int], affine: bool
) -> None:
    plan = factorized(problem, affine)
    coded = plan.quantize(bits=bits[0], basis_bits=bits[1])
    assert (plan.coding, coded.coding) == (None, Coding(bits=bits[0], basis_bits=bits[1]))
    for name in ("parameters", "rate", "dimensions", "sizes", "shape", "label_bytes", "affine"):
        assert getattr(coded, name) == getattr(plan, name)
    (n, d), k, j = plan.shape, problem.k, problem.j
    row = j if bits[0] == 8 else (j + 1) // 2  # every row starts with a whole byte
    basis = 2 * j * d if bits[1] == 16 else j * d + 2 * j
    expected = n * row + k * 4 * j + k * basis + affine * k * 2 * d + plan.label_bytes
    assert coded.stored_bytes == expected


def test_layout_is_the_one_that_networks_read() -> None:
    plan = engine.factorize(gaussian(40, 6), j=[0, 3, 6], n_init=1)
    coded = plan.quantize(bits=4, basis_bits=8)
    for c, j in enumerate((0, 3, 6)):
        block, basis = coded.coordinates[c], coded.bases[c]
        assert isinstance(block, CodedMatrix)
        assert isinstance(basis, CodedMatrix)
        assert (block.group, block.steps.shape) == (1, (1, j))
        assert (basis.group, basis.steps.shape, basis.bits) == (6, (j, 1), 8)
    half = plan.quantize(bits=8).bases[1]
    assert isinstance(half, Tensor)
    assert half.dtype == torch.float16


def test_eight_bits_lose_next_to_nothing() -> None:
    """Rounding a column to 256 levels adds some 1e-4 of its own energy, at 16 some 1e-2."""
    matrix = gaussian(3000, 24) @ torch.diag(torch.linspace(1, 0.1, 24))
    plan = engine.factorize(matrix, k=3, j=12, n_init=1)
    error = plan.relative_error(matrix)
    for basis_bits in (16, 8):
        eight, four = (plan.quantize(bits=b, basis_bits=basis_bits) for b in (8, 4))
        assert error < eight.relative_error(matrix) < error + 3e-4
        assert error + 1e-3 < four.relative_error(matrix) < error + 2e-2


def test_coordinates_are_refitted_to_the_coded_bases() -> None:
    """With the old coordinates, what rounding turned the bases by would be lost as well."""
    matrix = gaussian(2000, 16)
    plan = engine.factorize(matrix, k=1, j=15)  # all but one dimension: refitting can mend much
    coded = plan.quantize(bits=8, basis_bits=8)
    block = decoded(plan.coordinates[0])
    old = code_columns(lambda rows: block[rows], (2000, 15), bits=8)
    unfitted = old.decode() @ decoded(coded.bases[0])
    lost, lost_unfitted = (
        float((plan.reconstruct() - rows).norm()) for rows in (coded.reconstruct(), unfitted)
    )
    assert lost < 0.95 * lost_unfitted


def test_chunked_in_a_file_is_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    matrix = gaussian(300, 10)
    here = engine.factorize(matrix, k=2, j=4, n_init=1, bits=4)
    monkeypatch.setattr("engine.rows.BLOCK_ROWS", 64)
    there = engine.factorize(matrix, k=2, j=4, n_init=1, bits=4, workspace=tmp_path)
    assert not list(tmp_path.iterdir())
    # Sums of other blocks may round a number that lies between two levels the other way.
    difference = here.reconstruct() - there.reconstruct()
    assert float(difference.norm()) < 0.02 * float(here.reconstruct().norm())


def test_the_record_says_the_bits() -> None:
    found = engine.factorize(gaussian(40, 6), k=2, j=2, n_init=1, bits=4, basis_bits=8)
    plain = engine.factorize(gaussian(40, 6), k=2, j=2, n_init=1)
    assert found.coding == Coding(bits=4, basis_bits=8)
    assert found.record.config == {**plain.record.config, "bits": 4, "basis_bits": 8}
    assert torch.equal(found.labels, plain.labels)
    assert found.record.notes[-1].startswith("Coordinates are stored at 4 bits and bases at 8;")


def test_a_coded_svd_is_one_too() -> None:
    matrix = gaussian(60, 8)
    found = engine.factorize(matrix, method="svd", j=4, bits=8)
    exact = engine.factorize(matrix, method="svd", j=4).relative_error(matrix)
    assert exact < found.relative_error(matrix) < exact + 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 16}, "bits must be 8 or 4, got 16"),
        ({"bits": 2}, "bits must be 8 or 4, got 2"),
        ({"bits": 8, "basis_bits": 4}, "basis_bits must be 16 or 8, got 4"),
    ],
)
def test_other_bits_are_refused(options: dict[str, int], message: str) -> None:
    matrix = gaussian(20, 4)
    plan = engine.factorize(matrix, k=2, j=2, n_init=1)
    with pytest.raises(ParameterError, match=message):
        plan.quantize(**options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ParameterError, match=message):
        engine.factorize(matrix, k=2, j=2, **options)  # pyright: ignore[reportArgumentType]


def test_basis_bits_alone_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"basis_bits=8 .* give bits"):
        engine.factorize(gaussian(20, 4), k=2, j=2, basis_bits=8)


def test_what_is_quantised_is_not_quantised_again() -> None:
    coded = engine.factorize(gaussian(20, 4), k=2, j=2, n_init=1, bits=8)
    with pytest.raises(ParameterError, match=r"quantised already \(at 8 bits\)"):
        coded.quantize(bits=4)


def test_offsets_beyond_float16_are_refused() -> None:
    matrix = gaussian(20, 4) + 1e6
    with pytest.raises(ParameterError, match=r"offsets reach .*, and float16, .* 65504; scale"):
        engine.factorize(matrix, k=1, j=2, affine=True, bits=8)


def coded_parts() -> dict[str, Any]:
    plan = engine.factorize(gaussian(40, 6), k=2, j=3, n_init=1, affine=True)
    coded = plan.quantize(bits=4, basis_bits=8)
    names = ("labels", "bases", "coordinates", "record", "offsets")
    return {name: getattr(coded, name) for name in names} | {"plan": plan}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"coordinates": p["plan"].coordinates}, "matrices of one dtype"),
        (
            lambda p: {"coordinates": (p["coordinates"][0], p["plan"].coordinates[1])},
            "coordinates: 4 bits in groups of 1, 1 rows of steps, torch.float32 of 2",
        ),
        (lambda p: {"bases": p["plan"].bases}, r"bases: torch\.float32 of 2 dim"),
        (
            lambda p: {"bases": (p["bases"][0], p["plan"].bases[1].half())},
            "bases: 8 bits in groups of 6, 3 rows of steps, torch.float16",
        ),
        (lambda p: {"bases": p["coordinates"]}, "basis_bits must be 16 or 8, got 4"),
        (lambda p: {"offsets": p["plan"].offsets}, r"need 2 offsets of shape \(6,\) in .*float16"),
        (
            lambda p: {"coordinates": regrouped(p["coordinates"])},
            "coordinates: 4 bits in groups of 2",
        ),
    ],
)
def test_parts_coded_in_different_ways_are_refused(change: Any, message: str) -> None:  # noqa: ANN401
    whole = coded_parts()
    changed = whole | change(whole)
    for parts in (whole, changed):
        del parts["plan"]
    Factorization(**whole)
    with pytest.raises((ShapeError, ParameterError), match=message):
        Factorization(**changed)


def regrouped(blocks: tuple[CodedMatrix, ...]) -> tuple[CodedMatrix, ...]:
    return tuple(
        CodedMatrix(codes=b.codes, steps=b.steps[:, :2].clone(), bits=4, columns=3, group=2)
        for b in blocks
    )
