"""EM: never worse from step to step, labels that match the bases, and the truth found again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.clustering.em import EMPlan, EMResult, EMStep, em_steps, run_em
from engine.clustering.refill import refill_empty
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import Cancelled, ParameterError
from tests.engine.problems import (
    Problem,
    distances_to_bases,
    planted_rows,
    problems,
    same_partition,
    small_blocks,
    truncated_svd,
)
from tests.tolerances import TOLERANCES

STEPS = 6


def steps_of(problem: Problem, count: int = STEPS) -> list[EMStep]:
    rows = WeightedRows.of(problem.points, problem.weights)
    return list(islice(em_steps(rows, problem.labels, problem.plan), count))


def run(problem: Problem, max_iterations: int = 30, tolerance: float = 0.0) -> EMResult:
    return run_em(
        WeightedRows.of(problem.points, problem.weights),
        problem.labels,
        problem.plan,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )


def exact_cost(problem: Problem, found: EMStep | EMResult) -> float:
    """Σ w·dist² / Σ w·‖x‖² from the definition, in float64."""
    distances = distances_to_bases(problem.points, found.subspaces.bases)
    own = distances.gather(1, found.labels[:, None]).squeeze(1)
    norms = problem.points.double().square().sum(dim=1)
    weights = torch.ones_like(own) if problem.weights is None else problem.weights
    total = float(weights @ norms)
    return float(weights @ own) / (total or 1.0)


@given(problems())
@settings(max_examples=300, deadline=None)
def test_no_step_raises_the_cost(problem: Problem) -> None:
    steps = steps_of(problem)
    costs = [step.cost for step in steps]
    for before, after in pairwise(costs):
        assert after <= before + problem.tolerance.energy
    for cost, step in zip(costs, steps, strict=True):
        assert cost == pytest.approx(exact_cost(problem, step), abs=problem.tolerance.energy)


@given(problems())
@settings(max_examples=100, deadline=None)
def test_run_ends_with_labels_and_bases_that_match(problem: Problem) -> None:
    result = run(problem)
    history = result.cost_history
    assert all(after <= before for before, after in pairwise(history))
    assert history[-1] == pytest.approx(exact_cost(problem, result), abs=problem.tolerance.energy)

    distances = distances_to_bases(problem.points, result.subspaces.bases)
    own = distances.gather(1, result.labels[:, None]).squeeze(1)
    largest = float(problem.points.double().square().sum(dim=1).max())
    slack = problem.tolerance.energy * largest  # a tie may go either way
    torch.testing.assert_close(own, distances.min(dim=1).values, rtol=0, atol=slack)

    for basis in result.subspaces.bases:
        assert basis.shape == (problem.j, problem.points.shape[1])
        identity = torch.eye(problem.j, dtype=basis.dtype)
        torch.testing.assert_close(basis @ basis.T, identity, rtol=0, atol=problem.tolerance.unit)


@given(problems())
@settings(max_examples=50, deadline=None)
def test_more_steps_never_cost_more(problem: Problem) -> None:
    shorter = run(problem, max_iterations=2).cost_history
    longer = run(problem, max_iterations=20).cost_history
    assert longer[: len(shorter)] == shorter
    assert longer[-1] <= shorter[-1]
    assert len(longer) <= 20


@given(problems(kinds=("gaussian", "duplicates", "zero rows"), weighted=False))
@settings(max_examples=50, deadline=None)
def test_one_part_is_the_truncated_svd(problem: Problem) -> None:
    labels = torch.zeros_like(problem.labels)
    rows = WeightedRows.of(problem.points)
    result = run_em(rows, labels, EMPlan.even(1, problem.j), max_iterations=1, tolerance=0.0)
    points = problem.points.double()
    best = float((points - truncated_svd(points, problem.j)).square().sum())
    total = float(points.square().sum()) or 1.0
    assert result.cost_history == (pytest.approx(best / total, abs=problem.tolerance.energy),)


def weighted_problem(seed: int, k: int, j: int) -> tuple[Problem, Tensor]:
    """A planted problem with whole weights from 0 to 3, and those weights as counts."""
    points, _ = planted_rows(k, j, 8, rows_each=30, noise=0.1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    copies = torch.randint(0, 4, (len(points),), generator=generator)
    labels = torch.randint(k, (len(points),), generator=generator)
    return Problem(points=points, weights=copies.double(), labels=labels, k=k, j=j), copies


def assert_same_steps(
    one: Iterator[EMStep], other: Iterator[EMStep], rows: Tensor, compared: int
) -> None:
    """The other's rows are these rows of the one; steps are compared while all is determined."""
    for index, (first, second) in enumerate(zip(one, other, strict=False)):
        energies, (j, *_) = first.subspaces.energies, first.subspaces.dimensions
        gap = (energies[:, j - 1] - energies[:, j]) / energies.sum()
        if float(gap.min()) < 1e-6:
            assert index > 0
            return  # a part with too few rows: its last directions are free
        assert first.cost == pytest.approx(second.cost, abs=1e-12)
        assert torch.equal(first.labels[rows], second.labels)
        if first.refilled or second.refilled or index + 1 == compared:
            return  # a refill counts rows, and copies are more rows


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_a_weight_is_that_many_copies(seed: int, k: int, j: int) -> None:
    problem, copies = weighted_problem(seed, k, j)
    rows = torch.arange(len(copies)).repeat_interleave(copies)
    weighted = WeightedRows.of(problem.points, problem.weights)
    repeated = WeightedRows.of(problem.points[rows])
    assert weighted.energy == pytest.approx(repeated.energy, rel=1e-12)
    assert_same_steps(
        em_steps(weighted, problem.labels, problem.plan),
        em_steps(repeated, problem.labels[rows], problem.plan),
        rows,
        compared=4,
    )


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_rows_of_weight_zero_are_absent_from_every_step(seed: int, k: int, j: int) -> None:
    problem, copies = weighted_problem(seed, k, j)
    assert problem.weights is not None
    rows = copies.nonzero().squeeze(1)
    some = WeightedRows.of(problem.points[rows], problem.weights[rows])
    assert_same_steps(
        em_steps(WeightedRows.of(problem.points, problem.weights), problem.labels, problem.plan),
        em_steps(some, problem.labels[rows], problem.plan),
        rows,
        compared=4,
    )


