"""The facade: from a matrix to the one result, by every method."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings

import engine
from engine.errors import Cancelled
from engine.fitting import _AUTO_FIRST
from engine.progress import Progress
from engine.provenance import fingerprint_matrix
from tests.engine.problems import (
    Problem,
    planted_rows,
    problems,
    same_partition,
    truncated_svd,
)
from tests.tolerances import TOLERANCES


def some_rows(n: int = 60, d: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", ["messi", "svd"])
@given(problem=problems(weighted=False))
@settings(max_examples=40, deadline=None)
def test_one_subspace_has_the_error_of_the_truncated_svd(method: str, problem: Problem) -> None:
    found = engine.factorize(problem.points, method=method, k=1, j=problem.j)
    points = problem.points.double()
    best = float((points - truncated_svd(points, problem.j)).square().sum())
    total = float(points.square().sum()) or 1.0
    error = found.relative_error(problem.points)
    assert error == pytest.approx(best / total, abs=problem.tolerance.energy)
    assert found.cost_history[-1] == pytest.approx(error, abs=problem.tolerance.energy)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_one_subspace_reconstructs_as_the_truncated_svd(rank: int, dtype: torch.dtype) -> None:
    # Singular values 6, 5, …, 1: gaps that make the leading subspace well determined.
    u = torch.linalg.qr(some_rows(40, 6, 1)).Q
    v = torch.linalg.qr(some_rows(6, 6, 2)).Q
    points = (u * torch.arange(6, 0, -1)) @ v
    found = engine.factorize(points.to(dtype), method="svd", j=rank)
    torch.testing.assert_close(
        found.reconstruct().double(),
        truncated_svd(points, rank),
        rtol=0,
        atol=TOLERANCES[dtype].spectral,
    )


@given(problem=problems(kinds=("gaussian", "duplicates", "low rank"), weighted=True))
@settings(max_examples=40, deadline=None)
def test_weighted_svd_is_the_svd_of_repeated_rows(problem: Problem) -> None:
    assert problem.weights is not None
    copies = problem.weights.long()
    repeated = problem.points.repeat_interleave(copies, dim=0)
    weighted = engine.factorize(problem.points, method="svd", j=problem.j, weights=problem.weights)
    plain = engine.factorize(repeated, method="svd", j=problem.j)
    assert weighted.relative_error(problem.points, problem.weights) == pytest.approx(
        plain.relative_error(repeated), abs=problem.tolerance.energy
    )
    assert weighted.record.config["weighted"] is True


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_weighted_fit_from_given_labels_is_that_of_repeated_rows(dtype: torch.dtype) -> None:
    points, truth = planted_rows(3, 2, 8, rows_each=40, noise=0.05, seed=4)
    points = points.to(dtype)
    copies = torch.randint(0, 4, (120,), generator=torch.Generator().manual_seed(4))
    repeated = points.repeat_interleave(copies, dim=0)
    weighted = engine.factorize(points, k=3, j=2, weights=copies, labels=truth, n_init=0)
    plain = engine.factorize(repeated, k=3, j=2, labels=truth.repeat_interleave(copies), n_init=0)
    assert torch.equal(weighted.labels.repeat_interleave(copies), plain.labels)
    atol = TOLERANCES[dtype].energy
    assert weighted.relative_error(points, copies) == pytest.approx(
        plain.relative_error(repeated), abs=atol
    )
    present = copies > 0
    absent = engine.factorize(
        points[present], k=3, j=2, weights=copies[present], labels=truth[present], n_init=0
    )
    assert torch.equal(weighted.labels[present], absent.labels)
    assert weighted.cost_history == pytest.approx(absent.cost_history, abs=atol)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_a_common_factor_of_the_weights_changes_nothing(scale: float) -> None:
    points = some_rows().float()
    weights = 0.5 + torch.rand(60, generator=torch.Generator().manual_seed(0))
    one, other = (
        engine.factorize(points, k=3, j=2, weights=weights.double() * factor, n_init=2)
        for factor in (1.0, scale)
    )
    assert torch.equal(one.labels, other.labels)


def test_worked_example_of_twenty_rows() -> None:
    points = some_rows(20, 10)
    messi = engine.factorize(points, k=2, rate=0.4)
    assert (messi.dimensions, messi.parameters) == ((3, 3), 120)
    svd = engine.factorize(points, method="svd", rate=0.4)
    assert (svd.dimensions, svd.parameters) == ((4,), 120)
    assert messi.rate == pytest.approx(0.4)


def test_worked_example_of_three_lines() -> None:
    """The paper's own picture: one plane against three lines, in R^3."""
    points, truth = planted_rows(3, 1, 3, rows_each=40, noise=0.01, seed=0)
    plane = engine.factorize(points, method="svd", j=2)
    lines = engine.factorize(points, k=3, j=1, n_init=10)
    assert plane.parameters == 246
    assert lines.parameters == 129
    assert lines.relative_error(points) < plane.relative_error(points) / 20
    together = (lines.labels[:, None] == lines.labels) == (truth[:, None] == truth)
    assert float(together.double().mean()) > 0.95  # rows near the origin belong to every line


