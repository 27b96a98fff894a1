"""Requests: dimensions of the caller's, a k to be chosen, and what a request may not be."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.progress import Progress
from engine.requests import AUTO_KS
from tests.engine.problems import Problem, planted_rows, problems, same_partition


@given(problem=problems(), affine=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_given_dimensions_are_those_of_the_result(
    problem: Problem, affine: bool, data: st.DataObject
) -> None:
    d = problem.points.shape[1]
    wanted = [data.draw(st.integers(0, d)) for _ in range(problem.k)]
    found = engine.factorize(problem.points, j=wanted, affine=affine, n_init=2, max_iterations=8)
    assert found.dimensions == tuple(wanted)
    assert found.k == problem.k
    numbers = sum(
        size * j + j * d + d * affine for size, j in zip(found.sizes, wanted, strict=True)
    )
    assert found.parameters == numbers
    assert found.record.config["j"] == wanted
    history = found.cost_history
    assert history[-1] == pytest.approx(
        found.relative_error(problem.points), abs=8 * problem.tolerance.energy
    )
    if affine:
        return
    alike = engine.factorize(problem.points, k=problem.k, j=[d] * problem.k, n_init=1)
    assert alike.relative_error(problem.points) <= problem.tolerance.energy


def test_equal_given_dimensions_are_one_j() -> None:
    points, _ = planted_rows(3, 2, 8, rows_each=40, noise=0.1, seed=1)
    listed = engine.factorize(points, j=[2, 2, 2], n_init=3)
    plain = engine.factorize(points, k=3, j=2, n_init=3)
    assert torch.equal(listed.labels, plain.labels)
    assert torch.equal(listed.reconstruct(), plain.reconstruct())


def test_unequal_given_dimensions_fit_unequal_subspaces() -> None:
    line, solid = (
        planted_rows(1, 1, 10, rows_each=80, seed=1)[0],
        planted_rows(1, 4, 10, rows_each=80, seed=2)[0],
    )
    points = torch.cat([line, solid])
    truth = torch.arange(2).repeat_interleave(80)
    found = engine.factorize(points, j=[4, 1], n_init=10)
    assert same_partition(found.labels, truth)
    assert found.relative_error(points) < 1e-12
    even = engine.factorize(points, j=[2, 3], n_init=10)
    assert even.relative_error(points) > 0.01


@pytest.mark.parametrize("affine", [False, True])
def test_a_subspace_of_no_dimension_settles(affine: bool) -> None:
    """Zero itself is closest to no row, so it stays empty; a point of its own takes rows."""
    points, _ = planted_rows(2, 2, 6, rows_each=40, noise=0.1, seed=0)
    points = torch.cat([points, torch.full((20, 6), 2.0) + 0.01 * points[:20]])
    found = engine.factorize(points, j=[2, 0, 2], affine=affine, n_init=6)
    assert found.dimensions == (2, 0, 2)
    assert all(start.converged for start in found.record.starts)
    assert (found.sizes[1] >= 20) == affine
    assert found.coordinates[1].shape == (found.sizes[1], 0)
    if affine:
        assert found.offsets is not None
        torch.testing.assert_close(
            found.offsets[1], torch.full((6,), 2.0).double(), atol=0.1, rtol=0
        )


@pytest.mark.parametrize("seed", range(3))
def test_auto_takes_the_planted_number_of_lines(seed: int) -> None:
    """At a rate that just has room for three lines: fewer lose more, and more do not fit."""
    points, _ = planted_rows(3, 1, 16, rows_each=100, noise=0.01, seed=seed)
    rate = 1 - (300 + 3 * 16) / (300 * 16)
    seen: list[Progress] = []
    found = engine.factorize(points, k="auto", rate=rate, progress=seen.append)
    assert found.k == 3
    assert found.record.config["k"] == 3
    assert found.dimensions == (1, 1, 1)
    tried = [item.phase for item in seen if item.phase.startswith("Trying")]
    assert tried == [f"Trying k = {k}" for k in AUTO_KS]


@pytest.mark.parametrize("allocation", ["uniform", "optimal"])
@pytest.mark.parametrize("affine", [False, True])
def test_a_list_of_k_takes_the_one_of_least_loss_and_skips_the_impossible(
    allocation: str, affine: bool
) -> None:
    points, _ = planted_rows(4, 1, 10, rows_each=60, noise=0.01, seed=5)
    rate = 1 - (240 + 4 * 10 + (40 if affine else 0)) / 2400
    found = engine.factorize(
        points, k=[500, 4, 1, 2], rate=rate, allocation=allocation, affine=affine
    )
    assert found.k == 4
    assert found.rate >= rate - 1e-9
    alone = engine.factorize(points, k=4, rate=rate, allocation=allocation, affine=affine)
    assert torch.equal(found.labels, alone.labels)


def test_a_chosen_k_needs_no_more_than_one_candidate() -> None:
    points, _ = planted_rows(2, 1, 6, rows_each=30, seed=5)
    assert engine.factorize(points, k=[2], j=1).k == 2


def test_weighted_trials_choose_by_the_weighted_loss() -> None:
    """At one rate, a plane or four lines: the rows that count lie on a plane, the others do not."""
    lines, _ = planted_rows(4, 1, 12, rows_each=60, noise=0.01, seed=6)
    plane, _ = planted_rows(1, 2, 12, rows_each=60, noise=0.01, seed=7)
    points = torch.cat([lines, plane])
    weights = (torch.arange(300) >= 240).double()
    rate = 1 - 2 * (300 + 12) / (300 * 12)
    assert engine.factorize(points, k=[1, 4], rate=rate).k == 4
    assert engine.factorize(points, k=[1, 4], rate=rate, weights=weights).k == 1
