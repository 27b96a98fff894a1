"""Rate-aware EM: distortions are those of the quantisers, and rows go where they cost least."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import example, given, settings
from torch import Tensor

from engine.clustering.weighted_rows import WeightedRows
from engine.coding.levels import NORMAL_LOSSES
from engine.coding.mixed import round_columns
from engine.coding.rate_em import CodedSubspace, rate_steps
from engine.coding.trellis import TRELLIS_LOSSES
from tests.engine.problems import Problem, make_rows, problems

BUDGET = 1500  # bytes: enough for a few bits of the largest problem, and for all of the smallest


def subspace(points: Tensor, basis_bits: int, offset: Tensor | None = None) -> CodedSubspace:
    """The leading half of the eigenvectors at 2 bits a coordinate."""
    centred = points if offset is None else points - offset
    energies, vectors = torch.linalg.eigh(centred.T @ centred)
    j = max(1, points.shape[1] // 2)
    spread = (energies.flip(0).clamp(min=0) / len(points)).sqrt()[:j]
    return CodedSubspace(
        basis=vectors.flip(1).T[:j].contiguous(),
        bits=torch.full((j,), 2, dtype=torch.uint8),
        basis_bits=torch.full((j,), basis_bits, dtype=torch.uint8),
        steps=spread,
        offset=offset,
    )


@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("affine", [False, True])
def test_distortions_are_the_distances_to_the_rounded_rows_as_a_trellis_leaves_them(
    affine: bool, width: int
) -> None:
    points = torch.randn(40, width, generator=torch.Generator().manual_seed(0)) + 1
    one = subspace(points, 12, points.mean(dim=0) if affine else None)
    centred = points if one.offset is None else points - one.offset
    coordinates = centred @ one.basis.T
    lost = (round_columns(coordinates, one.steps, one.bits) * one.steps - coordinates).square()
    left = TRELLIS_LOSSES[1] / NORMAL_LOSSES[1] if len(one.bits) >= 32 else 1.0  # of 8 bytes
    outside = (centred - coordinates @ one.basis).square().sum(dim=1)
    # Bases of 12 bits add 5e-7 of a row's energy, float32 sums as much.
    torch.testing.assert_close(
        one.distortions(points, points.square().sum(1)),
        outside + left * lost.sum(dim=1),
        rtol=1e-4,
        atol=1e-3,
    )


def test_bases_of_few_bits_are_charged_for() -> None:
    points = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    norms = points.square().sum(1)
    fine, coarse = subspace(points, 12), subspace(points, 2)
    added = coarse.distortions(points, norms) - fine.distortions(points, norms)
    # What a basis of 2 bits loses of the energy along it; sums of float32.
    expected = (NORMAL_LOSSES[1] - NORMAL_LOSSES[11]) * (points @ fine.basis.T).square().sum(dim=1)
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


def emptied() -> Problem:
    """A few rows, some of no weight: after a step a subspace holds only such."""
    return Problem(
        points=make_rows("gaussian", 13, 3, torch.Generator().manual_seed(16)),
        weights=torch.tensor([3, 0, 3, 1, 1, 2, 1, 0, 1, 3, 1, 2, 3]).double(),
        labels=torch.tensor([2, 2, 0, 1, 0, 2, 2, 2, 2, 2, 2, 1, 1]),
        k=3,
        j=1,
    )


@example(emptied())
@given(problems())
@settings(max_examples=40, deadline=None)
def test_steps_keep_to_partitions_of_their_own_and_report_what_is_lost(problem: Problem) -> None:
    rows = WeightedRows.of(problem.points, problem.weights)
    before = problem.labels.clone()
    for step in islice(rate_steps(rows, problem.labels, problem.k, BUDGET, affine=False), 4):
        weights = torch.ones(len(rows.points)) if rows.weights is None else rows.weights
        points = problem.points.float()
        norms = points.square().sum(1)
        lost = 0.0
        for cluster, one in enumerate(step.subspaces):
            own = step.labels == cluster
            lost += float(weights[own].double() @ one.distortions(points, norms)[own].double())
        # Float32 rows: relative to the whole energy, as everywhere (tests/tolerances.py).
        assert step.cost == pytest.approx(lost / rows.energy, abs=2e-5)
        assert int(step.labels.min()) >= 0
        assert int(step.labels.max()) < problem.k
    assert torch.equal(problem.labels, before)  # the caller's start is left alone


@pytest.mark.parametrize("affine", [False, True])
def test_sums_of_an_emptied_subspace_keep_nothing_of_the_rows_that_left(affine: bool) -> None:
    problem = emptied()
    rows = WeightedRows.of(problem.points, problem.weights)
    seen = False
    for step in islice(rate_steps(rows, problem.labels, 3, BUDGET, affine=affine), 6):
        for cluster, one in enumerate(step.subspaces):
            assert bool(torch.isfinite(one.steps).all())
            if float(problem.weights[step.labels == cluster].sum()) == 0:  # type: ignore[index]
                seen = True
                assert len(one.basis) == 0
                assert one.offset is None or not bool(one.offset.any())
    assert seen or affine  # else this tests nothing


def test_heavy_rows_end_where_bits_are_many() -> None:
    """One cloud; a tenth of its rows weigh a thousand times as much."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(600, 12, generator=generator)
    weights = torch.ones(600, dtype=torch.float64)
    weights[:60] = 1000
    labels = torch.randint(2, (600,), generator=generator)
    rows = WeightedRows.of(points, weights)
    *_, last = islice(rate_steps(rows, labels, 2, 2500, affine=False), 12)
    bits = torch.tensor([int(one.bits.sum()) for one in last.subspaces])
    rich = int(bits.argmax())
    assert bits[rich] >= 3 * bits[1 - rich]
    assert float((last.labels[:60] == rich).double().mean()) >= 0.95
    assert float((last.labels[60:] == rich).double().mean()) <= 0.05


def test_steps_lower_the_cost_of_a_random_start() -> None:
    generator = torch.Generator().manual_seed(2)
    points = torch.cat(
        [
            torch.randn(200, 3, generator=generator) @ torch.randn(3, 16, generator=generator)
            for _ in range(3)
        ]
    )
    labels = torch.randint(3, (600,), generator=generator)
    steps = rate_steps(WeightedRows.of(points), labels, 3, 2000, affine=False)
    first, *_, last = islice(steps, 15)
    assert last.cost < 0.7 * first.cost
    assert last.moved < first.moved
