"""EM under every loss: never worse, robust PCA where k = 1, and outliers that change nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine.clustering import em
from engine.clustering.allocation import spread_evenly
from engine.clustering.em import EMPlan, EMStep, em_steps, run_em
from engine.clustering.losses import Loss, parse_loss
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import WeightedRows
from tests.engine.problems import (
    Problem,
    distances_to_subspaces,
    largest_angle,
    planted_rows,
    problems,
)

CONCAVE = (
    "squared", "l0.5", "l1", "l1.5", "huber", "cauchy", "geman-mcclure", "welsch", "tukey",
    "truncated",
)  # fmt: skip
CONVEX = ("l3", "l4")
ROBUST = tuple(name for name in CONCAVE if name != "squared")


def scaled(name: str, points: Tensor) -> Loss:
    """The loss with a scale that has about half of the rows' lengths on each side."""
    norms = points.double().square().sum(dim=1)
    mean = float(norms.mean())
    return parse_loss(name).scaled_by(mean, 0.5 * float(norms.median()) ** 0.5)


def objective(problem: Problem, step: EMStep, loss: Loss) -> tuple[float, float]:
    """Σ w·φ(dist²) / Σ w·φ(‖x‖²) from the definition, and how far rounding may take it.

    Rounding moves a squared distance by some units of ‖x‖², and φ carries that on; a refit is as
    exact as the reweighted sum of ‖x‖² that it was made from.
    """
    squares = distances_to_subspaces(problem.points, step.subspaces)
    own = squares.gather(1, step.labels[:, None]).squeeze(1)
    norms = problem.points.double().square().sum(dim=1)
    weights = torch.ones_like(own) if problem.weights is None else problem.weights
    unit = problem.tolerance.energy
    blur = loss.value(own + unit * norms) - loss.value((own - unit * norms).clamp(min=0))
    blur = blur.abs() + unit * loss.slope(own) * norms
    total = float(weights @ loss.value(norms)) or 1.0
    lost = float(weights @ loss.value(own))
    return lost / total, unit + float(weights @ blur) / total


