"""How two plans differ: against itself, under other names, the other way round, and by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from torch import Tensor

import engine
from engine.differences import PlanDifference, compare_plans, principal_angles
from engine.errors import ShapeError
from engine.factorization import Factorization, FitRecord
from engine.measures import relative_row_errors
from engine.projection import project_rows
from tests.engine.tables import gaussian, lines

RECORD = FitRecord(method="messi", config={}, source="", versions={})
D = 7
# A frame from QR is orthonormal to a few of float64's rounding units, 2e-16; in degrees.
ANGLE = 1e-11


def random_plan(n: int, k: int, seed: int) -> Factorization:
    """Any labels and any bases, of dimensions 0 … D; parts may be empty."""
    generator = torch.Generator().manual_seed(seed)
    bases = []
    for _ in range(k):
        j = int(torch.randint(0, D + 1, (1,), generator=generator))
        frame = torch.randn(D, j, generator=generator, dtype=torch.float64)
        bases.append(torch.linalg.qr(frame).Q.T)
    labels = torch.randint(0, k, (n,), generator=generator)
    return project_rows(gaussian(n, D).double(), labels, tuple(bases), RECORD)


def renamed(plan: Factorization, order: list[int]) -> Factorization:
    """The same plan with its subspaces in another order: new subspace i is the old order[i]."""
    back = torch.tensor(order).argsort()
    return replace(
        plan,
        labels=back[plan.labels],
        bases=tuple(plan.bases[c] for c in order),
        coordinates=tuple(plan.coordinates[c] for c in order),
    )


def compared(first: Factorization, second: Factorization) -> PlanDifference:
    matrix = gaussian(len(first.labels), D).double()
    first_errors, second_errors = (
        relative_row_errors(plan.squared_residuals(matrix), matrix) for plan in (first, second)
    )
    return compare_plans(first, second, errors=(first_errors, second_errors))


plans = st.builds(random_plan, st.just(30), st.integers(1, 6), st.integers(0, 10**6))


@given(plan=plans)
def test_nothing_moves_between_a_plan_and_itself(plan: Factorization) -> None:
    found = compared(plan, plan)
    assert found.share_moved == 0
    assert (found.closer_in_first, found.closer_in_second) == (0, 0)
    assert found.rand_index == pytest.approx(1)
    assert torch.equal(found.labels, plan.labels)
    for pair in found.pairs:
        assert pair.first == pair.second
        assert pair.shared == plan.sizes[pair.first]
        if pair.greatest_angle is not None:
            assert pair.greatest_angle < ANGLE
    assert all(plan.sizes[label] == 0 for label in found.alone_in_first)


@given(plan=plans, data=st.data())
def test_other_names_for_the_same_subspaces_move_nothing(
    plan: Factorization, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(plan.k)))
    found = compared(plan, renamed(plan, list(order)))
    assert found.share_moved == 0
    assert found.rand_index == pytest.approx(1)
    assert torch.equal(found.labels, plan.labels)
    for pair in found.pairs:
        assert order[pair.second] == pair.first
        assert pair.greatest_angle is None or pair.greatest_angle < ANGLE


@given(first=plans, second=plans)
def test_the_other_way_round_says_the_same(first: Factorization, second: Factorization) -> None:
    there, back = compared(first, second), compared(second, first)
    assert there.share_moved == back.share_moved
    assert there.rand_index == pytest.approx(back.rand_index)
    assert there.closer_in_first == back.closer_in_second
    assert torch.equal(there.counts, back.counts.T)
    assert torch.equal(there.gain, -back.gain)


@given(first=plans, second=plans)
def test_matching_leaves_the_fewest_rows_moved(first: Factorization, second: Factorization) -> None:
    found = compared(first, second)
    counts = found.counts.numpy()
    tall = counts if counts.shape[0] >= counts.shape[1] else counts.T
    best = max(
        sum(int(tall[a, b]) for b, a in enumerate(chosen))
        for chosen in permutations(range(tall.shape[0]), tall.shape[1])
    )
    assert sum(pair.shared for pair in found.pairs) == best
    assert int(found.moved.sum()) == len(first.labels) - best


@given(first=plans, second=plans)
def test_subspaces_without_a_partner_get_numbers_of_their_own(
    first: Factorization, second: Factorization
) -> None:
    found = compared(first, second)
    assert len(set(found.numbers)) == second.k
    alone = {found.numbers[label] for label in found.alone_in_second}
    assert all(number >= first.k for number in alone)
    for pair in found.pairs:
        assert found.numbers[pair.second] == pair.first
    assert len(found.pairs) + len(found.alone_in_first) == first.k
    assert len(found.pairs) + len(found.alone_in_second) == second.k


def test_split_subspace_by_hand() -> None:
    """Rows 0 0 0 1 1 against 2 2 0 1 1: the third subspace takes two rows of the first."""
    axes = torch.eye(D, dtype=torch.float64)
    matrix = gaussian(5, D).double()

    def plan(labels: list[int], k: int) -> Factorization:
        bases = tuple(axes[c : c + 1] for c in range(k))
        return project_rows(matrix, torch.tensor(labels), bases, RECORD)

    first, second = plan([0, 0, 0, 1, 1], 2), plan([2, 2, 0, 1, 1], 3)
    errors = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5]), torch.tensor([0.4, 0.6, 0.5, 0.5, 0.1])
    found = compare_plans(first, second, errors=errors)
    assert found.counts.tolist() == [[1, 0, 2], [0, 2, 0]]
    # Two shared rows beat one: subspace 3 of the second plan stands for 1 of the first.
    assert [(p.first, p.second, p.shared) for p in found.pairs] == [(0, 2, 2), (1, 1, 2)]
    assert found.pairs[0].mean_angle == pytest.approx(90)
    assert found.pairs[1].mean_angle == pytest.approx(0, abs=ANGLE)
    assert found.labels.tolist() == [0, 0, 2, 1, 1]
    assert found.moved.tolist() == [False, False, True, False, False]
    assert (found.alone_in_first, found.alone_in_second) == ((), (0,))
    np.testing.assert_allclose(found.mean_errors, [[0.5, 0.5], [0.5, 0.3]], rtol=1e-7)
    assert (found.share_moved, found.closer_in_first, found.closer_in_second) == (0.2, 0.2, 0.4)


def test_svd_is_partner_of_the_largest_subspace() -> None:
    matrix = lines()
    plan = engine.factorize(matrix, k=3, j=1, seed=0, n_init=4)
    svd = engine.factorize(matrix, method="svd", j=2)
    errors = [relative_row_errors(p.squared_residuals(matrix), matrix) for p in (plan, svd)]
    found = compare_plans(plan, svd, errors=(errors[0], errors[1]))
    assert [pair.shared for pair in found.pairs] == [max(plan.sizes)]
    assert len(found.alone_in_first) == 2
    assert found.rand_index == pytest.approx(0)
    assert found.closer_in_first > 0.9  # three lines hold these rows, one plane cannot


def test_coded_plan_differs_from_itself_by_its_rounding_alone() -> None:
    matrix = lines()
    plan = engine.factorize(matrix, k=3, j=1, seed=0, n_init=4)
    coded = plan.quantize(bits=8)
    errors = [relative_row_errors(p.squared_residuals(matrix), matrix) for p in (plan, coded)]
    found = compare_plans(plan, coded, errors=(errors[0], errors[1]))
    assert found.share_moved == 0
    for pair in found.pairs:  # float16 keeps 11 binary digits: 1/2048 of a radian is 0.03 degrees
        assert pair.greatest_angle is not None
        assert 0 < pair.greatest_angle < 0.03


@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (5, 2), (4, 4), (7, 3)])
def test_angles_are_those_of_scipy(sizes: tuple[int, int]) -> None:
    first, second = (gaussian(j, D, seed=j + 10 * place) for place, j in enumerate(sizes))
    found = principal_angles(first, second)
    wanted = subspace_angles(first.double().T.numpy(), second.double().T.numpy())[::-1]
    # scipy reads some angles of zero from their cosines, where 1e-16 are an angle of 1e-8.
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-7)


def test_small_angle_is_read_to_its_last_digit() -> None:
    """Its cosine, 1 − 5e-19, is 1 in float64."""
    turned = torch.tensor([[1.0, 1e-9, 0]], dtype=torch.float64)
    found = principal_angles(torch.eye(3, dtype=torch.float64)[:1], turned)
    assert found.tolist() == pytest.approx([1e-9], rel=1e-6)


@pytest.mark.parametrize("rows", [29, 31])
def test_plans_of_other_rows_are_refused(rows: int) -> None:
    first, second = random_plan(30, 2, 0), random_plan(rows, 2, 0)
    errors: tuple[Tensor, Tensor] = torch.zeros(30), torch.zeros(rows)
    with pytest.raises(ShapeError, match="two plans of the same rows are needed"):
        compare_plans(first, second, errors=errors)
