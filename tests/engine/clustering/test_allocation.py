"""Dimensions: as given, or bought within a budget that is never exceeded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine.clustering.allocation import (
    Choice,
    GivenDimensions,
    OptimalDimensions,
    spread_evenly,
)
from engine.clustering.em import EMPlan, EMStep, em_steps
from engine.clustering.losses import parse_loss
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError
from tests.engine.problems import Problem, distances_to_subspaces, planted_rows, problems


def count_numbers(dimensions: tuple[int, ...], counts: Tensor, width: int) -> float:
    """Σ j_c·(n_c + d): coordinates and basis entries."""
    return float((torch.tensor(dimensions, dtype=torch.float64) * (counts + width)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Market:
    """Spectra to choose dimensions for, rows of each cluster, and a budget."""

    energies: Tensor
    counts: Tensor
    budget: int

    @property
    def width(self) -> int:
        return self.energies.shape[1]

    def choose(self) -> Choice:
        allocation = OptimalDimensions(k=len(self.counts), budget=self.budget)
        return allocation.choose(self.energies, self.counts)

    def spent(self, dimensions: tuple[int, ...]) -> float:
        return count_numbers(dimensions, self.counts, self.width)

    def lost(self, dimensions: tuple[int, ...]) -> float:
        pairs = zip(self.energies, dimensions, strict=True)
        return sum(float(energies[bought:].sum()) for energies, bought in pairs)


@st.composite
def markets(draw: st.DrawFn, *, most_k: int = 5, most_width: int = 6) -> Market:
    """Falling spectra, ties and nothing at all among them; whole counts or a coreset's."""
    k, d = draw(st.integers(1, most_k)), draw(st.integers(1, most_width))
    level = st.one_of(st.just(0.0), st.sampled_from([1.0, 2.0]), st.floats(1e-6, 100))
    energies = torch.tensor(
        [sorted((draw(level) for _ in range(d)), reverse=True) for _ in range(k)],
        dtype=torch.float64,
    )
    whole = draw(st.booleans())
    counts = [draw(st.integers(0, 40) if whole else st.floats(0, 40)) for _ in range(k)]
    most = int(sum(counts) + k * d) * d + 1
    return Market(
        energies=energies,
        counts=torch.tensor(counts, dtype=torch.float64),
        budget=draw(st.integers(1, most)),
    )


@given(markets())
@settings(max_examples=300, deadline=None)
def test_the_budget_is_never_exceeded_and_nothing_useful_that_fits_is_left(market: Market) -> None:
    choice = market.choose()
    assert all(0 <= bought <= market.width for bought in choice.dimensions)
    left = market.budget - market.spent(choice.dimensions)
    assert left >= -1e-9 * market.budget
    assert choice.price >= 0
    for cluster, bought in enumerate(choice.dimensions):
        energies, cost = market.energies[cluster], float(market.counts[cluster]) + market.width
        if bought < market.width and float(energies[bought]) > 0:
            assert cost > left - 1e-9 * market.budget
        if bought:
            assert float(energies[bought - 1]) > 0  # nothing is paid for nothing


