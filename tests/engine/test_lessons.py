"""The lessons' examples show what is said of them, and their half-steps are EM's own."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import factorize, lessons
from engine.budget import parameters
from engine.clustering.em import EMPlan, run_em
from engine.clustering.losses import parse_loss
from engine.clustering.seeding import random_partition
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError

ROUNDING = 1e-12  # of float64 sums over some hundred rows


@given(st.integers(0, 2**31 - 1), st.integers(1, 5), st.integers(1, 3), st.integers(8, 60))
def test_half_steps_never_raise_the_cost(seed: int, k: int, j: int, n: int) -> None:
    points = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    trace = lessons.trace_random_start(points, EMPlan.even(k, j), seed)
    for before, after in pairwise(trace[1:]):
        assert before.cost is not None
        assert after.cost is not None
        refilled = after.phase == "refit" and not torch.equal(before.labels, after.labels)
        # Rows given to an empty subspace are held by it, up to those its dimensions have no room
        # for: only there may the cost of a refit not compare with what was before.
        assert refilled or after.cost <= before.cost + ROUNDING


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_half_steps_are_what_they_say(seed: int, k: int) -> None:
    points = lessons.lines_in_plane(8, seed=seed)
    trace = lessons.trace_random_start(points, EMPlan.even(k, 1), seed)
    assert [step.phase for step in trace] == ["start", *["refit", "assign"] * (len(trace) // 2)]
    energy = float(points.square().sum())
    for before, step in pairwise(trace):
        assert step.subspaces is not None
        distances = step.subspaces.squared_residuals(points)
        if step.phase == "assign":
            assert torch.equal(step.labels, distances.argmin(dim=1))
            assert step.moved == int((step.labels != before.labels).sum())
        own = float(distances.gather(1, step.labels[:, None]).sum())
        assert step.cost == pytest.approx(own / energy, abs=ROUNDING)
    assert trace[-1].moved == 0


@given(st.integers(0, 2**31 - 1))
def test_a_trace_ends_where_em_ends(seed: int) -> None:
    points, plan = lessons.lines_in_plane(seed=1), EMPlan.even(4, 1)
    trace = lessons.trace_random_start(points, plan, seed)
    start = random_partition(points, 4, seed)
    result = run_em(WeightedRows.of(points), start, plan, max_iterations=40, tolerance=0.0)
    assert trace[-1].cost == pytest.approx(result.cost_history[-1], abs=ROUNDING)


def test_half_steps_of_another_objective_are_refused() -> None:
    plan = EMPlan(allocation=EMPlan.even(2, 1).allocation, loss=parse_loss("l1"))
    with pytest.raises(ParameterError, match="squared loss alone"):
        lessons.trace_random_start(lessons.lines_in_plane(), plan, 0)


def test_the_plane_fails_where_three_lines_do_not() -> None:
    """The paper's example: 246 numbers against 129."""
    points = lessons.lines_in_space()
    assert (parameters(120, 3, 1, 2), parameters(120, 3, 3, 1)) == (246, 129)
    plane, lines = (
        lessons.trace_random_start(points, EMPlan.even(k, j), 0)[-1].cost
        for k, j in ((1, 2), (3, 1))
    )
    assert plane is not None
    assert lines is not None
    assert lines < 0.05 < 0.15 < plane


def test_some_of_twenty_starts_get_stuck_and_some_do_not() -> None:
    costs = [
        float(
            lessons.trace_random_start(lessons.lines_in_plane(), EMPlan.even(4, 1), seed)[-1].cost
            or 0
        )
        for seed in range(20)
    ]
    stuck = sum(cost > 3 * min(costs) for cost in costs)
    assert 3 <= stuck <= 17
    assert costs[0] > 3 * min(costs), "the page opens on one that gets stuck"


@pytest.mark.parametrize("loss", ["l1", "huber", "tukey"])
def test_outliers_turn_the_squared_line_and_no_robust_one(loss: str) -> None:
    points = lessons.line_with_outliers()
    assert abs(lessons.angle_of(lessons.best_line(points)) - 20) > 15
    assert abs(lessons.angle_of(lessons.best_line(points, loss)) - 20) < 2


@given(st.floats(0, 179.9))
def test_angles_come_back(degrees: float) -> None:
    found = lessons.angle_of(-lessons.line_at(degrees))
    assert min(abs(found - degrees), 180 - abs(found - degrees)) < 1e-9


def test_the_best_angle_is_the_svds() -> None:
    points = lessons.cloud_in_plane()
    degrees = torch.arange(0.0, 180.0, 0.25)
    costs = lessons.cost_by_angle(points, degrees)
    best = float(degrees[costs.argmin()])
    assert best == pytest.approx(lessons.angle_of(lessons.best_line(points)), abs=0.25)
    svd = factorize(points, method="messi", k=1, j=1)
    assert float(costs.min()) == pytest.approx(svd.relative_error(points), rel=1e-3)


def test_clusters_narrower_than_their_directions_are_refused() -> None:
    with pytest.raises(ParameterError, match="needs 10 directions, got a width of 9"):
        lessons.uneven_clusters(width=9)


@pytest.mark.parametrize("start", ["directions", "random"])
def test_a_sample_is_followed_beside_the_svd_of_its_size(start: lessons.Start) -> None:
    matrix = torch.randn(300, 24, generator=torch.Generator().manual_seed(3))
    trace = lessons.trace_sample(matrix, k=3, rate=0.5, start=start, seed=1)
    assert torch.equal(trace.rows, torch.arange(300)), "a small table is taken whole"
    assert trace.labels.shape == (len(trace.costs), 300)
    assert trace.layout.shape == (300, 2)
    assert parameters(300, 24, 3, trace.j) <= 0.5 * 300 * 24
    svd = torch.linalg.svdvals(matrix.double()).square()
    # The trace computes in the table's float32.
    assert trace.svd_cost == pytest.approx(float(svd[trace.rank :].sum() / svd.sum()), rel=1e-4)


def test_a_sample_is_drawn_from_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "SAMPLE_ROWS", 100)
    matrix = torch.randn(500, 8, generator=torch.Generator().manual_seed(3))
    trace = lessons.trace_sample(matrix, k=2, rate=0.4)
    assert len(trace.rows.unique()) == 100
    assert torch.equal(trace.rows, trace.rows.sort().values)
    again = lessons.trace_sample(matrix, k=2, rate=0.4)
    assert torch.equal(trace.labels, again.labels)


def test_a_rate_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="rate"):
        lessons.trace_sample(torch.randn(20, 16), k=8, rate=0.9)
