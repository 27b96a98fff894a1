"""Codes of one subspace's rows: refitting only ever helps, and enough bits lose nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.coding.encoding import encode_rows
from engine.coding.mixed import round_columns, unpack_columns
from engine.errors import Cancelled


def problem(m: int, d: int, j: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with a falling spectrum, weights of several sizes, and the leading eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
    spread = torch.exp(-0.3 * torch.arange(d))
    points = (torch.randn(m, d, generator=generator) * spread) @ frame.T
    weights = torch.rand(m, generator=generator)
    _, vectors = torch.linalg.eigh((points * weights.unsqueeze(1)).T @ points)
    return points, weights, vectors.flip(1).T[:j].contiguous()


def as_bits(value: int, j: int) -> Tensor:
    return torch.full((j,), value, dtype=torch.uint8)


def true_loss(points: Tensor, weights: Tensor, approximated: Tensor) -> float:
    return float((points - approximated).square().sum(1).double() @ weights.double())


@given(
    st.integers(1, 60), st.integers(1, 12), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_each_round_only_helps_and_the_loss_is_that_of_the_decoded_rows(
    m: int, d: int, bits: int, basis_bits: int, seed: int
) -> None:
    j = max(1, d // 2)
    points, weights, basis = problem(m, d, j, seed)
    widths = (as_bits(bits, j), as_bits(basis_bits, j))
    losses: dict[int, float] = {}
    for rounds in (4, 0, 1):
        found = encode_rows(points, weights, basis, widths, rounds=rounds)
        approximated = found.coordinates.decode() @ found.basis.decode()
        assert (found.coordinates.shape, found.basis.shape) == ((m, j), (j, d))
        # Sums in float32 against sums in double of the same numbers, relative to all there is.
        energy = true_loss(points, weights, torch.zeros_like(points))
        assert found.lost == pytest.approx(
            true_loss(points, weights, approximated), rel=1e-4, abs=1e-5 * energy + 1e-12
        )
        losses[rounds] = true_loss(points, weights, approximated)
    slack = 1e-5 * energy + 1e-12
    assert losses[4] <= losses[1] + slack
    assert losses[1] <= losses[0] + slack


def test_rounds_pay_where_bits_are_few() -> None:
    points, weights, basis = problem(400, 24, 12, 0)
    widths = (as_bits(1, 12), as_bits(4, 12))
    plain = encode_rows(points, weights, basis, widths, rounds=0)
    refitted = encode_rows(points, weights, basis, widths, rounds=4)
    assert refitted.lost < 0.97 * plain.lost


@pytest.mark.parametrize("seed", range(3))
def test_bases_are_refitted_to_rows_by_their_weight(seed: int) -> None:
    points, weights, _ = problem(300, 24, 12, seed)
    points[60:] = torch.randn(240, 24, generator=torch.Generator().manual_seed(seed))
    weights[60:] *= 1e-3
    _, vectors = torch.linalg.eigh((points * weights.unsqueeze(1)).T @ points)
    basis, widths = vectors.flip(1).T[:12].contiguous(), (as_bits(1, 12), as_bits(4, 12))
    plain = encode_rows(points, weights, basis, widths, rounds=0)
    refitted = encode_rows(points, weights, basis, widths, rounds=3)
    # Fitted to the many rows that hardly count it would lose more, and be thrown away.
    assert refitted.lost < 0.95 * plain.lost


@pytest.mark.parametrize("j", [6, 40])
def test_steps_are_the_least_squares_of_the_levels_that_were_found(j: int) -> None:
    points, weights, basis = problem(300, 2 * j, j, 6)
    found = encode_rows(points, weights, basis, (as_bits(2, j), as_bits(4, j)), rounds=0)
    coordinates = found.coordinates
    levels = unpack_columns(coordinates.codes, coordinates.bits, trellis=coordinates.trellis)
    numbers = points @ torch.linalg.pinv(found.basis.decode())
    left = weights @ (levels * (numbers - coordinates.steps * levels))
    # Nothing along the levels is left, but for float32 sums.
    assert float((left / (weights @ (levels * numbers))).abs().max()) < 1e-4


@pytest.mark.parametrize(("power", "bits"), [(0.0, 3), (3.0, 5)])
def test_quantisers_are_as_wide_as_columns_that_are_not_normal_need(
    power: float, bits: int
) -> None:
    """Evenly spread, or mostly small with a few far out."""
    normal = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    points = normal**power if power else torch.special.ndtr(normal) - 0.5
    found = encode_rows(
        points, torch.ones(2000), torch.eye(4), (as_bits(bits, 4), as_bits(12, 4)), rounds=0
    )
    steps = points.square().mean(dim=0).sqrt()  # what suits normal numbers
    levels = round_columns(points, steps, as_bits(bits, 4))
    fitted = levels * (levels * points).sum(dim=0) / levels.square().sum(dim=0)
    assert found.lost < 0.75 * true_loss(points, torch.ones(2000), fitted)


def test_many_bits_along_every_direction_lose_next_to_nothing() -> None:
    points, weights, basis = problem(50, 8, 8, 1)
    found = encode_rows(points, weights, basis, (as_bits(10, 8), as_bits(12, 8)), rounds=2)
    # Levels of 10 bits lose 3e-6 of a normal number's energy; the largest of 50 are cut off a
    # little more.
    assert found.lost <= 1e-5 * true_loss(points, weights, torch.zeros_like(points))


def test_paths_lose_a_fifth_less_than_levels_of_single_numbers() -> None:
    points, weights, basis = problem(400, 64, 40, 0)
    bits = as_bits(2, 40)
    found = encode_rows(points, weights, basis, (bits, as_bits(12, 40)), rounds=0)
    coordinates = points @ basis.T
    spread = ((weights @ coordinates.square()) / weights.sum()).sqrt()
    rounded = (round_columns(coordinates, spread, bits) * spread) @ basis
    assert found.lost - true_loss(points, weights, coordinates @ basis) <= 0.8 * (
        true_loss(points, weights, rounded) - true_loss(points, weights, coordinates @ basis)
    )


@pytest.mark.parametrize(("m", "j"), [(0, 2), (3, 0), (0, 0)])
def test_nothing_to_code_is_fine(m: int, j: int) -> None:
    points, weights, basis = problem(5, 4, j, 2)
    found = encode_rows(points[:m], weights[:m], basis, (as_bits(2, j), as_bits(3, j)), rounds=3)
    assert (found.coordinates.shape, found.basis.shape) == ((m, j), (j, 4))
    assert found.lost == pytest.approx(true_loss(points[:m], weights[:m], torch.zeros(m, 4)))


@pytest.mark.parametrize("j", [6, 40])
def test_rows_block_by_block_are_rows_at_once(j: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points, weights, basis = problem(300, 2 * j, j, 5)
    widths = (as_bits(2, j), as_bits(4, j))
    whole = encode_rows(points, weights, basis, widths, rounds=1)
    assert whole.coordinates.trellis == (j == 40)
    monkeypatch.setattr("engine.coding.encoding._BLOCK_ROWS", 7)
    monkeypatch.setattr("engine.coding.trellis._MOST_ROWS", 5)
    told: list[int] = []
    found = encode_rows(points, weights, basis, widths, rounds=1, on_block=told.append)
    # Sums in another order; a level on the edge of two cells may fall to the other.
    assert found.lost == pytest.approx(whole.lost, rel=1e-3)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 600)
    assert told.count(0) == 2 * 43  # after each product, and each trial of steps
    # Where paths are looked for, five rows at a time: as many as any block has, and what is left.
    assert len(set(told)) == 1 + 2 * (2 * 43 if j == 40 else 1)


def test_rows_of_zeros_come_back_as_zeros() -> None:
    _, weights, basis = problem(6, 4, 2, 3)
    found = encode_rows(torch.zeros(6, 4), weights, basis, (as_bits(2, 2), as_bits(3, 2)), rounds=2)
    assert found.lost == 0
    assert not bool(found.coordinates.decode().any())


def test_it_stops_when_told() -> None:
    points, weights, basis = problem(20, 6, 3, 4)

    def stop(_: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        encode_rows(points, weights, basis, (as_bits(1, 3), as_bits(4, 3)), rounds=2, on_block=stop)
