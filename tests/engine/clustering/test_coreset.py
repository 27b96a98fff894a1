"""The sample: right on average for every set of subspaces, and the same on any machines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.clustering.allocation import OptimalDimensions, spread_evenly
from engine.clustering.coreset import coreset, uniform_sample
from engine.clustering.em import EMPlan, run_em
from engine.clustering.losses import parse_loss
from engine.clustering.weighted_rows import WeightedRows
from tests.engine.problems import distances_to_bases, planted_rows

N, D, K, J = 600, 6, 3, 2
PLANS = {
    "plain": EMPlan.even(K, J),
    "affine": EMPlan(allocation=spread_evenly(K, J), affine=True),
    "l1": EMPlan(allocation=spread_evenly(K, J), loss=parse_loss("l1:0.01")),
    "tukey": EMPlan(allocation=spread_evenly(K, J), loss=parse_loss("tukey:1")),
    "optimal": EMPlan(allocation=OptimalDimensions(k=K, budget=N)),
}


def uneven_rows(weighted: bool = False) -> WeightedRows:
    """Rows on three planes, a dozen of them far off and long: a uniform sample misses those."""
    points, _ = planted_rows(K, J, D, rows_each=N // K, noise=0.05, seed=1)
    generator = torch.Generator().manual_seed(2)
    points[:12] += 6 * torch.randn(12, D, generator=generator, dtype=torch.float64)
    weights = torch.randint(1, 5, (N,), generator=generator).double() if weighted else None
    return WeightedRows.of(points, weights)


def some_subspaces(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(K, D, D, generator=generator, dtype=torch.float64)
    return tuple(torch.linalg.qr(frames).Q[:, :J])


def cost(rows: WeightedRows, bases: tuple[Tensor, ...], plan: EMPlan) -> float:
    assert isinstance(rows.points, Tensor)
    nearest = distances_to_bases(rows.points, bases).min(dim=1).values
    weights = torch.ones_like(nearest) if rows.weights is None else rows.weights
    return float(weights @ plan.loss.value(nearest))


def draws(rows: WeightedRows, plan: EMPlan, size: int, count: int) -> list[WeightedRows]:
    return [coreset(rows, size, plan, seed) for seed in range(0, 2 * count, 2)]


def assert_mean(values: list[float], expected: float) -> None:
    """Within four standard errors: one test in 15,000 would fail by chance, and seeds are fixed."""
    seen = torch.tensor(values, dtype=torch.float64)
    error = float(seen.std()) / len(values) ** 0.5
    assert abs(float(seen.mean()) - expected) < 4 * error
    assert error < 0.1 * expected  # or the bound would say nothing


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", PLANS)
def test_every_cost_is_right_on_average_and_so_is_the_number_of_rows(
    name: str, weighted: bool
) -> None:
    rows, plan, size = uneven_rows(weighted), PLANS[name], 120
    samples = draws(rows, plan, size, 60)
    for seed in range(3):
        bases = some_subspaces(seed)
        assert_mean([cost(sample, bases, plan) for sample in samples], cost(rows, bases, plan))
    assert_mean([sample.table_rows for sample in samples], N)
    # Poisson sampling: a size varies by less than its root. The far dozen alone would take half of
    # it, but each is drawn once at most, and the rest goes to the others.
    sizes = [len(sample.points) for sample in samples]
    assert 0.95 * size <= sum(sizes) / len(sizes) <= 1.05 * size
    assert all(abs(drawn - size) <= 4 * size**0.5 for drawn in sizes)
    # Without what each row stands for, the same rows cost something else.
    bases = some_subspaces(0)
    bare = [cost(replace(sample, weights=None), bases, plan) for sample in samples]
    with pytest.raises(AssertionError):
        assert_mean(bare, cost(rows, bases, plan))


def test_it_is_closer_than_a_uniform_sample_of_the_same_size() -> None:
    rows, plan, size = uneven_rows(), PLANS["plain"], 120
    bases = some_subspaces(0)
    drawn, uniform = (
        torch.tensor([cost(sample, bases, plan) for sample in samples])
        for samples in (
            draws(rows, plan, size, 40),
            [uniform_sample(rows, size, seed) for seed in range(40)],
        )
    )
    assert float(drawn.std()) < float(uniform.std()) / 2


def test_a_row_far_from_every_subspace_is_hardly_ever_missed() -> None:
    """Nothing but its loss tells it apart: along the subspaces it has no length."""
    points, _ = planted_rows(K, J, D, rows_each=N // K, noise=0.01, seed=1)
    points[:, -1] = 0
    points[7] = 0
    points[7, -1] = 20
    seen = [coreset(WeightedRows.of(points), 60, PLANS["plain"], 2 * seed) for seed in range(20)]
    drawn = [bool((torch.as_tensor(sample.points)[:, -1] == 20).any()) for sample in seen]
    assert sum(drawn) >= 17  # a pilot that drew it (one in ten) may take it for ten rows


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=20, deadline=None)
def test_weights_are_those_of_the_rows_times_what_they_stand_for(seed: int, weighted: bool) -> None:
    rows = uneven_rows(weighted)
    sample = coreset(rows, 100, PLANS["plain"], seed)
    assert isinstance(rows.points, Tensor)
    assert isinstance(sample.points, Tensor)
    assert sample.weights is not None
    assert sample.stands_for is not None
    same = (sample.points[:, None] == rows.points).all(dim=2)
    assert same.any(dim=1).all()
    found = same.double().argmax(dim=1)
    assert bool((found[1:] > found[:-1]).all())  # in their order, none twice
    own = torch.ones(len(found)) if rows.weights is None else rows.weights[found]
    torch.testing.assert_close(sample.weights, own * sample.stands_for)
    assert float(sample.stands_for.min()) >= 1


@pytest.mark.parametrize("size", [N, N + 1, 10 * N])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_size_of_all_rows_is_all_rows(size: int, weighted: bool) -> None:
    rows = uneven_rows(weighted)
    sample = coreset(rows, size, PLANS["plain"], 0)
    assert isinstance(sample.points, Tensor)
    assert isinstance(rows.points, Tensor)
    assert torch.equal(sample.points, rows.points)
    assert sample.stands_for is not None
    assert bool((sample.stands_for == 1).all())
    assert sample.energy == pytest.approx(rows.energy)


def test_rows_of_no_weight_are_not_drawn() -> None:
    rows = uneven_rows()
    weights = (torch.arange(N) % 2).double()
    sample = coreset(WeightedRows.of(rows.points, weights), 100, PLANS["plain"], 0)
    assert sample.weights is not None
    assert float(sample.weights.min()) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_sample_is_in_memory_in_the_dtype_of_the_computation(dtype: torch.dtype) -> None:
    rows = uneven_rows()
    assert isinstance(rows.points, Tensor)
    sample = coreset(WeightedRows.of(rows.points.to(dtype)), 100, PLANS["plain"], 0)
    assert sample.points.dtype == torch.float32


class ThreadGroup:
    """Processes played by threads: they wait for each other at every call."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._barrier = threading.Barrier(size)
        self._given: list[list[Tensor]] = [[] for _ in range(size)]
        self._local = threading.local()

    @property
    def rank(self) -> int:
        return int(self._local.rank)

    def run(self, work: Callable[[int], object]) -> list[object]:
        results: list[object] = [None] * self.size

        def start(rank: int) -> None:
            self._local.rank = rank
            try:
                results[rank] = work(rank)
            except BaseException:
                self._barrier.abort()
                raise

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def _exchange(self, parts: list[Tensor]) -> list[list[Tensor]]:
        self._given[self.rank] = [part.clone() for part in parts]
        self._barrier.wait()
        everyone = [list(given) for given in self._given]
        self._barrier.wait()
        return everyone

    def add_up(self, parts: Iterable[Tensor]) -> None:
        own = list(parts)
        for part, *all_of_it in zip(own, *self._exchange(own), strict=True):
            part.copy_(torch.stack(all_of_it).sum(dim=0))

    def gather(self, part: Tensor) -> list[Tensor]:
        return [given[0] for given in self._exchange([part])]

    def share(self, parts: Iterable[Tensor]) -> None:
        own = list(parts)
        for part, first in zip(own, self._exchange(own)[0], strict=True):
            part.copy_(first)


