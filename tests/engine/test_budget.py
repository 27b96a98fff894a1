"""Rate ↔ dimension, both directions, and the paper's worked examples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import factorize
from engine.budget import (
    PlanSizes,
    budget_for_rate,
    check_dimension,
    check_k,
    check_rate,
    dimension_for_rate,
    matching_rank,
    most_bytes,
    offset_parameters,
    parameters,
    rate_for_dimension,
    read_bytes,
    svd_beside,
    uniform_bytes,
)
from engine.coding.codes import Coding
from engine.errors import ParameterError

sizes = st.integers(1, 100_000)
widths = st.integers(1, 1024)


def test_worked_examples_of_the_paper() -> None:
    assert parameters(20, 10, 2, 3) == 120  # of 200
    assert parameters(20, 10, 1, 4) == 120  # the SVD of rank 4
    assert rate_for_dimension(20, 10, 2, 3) == pytest.approx(0.4)
    assert dimension_for_rate(20, 10, 2, 0.4) == 3
    assert dimension_for_rate(20, 10, 1, 0.4) == 4
    assert parameters(120, 3, 1, 2) == 246  # a plane in R^3
    assert parameters(120, 3, 3, 1) == 129  # three lines


@given(st.integers(1, 50), widths, st.data(), st.booleans())
def test_parts_of_a_uniform_plan_add_up_to_the_formula(
    k: int, d: int, data: st.DataObject, affine: bool
) -> None:
    sizes = tuple(data.draw(st.lists(st.integers(1, 10_000), min_size=k, max_size=k)))
    j = data.draw(st.integers(0, d))
    plan = PlanSizes(d=d, sizes=sizes, dimensions=(j,) * k, affine=affine)
    assert plan.parameters == parameters(plan.n, d, k, j, affine=affine)
    assert plan.rate == pytest.approx(rate_for_dimension(plan.n, d, k, j, affine=affine))
    assert sum(plan.only([label]).parameters for label in range(k)) == plan.parameters


def test_parts_of_a_plan_are_those_of_its_factorization() -> None:
    matrix = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))
    fitted = factorize(matrix, k=3, j=[1, 2, 5], affine=True, n_init=1)
    plan = PlanSizes(d=8, sizes=fitted.sizes, dimensions=fitted.dimensions, affine=fitted.affine)
    assert plan.coordinates == tuple(block.numel() for block in fitted.coordinates)
    assert plan.bases == tuple(basis.numel() for basis in fitted.bases)
    assert (plan.offsets, plan.parameters) == (24, fitted.parameters)
    assert plan.rate == pytest.approx(fitted.rate)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bits", [None, (8, 16), (8, 8), (4, 16), (4, 8)])
def test_bytes_told_beforehand_are_those_of_the_factorization(
    bits: tuple[int, int] | None, affine: bool
) -> None:
    matrix = torch.randn(61, 9, generator=torch.Generator().manual_seed(1))
    for j in (3, [1, 2, 5]):
        fitted = factorize(matrix, k=3, j=j, affine=affine, n_init=1)
        coding = None if bits is None else Coding(bits=bits[0], basis_bits=bits[1])
        if coding is not None:
            fitted = fitted.quantize(bits=coding.bits, basis_bits=coding.basis_bits)
        plan = PlanSizes(d=9, sizes=fitted.sizes, dimensions=fitted.dimensions, affine=affine)
        assert plan.stored_bytes(coding) == fitted.stored_bytes
        if j == 3:
            told = uniform_bytes(61, 9, 3, 3, affine=affine, coding=coding)
            assert told == fitted.stored_bytes


codings = st.none() | st.builds(
    Coding, bits=st.sampled_from((8, 4)), basis_bits=st.sampled_from((16, 8))
)


@given(st.data(), codings, st.booleans(), st.integers(0, 1000))
def test_no_plan_within_a_budget_takes_more_bytes_than_were_told(
    data: st.DataObject, coding: Coding | None, affine: bool, unused: int
) -> None:
    k, d = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 64))
    sizes = tuple(data.draw(st.lists(st.integers(0, 300), min_size=k, max_size=k)))
    dimensions = tuple(data.draw(st.lists(st.integers(0, d), min_size=k, max_size=k)))
    plan = PlanSizes(d=d, sizes=sizes, dimensions=dimensions, affine=affine)
    budget = plan.parameters + unused
    most = most_bytes(plan.n, d, k, budget, affine=affine, coding=coding)
    assert plan.stored_bytes(coding) <= most
    # and no idle promise: never above float32, but for labels, steps and half bytes
    assert most <= 4 * budget + plan.n + 6 * k * d


@pytest.mark.parametrize(("sizes", "dimensions"), [((), ()), ((3, 4), (1,))])
def test_parts_that_do_not_belong_together_are_refused(
    sizes: tuple[int, ...], dimensions: tuple[int, ...]
) -> None:
    with pytest.raises(ParameterError, match="a number of rows and a dimension, got"):
        PlanSizes(d=4, sizes=sizes, dimensions=dimensions)


@st.composite
def roomy_tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """(n, d, k) where at least one dimension fits: n ≥ 2k and d ≥ 2 give n·d ≥ n + k·d."""
    k = draw(st.integers(1, 50))
    return draw(st.integers(2 * k, 100_000)), draw(st.integers(2, 1024)), k


@given(roomy_tables(), st.floats(0, 1))
def test_dimension_is_the_largest_within_the_rate(
    table: tuple[int, int, int], share: float
) -> None:
    n, d, k = table
    rate = share * rate_for_dimension(n, d, k, 1)
    j = dimension_for_rate(n, d, k, rate)
    assert 1 <= j <= d
    budget = (1 - rate) * n * d
    slack = 1e-8 * (n + k * d)  # the guard against a float's last digit, in dimensions
    assert parameters(n, d, k, j) <= budget + slack
    assert j == d or parameters(n, d, k, j + 1) > budget - slack


@given(roomy_tables(), st.floats(0, 1))
def test_the_rate_of_a_dimension_gives_that_dimension_back(
    table: tuple[int, int, int], share: float
) -> None:
    n, d, k = table
    j = 1 + int(share * (n * d // (n + k * d) - 1))
    rate = rate_for_dimension(n, d, k, j)
    assert 0 <= rate < 1
    assert dimension_for_rate(n, d, k, rate) == j


@given(n=sizes, d=widths, budget=st.integers(1, 10**8))
def test_matching_rank_is_the_smallest_that_is_not_short(n: int, d: int, budget: int) -> None:
    rank = matching_rank(n, d, budget)
    assert 1 <= rank <= min(n, d)
    assert parameters(n, d, 1, rank) >= budget or rank == min(n, d)
    assert rank == 1 or parameters(n, d, 1, rank - 1) < budget


@given(n=st.integers(1, 3000), d=st.integers(1, 300), stored=st.integers(1, 4_000_000))
def test_a_coded_plan_stands_beside_the_smallest_svd_that_is_not_short(
    n: int, d: int, stored: int
) -> None:
    size = svd_beside(n, d, None, stored)
    assert 1 <= size.rank <= min(n, d)
    taken = uniform_bytes(n, d, 1, size.rank, coding=size.coding)
    assert taken >= stored or (size.rank == min(n, d) and size.coding is None)
    if size.rank > 1:
        assert uniform_bytes(n, d, 1, size.rank - 1, coding=size.coding) < stored
    if size.coding != Coding(bits=4, basis_bits=8):  # of more bits only where 4 do not fill it
        most = uniform_bytes(n, d, 1, min(n, d), coding=Coding(bits=4, basis_bits=8))
        assert most < stored


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_a_rate_outside_0_to_1_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="share of parameters to remove, 0 to below 1, got"):
        check_rate(rate)


@pytest.mark.parametrize("k", [0, -1, 11])
def test_k_must_be_one_of_the_rows(k: int) -> None:
    with pytest.raises(ParameterError, match=rf"k must be between 1 and 10 .*, got {k}"):
        check_k(k, 10)


@pytest.mark.parametrize("j", [0, -3, 385])
def test_j_must_be_one_of_the_columns(j: int) -> None:
    with pytest.raises(ParameterError, match=rf"j must be between 1 and 384 .*, got {j}; lower j"):
        check_dimension(j, 384)


def test_a_rate_without_room_names_the_highest_that_has() -> None:
    with pytest.raises(ParameterError, match=r"highest rate for k = 5 here is 0\.733") as caught:
        dimension_for_rate(30, 10, 5, 0.9)
    assert "leaves no room for k = 5" in str(caught.value)
    assert dimension_for_rate(30, 10, 5, 0.733) == 1  # the advice works


def test_one_subspace_is_not_told_to_lower_k() -> None:
    with pytest.raises(ParameterError, match=r"here is 0\.\d+; lower the rate$"):
        dimension_for_rate(30, 10, 1, 0.95)
    with pytest.raises(ParameterError, match=r"k = 1 subspace of .* which no plan makes smaller$"):
        dimension_for_rate(1, 4, 1, 0.4)


def test_more_subspaces_than_any_rate_can_hold() -> None:
    with pytest.raises(ParameterError, match="already larger than the table; lower k"):
        dimension_for_rate(10, 10, 10, 0.5)


@given(roomy_tables(), st.floats(0, 0.99))
def test_a_budget_is_the_most_whole_numbers_within_the_rate(
    table: tuple[int, int, int], rate: float
) -> None:
    n, d, _ = table
    budget = budget_for_rate(n, d, rate)
    assert budget <= (1 - rate) * n * d + 1e-5
    assert budget + 1 > (1 - rate) * n * d - 1e-5


@pytest.mark.parametrize(("rate", "expected"), [(0.4, 120), (0.0, 200), (0.41, 118), (0.9, 20)])
def test_a_budget_is_not_a_number_short_by_a_floats_last_digit(rate: float, expected: int) -> None:
    assert budget_for_rate(20, 10, rate) == expected


@given(roomy_tables(), st.integers(0, 50))
def test_offsets_are_one_vector_a_subspace(table: tuple[int, int, int], j: int) -> None:
    n, d, k = table
    assert offset_parameters(d, k, affine=True) == k * d
    assert offset_parameters(d, k, affine=False) == 0
    assert parameters(n, d, k, j, affine=True) == parameters(n, d, k, j) + k * d


@given(roomy_tables(), st.floats(0, 1))
def test_affine_dimension_is_the_largest_within_the_rate(
    table: tuple[int, int, int], share: float
) -> None:
    n, d, k = table
    highest = rate_for_dimension(n, d, k, 1, affine=True)
    if highest <= 0:
        return
    rate = share * highest
    j = dimension_for_rate(n, d, k, rate, affine=True)
    assert 1 <= j <= dimension_for_rate(n, d, k, rate)
    slack = 1e-8 * (n + k * d)
    assert parameters(n, d, k, j, affine=True) <= (1 - rate) * n * d + slack
    assert j == d or parameters(n, d, k, j + 1, affine=True) > (1 - rate) * n * d - slack


def test_one_row_has_room_for_one_subspace() -> None:
    check_k(1, 1)
    for k in (0, 2):
        with pytest.raises(ParameterError, match=f"of 1 row has room for k = 1 only, got {k}"):
            check_k(k, 1)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (750_108, 750_108),
        ("750108", 750_108),
        ("1.6%", 750_108),
        (" 3 % ", 1_406_453),
        ("1.1MB", 1_100_000),
        ("400 kB", 400_000),
        ("2b", 2),
        ("0.05GB", 50_000_000),
        ("4.35MB", 4_350_000),
        ("1.9b", 1),
        ("99999999999999999999", 99999999999999999999),
    ],
)
def test_bytes_are_read_as_people_write_them(asked: int | str, expected: int) -> None:
    assert read_bytes(asked, 46_881_792) == expected


@pytest.mark.parametrize(
    "asked",
    ["-5", "3 percent", "", "1.2.3", "1TB", "nan", "9" * 400],
)
def test_other_texts_are_no_bytes(asked: int | str) -> None:
    with pytest.raises(ParameterError, match=r"750108, 1\.1MB or 3% of the table, got"):
        read_bytes(asked, 1000)


@pytest.mark.parametrize("asked", [0, "0%", "0.5b", "0.09%"])
def test_less_than_a_byte_is_refused(asked: int | str) -> None:
    with pytest.raises(ParameterError, match=r"must come to at least 1, got .*, which is 0"):
        read_bytes(asked, 1000)