@given(problems(most_rows=60))
@settings(max_examples=50, deadline=None)
def test_chunked_is_whole(problem: Problem) -> None:
    whole = steps_of(problem, 1)[0]
    with small_blocks():
        chunked = steps_of(problem, 1)[0]
    # Energies, not costs: where a part has fewer rows than j, its last directions are free, and
    # what they catch of the other rows is chance.
    energies = whole.subspaces.energies
    slack = problem.tolerance.energy * float(energies.sum())
    torch.testing.assert_close(chunked.subspaces.energies, energies, rtol=0, atol=slack)


@pytest.mark.parametrize(
    ("k", "j", "d", "noise"), [(3, 1, 3, 0.0), (3, 2, 10, 1e-3), (2, 3, 8, 0.0)]
)
def test_chunked_fit_gives_the_same_labels(k: int, j: int, d: int, noise: float) -> None:
    points, _ = planted_rows(k, j, d, rows_each=40, noise=noise, seed=5)
    rows = WeightedRows.of(points)
    first = torch.randint(k, (len(points),), generator=torch.Generator().manual_seed(0))
    whole = run_em(rows, first, EMPlan.even(k, j), max_iterations=20, tolerance=0.0)
    with small_blocks():
        chunked = run_em(rows, first, EMPlan.even(k, j), max_iterations=20, tolerance=0.0)
    assert torch.equal(chunked.labels, whole.labels)
    assert chunked.cost_history[-1] == pytest.approx(
        whole.cost_history[-1], abs=TOLERANCES[torch.float64].energy
    )


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_planted_subspaces_are_a_fixed_point(dtype: torch.dtype) -> None:
    points, truth = planted_rows(3, 2, 10, rows_each=50, seed=1)
    rows = WeightedRows.of(points.to(dtype))
    result = run_em(rows, truth, EMPlan.even(3, 2), max_iterations=10, tolerance=0.0)
    assert torch.equal(result.labels, truth)
    assert result.cost_history[-1] <= TOLERANCES[dtype].energy
    assert (
        run_em(
            WeightedRows.of(points.to(dtype)),
            torch.zeros_like(truth),
            EMPlan.even(1, 2),
            max_iterations=10,
            tolerance=0.0,
        ).cost_history[-1]
        > 0.1
    )  # one plane is far from enough: the planting is what is found


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_permuting_rows_permutes_labels(seed: int, k: int, j: int) -> None:
    points, _ = planted_rows(k, j, 8, rows_each=15, noise=0.1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(k, (len(points),), generator=generator)
    order = torch.randperm(len(points), generator=generator)
    plain, permuted = (
        run_em(WeightedRows.of(rows), labels, EMPlan.even(k, j), max_iterations=4, tolerance=0.0)
        for rows, labels in ((points, first), (points[order], first[order]))
    )
    assert torch.equal(permuted.labels, plain.labels[order])
    assert permuted.cost_history == pytest.approx(plain.cost_history, abs=1e-12)


@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_rotating_the_space_rotates_the_bases(seed: int, k: int, j: int) -> None:
    d = 8
    points, truth = planted_rows(k, j, d, rows_each=20, noise=0.01, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    plain, turned = (
        run_em(WeightedRows.of(rows), truth, EMPlan.even(k, j), max_iterations=4, tolerance=0.0)
        for rows in (points, points @ turn)
    )
    assert torch.equal(turned.labels, plain.labels)
    atol = TOLERANCES[torch.float64].spectral
    for before, after in zip(plain.subspaces.bases, turned.subspaces.bases, strict=True):
        projector = turn.T @ (before.T @ before) @ turn
        torch.testing.assert_close(after.T @ after, projector, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("k", [2, 3, 5])
def test_an_empty_cluster_is_refilled_reported_and_pays(k: int, dtype: torch.dtype) -> None:
    points, _ = planted_rows(k, 1, 4, rows_each=30, seed=k)
    # LAPACK's frame of a zero scatter is the identity, so an empty cluster starts out as the last
    # axis: a zero column makes it useless to every row.
    points = torch.nn.functional.pad(points, (0, 1)).to(dtype)
    labels = torch.zeros(len(points), dtype=torch.int64)
    first, second = islice(em_steps(WeightedRows.of(points), labels, EMPlan.even(k, 1)), 2)
    assert first.refilled == tuple(range(1, k))
    assert first.labels.tolist() == labels.tolist()
    assert second.cost < first.cost
    result = run_em(
        WeightedRows.of(points), labels, EMPlan.even(k, 1), max_iterations=40, tolerance=0.0
    )
    assert result.refilled >= k - 1
    assert result.labels.unique().tolist() == list(range(k))


def test_refill_gives_each_empty_cluster_its_own_worst_rows() -> None:
    residuals = torch.tensor([0.0, 5.0, 1.0, 4.0, 3.0, 2.0, 0.0, 0.0])
    labels, refilled = refill_empty(
        torch.zeros(8, dtype=torch.int64), residuals, WeightedRows.of(torch.ones(8, 9)), (1, 1, 1)
    )
    assert refilled == (1, 2)
    assert labels.tolist() == [0, 1, 0, 2, 0, 0, 0, 0]


def test_refill_goes_by_weighted_distance_and_sees_no_row_of_weight_zero() -> None:
    residuals = torch.tensor([1.0, 9.0, 2.0, 3.0])
    weights = torch.tensor([1.0, 0.0, 3.0, 1.0], dtype=torch.float64)
    rows = WeightedRows.of(torch.ones(4, 9), weights)
    labels, refilled = refill_empty(torch.tensor([0, 1, 0, 0]), residuals, rows, (1, 1))
    assert refilled == (1,)  # cluster 1 holds only a row of no weight
    assert labels.tolist() == [0, 1, 1, 0]


def test_rows_held_exactly_refill_nothing() -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    rounding = torch.tensor([0.0, 1e-7, 3e-7, 0.0])  # of rows of squared length 9
    same, refilled = refill_empty(labels, rounding, WeightedRows.of(torch.ones(4, 9)), (1, 1))
    assert refilled == ()
    assert torch.equal(same, labels)


def test_few_distinct_rows_settle_instead_of_refilling_rounding() -> None:
    points = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).repeat(50, 1)
    labels = torch.randint(8, (200,), generator=torch.Generator().manual_seed(0))
    result = run_em(
        WeightedRows.of(points), labels, EMPlan.even(8, 1), max_iterations=50, tolerance=1e-4
    )
    assert result.converged
    assert result.cost_history[-1] < 1e-6


@pytest.mark.parametrize("weighted", [False, True])
def test_heavy_rows_that_leave_a_cluster_leave_no_rounding_behind(weighted: bool) -> None:
    """Part 0 holds light rows and two giants, and each giant finds a better home in step 1.

    What the giants leave in a float32 sum (1e8 times 6e-8) would drown the light rows' own energy.
    """
    generator = torch.Generator().manual_seed(3)
    light = 0.05 * torch.randn(100, 6, generator=generator)
    light[:, 0] = 1.0
    directions = torch.zeros(4, 6)
    directions[:, 0] = 1.0
    directions[:, 1] = torch.tensor([0.5, -0.5, 0.5, -0.5])
    giants = directions if weighted else 1e4 * directions
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    points = torch.cat([light, giants]) @ turn
    weights = torch.cat([torch.ones(100), torch.full((4,), 1e8)]).double() if weighted else None
    labels = torch.cat([torch.zeros(102), torch.tensor([1.0, 2.0])]).long()

    first, second = islice(em_steps(WeightedRows.of(points, weights), labels, EMPlan.even(3, 1)), 2)
    assert first.labels.tolist() == [0] * 100 + [1, 2, 1, 2]  # the giants left, nothing else did
    expected = torch.linalg.svdvals(points[:100].double()).square()
    torch.testing.assert_close(second.subspaces.energies[0], expected, rtol=1e-4, atol=1e-4)


def test_a_settled_start_stops_and_says_so() -> None:
    points, truth = planted_rows(2, 1, 4, rows_each=30, noise=0.05, seed=0)
    rows = WeightedRows.of(points)
    settled = run_em(rows, truth, EMPlan.even(2, 1), max_iterations=50, tolerance=1e-4)
    assert settled.converged
    assert len(settled.cost_history) < 50
    cut = run_em(rows, truth, EMPlan.even(2, 1), max_iterations=1, tolerance=1e-4)
    assert not cut.converged
    assert len(cut.cost_history) == 1


def test_an_exception_of_the_observer_stops_the_run() -> None:
    points, truth = planted_rows(2, 1, 4, rows_each=10)
    seen: list[float] = []

    def stop(step: EMStep) -> None:
        seen.append(step.cost)
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        run_em(
            WeightedRows.of(points),
            truth,
            EMPlan.even(2, 1),
            max_iterations=9,
            tolerance=0.0,
            on_step=stop,
        )
    assert len(seen) == 1


@pytest.mark.parametrize("factor", [1e25, 1e-30])
def test_rows_that_cannot_be_squared_are_refused(factor: float) -> None:
    with pytest.raises(ParameterError, match=r"outside what torch\.float32 can hold; scale"):
        WeightedRows.of(torch.ones(3, 2) * factor)
    assert WeightedRows.of(torch.ones(3, 2).double() * factor).energy > 0


def test_rows_of_nothing_but_zeros_cost_nothing() -> None:
    problem = Problem(points=torch.zeros(6, 3), weights=None, labels=torch.arange(6) % 2, k=2, j=1)
    result = run(problem)
    assert result.cost_history[-1] == 0.0
    assert same_partition(result.labels, torch.zeros(6))
