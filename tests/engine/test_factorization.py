"""The one result: it reconstructs, measures and counts what it holds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine import rows as module
from engine.errors import ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.methods import factorize
from engine.projection import project_rows
from tests.engine.problems import Problem, problems
from tests.engine.tables import gaussian

RECORD = FitRecord(method="messi", config={}, source="none", versions={})


def factorized(problem: Problem, seed: int = 0) -> Factorization:
    """The rows in random orthonormal bases: nothing here needs a fit."""
    generator = torch.Generator().manual_seed(seed)
    d = problem.points.shape[1]
    frames = torch.randn(problem.k, d, d, generator=generator, dtype=torch.float64)
    bases = torch.linalg.qr(frames).Q.to(problem.points.dtype)[:, : problem.j]
    return project_rows(problem.points, problem.labels, tuple(bases), RECORD)


def by_definition(problem: Problem, found: Factorization) -> Tensor:
    projectors = torch.stack([b.double().T @ b.double() for b in found.bases])
    return torch.einsum("nd,nde->ne", problem.points.double(), projectors[problem.labels])


@given(problems())
@settings(max_examples=60, deadline=None)
def test_reconstruction_projects_every_row_on_its_subspace(problem: Problem) -> None:
    found = factorized(problem)
    scale = float(problem.points.abs().max())
    expected = by_definition(problem, found)
    atol = problem.tolerance.unit * max(scale, 1e-30)
    torch.testing.assert_close(found.reconstruct().double(), expected, rtol=0, atol=atol)
    assert found.reconstruct().dtype == problem.points.dtype


@given(problems(), st.data())
@settings(max_examples=60, deadline=None)
def test_some_rows_are_those_rows_of_all(problem: Problem, data: st.DataObject) -> None:
    found = factorized(problem)
    n = len(problem.points)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), max_size=12)), dtype=torch.int64)
    atol = problem.tolerance.unit * float(problem.points.abs().max())
    torch.testing.assert_close(
        found.reconstruct(rows), found.reconstruct()[rows], rtol=0, atol=atol
    )


@given(problems())
@settings(max_examples=60, deadline=None)
def test_errors_are_those_of_the_reconstruction(problem: Problem) -> None:
    found = factorized(problem)
    points = problem.points.double()
    squares = (points - found.reconstruct().double()).square().sum(dim=1)
    largest = float(points.square().sum(dim=1).max())
    residuals = found.squared_residuals(problem.points)
    assert residuals.dtype == torch.float64
    assert float(residuals.min()) >= 0
    slack = problem.tolerance.energy * largest
    torch.testing.assert_close(residuals, squares, rtol=0, atol=slack)
    weights = torch.ones(len(points)).double() if problem.weights is None else problem.weights
    total = float(weights @ points.square().sum(dim=1))
    expected = float(weights @ squares) / (total or 1.0)
    assert found.relative_error(problem.points, problem.weights) == pytest.approx(
        expected, abs=problem.tolerance.energy
    )


@given(problems(weighted=True))
@settings(max_examples=40, deadline=None)
def test_weighted_error_is_the_error_of_repeated_rows(problem: Problem) -> None:
    assert problem.weights is not None
    copies = problem.weights.long()
    found = factorized(problem)
    repeated = project_rows(
        problem.points.repeat_interleave(copies, dim=0),
        problem.labels.repeat_interleave(copies),
        found.bases,
        RECORD,
    )
    assert found.relative_error(problem.points, problem.weights) == pytest.approx(
        repeated.relative_error(problem.points.repeat_interleave(copies, dim=0)),
        abs=problem.tolerance.energy,
    )


@given(problems(most_rows=60))
@settings(max_examples=40, deadline=None)
def test_chunked_is_whole(problem: Problem) -> None:
    whole = factorized(problem)
    residuals = whole.squared_residuals(problem.points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_ROWS", 7)
        chunked = factorized(problem)
        chunked_residuals = chunked.squared_residuals(problem.points)
        blocks = list(chunked.blocks())
    atol = problem.tolerance.unit * float(problem.points.abs().max())
    every = range(len(problem.points))
    assert [row for rows, _ in blocks for row in every[rows]] == list(every)
    assert all(len(part) <= 7 for _, part in blocks)
    approximated = torch.cat([part for _, part in blocks])
    torch.testing.assert_close(approximated, whole.reconstruct(), rtol=0, atol=atol)
    for one, other in zip(chunked.coordinates, whole.coordinates, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)
    largest = float(problem.points.double().square().sum(dim=1).max())
    torch.testing.assert_close(
        chunked_residuals, residuals, rtol=0, atol=problem.tolerance.energy * largest
    )


@given(problems())
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_the_formula(problem: Problem) -> None:
    found = factorized(problem)
    n, d = problem.points.shape
    k, j = problem.k, problem.j
    assert (found.k, found.shape, found.dimensions) == (k, (n, d), (j,) * k)
    assert found.sizes == tuple(problem.labels.bincount(minlength=k).tolist())
    assert found.parameters == n * j + k * j * d
    assert found.rate == pytest.approx(1 - (n * j + k * j * d) / (n * d))
    bits = {1: 0, 2: 1, 3: 2, 4: 2, 5: 3}[k]
    assert found.label_bytes == -(-n * bits // 8)
    width = problem.points.element_size()
    assert found.stored_bytes == width * found.parameters + found.label_bytes


def test_bases_are_copies_not_views_that_keep_whole_frames_alive() -> None:
    frames = torch.eye(100)[None]
    found = project_rows(torch.ones(3, 100), torch.zeros(3).long(), (frames[0, :2],), RECORD)
    assert found.bases[0].untyped_storage().nbytes() == 2 * 100 * 4


def test_a_matrix_of_zeros_has_no_error() -> None:
    found = project_rows(torch.zeros(4, 2), torch.zeros(4).long(), (torch.eye(2)[:1],), RECORD)
    assert found.relative_error(torch.zeros(4, 2)) == 0.0


def parts(**changed: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "labels": torch.tensor([0, 1, 0]),
        "bases": (torch.eye(2)[:1], torch.eye(2)[1:]),
        "coordinates": (torch.ones(2, 1), torch.ones(1, 1)),
        "record": RECORD,
    }
    return whole | changed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bases": (torch.eye(2)[:1],)}, "one basis and one coordinate block .* got 1 and 2"),
        ({"bases": (), "coordinates": ()}, "one basis and one coordinate block .* got 0 and 0"),
        ({"labels": torch.tensor([0, 2, 0])}, r"labels must be one number a row, each in 0 … 1"),
        ({"labels": torch.tensor([0, -1, 0])}, r"labels must be one number a row"),
        ({"labels": torch.tensor([[0, 1, 0]])}, r"labels must be one number a row"),
        ({"labels": torch.tensor([0, 1, 1])}, r"subspace 0: 1 rows need coordinates \(1, 1\)"),
        ({"bases": (torch.eye(2)[:1], torch.eye(3)[:1])}, "subspace 1: .* as wide as the others"),
        ({"bases": (torch.eye(2)[0], torch.eye(2)[1:])}, "must be matrices of one dtype"),
        ({"bases": (torch.eye(2)[:1].double(), torch.eye(2)[1:])}, "matrices of one dtype"),
        ({"offsets": (torch.ones(2),)}, r"need 2 offsets of shape \(2,\) in torch.float32, got"),
        ({"offsets": (torch.ones(2), torch.ones(3))}, r"need 2 offsets .*, got \[\(2,\), \(3,\)\]"),
        ({"offsets": (torch.ones(2), torch.ones(2).double())}, r"need 2 offsets .* torch.float32"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, object], message: str) -> None:
    Factorization(**parts())  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=message):
        Factorization(**parts(**changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_that_are_not_there_are_refused(row: int) -> None:
    found = Factorization(**parts())  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"row numbers must be in 0 … 2"):
        found.reconstruct(torch.tensor([row]))


def test_another_matrix_or_too_few_weights_are_refused() -> None:
    found = Factorization(**parts())  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"of a matrix \(3, 2\), got \(4, 2\)"):
        found.relative_error(torch.ones(4, 2))
    with pytest.raises(ShapeError, match="3 rows need as many weights"):
        found.relative_error(torch.ones(3, 2), torch.ones(2))


@given(problems())
@settings(max_examples=20, deadline=None)
def test_coordinates_in_a_file_are_those_in_memory(
    tmp_path_factory: pytest.TempPathFactory, problem: Problem
) -> None:
    workspace = tmp_path_factory.mktemp("workspace")
    here = factorized(problem)
    there = project_rows(problem.points, here.labels, here.bases, RECORD, workspace=workspace)
    for one, other in zip(there.coordinates, here.coordinates, strict=True):
        assert torch.equal(one, other)
    assert not list(workspace.iterdir())  # nothing that a killed process could leave


def lifted(problem: Problem) -> tuple[Factorization, Factorization]:
    """The rows in random subspaces, linear, and the same subspaces moved off zero."""
    linear = factorized(problem)
    generator = torch.Generator().manual_seed(1)
    offsets: list[Tensor] = []
    for basis in linear.bases:
        drawn = torch.randn(basis.shape[1], generator=generator, dtype=torch.float64)
        outside = drawn - basis.double().T @ (basis.double() @ drawn)
        offsets.append(outside.to(basis.dtype))
    moved = project_rows(
        problem.points, problem.labels, linear.bases, RECORD, offsets=tuple(offsets)
    )
    return linear, moved


@given(problems())
@settings(max_examples=40, deadline=None)
def test_offsets_move_every_row_of_their_subspace_and_are_counted(problem: Problem) -> None:
    linear, moved = lifted(problem)
    assert moved.offsets is not None
    assert moved.affine
    assert not linear.affine
    n, d = problem.points.shape
    assert moved.parameters == linear.parameters + problem.k * d
    width = problem.points.element_size()
    assert moved.stored_bytes == width * moved.parameters + moved.label_bytes
    expected = by_definition(problem, linear) + torch.stack(moved.offsets).double()[problem.labels]
    atol = 2 * problem.tolerance.unit * (1 + float(problem.points.abs().max()))
    torch.testing.assert_close(moved.reconstruct().double(), expected, rtol=0, atol=atol)
    rows = torch.arange(n).flip(0)[::2]
    torch.testing.assert_close(moved.reconstruct(rows).double(), expected[rows], rtol=0, atol=atol)
    blocks = torch.cat([part for _, part in moved.blocks(7)])
    torch.testing.assert_close(blocks.double(), expected, rtol=0, atol=atol)
    squares = (problem.points.double() - expected).square().sum(dim=1)
    largest = float(squares.max()) + float(problem.points.double().square().sum(dim=1).max())
    slack = 4 * problem.tolerance.energy * (1 + largest)
    torch.testing.assert_close(moved.squared_residuals(problem.points), squares, rtol=0, atol=slack)


def test_a_factorization_is_named_by_its_size_on_one_line() -> None:
    plan = factorize(gaussian(40, 6), k=2, j=[2, 3], n_init=1)
    assert repr(plan) == (
        f"<Factorization of 40 × 6: k = 2, j = 2 to 3, {plan.parameters} numbers, "
        f"{plan.stored_bytes} bytes>"
    )
    assert ", j = 3, " in repr(factorize(gaussian(40, 6), k=2, j=3, n_init=1).quantize(bits=4))
