"""Affine subspaces: centred components, wherever the rows lie, every offset counted."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine.budget import parameters
from engine.clustering.allocation import GivenDimensions, spread_evenly
from engine.clustering.em import EMPlan, em_steps
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import SubspaceSet, principal_subspaces
from engine.clustering.weighted_rows import WeightedRows
from engine.factorization import Factorization
from tests.engine.problems import (
    Problem,
    distances_to_flats,
    planted_rows,
    problems,
    same_partition,
    truncated_svd,
)
from tests.tolerances import TOLERANCES


def fitted(problem: Problem, dimensions: tuple[int, ...] | None = None) -> SubspaceSet:
    sums = ScatterStatistics(problem.k, problem.points.shape[1])
    sums.update(problem.points, problem.labels, problem.weights)
    allocation = spread_evenly(problem.k, problem.j)
    if dimensions is not None:
        allocation = GivenDimensions(dimensions)
    return principal_subspaces(sums, allocation, problem.points.dtype, affine=True)


def planted_flats(
    k: int, j: int, d: int, *, noise: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows around k flats that miss zero by about 2, and which each came from."""
    points, truth = planted_rows(k, j, d, rows_each=40, noise=noise, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    centres = 2 * torch.randn(k, d, generator=generator, dtype=torch.float64)
    return points + centres[truth], truth


@given(problems(weighted=False))
@settings(max_examples=60, deadline=None)
def test_one_flat_is_centred_principal_components(problem: Problem) -> None:
    found = engine.factorize(problem.points, k=1, j=problem.j, affine=True)
    points = problem.points.double()
    mean = points.mean(dim=0)
    best = float((points - mean - truncated_svd(points - mean, problem.j)).square().sum())
    total = float(points.square().sum()) or 1.0
    error = found.relative_error(problem.points)
    assert error == pytest.approx(best / total, abs=problem.tolerance.energy)
    assert found.cost_history[-1] == pytest.approx(error, abs=2 * problem.tolerance.energy)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_one_flat_reconstructs_as_centred_principal_components(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    # Singular values 6, 5, …, 1: gaps that make the leading subspace well determined.
    rows = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    points = (torch.linalg.qr(rows - rows.mean(dim=0)).Q * torch.arange(6, 0, -1)) @ turn
    points += torch.randn(6, generator=generator, dtype=torch.float64)
    mean = points.mean(dim=0)
    found = engine.factorize(points.to(dtype), k=1, j=3, affine=True)
    expected = mean + truncated_svd(points - mean, 3)
    atol = TOLERANCES[dtype].spectral
    torch.testing.assert_close(found.reconstruct().double(), expected, rtol=0, atol=atol)
    linear = engine.factorize(points.to(dtype), k=1, j=3)
    assert float((linear.reconstruct() - expected).abs().max()) > 0.1


@given(problems(), st.data())
@settings(max_examples=60, deadline=None)
def test_offsets_are_orthogonal_to_bases_and_distances_are_the_definition(
    problem: Problem, data: st.DataObject
) -> None:
    d = problem.points.shape[1]
    dimensions = tuple(data.draw(st.integers(0, d)) for _ in range(problem.k))
    found = fitted(problem, dimensions)
    assert found.offsets is not None
    largest = float(problem.points.double().square().sum(dim=1).max())
    for basis, offset in zip(found.bases, found.offsets, strict=True):
        assert float((basis @ offset).abs().sum()) <= d * problem.tolerance.unit * largest**0.5
    distances = found.squared_residuals(problem.points)
    expected = distances_to_flats(problem.points, found.bases, found.offsets)
    slack = 4 * problem.tolerance.energy * largest  # ‖x‖², ‖o‖² and x·o twice
    torch.testing.assert_close(distances.double(), expected, rtol=0, atol=slack)


@given(problems(dtypes=(torch.float64,)), st.floats(-3, 3))
@settings(max_examples=60, deadline=None)
def test_moving_all_rows_moves_the_flats_with_them(problem: Problem, shift: float) -> None:
    move = torch.full((problem.points.shape[1],), shift, dtype=torch.float64)
    moved = Problem(
        points=problem.points + move,
        weights=problem.weights,
        labels=problem.labels,
        k=problem.k,
        j=problem.j,
    )
    here, there = fitted(problem), fitted(moved)
    occupied = problem.labels
    if problem.weights is not None:
        occupied = problem.labels[problem.weights > 0]
    largest = float(problem.points.square().sum(dim=1).max()) + shift**2 * len(move)
    weight = len(problem.points) if problem.weights is None else float(problem.weights.sum())
    slack = 10 * problem.tolerance.energy * weight * largest
    for cluster in occupied.unique().tolist():
        # The spectrum about the mean; with gaps, the directions follow (next test).
        torch.testing.assert_close(
            there.energies[cluster], here.energies[cluster], rtol=0, atol=slack
        )


@pytest.mark.parametrize("loss", ["squared", "l1", "tukey:0.5"])
@pytest.mark.parametrize("seed", range(3))
def test_moving_all_rows_leaves_labels_and_residuals(loss: str, seed: int) -> None:
    points, _ = planted_flats(3, 2, 8, noise=0.1, seed=seed)
    first = torch.randint(3, (len(points),), generator=torch.Generator().manual_seed(seed))
    move = torch.linspace(-4, 5, 8, dtype=torch.float64)
    here, there = (
        engine.factorize(
            rows, k=3, j=2, affine=True, loss=scaled(loss), labels=first, n_init=0, tolerance=0
        )
        for rows in (points, points + move)
    )
    assert torch.equal(here.labels, there.labels)
    # A cost settles to rounding (1e-16) where its subspaces settle to the root of it.
    torch.testing.assert_close(
        there.squared_residuals(points + move), here.squared_residuals(points), rtol=0, atol=1e-5
    )
    linear = engine.factorize(points + move, k=3, j=2, labels=first, n_init=0)
    moved = linear.squared_residuals(points + move)
    assert float((moved - here.squared_residuals(points)).abs().max()) > 0.1


def scaled(loss: str) -> str:
    """With a scale of its own: one found in the rows would follow their lengths."""
    return "l1:0.01" if loss == "l1" else loss


@given(problems(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_number_is_counted(problem: Problem, affine: bool) -> None:
    found = engine.factorize(
        problem.points, k=problem.k, j=problem.j, affine=affine, n_init=1, max_iterations=3
    )
    n, d = problem.points.shape
    assert found.affine == affine
    assert found.parameters == parameters(n, d, problem.k, problem.j, affine=affine)
    tensors = [*found.coordinates, *found.bases, *(found.offsets or ())]
    assert found.parameters == sum(tensor.numel() for tensor in tensors)
    assert len(found.offsets or ()) == (problem.k if affine else 0)


@given(n=st.integers(20, 200), d=st.integers(2, 12), k=st.integers(1, 4), rate=st.floats(0.05, 0.6))
@settings(max_examples=40, deadline=None)
def test_offsets_are_paid_for_within_the_rate(n: int, d: int, k: int, rate: float) -> None:
    points = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
    try:
        found = engine.factorize(points, k=k, rate=rate, affine=True, n_init=1, max_iterations=2)
    except engine.errors.ParameterError as error:
        assert "leaves no room" in str(error)  # noqa: PT017 - most draws have room
        return
    assert found.rate >= rate - 1e-9
    j = found.dimensions[0]
    assert j == d or 1 - parameters(n, d, k, j + 1, affine=True) / (n * d) < rate


@pytest.mark.parametrize(("k", "j", "d"), [(3, 0, 4), (3, 1, 4), (3, 2, 8), (4, 1, 6)])
def test_planted_flats_are_recovered_where_linear_subspaces_fail(k: int, j: int, d: int) -> None:
    noise = 0.01
    points, truth = planted_flats(k, j, d, noise=noise, seed=3)
    total = float(points.square().sum())
    found = engine.factorize(points, k=k, j=[j] * k, affine=True, n_init=20)
    assert found.relative_error(points) <= 2 * d * noise**2 * len(points) / total
    assert same_partition(found.labels, truth)
    linear = engine.factorize(points, k=k, j=[j] * k, n_init=20)
    assert linear.relative_error(points) > 10 * found.relative_error(points)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_weight_is_that_many_copies(seed: int, k: int, j: int) -> None:
    points, _ = planted_flats(k, 2, 6, noise=0.2, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    copies = torch.randint(0, 4, (len(points),), generator=generator)
    labels = torch.arange(len(points)) % k
    which = torch.arange(len(copies)).repeat_interleave(copies)
    plan = EMPlan(allocation=spread_evenly(k, j), affine=True)
    weighted = em_steps(WeightedRows.of(points, copies.double()), labels, plan)
    repeated = em_steps(WeightedRows.of(points[which]), labels[which], plan)
    for one, other in islice(zip(weighted, repeated, strict=True), 4):
        assert one.cost == pytest.approx(other.cost, abs=1e-11)
        assert torch.equal(one.labels[which], other.labels)
        if one.refilled or other.refilled:
            return  # a refill counts rows, and copies are more rows


def reassembled(found: Factorization, points: Tensor) -> Tensor:
    """Every row from the stored numbers, straight from x ≈ u @ basis + offset."""
    assert found.offsets is not None
    rows = torch.empty_like(points)
    for cluster, (block, basis) in enumerate(zip(found.coordinates, found.bases, strict=True)):
        rows[found.labels == cluster] = block @ basis + found.offsets[cluster]
    return rows


def test_rows_come_back_from_coordinates_basis_and_offset() -> None:
    points, _ = planted_flats(3, 2, 8, noise=0.1)
    found = engine.factorize(points, k=3, j=2, affine=True)
    expected = reassembled(found, points)
    some = torch.tensor([5, 0, 77, 5])
    torch.testing.assert_close(found.reconstruct(), expected)
    torch.testing.assert_close(found.reconstruct(some), expected[some])
    torch.testing.assert_close(torch.cat([part for _, part in found.blocks(7)]), expected)
    residuals = (points - expected).square().sum(dim=1)
    torch.testing.assert_close(found.squared_residuals(points), residuals)