@given(markets(most_k=3, most_width=4))
@settings(max_examples=150, deadline=None)
def test_it_loses_at_most_one_purchase_more_than_the_best_of_all(market: Market) -> None:
    """Against every affordable choice of dimensions.

    The relaxed knapsack (the last dimension bought in part) loses no more than any whole choice;
    the first dimension that did not fit is all that separates the two.
    """
    found = market.lost(market.choose().dimensions)
    choices = product(range(market.width + 1), repeat=len(market.counts))
    affordable = [c for c in choices if market.spent(c) <= market.budget]
    best = min(market.lost(c) for c in affordable)
    purchases = [float(e.max()) for e in market.energies]
    assert found <= best + max(purchases) + 1e-9
    ratios, order = (
        (market.energies / (market.counts + market.width)[:, None])
        .flatten()
        .sort(descending=True, stable=True)
    )
    costs = (market.counts + market.width)[order // market.width]
    missed = int((costs.cumsum(0) <= market.budget).sum())
    slack = float((ratios * costs)[missed]) if missed < len(costs) else 0.0
    assert found <= best + slack + 1e-9 * (1 + best)


@given(markets(), st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_units_change_the_price_and_not_the_dimensions(market: Market, factor: float) -> None:
    choice = market.choose()
    scaled = Market(
        energies=market.energies * 2.0 ** round(factor), counts=market.counts, budget=market.budget
    ).choose()
    assert scaled.dimensions == choice.dimensions


def test_by_hand() -> None:
    """d = 2; 8 rows cost 10 a dimension, 3 rows cost 5: bought at 0.9, 0.8, 0.5, and 0.1 fits."""
    energies = torch.tensor([[9.0, 5.0], [4.0, 0.5]], dtype=torch.float64)
    counts = torch.tensor([8.0, 3.0], dtype=torch.float64)

    def choose(budget: int) -> Choice:
        return OptimalDimensions(k=2, budget=budget).choose(energies, counts)

    assert choose(4) == Choice(dimensions=(0, 0), price=0.9)  # nothing fits: as dear as the first
    assert choose(9) == Choice(dimensions=(0, 1), price=0.9)  # the dear one does not, the next does
    assert choose(10) == Choice(dimensions=(1, 0), price=0.9)
    assert choose(15) == Choice(dimensions=(1, 1), price=0.8)
    assert choose(20) == Choice(dimensions=(1, 2), price=0.8)  # 10 would not fit, 5 do
    assert choose(25) == Choice(dimensions=(2, 1), price=0.5)
    assert choose(30) == Choice(dimensions=(2, 2), price=0.1)
    assert choose(1000) == Choice(dimensions=(2, 2), price=0.1)


def test_an_empty_cluster_buys_nothing() -> None:
    energies = torch.tensor([[0.0, 0.0], [3.0, 2.0]], dtype=torch.float64)
    choice = OptimalDimensions(k=2, budget=100).choose(energies, torch.tensor([0.0, 5.0]))
    assert choice.dimensions == (0, 2)


@pytest.mark.parametrize("budget", [0, -5])
def test_no_budget_is_refused(budget: int) -> None:
    with pytest.raises(ParameterError, match=rf"budget leaves {budget} numbers .* lower the rate"):
        OptimalDimensions(k=2, budget=budget)


def test_given_dimensions_stay_whatever_the_rows_say() -> None:
    energies, counts = torch.zeros(3, 4, dtype=torch.float64), torch.zeros(3)
    choice = Choice(dimensions=(2, 0, 4), price=0.0)
    assert GivenDimensions((2, 0, 4)).choose(energies, counts) == choice
    assert spread_evenly(3, 2) == GivenDimensions((2, 2, 2))
    assert not spread_evenly(3, 2).priced


@given(
    problem=problems(most_rows=60), share=st.floats(0, 0.95), affine=st.booleans(), data=st.data()
)
@settings(max_examples=120, deadline=None)
def test_a_fit_never_stores_more_than_its_rate_allows(
    problem: Problem, share: float, affine: bool, data: st.DataObject
) -> None:
    loss = data.draw(st.sampled_from(["squared", "l1", "tukey"]))
    n, d = problem.points.shape
    try:
        found = engine.factorize(
            problem.points,
            k=problem.k,
            rate=share,
            allocation="optimal",
            affine=affine,
            loss=loss,
            weights=problem.weights,
            n_init=2,
            max_iterations=8,
        )
    except ParameterError as error:
        offsets = problem.k * d if affine else 0
        assert "the budget leaves" in str(error)  # noqa: PT017 - most draws have room
        assert (1 - share) * n * d < offsets + 1 + 1e-6
        return
    assert found.parameters <= int((1 - share) * n * d + 1e-6)
    tensors = [*found.coordinates, *found.bases, *(found.offsets or ())]
    assert found.parameters == sum(tensor.numel() for tensor in tensors)
    error = found.relative_error(problem.points, problem.weights)
    if loss == "squared":
        slack = 4 * problem.tolerance.energy
        assert found.cost_history[-1] == pytest.approx(error, abs=slack)


@dataclass(frozen=True, kw_only=True)
class FixedPrice:
    """Every dimension that saves more than its numbers cost at one price."""

    k: int
    price: float
    priced = True

    def choose(self, energies: Tensor, counts: Tensor) -> Choice:
        worth = energies > self.price * (counts + energies.shape[1])[:, None]
        return Choice(dimensions=tuple(worth.sum(dim=1).tolist()), price=self.price)


def lagrangian(problem: Problem, step: EMStep, plan: EMPlan, price: float) -> float:
    """Σ w·φ + μ·(coordinates and basis entries) of the rows the subspaces were fitted to."""
    distances = distances_to_subspaces(problem.points, step.subspaces)
    own = distances.gather(1, step.labels[:, None]).squeeze(1)
    weights = torch.ones_like(own) if problem.weights is None else problem.weights
    counts = step.labels.bincount(minlength=problem.k).double()
    numbers = count_numbers(step.subspaces.dimensions, counts, problem.points.shape[1])
    return float(weights @ plan.loss.value(own)) + price * numbers


@given(
    problem=problems(dtypes=(torch.float64,), most_rows=60),
    share=st.floats(1e-3, 0.3),
    loss=st.sampled_from(["squared", "l1", "tukey"]),
    affine=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_at_one_price_loss_and_storage_together_never_rise(
    problem: Problem, share: float, loss: str, affine: bool
) -> None:
    rows = WeightedRows.of(problem.points, problem.weights)
    price = share * rows.energy / len(problem.points)
    mean = rows.energy / len(problem.points)
    chosen = parse_loss(loss).scaled_by(mean, mean**0.5)
    plan = EMPlan(allocation=FixedPrice(k=problem.k, price=price), affine=affine, loss=chosen)
    steps = list(islice(em_steps(rows, problem.labels, plan), 8))
    values = [lagrangian(problem, step, plan, price) for step in steps]
    # ℓ_1 magnifies rounding of a row that is held exactly, by its slope there (500 times).
    slack = 1e3 * problem.tolerance.energy * (rows.energy + rows.energy_under(chosen))
    for before, after in pairwise(values):
        assert after <= before + slack
    # And what the step reports is the loss of those rows.
    for step, value in zip(steps, values, strict=True):
        counts = step.labels.bincount(minlength=problem.k).double()
        numbers = count_numbers(step.subspaces.dimensions, counts, problem.points.shape[1])
        lost = step.cost * rows.energy_under(chosen)
        assert lost + price * numbers == pytest.approx(value, abs=slack)


def planted_unequal(seed: int) -> tuple[Tensor, Tensor]:
    """Rows on subspaces of 1, 2 and 6 dimensions of R^16, and which each came from."""
    dimensions = (1, 2, 6)
    parts = [planted_rows(1, j, 16, rows_each=120, seed=10 * seed + j)[0] for j in dimensions]
    points = torch.cat(parts)
    generator = torch.Generator().manual_seed(seed)
    points += 0.02 * torch.randn(points.shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(points), generator=generator)
    return points[order], torch.arange(3).repeat_interleave(120)[order]


@pytest.mark.parametrize("seed", range(4))
def test_planted_unequal_dimensions_are_found_and_beat_equal_ones(seed: int) -> None:
    points, _ = planted_unequal(seed)
    n, d = points.shape
    numbers = (1 + 2 + 6) * (120 + d)
    rate = 1 - numbers / (n * d)
    optimal = engine.factorize(points, k=3, rate=rate, allocation="optimal", n_init=10)
    assert sorted(optimal.dimensions) == [1, 2, 6]
    assert optimal.parameters <= numbers
    even = engine.factorize(points, k=3, rate=rate, n_init=10)
    assert even.parameters <= numbers
    assert optimal.relative_error(points) < even.relative_error(points) / 10


@given(problem=problems(kinds=("gaussian", "low rank", "duplicates"), most_rows=60))
@settings(max_examples=60, deadline=None)
def test_bought_dimensions_lose_no_more_than_equal_ones_on_one_partition(problem: Problem) -> None:
    """One refit of the same rows at the same budget, all dimensions but the last purchase free."""
    points = problem.points
    even = engine.factorize(
        points, k=problem.k, j=problem.j, labels=problem.labels, n_init=0, max_iterations=1
    )
    again = engine.factorize(
        points,
        k=problem.k,
        j=problem.j,
        allocation="optimal",
        labels=even.labels,
        n_init=0,
        max_iterations=1,
    )
    assert again.parameters <= even.parameters
    rows = points.double()
    parts = [rows[even.labels == cluster] for cluster in range(problem.k)]
    largest = max(float(torch.linalg.matrix_norm(part, ord=2)) for part in parts if len(part))
    slack = largest**2 / float(rows.square().sum())  # one purchase
    assert again.relative_error(points) <= even.relative_error(points) + slack + 1e-5
