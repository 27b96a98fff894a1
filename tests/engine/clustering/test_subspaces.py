"""M-step and E-step kernels against their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from engine.clustering import subspaces
from engine.clustering.allocation import GivenDimensions, spread_evenly
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import SubspaceSet, principal_subspaces, row_squared_norms
from engine.errors import ShapeError
from tests.engine.problems import Problem, distances_to_bases, problems
from tests.tolerances import TOLERANCES


def fitted(problem: Problem) -> SubspaceSet:
    sums = ScatterStatistics(problem.k, problem.points.shape[1])
    sums.update(problem.points, problem.labels, problem.weights)
    return principal_subspaces(sums, problem.plan.allocation, problem.points.dtype)


def largest_norm(problem: Problem) -> float:
    return float(problem.points.double().square().sum(dim=1).max())


@given(problems())
@settings(max_examples=60, deadline=None)
def test_frames_are_orthonormal_even_of_empty_and_all_zero_parts(problem: Problem) -> None:
    frames = fitted(problem).frames
    grams = frames @ frames.transpose(1, 2)
    identity = torch.eye(frames.shape[1], dtype=frames.dtype).expand_as(grams)
    torch.testing.assert_close(grams, identity, rtol=0, atol=problem.tolerance.unit)


@given(problems(weighted=False))
@settings(max_examples=60, deadline=None)
def test_energies_are_squared_singular_values(problem: Problem) -> None:
    energies = fitted(problem).energies
    total = float(problem.points.double().square().sum())
    for cluster, energy in enumerate(energies):
        values = torch.linalg.svdvals(problem.points[problem.labels == cluster].double()).square()
        expected = torch.zeros(len(energy), dtype=torch.float64)
        expected[: len(values)] = values
        torch.testing.assert_close(energy, expected, rtol=0, atol=problem.tolerance.energy * total)


@given(problems())
@settings(max_examples=100, deadline=None)
def test_residuals_through_either_side_are_the_distances(problem: Problem) -> None:
    found = fitted(problem)
    residuals = found.squared_residuals(problem.points)
    expected = distances_to_bases(problem.points, found.bases)
    assert residuals.dtype == problem.points.dtype
    assert float(residuals.min()) >= 0
    slack = problem.tolerance.energy * largest_norm(problem)
    torch.testing.assert_close(residuals.double(), expected, rtol=0, atol=slack)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("j", range(1, 9))
def test_both_sides_are_taken_and_agree(dtype: torch.dtype, j: int) -> None:
    generator = torch.Generator().manual_seed(j)
    points = torch.randn(50, 8, generator=generator, dtype=torch.float64).to(dtype)
    sums = ScatterStatistics(1, 8)
    sums.update(points, torch.zeros(50, dtype=torch.int64))
    found = principal_subspaces(sums, spread_evenly(1, j), dtype)
    assert found._cheaper_sides[0].shape == (8, min(j, 8 - j))
    slack = TOLERANCES[dtype].energy * float(points.double().square().sum(dim=1).max())
    torch.testing.assert_close(
        found.squared_residuals(points).double(),
        distances_to_bases(points, found.bases),
        rtol=0,
        atol=slack,
    )


def test_dimensions_may_differ() -> None:
    points = torch.randn(60, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = ScatterStatistics(3, 6)
    sums.update(points, torch.arange(60) % 3)
    found = principal_subspaces(sums, GivenDimensions((1, 4, 6)), torch.float64)
    assert [basis.shape for basis in found.bases] == [(1, 6), (4, 6), (6, 6)]
    torch.testing.assert_close(
        found.squared_residuals(points), distances_to_bases(points, found.bases)
    )


@given(problems())
@settings(max_examples=50, deadline=None)
def test_chunked_is_whole(problem: Problem) -> None:
    found = fitted(problem)
    norms = row_squared_norms(problem.points)
    whole = found.squared_residuals(problem.points, norms)
    labels, residuals = found.assign(problem.points, norms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subspaces, "CHUNK_ROWS", 7)
        chunked_norms = row_squared_norms(problem.points)
        chunked_labels, chunked_residuals = found.assign(problem.points, norms)
    slack = problem.tolerance.energy * largest_norm(problem)
    torch.testing.assert_close(chunked_norms, norms, rtol=0, atol=slack)
    torch.testing.assert_close(chunked_residuals, residuals, rtol=0, atol=slack)
    torch.testing.assert_close(residuals, whole.min(dim=1).values, rtol=0, atol=slack)
    # Rounding may break a tie either way: what counts is that the chosen one is a closest one.
    for chosen in (labels, chunked_labels):
        taken = whole.gather(1, chosen[:, None]).squeeze(1)
        torch.testing.assert_close(taken, whole.min(dim=1).values, rtol=0, atol=slack)


def test_a_tie_goes_to_the_lowest_number() -> None:
    frames = torch.eye(3).expand(4, 3, 3).contiguous()
    same = SubspaceSet(frames=frames, dimensions=(1, 1, 1, 1), energies=torch.ones(4, 3))
    labels, residuals = same.assign(torch.ones(5, 3), torch.full((5,), 3.0))
    assert labels.tolist() == [0] * 5
    assert residuals.tolist() == [2.0] * 5


@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_a_common_factor_of_the_weights_changes_no_subspace(factor: float) -> None:
    points = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    sums = ScatterStatistics(1, 4)
    sums.update(points, torch.zeros(30, dtype=torch.int64))
    plain = principal_subspaces(sums, spread_evenly(1, 2), torch.float32)
    sums.scatter *= factor
    scaled = principal_subspaces(sums, spread_evenly(1, 2), torch.float32)
    projectors = [found.bases[0].T @ found.bases[0] for found in (plain, scaled)]
    atol = TOLERANCES[torch.float32].spectral
    torch.testing.assert_close(projectors[1], projectors[0], rtol=0, atol=atol)
    torch.testing.assert_close(scaled.energies, plain.energies * factor, rtol=1e-4, atol=0)


@pytest.mark.parametrize("width", [1, 5])
def test_rows_of_another_width_are_refused(width: int) -> None:
    found = SubspaceSet(frames=torch.eye(3)[None], dimensions=(2,), energies=torch.ones(1, 3))
    points: Tensor = torch.ones(2, width)
    with pytest.raises(ShapeError, match=rf"rows of width {width} .* subspaces of R\^3"):
        found.squared_residuals(points)