@pytest.mark.parametrize("name", [*CONCAVE, *CONVEX])
@given(problem=problems(), affine=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_step_raises_the_objective(name: str, problem: Problem, affine: bool) -> None:
    loss = scaled(name, problem.points)
    plan = EMPlan(allocation=spread_evenly(problem.k, problem.j), affine=affine, loss=loss)
    rows = WeightedRows.of(problem.points, problem.weights)
    steps = list(islice(em_steps(rows, problem.labels, plan), 7))
    seen = [objective(problem, step, loss) for step in steps]
    for step, (cost, slack) in zip(steps, seen, strict=True):
        assert step.cost == pytest.approx(cost, abs=slack)
    for (before, slack), (after, more) in pairwise(seen):
        assert after <= before + slack + more
    # What a run reports never rises at all.
    history = run_em(rows, problem.labels, plan, max_iterations=7, tolerance=0.0).cost_history
    assert all(after <= before for before, after in pairwise(history))


@pytest.mark.parametrize("name", CONVEX)
def test_without_the_guard_a_convex_loss_rises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reweighting alone overshoots where φ is convex: the guard is what the test above tests."""
    points = torch.randn(8, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    plan = EMPlan(allocation=spread_evenly(1, 1), loss=scaled(name, points))
    labels = torch.zeros(8, dtype=torch.int64)

    def rises() -> bool:
        steps = islice(em_steps(WeightedRows.of(points), labels, plan), 12)
        return any(after > before + 1e-6 for before, after in pairwise(s.cost for s in steps))

    assert not rises()
    monkeypatch.setattr(em, "_SMALLEST_BLEND", 1.0)
    monkeypatch.setattr(em, "replace", lambda step, **_: step_of(step, float("inf")))
    assert rises()


def step_of(step: EMStep, cost: float) -> EMStep:
    """The same state at another cost."""
    return replace(step, cost=cost)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", [*ROBUST, *CONVEX])
def test_one_subspace_is_robust_principal_components(name: str, affine: bool) -> None:
    """At the end V spans the leading eigenvectors of the scatter that its own weights make."""
    j, (points, _) = 2, planted_rows(1, 2, 6, rows_each=80, noise=0.3, seed=2)
    points[:8] *= 10  # past every scale
    points += 0.5
    loss = scaled(name, points)
    plan = EMPlan(allocation=spread_evenly(1, j), loss=loss, affine=affine)
    labels = torch.zeros(len(points), dtype=torch.int64)
    rows = WeightedRows.of(points)
    found = run_em(rows, labels, plan, max_iterations=2000, tolerance=0.0).subspaces

    plain = replace(plan, loss=parse_loss("squared"))
    squared = run_em(rows, labels, plain, max_iterations=1, tolerance=0.0).subspaces
    assert unbalance(points, found, loss) < 1e-6
    assert unbalance(points, squared, loss) > 1e-3  # the plain components are no fixed point


def unbalance(points: Tensor, found: SubspaceSet, loss: Loss) -> float:
    """How far subspaces are from those of the scatter reweighted by their own distances."""
    weights = loss.slope(distances_to_subspaces(points, found).squeeze(1))
    mean = torch.zeros(points.shape[1], dtype=torch.float64)
    if found.offsets is not None:
        mean = (weights @ points) / weights.sum()
    centred = points - mean
    _, vectors = torch.linalg.eigh((centred * weights[:, None]).T @ centred)
    basis = found.bases[0]
    turned = largest_angle(basis, vectors[:, -len(basis) :].T)
    if found.offsets is None:
        return turned
    outside = mean - basis.T @ (basis @ mean)
    return max(turned, float((outside - found.offsets[0]).norm()))


def with_outliers(seed: int) -> tuple[Tensor, list[Tensor]]:
    """Rows on three planes of R^12, a tenth of them replaced by gross outliers, and the planes."""
    k, j, d = 3, 2, 12
    points, truth = planted_rows(k, j, d, rows_each=80, noise=0.02, seed=seed)
    planes = [torch.linalg.svd(points[truth == c]).Vh[:j] for c in range(k)]
    generator = torch.Generator().manual_seed(seed + 1)
    outliers = len(points) // 10
    far = torch.randn(outliers, d, generator=generator, dtype=torch.float64)
    # Two to six times as long as the rows, in any direction.
    lengths = 3 + 5 * torch.rand(outliers, 1, generator=generator, dtype=torch.float64)
    points[:outliers] = far / far.norm(dim=1, keepdim=True) * lengths
    return points, planes


def worst_angle(planes: list[Tensor], bases: tuple[Tensor, ...]) -> float:
    return max(min(largest_angle(plane, basis) for basis in bases) for plane in planes)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("loss", "bound"), [("l1", 0.05), ("tukey", 0.02)])
def test_a_tenth_of_gross_outliers_changes_nothing(loss: str, bound: float, seed: int) -> None:
    points, planes = with_outliers(seed)
    found = engine.factorize(points, k=3, j=2, loss=loss, n_init=20, moves=4)
    assert worst_angle(planes, found.bases) < bound


@pytest.mark.parametrize("seed", range(4))
def test_but_misleads_squared_distances(seed: int) -> None:
    points, planes = with_outliers(seed)
    found = engine.factorize(points, k=3, j=2, n_init=20, moves=4)
    assert worst_angle(planes, found.bases) > 1.0


@pytest.mark.parametrize("name", ["squared", *ROBUST, *CONVEX])
def test_units_of_the_rows_do_not_matter(name: str) -> None:
    """A found scale is measured in the rows: in other units, the same fit."""
    points, _ = planted_rows(3, 2, 8, rows_each=30, noise=0.1, seed=6)
    one, other = (
        engine.factorize(rows, k=3, j=2, loss=name, n_init=3) for rows in (points, points * 2.0**20)
    )
    assert torch.equal(one.labels, other.labels)
    assert one.cost_history == pytest.approx(other.cost_history, rel=1e-9)


@pytest.mark.parametrize("name", ROBUST)
def test_a_recorded_loss_makes_the_same_fit_again(name: str) -> None:
    points, _ = planted_rows(3, 2, 8, rows_each=30, noise=0.1, seed=6)
    found = engine.factorize(points, k=3, j=2, loss=name, n_init=3)
    recorded = str(found.record.config["loss"])
    assert recorded.startswith(f"{name}:")
    again = engine.factorize(points, k=3, j=2, loss=recorded, n_init=3)
    assert torch.equal(again.labels, found.labels)
    assert torch.equal(again.reconstruct(), found.reconstruct())


@given(st.integers(0, 2**31), st.sampled_from(ROBUST), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_weight_is_that_many_copies(seed: int, name: str, affine: bool) -> None:
    points, _ = planted_rows(2, 2, 6, rows_each=30, noise=0.2, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    copies = torch.randint(0, 4, (len(points),), generator=generator)
    labels = torch.randint(2, (len(points),), generator=generator)
    plan = EMPlan(allocation=spread_evenly(2, 2), loss=scaled(name, points), affine=affine)
    which = torch.arange(len(copies)).repeat_interleave(copies)
    weighted = em_steps(WeightedRows.of(points, copies.double()), labels, plan)
    repeated = em_steps(WeightedRows.of(points[which]), labels[which], plan)
    for one, other in islice(zip(weighted, repeated, strict=True), 3):
        assert one.cost == pytest.approx(other.cost, abs=1e-10)
        assert torch.equal(one.labels[which], other.labels)
        if one.refilled or other.refilled:
            return  # a refill counts rows, and copies are more rows


@pytest.mark.parametrize("name", ["l1", "tukey", "huber"])
def test_found_scales_count_a_weight_as_copies(name: str) -> None:
    points, _ = planted_rows(1, 2, 6, rows_each=80, noise=0.3, seed=2)
    copies = torch.randint(0, 6, (80,), generator=torch.Generator().manual_seed(0))
    weighted = engine.factorize(points, k=1, j=2, loss=name, weights=copies)
    repeated = engine.factorize(points.repeat_interleave(copies, dim=0), k=1, j=2, loss=name)
    scales = [float(str(f.record.config["loss"]).split(":")[1]) for f in (weighted, repeated)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-9)
    assert largest_angle(weighted.bases[0], repeated.bases[0]) < 1e-6