def split_over(rows: WeightedRows, cuts: tuple[int, ...], group: ThreadGroup) -> WeightedRows:
    """This thread's rows."""
    edges = (0, *cuts, N)
    own = slice(edges[group.rank], edges[group.rank + 1])
    weights = None if rows.weights is None else rows.weights[own]
    return WeightedRows.of(rows.points[own], weights, group=group)


@pytest.mark.parametrize("cuts", [(300,), (10,), (600,), (150, 400)])
@pytest.mark.parametrize("name", PLANS)
def test_the_draw_does_not_depend_on_how_rows_are_spread(name: str, cuts: tuple[int, ...]) -> None:
    rows, plan = uneven_rows(weighted=True), PLANS[name]
    whole = coreset(rows, 120, plan, 5)
    group = ThreadGroup(len(cuts) + 1)
    parts = group.run(lambda _: coreset(split_over(rows, cuts, group), 120, plan, 5))
    for part in parts:
        assert isinstance(part, WeightedRows)
        assert torch.equal(torch.as_tensor(part.points), torch.as_tensor(whole.points))
        torch.testing.assert_close(part.weights, whole.weights, rtol=1e-9, atol=0)
        torch.testing.assert_close(part.stands_for, whole.stands_for, rtol=1e-9, atol=0)


@pytest.mark.parametrize("cuts", [(300,), (10,), (150, 400)])
@pytest.mark.parametrize("name", PLANS)
def test_steps_do_not_depend_on_how_rows_are_spread(name: str, cuts: tuple[int, ...]) -> None:
    rows, plan = uneven_rows(weighted=True), PLANS[name]
    first = torch.arange(N) % K
    whole = run_em(rows, first, plan, max_iterations=6, tolerance=0.0)
    group = ThreadGroup(len(cuts) + 1)
    edges = (0, *cuts, N)

    def fit(rank: int) -> object:
        own = first[edges[rank] : edges[rank + 1]]
        return run_em(split_over(rows, cuts, group), own, plan, max_iterations=6, tolerance=0.0)

    parts = group.run(fit)
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)  # type: ignore[attr-defined]
    for part in parts:
        assert part.cost_history == pytest.approx(whole.cost_history, abs=1e-12)  # type: ignore[attr-defined]
        assert part.subspaces.dimensions == whole.subspaces.dimensions  # type: ignore[attr-defined]
