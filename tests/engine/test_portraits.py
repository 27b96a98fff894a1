"""Rows and subspaces seen close up: every figure against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

import engine
from engine import portraits
from engine.errors import ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.measures import summarise_subspaces
from engine.portraits import RowPortrait, describe_row, describe_subspace
from engine.projection import project_rows
from engine.rows import ShardedRows
from tests.engine.tables import gaussian

RECORD = FitRecord(method="messi", config={}, source="", versions={})
ENERGY = 6e-6  # float32: tests.tolerances
KINDS = ("linear", "affine", "coded", "k = 1")


def plan_of(kind: str, matrix: Tensor, seed: int = 0) -> Factorization:
    """A plan of two-dimensional subspaces, three but for k = 1."""
    if kind == "k = 1":
        return engine.factorize(matrix, k=1, j=2)
    plan = engine.factorize(matrix, k=3, j=2, n_init=1, seed=seed, affine=kind == "affine")
    return plan.quantize(bits=8, basis_bits=8) if kind == "coded" else plan


def nearest(rows: Tensor, direction: Tensor, row: int, count: int) -> list[int]:
    cosines = normalize(rows.double(), dim=1) @ normalize(direction.double(), dim=0)
    cosines[row] = -math.inf
    return cosines.argsort(descending=True)[:count].tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 50), row=st.integers(0, 39))
def test_a_row_is_described_by_the_definitions(kind: str, seed: int, row: int) -> None:
    matrix = gaussian(40, 6, seed) + 0.5
    plan = plan_of(kind, matrix)
    found = describe_row(plan, matrix, row, count=5)
    x, approximated = matrix[row].double(), plan.reconstruct().double()
    residual = x - approximated[row]
    assert (found.row, found.label) == (row, int(plan.labels[row]))
    assert found.length == pytest.approx(float(x.norm()))
    assert found.error == pytest.approx(float(residual @ residual / (x @ x)), abs=ENERGY)
    for neighbours, rows, direction in (
        (found.before, matrix, x),
        (found.after, approximated, approximated[row]),
        (found.residual, matrix, residual),
    ):
        assert [item.row for item in neighbours] == nearest(rows, direction, row, 5)
        cosines = normalize(rows.double(), dim=1) @ normalize(direction, dim=0)
        expected = [float(cosines[item.row]) for item in neighbours]
        assert [item.cosine for item in neighbours] == pytest.approx(expected, abs=1e-5)
    both = {item.row for item in found.before} & {item.row for item in found.after}
    assert found.kept == len(both) / 5


@given(seed=st.integers(0, 50))
def test_coordinates_are_those_of_the_row_and_hold_what_is_not_lost(seed: int) -> None:
    matrix = gaussian(30, 5, seed)
    plan = plan_of("linear", matrix)
    for row in range(0, 30, 7):
        found = describe_row(plan, matrix, row)
        basis = plan.bases[found.label]
        assert isinstance(basis, Tensor)
        torch.testing.assert_close(found.coordinates @ basis, plan.reconstruct()[row])
        assert list(found.energy) == sorted(found.energy)
        assert found.energy[-1] == pytest.approx(1 - found.error, abs=ENERGY)
        largest = float(found.coordinates.abs().max())
        assert found.energy[0] == pytest.approx((largest / found.length) ** 2, abs=ENERGY)


def test_an_exact_row_has_no_residual_and_keeps_its_neighbours() -> None:
    matrix = gaussian(20, 4)
    found = describe_row(engine.factorize(matrix, k=1, j=4), matrix, 3)
    assert found.residual == ()
    assert found.kept == 1.0
    assert found.error < ENERGY


def test_rows_without_neighbours_or_length() -> None:
    alone = torch.tensor([[3.0, 4.0]])
    found = describe_row(engine.factorize(alone, k=1, j=1), alone, 0)
    assert (found.before, found.after, found.residual, found.kept) == ((), (), (), 1.0)
    assert found.length == pytest.approx(5.0)
    matrix = torch.cat([gaussian(9, 4), torch.zeros(1, 4)])
    nothing = describe_row(plan_of("linear", matrix), matrix, 9)
    assert (nothing.length, nothing.error, nothing.kept) == (0.0, 0.0, 1.0)
    assert (nothing.before, nothing.after, nothing.residual) == ((), (), ())
    assert set(nothing.energy) == {0.0}
    point = project_rows(matrix, torch.zeros(10, dtype=torch.int64), (torch.zeros(0, 4),), RECORD)
    lost = describe_row(point, matrix, 0)  # j = 0: the row is approximated by zero
    assert (lost.energy, lost.after, lost.kept, lost.error) == ((), (), 0.0, pytest.approx(1.0))


def test_halves_in_shards_are_described_as_the_same_rows_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(portraits, "_ROW_BLOCK", 7)
    stored = gaussian(40, 6).half()
    shards = ShardedRows(stored.tensor_split(3))
    plan = plan_of("linear", stored.float())
    one, same = describe_row(plan, shards, 17), describe_row(plan, stored.float(), 17)
    assert torch.equal(one.coordinates, same.coordinates)
    plain = [name for name in RowPortrait.__slots__ if name != "coordinates"]
    assert [getattr(one, name) for name in plain] == [getattr(same, name) for name in plain]
    assert describe_subspace(plan, shards, 1) == describe_subspace(plan, stored.float(), 1)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 50))
def test_a_subspace_is_described_by_the_definitions(kind: str, seed: int) -> None:
    matrix = gaussian(40, 6, seed) + 0.5
    plan = plan_of(kind, matrix)
    for summary in summarise_subspaces(plan, matrix):
        found = describe_subspace(plan, matrix, summary.label, ends=3)
        assert (found.rows, found.dimension) == (summary.rows, summary.dimension)
        assert found.energy_kept == pytest.approx(summary.energy_kept, abs=ENERGY)
        rows = matrix[plan.labels == summary.label].double()
        centred = rows - rows.mean(dim=0) if plan.affine else rows
        squares = torch.zeros(6, dtype=torch.float64)
        values = torch.linalg.svdvals(centred).square() / rows.square().sum()
        squares[: len(values)] = values
        assert found.spectrum == pytest.approx(squares.tolist(), abs=ENERGY)
        # The part past j is what no subspace of j dimensions could keep.
        assert 1 - found.energy_kept >= sum(found.spectrum[2:]) - ENERGY
        assert len(found.angles) == plan.k - 1


@given(seed=st.integers(0, 50))
def test_axes_are_the_principal_ones_inside_and_name_their_ends(seed: int) -> None:
    matrix = gaussian(40, 6, seed)
    plan = engine.factorize(matrix, k=2, j=3, n_init=1)
    found = describe_subspace(plan, matrix, 0, axes=5, ends=2)
    members = (plan.labels == 0).nonzero().squeeze(1)
    basis = plan.bases[0]
    assert isinstance(basis, Tensor)
    rows = matrix[members].double()
    _, values, vectors = torch.linalg.svd(rows @ basis.double().T, full_matrices=False)
    shares = (values.square() / rows.square().sum()).tolist()
    assert len(found.axes) == len(shares) <= 3
    unit = normalize(rows, dim=1)
    for axis, share, vector in zip(found.axes, shares, vectors, strict=True):
        assert axis.share == pytest.approx(share, abs=ENERGY)
        places = dict(
            zip(members.tolist(), (unit @ (vector @ basis.double())).tolist(), strict=True)
        )
        ends = {max(places, key=places.__getitem__), min(places, key=places.__getitem__)}
        assert {axis.high[0]} | set(axis.low[:1]) == ends
        assert abs(places[axis.high[0]]) == pytest.approx(max(map(abs, places.values())), abs=1e-5)
        assert not set(axis.low) & set(axis.high)
    assert sum(axis.share for axis in found.axes) == pytest.approx(found.energy_kept, abs=ENERGY)


def test_angles_by_hand() -> None:
    turn = math.radians(30)
    bases = (
        torch.eye(4)[:2],
        torch.tensor([[math.cos(turn), 0, math.sin(turn), 0], [0, 0, 0, 1.0]]),
        torch.zeros(0, 4),
    )
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    plan = project_rows(gaussian(7, 4), labels, bases, RECORD)
    first, second = describe_subspace(plan, gaussian(7, 4), 0).angles
    # float32 cosines: half a rounding unit below 1 is 0.02 degrees
    assert first.degrees == pytest.approx((30.0, 90.0), abs=0.02)
    assert (first.label, second.label, second.degrees) == (1, 2, ())
    (back, _) = describe_subspace(plan, gaussian(7, 4), 1).angles
    assert back.degrees == pytest.approx(first.degrees, abs=0.02)


def test_empty_subspaces_single_rows_and_zeros() -> None:
    matrix = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    bases = (torch.eye(2)[:1], torch.eye(2)[1:], torch.eye(2)[1:])
    plan = project_rows(matrix, torch.tensor([0, 1, 1]), bases, RECORD)
    alone, zeros, empty = (describe_subspace(plan, matrix, label) for label in range(3))
    assert alone.spectrum == (1.0, 0.0)
    assert [(axis.share, axis.low, axis.high) for axis in alone.axes] == [(1.0, (), (0,))]
    for nothing, rows in ((zeros, 2), (empty, 0)):
        assert (nothing.rows, nothing.energy_kept, nothing.axes) == (rows, 0.0, ())
        assert nothing.spectrum == (0.0, 0.0)
        assert [item.label for item in nothing.angles] == sorted({0, 1, 2} - {nothing.label})


def test_what_is_not_there_is_refused() -> None:
    matrix = gaussian(12, 4)
    plan = plan_of("linear", matrix)
    with pytest.raises(ShapeError, match=r"of a matrix \(12, 4\), got \(11, 4\)"):
        describe_row(plan, matrix[:11], 0)
    with pytest.raises(ParameterError, match="the row must be between 0 and 11, got 12"):
        describe_row(plan, matrix, 12)
    with pytest.raises(ParameterError, match="the row must be between 0 and 11, got -1"):
        describe_row(plan, matrix, -1)
    with pytest.raises(ParameterError, match="neighbours must be at least 1, got 0"):
        describe_row(plan, matrix, 0, count=0)
    with pytest.raises(ParameterError, match="the subspace must be between 0 and 2, got 3"):
        describe_subspace(plan, matrix, 3)
