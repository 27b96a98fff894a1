"""What style.md asks of every fit, for every loss, allocation and kind of subspace."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine.factorization import Factorization
from engine.rows import RowMatrix, ShardedRows
from tests.engine.problems import distances_to_flats, planted_rows, small_blocks
from tests.tolerances import TOLERANCES

N, D, K, J = 150, 8, 3, 2
CASES = [
    pytest.param(
        {"loss": loss, "allocation": allocation, "affine": affine},
        id=f"{loss} {allocation} {'affine' if affine else 'linear'}",
    )
    for loss, allocation, affine in product(
        ("squared", "l1:0.01", "tukey:3"), ("uniform", "optimal"), (False, True)
    )
]
Case = dict[str, Any]


def rows_of(seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    points, truth = planted_rows(K, J, D, rows_each=N // K, noise=0.1, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(K, D, generator=generator, dtype=torch.float64)
    return (points + 0.7 * centres[truth]).to(dtype)


def first_labels(seed: int = 0) -> Tensor:
    return torch.randint(K, (N,), generator=torch.Generator().manual_seed(seed))


def fitted(points: RowMatrix, case: Case, **changed: object) -> Factorization:
    """From one given partition, so that nothing but EM can differ."""
    arguments: Case = {"k": K, "j": J, "labels": first_labels(), "n_init": 0, "max_iterations": 6}
    return engine.factorize(points, **arguments | case | changed)


def distances(points: Tensor, found: Factorization) -> Tensor:
    offsets = found.offsets or tuple(torch.zeros(D) for _ in found.bases)
    return distances_to_flats(points, found.bases, offsets)


def projectors(found: Factorization) -> list[Tensor]:
    return [basis.T @ basis for basis in found.bases]


def assert_same_fit(one: Factorization, other: Factorization, tolerance: float) -> None:
    assert torch.equal(one.labels, other.labels)
    assert one.dimensions == other.dimensions
    for mine, theirs in zip(projectors(one), projectors(other), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance)
    for mine, theirs in zip(one.offsets or (), other.offsets or (), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_labels_bases_cost_and_budget_belong_together(
    case: Case, weighted: bool, dtype: torch.dtype
) -> None:
    points = rows_of(dtype=dtype)
    weights = torch.randint(1, 4, (N,), generator=torch.Generator().manual_seed(1))
    found = engine.factorize(
        points, k=K, rate=0.6, n_init=3, weights=weights if weighted else None, **case
    )
    tolerance = TOLERANCES[dtype]
    for cluster, basis in enumerate(found.bases):
        identity = torch.eye(len(basis), dtype=dtype)
        torch.testing.assert_close(basis @ basis.T, identity, rtol=0, atol=tolerance.unit)
        if found.offsets is not None and len(basis):
            assert float((basis @ found.offsets[cluster]).abs().max()) <= 10 * tolerance.unit
    assert found.parameters <= 0.4 * N * D
    own = distances(points, found)
    stored = own.gather(1, found.labels[:, None]).squeeze(1)
    slack = 8 * tolerance.energy * float(points.double().square().sum(dim=1).max())
    torch.testing.assert_close(found.squared_residuals(points), stored, rtol=0, atol=slack)
    if case["allocation"] == "uniform":  # bought dimensions keep the rows they were fitted to
        torch.testing.assert_close(stored, own.min(dim=1).values, rtol=0, atol=slack)
    history = found.cost_history
    assert all(after <= before for before, after in pairwise(history))
    if case["loss"] == "squared":
        error = found.relative_error(points, weights if weighted else None)
        assert history[-1] == pytest.approx(error, abs=8 * tolerance.energy)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_permuting_rows_permutes_labels(case: Case, seed: int) -> None:
    points = rows_of(seed)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    plain = fitted(points, case)
    permuted = fitted(points[order], case, labels=first_labels()[order])
    assert torch.equal(permuted.labels, plain.labels[order])
    assert not torch.equal(permuted.labels, plain.labels)
    assert permuted.dimensions == plain.dimensions
    assert permuted.cost_history == pytest.approx(plain.cost_history, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_rotating_the_space_rotates_the_subspaces(case: Case, seed: int) -> None:
    points = rows_of(seed)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64)).Q
    plain, turned = fitted(points, case), fitted(points @ turn, case)
    assert torch.equal(turned.labels, plain.labels)
    # A direction settles to rounding over its gap; the gaps of these rows are some hundredths.
    for before, after in zip(projectors(plain), projectors(turned), strict=True):
        torch.testing.assert_close(after, turn.T @ before @ turn, rtol=0, atol=1e-9)
    for before, after in zip(plain.offsets or (), turned.offsets or (), strict=True):
        torch.testing.assert_close(after, before @ turn, rtol=0, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_blocks_are_the_whole(case: Case, weighted: bool) -> None:
    points = rows_of()
    weights = 1 + first_labels(3) if weighted else None
    whole = fitted(points, case, weights=weights)
    with small_blocks():
        blocks = fitted(points, case, weights=weights)
    assert_same_fit(blocks, whole, 1e-9)
    assert blocks.cost_history == pytest.approx(whole.cost_history, abs=1e-12)


@pytest.mark.parametrize("cuts", [(75,), (1, 2), (0, 100)])
@pytest.mark.parametrize("case", CASES)
def test_shards_are_one_table(case: Case, cuts: tuple[int, ...]) -> None:
    points = rows_of()
    edges = (0, *cuts, N)
    shards = ShardedRows([points[a:b] for a, b in pairwise(edges)])
    whole = fitted(points, case)
    assert_same_fit(fitted(shards, case), whole, 0.0)
    with small_blocks():
        assert_same_fit(fitted(shards, case), fitted(points, case), 0.0)
    started: Case = {"labels": None, "n_init": 2}
    assert_same_fit(fitted(shards, case, **started), fitted(points, case, **started), 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_half_precision_is_its_float32_copy(case: Case, dtype: torch.dtype) -> None:
    points = rows_of().to(dtype)
    half, single = fitted(points, case), fitted(points.float(), case)
    assert half.bases[0].dtype == torch.float32
    assert_same_fit(half, single, 0.0)
    assert half.cost_history == single.cost_history
    with small_blocks():
        assert_same_fit(fitted(points, case), fitted(points.float(), case), 0.0)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", [case for case in CASES if "uniform" in str(case.id)])
def test_rows_of_weight_zero_move_no_subspace(case: Case, seed: int) -> None:
    """They are stored, but nothing is fitted to them (bought dimensions do count their storage)."""
    points = rows_of(seed)
    weights = (torch.arange(N) % 3 > 0).double()
    present = weights > 0
    far = torch.where(present[:, None], points, 5 * points.flip(0))
    plain = fitted(points[present], case, labels=first_labels()[present])
    absent = fitted(far, case, weights=weights)
    assert torch.equal(absent.labels[present], plain.labels)
    for mine, theirs in zip(projectors(absent), projectors(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)