def test_labels_bases_and_cost_belong_together() -> None:
    points = some_rows(200, 8).float()
    found = engine.factorize(points, k=4, j=3, n_init=4)
    assert found.relative_error(points) == pytest.approx(
        found.cost_history[-1], abs=TOLERANCES[torch.float32].energy
    )
    assert found.cost_history[-1] == min(start.cost for start in found.record.starts)
    assert [start.seeding for start in found.record.starts] == list(_AUTO_FIRST)


def test_same_seed_same_labels_and_another_seed_other_starts() -> None:
    points = some_rows(300, 8)
    one, same, other = (
        engine.factorize(points, k=4, j=2, seed=seed, seeding="random") for seed in (5, 5, 6)
    )
    assert torch.equal(one.labels, same.labels)
    assert torch.equal(one.reconstruct(), same.reconstruct())
    assert not same_partition(one.labels, other.labels)
    histories = [[start.cost_history for start in f.record.starts] for f in (one, same, other)]
    assert histories[0] == histories[1] != histories[2]


def test_record_says_how_it_was_made() -> None:
    points = some_rows()
    record = engine.factorize(points, k=2, j=2, seed=9, seeding={"norms": 1, "auto": 2}).record
    assert record.method == "messi"
    assert record.source == fingerprint_matrix(points)
    assert record.versions["torch"] == torch.__version__
    assert [start.seeding for start in record.starts] == ["norms", *_AUTO_FIRST[:2]]
    assert record.config == {
        "method": "messi",
        "k": 2,
        "j": 2,
        "rate": None,
        "max_bytes": None,
        "allocation": "uniform",
        "affine": False,
        "loss": "squared",
        "weighted": False,
        "seed": 9,
        "n_init": 10,
        "seeding": {"norms": 1, "auto": 2},
        "moves": 0,
        "max_iterations": 50,
        "tolerance": 1e-4,
    }
    assert json.loads(json.dumps(record.config)) == record.config


def test_record_says_what_went_wrong() -> None:
    points = some_rows(200, 8)
    cut = engine.factorize(points, k=4, j=2, max_iterations=1, n_init=2)
    assert any("No start settled before the step limit" in note for note in cut.record.notes)
    empty = engine.factorize(torch.zeros(4, 3), k=3, j=1, n_init=1)
    assert any("2 of 3 subspaces hold no row" in note for note in empty.record.notes)
    flat = torch.nn.functional.pad(planted_rows(3, 1, 4, rows_each=30)[0], (0, 1))
    refilled = engine.factorize(flat, k=3, j=1, labels=torch.zeros(90, dtype=torch.int64), n_init=0)
    assert any("empty subspace was refilled" in note for note in refilled.record.notes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype_is_taken(dtype: torch.dtype) -> None:
    points = some_rows().to(dtype)
    found = engine.factorize(points, k=2, j=4)
    computed = torch.float64 if dtype is torch.float64 else torch.float32
    assert found.bases[0].dtype == computed
    exact = engine.factorize(points.to(computed), k=2, j=4)
    assert torch.equal(found.labels, exact.labels)
    assert found.relative_error(points) == pytest.approx(exact.relative_error(points))
    assert found.record.source == fingerprint_matrix(points)
    assert found.record.source == exact.record.source  # one table, wherever it is kept


def test_weights_of_every_kind_and_labels_of_every_width_are_taken() -> None:
    points = some_rows().float()
    whole = torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(0))
    first = torch.arange(60) % 2
    fits = [
        engine.factorize(points, k=2, j=2, weights=weights, labels=labels, n_init=0)
        for weights, labels in [
            (whole, first),
            (whole.float(), first.to(torch.int32)),
            (whole.half(), first.to(torch.uint8)),
        ]
    ]
    assert all(torch.equal(found.labels, fits[0].labels) for found in fits)
    assert fits[0].labels.dtype == torch.int64


def test_a_matrix_that_needs_gradients_or_is_not_contiguous_is_taken_and_left_alone() -> None:
    wide = some_rows(60, 12)
    points = wide[:, ::2]
    expected = engine.factorize(points.contiguous(), k=2, j=2)
    assert torch.equal(engine.factorize(points, k=2, j=2).labels, expected.labels)
    leaf = points.clone().requires_grad_()
    found = engine.factorize(leaf, k=2, j=2)
    assert torch.equal(found.labels, expected.labels)
    assert not found.reconstruct().requires_grad
    assert torch.equal(wide, some_rows(60, 12))


def test_a_single_number_is_a_matrix() -> None:
    found = engine.factorize(torch.full((1, 1), 3.0), k=1, j=1)
    assert found.reconstruct().item() == pytest.approx(3.0)


def test_full_dimension_is_exact() -> None:
    points = some_rows()
    found = engine.factorize(points, k=3, j=6)
    assert found.relative_error(points) <= TOLERANCES[torch.float64].energy
    assert found.rate < 0  # larger than the matrix, and it says so


def test_cancelling_goes_out_and_the_next_fit_is_as_if_nothing_had_been() -> None:
    points = some_rows()
    expected = engine.factorize(points, k=3, j=2)
    state = torch.get_rng_state()
    seen: list[Progress] = []

    def cancel(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 4:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled, match="stopped"):
        engine.factorize(points, k=3, j=2, progress=cancel)
    assert len(seen) == 4
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(engine.factorize(points, k=3, j=2).labels, expected.labels)
