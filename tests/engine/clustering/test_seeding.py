"""First partitions: valid, repeatable, in bounded memory, and what their names promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clustering import seeding
from engine.clustering.em import EMPlan
from engine.clustering.seeding import (
    SEEDINGS,
    direction_kmeans,
    norm_quantiles,
    random_partition,
    split_worst,
)
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import Cancelled
from tests.engine.problems import Problem, planted_rows, problems, same_partition


def some_rows(n: int = 60, d: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SEEDINGS)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_every_seeding_gives_one_part_a_row_and_repeats(
    name: str, problem: Problem, seed: int
) -> None:
    before = torch.get_rng_state()
    kept = problem.points.clone()
    rows = WeightedRows.of(problem.points, problem.weights)
    labels = SEEDINGS[name](rows, problem.plan, seed)
    assert labels.shape == (len(problem.points),)
    assert labels.dtype == torch.int64
    assert 0 <= int(labels.min()) <= int(labels.max()) < problem.k
    assert torch.equal(SEEDINGS[name](rows, problem.plan, seed), labels)
    assert torch.equal(torch.get_rng_state(), before)  # no global random state is touched
    assert torch.equal(problem.points, kept)


@pytest.mark.parametrize("name", ["directions", "random"])
def test_another_seed_gives_another_partition(name: str) -> None:
    points = some_rows()
    rows, plan = WeightedRows.of(points), EMPlan.even(4, 2)
    first, second = (SEEDINGS[name](rows, plan, seed) for seed in (0, 1))
    assert not same_partition(first, second)


def test_random_uses_every_part() -> None:
    counts = random_partition(some_rows(4000), 4, 0).bincount(minlength=4)
    # Binomial(4000, 1/4): 6 standard deviations are 164.
    assert all(abs(count - 1000) < 164 for count in counts.tolist())


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_norms_are_cut_into_equal_parts_shortest_first(n: int, k: int, seed: int) -> None:
    k = min(k, n)
    points = some_rows(n, 3, seed)
    labels = norm_quantiles(points, k, 0)
    counts = labels.bincount(minlength=k)
    assert int(counts.max()) - int(counts.min()) <= 1
    norms = points.norm(dim=1)
    for part in range(k - 1):
        assert float(norms[labels == part].max()) <= float(norms[labels == part + 1].min())


def test_directions_find_bundles_whatever_their_lengths_and_common_mean() -> None:
    generator = torch.Generator().manual_seed(2)
    truth = torch.randint(3, (120,), generator=generator)
    lengths = 10 ** (2 * torch.rand(120, 1, generator=generator))
    rows = torch.eye(4)[truth] + 0.02 * torch.randn(120, 4, generator=generator)
    rows = rows - rows.mean(dim=0)
    points = rows * lengths
    points = points - points.mean(dim=0)  # the mean of the lengthened rows, which must not matter
    plain = direction_kmeans(points, 3, 0)
    shifted = direction_kmeans(points + 50 * torch.ones(4), 3, 0)
    assert same_partition(plain, shifted)
    agreement = max(
        int((plain == torch.tensor(order)[truth]).sum())
        for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    )
    assert agreement >= 108  # nine of ten; the short rows lie near the mean


def test_chunked_directions_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    points = some_rows()
    whole = direction_kmeans(points, 4, 0)
    monkeypatch.setattr(seeding, "CHUNK_ROWS", 7)
    assert torch.equal(direction_kmeans(points, 4, 0), whole)


def test_directions_of_more_rows_than_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "_SAMPLE_ROWS", 20)
    labels = direction_kmeans(some_rows(200), 4, 0)
    assert labels.bincount(minlength=4).min() > 0


def test_fewer_directions_than_parts_is_no_warning() -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(5, 1)
    assert len(set(direction_kmeans(points, 4, 0).tolist())) == 2


@given(problem=problems(), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_a_split_touches_one_cluster_and_fills_the_new_one_from_it(
    problem: Problem, seed: int
) -> None:
    lost = torch.rand(problem.k, generator=torch.Generator().manual_seed(seed))
    after = split_worst(problem.points, problem.labels, lost, problem.k, seed)
    changed = after != problem.labels
    assert bool((after[changed] == problem.k).all())
    assert len(problem.labels[changed].unique()) <= 1
    sizes = problem.labels.bincount(minlength=problem.k)
    splittable = (sizes > 1).nonzero().squeeze(1)
    if bool(changed.any()):
        worst = int(problem.labels[changed][0])
        assert float(lost[worst]) == float(lost[splittable].max())
        assert int((after == worst).sum()) > 0  # a half, not the whole


@pytest.mark.parametrize("seed", range(3))
def test_splits_grow_one_part_for_each_planted_line(seed: int) -> None:
    points, truth = planted_rows(4, 1, 12, rows_each=60, noise=0.01, seed=seed)
    labels = SEEDINGS["splits"](WeightedRows.of(points), EMPlan.even(4, 1), seed)
    together = (labels[:, None] == labels) == (truth[:, None] == truth)
    assert float(together.double().mean()) > 0.8  # EM mends the rest
    drawn = SEEDINGS["random"](WeightedRows.of(points), EMPlan.even(4, 1), seed)
    apart = (drawn[:, None] == drawn) == (truth[:, None] == truth)
    assert float(apart.double().mean()) < 0.7


def test_splits_tell_each_part_and_may_be_stopped_at_any() -> None:
    rows, plan = WeightedRows.of(some_rows(400, 6)), EMPlan.even(5, 2)
    parts: list[int] = []
    SEEDINGS["splits"](rows, plan, 0, parts.append)
    assert parts == [1, 2, 3, 4]

    def stop(parts: int) -> None:
        if parts == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        SEEDINGS["splits"](rows, plan, 0, stop)
