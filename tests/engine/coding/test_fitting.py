"""Coded fits: bytes kept to, errors as reported, what each option does."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.clustering.weighted_rows import WeightedRows
from engine.coding.fitting import CodedFit, CodedRequest, fit_coded, settle
from engine.coding.packing import bits_for, packed_bytes
from engine.errors import Cancelled, ParameterError
from engine.progress import Progress, ignore_progress
from tests.engine.problems import Problem, problems


def fit(
    points: Tensor,
    weights: Tensor | None = None,
    *,
    k: int = 2,
    max_bytes: int = 3000,
    affine: bool = False,
    given: Tensor | None = None,
) -> CodedFit:
    request = CodedRequest(
        k=k, max_bytes=max_bytes, affine=affine, max_iterations=20, tolerance=1e-3
    )
    rows = WeightedRows.of(points, weights)
    return fit_coded(rows, request, given=given, progress=ignore_progress)


def stored_bytes(found: CodedFit) -> int:
    parts = sum(part.stored_bytes for part in (*found.bases, *found.coordinates))
    offsets = sum(2 * offset.numel() for offset in found.offsets or ())
    return parts + offsets + packed_bytes(len(found.labels), bits_for(len(found.bases)))


def decode(found: CodedFit) -> Tensor:
    result = torch.empty(len(found.labels), found.bases[0].shape[1])
    for cluster, (block, basis) in enumerate(zip(found.coordinates, found.bases, strict=True)):
        rows = block.decode() @ basis.decode()
        if found.offsets is not None:
            rows += found.offsets[cluster].float()
        result[found.labels == cluster] = rows
    return result


def spectrum(n: int = 500, d: int = 24, seed: int = 0) -> Tensor:
    """Rows of a falling spectrum, as embeddings have."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.exp(-0.15 * torch.arange(d))


def least_bytes(problem: Problem, affine: bool) -> int:
    """Labels, offsets, and a bit of every row and one vector: room for something, by any start."""
    n, d = problem.points.shape
    return packed_bytes(n, bits_for(problem.k)) + 2 * problem.k * d * affine + n + 12 * d + 8


@given(problems(), st.integers(0, 4000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_bytes_are_kept_to_and_the_reported_error_is_that_of_the_rows(
    problem: Problem, more: int, affine: bool
) -> None:
    least = least_bytes(problem, affine)
    found = fit(problem.points, problem.weights, k=problem.k, max_bytes=least + more, affine=affine)
    max_bytes = least + more
    assert stored_bytes(found) <= max_bytes
    left = (problem.points.float() - decode(found)).square().sum(dim=1).double()
    weights = torch.ones(len(left)).double() if problem.weights is None else problem.weights
    energy = float(problem.points.double().square().sum(dim=1) @ weights.double())
    error = float(left @ weights.double()) / energy if energy else 0.0
    assert found.error == pytest.approx(error, abs=2e-5)  # float32 rows, of the whole energy
    *steps, last = found.cost_history
    assert steps == sorted(steps, reverse=True)
    assert last == found.error


@pytest.mark.parametrize("k", [1, 2, 4])
def test_nearly_all_bytes_are_spent(k: int) -> None:
    found = fit(spectrum(), k=k, max_bytes=6000)
    assert 0.97 * 6000 <= stored_bytes(found) <= 6000


def test_more_bytes_lose_less() -> None:
    points = spectrum()
    errors = [fit(points, max_bytes=size).error for size in (2000, 4000, 8000, 30_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 20 * errors[-1]


def test_weighted_rows_lose_less() -> None:
    points = spectrum()
    weights = torch.ones(500, dtype=torch.float64)
    weights[::10] = 100
    plain, weighted = fit(points, max_bytes=3000), fit(points, weights, max_bytes=3000)

    def lost(found: CodedFit) -> float:
        return float((points - decode(found))[::10].square().sum())

    assert lost(weighted) < 0.7 * lost(plain)


def test_affine_subspaces_find_a_cloud_off_zero() -> None:
    points = 0.05 * spectrum() + 3
    linear, affine = fit(points, k=1, max_bytes=1500), fit(points, k=1, max_bytes=1500, affine=True)
    assert affine.offsets is not None
    assert linear.offsets is None
    assert float((points - decode(affine)).square().sum()) < 0.5 * float(
        (points - decode(linear)).square().sum()
    )


def test_the_same_rows_give_the_same_codes_and_a_start_of_ones_own_is_used() -> None:
    points = spectrum()
    first, second = fit(points), fit(points)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(decode(first), decode(second))
    own = torch.arange(500) % 2
    request = CodedRequest(k=2, max_bytes=3000, affine=False, max_iterations=1, tolerance=0)
    found = fit_coded(WeightedRows.of(points), request, given=own, progress=ignore_progress)
    assert torch.equal(found.labels, own)  # after one refit the partition is still the given one
    assert not found.converged


def test_it_starts_from_classes_by_what_there_is_to_lose_of_a_row() -> None:
    points = spectrum()
    weights = torch.rand(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    request = CodedRequest(k=4, max_bytes=3000, affine=False, max_iterations=1, tolerance=0)
    found = settle(WeightedRows.of(points, weights), request, progress=ignore_progress)
    energies = weights * points.double().square().sum(dim=1)
    classes = [energies[found.step.labels == cluster] for cluster in range(4)]
    assert [len(one) for one in classes] == [125] * 4
    assert all(bool(a.max() <= b.min()) for a, b in itertools.pairwise(classes))


def test_rows_of_zeros_cost_nothing() -> None:
    found = fit(torch.zeros(20, 6), max_bytes=100)
    assert not bool(decode(found).any())
    assert found.error == 0


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_rows_all_alike_need_nothing_but_an_offset(scale: float) -> None:
    points = scale * torch.ones(20, 6)
    found = fit(points, max_bytes=30, affine=True)
    assert found.bases[0].shape == (0, 6)
    assert found.error < 1e-6  # the offset in float16
    with pytest.raises(ParameterError, match="leaves no room for a single basis vector"):
        fit(points, max_bytes=8)
    with pytest.raises(ParameterError, match="leaves no room for a single basis vector"):
        fit(points + 0.1 * spectrum(20, 6), max_bytes=30, affine=True)


def test_rows_of_no_weight_ask_for_nothing() -> None:
    points, weights = torch.ones(20, 6), torch.zeros(20)
    points[0], weights[0] = 0, 1
    found = fit(points, weights.double(), max_bytes=8)
    assert found.error == 0
    assert not any(len(basis) for basis in found.bases)


def test_equal_energies_are_not_refused() -> None:
    found = fit(torch.eye(64), k=1, max_bytes=1500)
    assert 0.9 * 1500 <= stored_bytes(found) <= 1500


def test_offsets_beyond_float16_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"offsets reach 1e\+05, and float16"):
        fit(spectrum() + 1e5, max_bytes=3000, affine=True)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e16, 1e25])
def test_numbers_whose_squares_leave_float32_are_refused(scale: float) -> None:
    with pytest.raises(ParameterError, match="scale the matrix"):
        fit(scale * spectrum().double(), max_bytes=3000)
    with pytest.raises(ParameterError, match="scale the matrix"):
        fit(scale * spectrum(), max_bytes=3000)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**30])
