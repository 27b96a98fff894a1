"""The k scatter matrices: sums of parts are sums of the whole, however they are added up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.clustering import statistics
from engine.clustering.statistics import ScatterStatistics
from engine.errors import ShapeError
from tests.engine.problems import Problem, problems

SMALL_CHUNK = 7


def counted(problem: Problem, labels: Tensor | None = None) -> ScatterStatistics:
    sums = ScatterStatistics(problem.k, problem.points.shape[1])
    sums.update(problem.points, problem.labels if labels is None else labels, problem.weights)
    return sums


def assert_same(one: ScatterStatistics, other: ScatterStatistics, problem: Problem) -> None:
    energy = float(other.energies().sum())
    slack = problem.tolerance.energy * energy
    torch.testing.assert_close(one.scatter, other.scatter, rtol=0, atol=slack)
    torch.testing.assert_close(one.weights, other.weights, rtol=1e-14, atol=0)
    assert torch.equal(one.counts, other.counts)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_sums_are_those_of_the_definition(problem: Problem) -> None:
    sums = counted(problem)
    weights = torch.ones(len(problem.points)) if problem.weights is None else problem.weights
    expected = ScatterStatistics(problem.k, problem.points.shape[1])
    for row, label, weight in zip(
        problem.points.double(), problem.labels.tolist(), weights.tolist(), strict=True
    ):
        expected.scatter[label] += weight * torch.outer(row, row)
        expected.weights[label] += weight
        expected.counts[label] += 1
    assert_same(sums, expected, problem)
    traces = torch.stack([scatter.trace() for scatter in sums.scatter])
    torch.testing.assert_close(sums.energies(), traces)


@given(problems(), st.sampled_from([1, 2, 16]))
@settings(max_examples=50, deadline=None)
def test_chunked_is_whole(problem: Problem, sorted_chunks: int) -> None:
    whole = counted(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "CHUNK_ROWS", SMALL_CHUNK)
        patch.setattr(statistics, "_SORTED_CHUNKS", sorted_chunks)
        chunked = counted(problem)
    assert_same(chunked, whole, problem)


@given(problems(), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_merged_halves_are_the_whole(problem: Problem, share: float) -> None:
    cut = int(share * len(problem.points))
    merged = ScatterStatistics(problem.k, problem.points.shape[1])
    for part in (slice(0, cut), slice(cut, None)):
        half = ScatterStatistics(problem.k, problem.points.shape[1])
        weights = None if problem.weights is None else problem.weights[part]
        half.update(problem.points[part], problem.labels[part], weights)
        merged.merge(half)
    assert_same(merged, counted(problem), problem)


@given(problems(), st.integers(0, 2**31), st.sampled_from([SMALL_CHUNK, 4096]))
@settings(max_examples=60, deadline=None)
def test_moving_rows_is_counting_again(problem: Problem, seed: int, chunk: int) -> None:
    new = torch.randint(
        problem.k, problem.labels.shape, generator=torch.Generator().manual_seed(seed)
    )
    moved = counted(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "CHUNK_ROWS", chunk)
        moved.move(problem.points, problem.labels, new, problem.weights)
    assert_same(moved, counted(problem, new), problem)


@given(problems(weighted=True))
@settings(max_examples=50, deadline=None)
def test_a_weight_is_that_many_copies_and_zero_is_none(problem: Problem) -> None:
    assert problem.weights is not None
    copies = problem.weights.long()
    repeated = ScatterStatistics(problem.k, problem.points.shape[1])
    repeated.update(
        problem.points.repeat_interleave(copies, dim=0), problem.labels.repeat_interleave(copies)
    )
    weighted = counted(problem)
    weighted.counts = repeated.counts  # rows, not copies: the one sum that weights do not touch
    assert_same(weighted, repeated, problem)


@pytest.mark.parametrize(
    ("points", "labels", "weights", "message"),
    [
        ((4, 3), 4, None, r"rows \(4, 3\) need width 2"),
        ((4, 2), 3, None, r"as many labels and weights, got \[3, 4\]"),
        ((4, 2), 4, 5, r"as many labels and weights, got \[4, 5\]"),
    ],
)
def test_what_does_not_fit_is_refused(
    points: tuple[int, int], labels: int, weights: int | None, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        ScatterStatistics(2, 2).update(
            torch.ones(points),
            torch.zeros(labels, dtype=torch.int64),
            None if weights is None else torch.ones(weights),
        )
