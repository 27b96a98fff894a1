"""What is kept and lost: neighbours against brute force, summaries against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from engine import measures
from engine.errors import Cancelled, ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.measures import (
    nearest_neighbours,
    neighbour_overlap,
    relative_row_errors,
    row_norms,
    sample_rows,
    summarise_subspaces,
)
from engine.progress import Progress
from engine.projection import project_rows
from engine.rows import ShardedRows
from tests.engine.tables import gaussian

RECORD = FitRecord(method="messi", config={}, source="", versions={})
ENERGY = 6e-6  # float32: tests.tolerances


def brute_force_neighbours(matrix: Tensor, queries: Tensor, count: int) -> np.ndarray:
    rows = matrix.double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for query in queries.tolist():
        cosines = unit @ unit[query]
        order = [row for row in np.argsort(-cosines) if row != query]
        # A gap that float32 cannot blur, so that the order is one thing only.
        assert np.diff(cosines[order[: count + 1]]).max() < -1e-6
        found.append(order[:count])
    return np.array(found)


def spread_rows(n: int, d: int) -> Tensor:
    """Rows of many lengths, so that cosine and distance disagree."""
    return gaussian(n, d, seed=3) * torch.linspace(0.01, 50, n)[:, None]


def two_planes() -> tuple[Factorization, Tensor]:
    """Four rows on the first axis, three on the second, a third subspace empty; d = 3."""
    matrix = torch.tensor(
        [[1.0, 0, 0], [2, 0, 1], [3, 0, 0], [1, 0, 1], [0, 2, 0], [0, -4, 2], [0, 0, 0]]
    )
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    bases = tuple(torch.eye(3)[axis : axis + 1] for axis in range(3))
    record = FitRecord(method="messi", config={}, source="", versions={})
    return project_rows(matrix, labels, bases, record), matrix


@pytest.mark.parametrize("block", [1, 3, 256])
def test_neighbours_are_those_of_brute_force(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_QUERY_BLOCK", block)
    monkeypatch.setattr(measures, "_ROW_BLOCK", block)
    matrix, queries = spread_rows(40, 5), torch.tensor([0, 3, 7, 20, 39])
    found = nearest_neighbours(matrix, queries, count=6)
    np.testing.assert_array_equal(found.numpy(), brute_force_neighbours(matrix, queries, 6))


def test_neighbours_in_a_factorization_are_those_in_its_reconstruction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measures, "_ROW_BLOCK", 16)
    labels = torch.arange(100) % 3
    bases = tuple(torch.linalg.qr(gaussian(6, 4, seed=seed))[0].T for seed in range(3))
    plan = project_rows(gaussian(100, 6), labels, bases, RECORD)
    queries = torch.tensor([0, 50, 99])
    found = nearest_neighbours(plan, queries, count=9)
    np.testing.assert_array_equal(
        found.numpy(), brute_force_neighbours(plan.reconstruct(), queries, 9)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shards", [1, 3])
def test_rows_on_disk_measure_as_the_same_rows_in_float32(
    dtype: torch.dtype, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halves are measured in float32, and shards of any size as the one matrix they are."""
    monkeypatch.setattr(measures, "_ROW_BLOCK", 16)
    stored = gaussian(100, 6).to(dtype)
    matrix = ShardedRows(stored.tensor_split(shards))
    same = stored.float()
    labels = torch.arange(100) % 3
    bases = tuple(torch.linalg.qr(gaussian(6, 2, seed=seed))[0].T for seed in range(3))
    plan = project_rows(matrix, labels, bases, RECORD)

    assert torch.equal(plan.reconstruct(), project_rows(same, labels, bases, RECORD).reconstruct())
    residuals = plan.squared_residuals(matrix)
    assert torch.equal(residuals, plan.squared_residuals(same))
    assert plan.relative_error(matrix) == plan.relative_error(same)
    assert torch.equal(row_norms(matrix), row_norms(same))
    assert torch.equal(relative_row_errors(residuals, matrix), relative_row_errors(residuals, same))
    assert summarise_subspaces(plan, matrix) == summarise_subspaces(plan, same)
    queries = torch.arange(0, 100, 7)
    found = nearest_neighbours(matrix, queries, count=5)
    assert torch.equal(found, nearest_neighbours(same, queries, count=5))


def test_all_other_rows_can_be_asked_for() -> None:
    matrix, queries = spread_rows(8, 3), torch.arange(8)
    found = nearest_neighbours(matrix, queries, count=7)
    np.testing.assert_array_equal(found.numpy(), brute_force_neighbours(matrix, queries, 7))
    for row, others in enumerate(found.tolist()):
        assert sorted([row, *others]) == list(range(8))


@pytest.mark.parametrize("count", [-1, 0, 8, 100])
def test_neighbours_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ParameterError, match=f"between 1 and 7, got {count}"):
        nearest_neighbours(spread_rows(8, 3), torch.arange(8), count=count)


def test_neighbour_search_reports_to_its_end_and_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measures, "_ROW_BLOCK", 3)
    seen: list[Progress] = []
    nearest_neighbours(spread_rows(8, 3), torch.arange(8), count=2, progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(3, 8), (6, 8), (8, 8)]

    def cancel(progress: Progress) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        nearest_neighbours(spread_rows(8, 3), torch.arange(8), count=2, progress=cancel)