def test_the_scale_of_the_numbers_decides_nothing(scale: float) -> None:
    points = spectrum()
    plain, scaled = fit(points), fit(scale * points)
    assert torch.equal(plain.labels, scaled.labels)
    torch.testing.assert_close(scale * decode(plain), decode(scaled))
    assert scaled.error == pytest.approx(plain.error)


def test_offsets_too_small_for_float16_are_refused() -> None:
    with pytest.raises(ParameterError, match="scale the matrix up or leave affine out"):
        fit(1e-8 * spectrum(), max_bytes=3000, affine=True)


@pytest.mark.parametrize("weight", [0.0, 1e-30])
def test_a_long_row_that_hardly_counts_does_not_vouch_for_offsets(weight: float) -> None:
    """They would be rounded to zero, and all that carries weight be lost without a word."""
    points, weights = torch.full((500, 24), 1e-8), torch.ones(500, dtype=torch.float64)
    points[0], weights[0] = 1.0, weight
    with pytest.raises(ParameterError, match=r"no row that carries weight is longer than 4\.9e-08"):
        fit(points, weights, max_bytes=3000, affine=True)
    fit(points, weights, max_bytes=3000)


def test_progress_never_goes_back_and_comes_block_by_block() -> None:
    seen: list[Progress] = []
    rows = WeightedRows.of(spectrum(6000, 40))
    request = CodedRequest(k=2, max_bytes=120_000, affine=False, max_iterations=3, tolerance=0)
    found = fit_coded(rows, request, progress=seen.append)
    assert all(block.trellis for block in found.coordinates)
    for phase in ("Fitting coded subspaces", "Coding rows"):
        done = [one.done for one in seen if one.phase == phase]
        assert done == sorted(done)
        assert done[-1] <= seen[-1].total
        # 6,000 rows: three chunks of distances a step, 24 blocks of paths a round.
        assert len(done) > 3 * 3
    assert len({one.done for one in seen if one.phase == "Coding rows"}) > 24
    assert (seen[-1].done, seen[-1].total) == (24_000, 24_000)


def test_too_few_bytes_say_what_is_taken() -> None:
    with pytest.raises(ParameterError, match=r"max_bytes = 100 leaves no room .* labels take 63"):
        fit(spectrum(), k=2, max_bytes=100)
    with pytest.raises(ParameterError, match=r"labels and offsets take 159 bytes; give more .* k"):
        fit(spectrum(), k=2, max_bytes=160, affine=True)


def test_progress_is_told_and_may_stop_it_in_either_phase() -> None:
    seen: list[Progress] = []
    request = CodedRequest(k=2, max_bytes=3000, affine=False, max_iterations=5, tolerance=0)
    rows = WeightedRows.of(spectrum())
    fit_coded(rows, request, progress=seen.append)
    assert {one.phase for one in seen} == {"Fitting coded subspaces", "Coding rows"}
    for phase in ("Fitting coded subspaces", "Coding rows"):

        def stop(progress: Progress, phase: str = phase) -> None:
            if progress.phase == phase:
                raise Cancelled

        with pytest.raises(Cancelled):
            fit_coded(rows, request, progress=stop)
