"""How far a map can be trusted: scikit-learn's figure, brute force, and what must be 0 or 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness
from torch import Tensor
from torch.nn.functional import normalize

import engine
from engine import trust
from engine.errors import Cancelled, EngineError, ParameterError, ShapeError
from engine.measures import nearest_neighbours, neighbour_overlap, sample_rows
from engine.progress import Progress
from engine.rows import ShardedRows
from engine.trust import (
    false_neighbours,
    kept_neighbours,
    map_trust,
    neighbour_table,
)
from tests.engine.tables import gaussian


@given(
    seed=st.integers(0, 1000),
    n=st.integers(5, 60),
    share=st.floats(0, 1),
    noise=st.sampled_from([0.0, 0.3, 3.0]),
)
def test_of_all_rows_it_is_the_figure_of_scikit_learn(
    seed: int, n: int, share: float, noise: float
) -> None:
    neighbours = 1 + int(share * ((n - 1) // 2 - 1))
    matrix = gaussian(n, 5, seed).double()
    layout = matrix[:, :2] + noise * gaussian(n, 2, seed + 1)
    found = map_trust(matrix, layout, neighbours=neighbours)
    rows, places = normalize(matrix, dim=1).numpy(), layout.numpy()
    # Sums of whole numbers: equal but for the last division.
    for value, (one, other) in (
        (found.trustworthiness, (rows, places)),
        (found.continuity, (places, rows)),
    ):
        expected = trustworthiness(one, other, n_neighbors=neighbours)
        assert value == pytest.approx(float(expected), abs=1e-12)
    assert (found.queries, found.total_rows, found.neighbours) == (n, n, neighbours)


def test_a_map_of_everything_is_right_and_a_random_one_is_not() -> None:
    matrix = gaussian(200, 3)
    same = map_trust(matrix, normalize(matrix, dim=1) * 7 + 2, neighbours=5)
    assert (same.trustworthiness, same.continuity) == (1.0, 1.0)
    random = map_trust(matrix, gaussian(200, 2, seed=9), neighbours=5)
    # Ranks are even among 200: mean (n − K) / 2 too far of (2n − 3K − 1) / 2 at most
    assert random.trustworthiness == pytest.approx(0.5, abs=0.05)
    assert random.continuity == pytest.approx(0.5, abs=0.05)


def test_a_sample_comes_close_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(600, 6)
    layout = matrix[:, :2]
    whole = map_trust(matrix, layout, neighbours=10)
    some = map_trust(matrix, layout, neighbours=10, queries=200, seed=3)
    assert some.queries == 200
    assert some.trustworthiness == pytest.approx(whole.trustworthiness, abs=0.03)
    assert some != map_trust(matrix, layout, neighbours=10, queries=200, seed=4)
    monkeypatch.setattr(trust, "_DISTANCES", 600 * 20)
    assert map_trust(matrix, layout, neighbours=10) == whole
    shards = ShardedRows(matrix.half().tensor_split(3))
    assert map_trust(shards, layout) == map_trust(matrix.half().float(), layout)


def test_rows_in_one_place_have_no_false_neighbours() -> None:
    equal = torch.ones(40, 4)
    assert map_trust(equal, gaussian(40, 2), neighbours=5).trustworthiness == 1.0
    assert map_trust(gaussian(40, 4), torch.zeros(40, 2), neighbours=5).continuity == 1.0


@pytest.mark.parametrize("neighbours", [0, 5, 10])
def test_neighbours_out_of_range_are_refused(neighbours: int) -> None:
    with pytest.raises(ParameterError, match="at least 1 and below half of the 10 rows"):
        map_trust(gaussian(10, 3), gaussian(10, 2), neighbours=neighbours)


def test_the_table_is_every_row_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_QUERY_ROWS", 7)
    matrix = gaussian(50, 6)
    found = neighbour_table(matrix, count=4)
    assert found.dtype == torch.int32
    assert torch.equal(found.long(), nearest_neighbours(matrix, torch.arange(50), count=4))
    assert neighbour_table(matrix[:3], count=15).shape == (3, 2)


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "MOST_ROWS", 20)
    with pytest.raises(EngineError, match="tables of up to 20 rows, this one has 21; ask for"):
        neighbour_table(gaussian(21, 3))


def brute_force_false(table: Tensor, layout: Tensor) -> list[float]:
    distances = torch.cdist(layout.double(), layout.double()).fill_diagonal_(torch.inf)
    drawn = distances.argsort(dim=1)[:, : table.shape[1]]
    return [
        1 - np.isin(near, true).mean()
        for near, true in zip(drawn.numpy(), table.numpy(), strict=True)
    ]


@given(seed=st.integers(0, 1000), count=st.integers(1, 9))
def test_false_neighbours_are_those_of_brute_force(seed: int, count: int) -> None:
    matrix = gaussian(30, 4, seed)
    layout = matrix[:, :2] + gaussian(30, 2, seed + 1)
    table = neighbour_table(matrix, count=count)
    found = false_neighbours(table, layout)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(brute_force_false(table, layout), abs=1e-6)


def test_a_row_is_never_its_own_neighbour_even_where_many_lie_in_one_place() -> None:
    matrix = normalize(gaussian(30, 2), dim=1)
    table = neighbour_table(matrix, count=29)
    assert false_neighbours(table, torch.zeros(30, 2)).tolist() == [0.0] * 30
    table = neighbour_table(matrix, count=3)
    on_a_circle = false_neighbours(table, matrix)  # where cosine and distance agree
    assert on_a_circle.tolist() == [0.0] * 30


@given(seed=st.integers(0, 1000))
def test_kept_neighbours_are_the_overlap_row_by_row(seed: int) -> None:
    matrix = gaussian(40, 6, seed)
    plan = engine.factorize(matrix, k=2, j=3, n_init=1)
    table = neighbour_table(matrix, count=5)
    kept = kept_neighbours(table, plan)
    rows = torch.arange(40)
    overlap = neighbour_overlap(table, nearest_neighbours(plan, rows, count=5), 40)
    assert float(kept.mean()) == pytest.approx(overlap.mean, abs=1e-6)
    exact = engine.factorize(matrix, k=1, j=6)
    assert float(kept_neighbours(table, exact).mean()) > 0.99


def test_reports_rise_to_the_end_and_can_cancel() -> None:
    matrix = gaussian(3000, 4)
    seen: list[Progress] = []
    neighbour_table(matrix, count=3, progress=seen.append)
    map_trust(matrix, matrix[:, :2], queries=100, progress=seen.append)
    for phase in ("Neighbours in the table", "Testing the map"):
        steps = [step for step in seen if step.phase == phase]
        assert [step.done for step in steps] == sorted(step.done for step in steps)
        assert steps[-1].done == steps[-1].total

    def cancel(step: Progress) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        neighbour_table(matrix, progress=cancel)
    with pytest.raises(Cancelled, match="enough"):
        map_trust(matrix, matrix[:, :2], progress=cancel)


def test_other_rows_are_refused() -> None:
    table = neighbour_table(gaussian(12, 3), count=4)
    with pytest.raises(ShapeError, match="12 rows need as many places on the map, got 11"):
        map_trust(gaussian(12, 3), gaussian(11, 2), neighbours=3)
    with pytest.raises(ShapeError, match="12 rows need as many places on the map, got 11"):
        false_neighbours(table, gaussian(11, 2))
    with pytest.raises(ShapeError, match="12 rows with neighbours, but 11 approximated"):
        kept_neighbours(table, engine.factorize(gaussian(11, 3), k=1, j=1))


def test_samples_are_those_of_the_seed() -> None:
    """What a sampled figure means: the rows that `sample_rows` draws, asked one by one."""
    matrix, layout = gaussian(80, 4), gaussian(80, 2)
    rows = sample_rows(80, 10, 5)
    unit = normalize(matrix.double(), dim=1)
    true = -unit @ unit.T
    drawn = torch.cdist(layout.double(), layout.double())
    too_far = 0
    for row in rows.tolist():
        others = [other for other in range(80) if other != row]
        rank = {
            other: place for place, other in enumerate(sorted(others, key=true[row].__getitem__), 1)
        }
        for near in sorted(others, key=drawn[row].__getitem__)[:6]:
            too_far += max(0, rank[near] - 6)
    expected = 1 - 2 * too_far / (10 * 6 * (2 * 80 - 3 * 6 - 1))
    found = map_trust(matrix, layout, neighbours=6, queries=10, seed=5)
    assert found.trustworthiness == pytest.approx(expected, abs=1e-12)