def test_overlap_by_hand() -> None:
    before = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]])
    after = torch.tensor([[4, 3, 2, 1], [9, 5, 10, 11], [1, 2, 9, 8]])
    found = neighbour_overlap(before, after, total_rows=30)
    assert found.mean == pytest.approx((1 + 0.25 + 0.5) / 3)
    deviations = [1 - found.mean, 0.25 - found.mean, 0.5 - found.mean]
    spread = (sum(value**2 for value in deviations) / 2) ** 0.5
    assert found.standard_error == pytest.approx(spread / 3**0.5)
    assert (found.count, found.queries, found.total_rows) == (4, 3, 30)


def test_overlap_of_one_row_has_no_spread() -> None:
    found = neighbour_overlap(torch.tensor([[1, 2]]), torch.tensor([[2, 5]]), total_rows=9)
    assert (found.mean, found.standard_error) == (0.5, 0.0)


def test_identical_matrices_keep_every_neighbour_duplicates_and_zeros_included() -> None:
    matrix = torch.cat([gaussian(20, 4), gaussian(20, 4), torch.zeros(5, 4)])
    queries = sample_rows(len(matrix), 30, seed=1)
    before, after = (nearest_neighbours(m, queries, count=5) for m in (matrix, matrix.clone()))
    assert neighbour_overlap(before, after, len(matrix)).mean == 1.0


def test_shuffled_rows_keep_few_neighbours() -> None:
    matrix, queries = gaussian(100, 6), torch.arange(100)
    before = nearest_neighbours(matrix, queries, count=5)
    after = nearest_neighbours(matrix.flip(0), queries, count=5)
    assert neighbour_overlap(before, after, 100).mean < 0.3


def test_sample_is_seeded_ascending_and_without_repetition() -> None:
    one, same, other = (sample_rows(1000, 50, seed) for seed in (4, 4, 5))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one) == 50
    assert bool((one.diff() > 0).all())
    assert torch.equal(sample_rows(7, 100, 0), torch.arange(7))
    assert len(sample_rows(7, 3, 2**70)) == 3  # numpy takes such a seed, so we do


def test_row_errors_are_relative_and_zero_for_rows_of_zeros() -> None:
    matrix = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    found = relative_row_errors(torch.tensor([5.0, 0.0, 1.0], dtype=torch.float64), matrix)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([0.2, 0.0, 1.0])


def test_summary_by_hand() -> None:
    factorization, matrix = two_planes()
    first, second, empty = summarise_subspaces(factorization, matrix, typical=2)
    assert [item.label for item in (first, second, empty)] == [0, 1, 2]
    assert (first.rows, second.rows, empty.rows) == (4, 3, 0)
    assert first.energy_kept == pytest.approx(15 / 17)
    assert second.energy_kept == pytest.approx(20 / 24)
    assert first.error_share == pytest.approx(2 / 6)
    assert second.error_share == pytest.approx(4 / 6)
    # Rows 0 and 2 point the same way; the mean direction leans to row 1 most of all.
    assert first.typical_rows[0] == 1
    assert (empty.energy_kept, empty.error_share, empty.typical_rows) == (0.0, 0.0, ())


def test_summaries_add_up_and_agree_with_the_definition() -> None:
    matrix = gaussian(200, 8)
    factorization = engine.factorize(matrix, k=4, j=3, n_init=1)
    summaries = summarise_subspaces(factorization, matrix, typical=5)
    assert sum(item.rows for item in summaries) == 200
    assert sum(item.error_share for item in summaries) == pytest.approx(1.0)
    rows, approximated = matrix.double(), factorization.reconstruct().double()
    for item in summaries:
        own = factorization.labels == item.label
        kept = 1 - (rows - approximated)[own].square().sum() / rows[own].square().sum()
        assert item.energy_kept == pytest.approx(float(kept), abs=ENERGY)
        assert item.dimension == 3
        assert len(item.typical_rows) == 5
        assert bool(own[list(item.typical_rows)].all())


def test_typical_rows_are_closest_to_the_mean_direction() -> None:
    matrix = gaussian(60, 4) + 1
    factorization = engine.factorize(matrix, k=1, j=2)
    unit = torch.nn.functional.normalize(matrix.double(), dim=1)
    expected = (unit @ unit.mean(dim=0)).argsort(descending=True)[:6]
    found = summarise_subspaces(factorization, matrix, typical=6)[0].typical_rows
    assert list(found) == expected.tolist()


def test_summary_of_an_exact_fit_and_of_nothing_but_zeros() -> None:
    (exact,) = summarise_subspaces(engine.factorize(gaussian(20, 4), k=1, j=4), gaussian(20, 4))
    assert exact.energy_kept == pytest.approx(1.0, abs=ENERGY)
    assert 0 <= exact.error_share <= 1
    zeros = torch.zeros(6, 4)
    for item in summarise_subspaces(engine.factorize(zeros, k=2, j=1, n_init=1), zeros):
        assert (item.energy_kept, item.error_share) == (0.0, 0.0)


def test_energy_kept_is_never_negative() -> None:
    # Rows at right angles to their subspace: rounding alone decides on which side of 0 it ends.
    angle = torch.tensor(0.3)
    basis = torch.stack([angle.cos(), angle.sin()])[None]
    record = FitRecord(method="svd", config={}, source="", versions={})
    for scale in (0.1, 0.3, 0.7, 1.1, 3.3, 7.7):
        matrix = scale * torch.stack([-angle.sin(), angle.cos()])[None]
        fit = project_rows(matrix, torch.zeros(1, dtype=torch.int64), (basis,), record)
        assert 0 <= summarise_subspaces(fit, matrix)[0].energy_kept < ENERGY


def test_summary_of_another_matrix_is_refused() -> None:
    factorization, matrix = two_planes()
    with pytest.raises(ShapeError, match=r"of a matrix \(7, 3\), got \(6, 3\)"):
        summarise_subspaces(factorization, matrix[:6])
