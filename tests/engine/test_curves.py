"""Curves from cells: worked by hand."""

from __future__ import annotations

import pytest

from engine.curves import Curves, choose_by_rate, has_weights, read_curves
from engine.errors import ParameterError
from engine.sweep import SweepCell, SweepConfig, run_sweep
from tests.engine.tables import make_table, one_flat_shape


def cell(
    k: int,
    rate: float,
    error: float,
    *,
    seed: int = 0,
    j: int = 4,
    method: str = "",
    weighted: float | None = None,
) -> SweepCell:
    return SweepCell(
        method=method or ("svd" if k == 1 else "messi"),
        k=k,
        j=j,
        asked_rate=rate,
        rate=rate + 0.01,
        parameters=100,
        stored_bytes=400,
        seed=seed,
        relative_error=error,
        steps=3,
        wall_seconds=0.1,
        least_j=j,
        weighted_error=weighted,
    )


# At 0.2 the SVD wins over k = 5 and draws with k = 2; at 0.6 it loses to both.
CELLS = (
    cell(5, 0.6, 0.30, seed=1, j=2),
    cell(2, 0.6, 0.40, j=3),
    cell(1, 0.6, 0.50, j=5),
    cell(1, 0.2, 0.10, j=9),
    cell(5, 0.6, 0.20, seed=0, j=2),
    cell(5, 0.2, 0.12, seed=0, j=6),
    cell(5, 0.2, 0.18, seed=1, j=6),
    cell(2, 0.2, 0.10, j=8),
    cell(5, 0.6, 0.40, seed=2, j=2),
    cell(1, 0.9, 0.80, j=1),  # too high a rate for the others
)


def test_points_are_mean_and_range_over_the_seeds() -> None:
    curves = read_curves(CELLS)
    assert list(curves.by_k) == [2, 5]
    assert (curves.weighted, curves.weighted_svd, curves.baseline) == (False, (), curves.svd)
    assert [point.rate for point in curves.svd] == [0.2, 0.6, 0.9]
    low, high = curves.by_k[5]
    assert (low.rate, low.k, low.j) == (0.2, 5, 6)
    assert (low.error, low.lowest, low.highest) == (pytest.approx(0.15), 0.12, 0.18)
    assert low.svd_ratio == pytest.approx(1.5)
    assert (high.error, high.lowest, high.highest) == (pytest.approx(0.30), 0.20, 0.40)
    assert high.svd_ratio == pytest.approx(0.6)
    assert [point.svd_ratio for point in curves.svd] == [1, 1, 1]


# By every row alike k = 2 loses to the plain SVD; by weights it beats both.
WEIGHTED_CELLS = (
    cell(1, 0.4, 0.20, weighted=0.30),
    cell(1, 0.4, 0.22, weighted=0.25, method="weighted svd"),
    cell(2, 0.4, 0.21, weighted=0.18),
    cell(2, 0.4, 0.25, weighted=0.22, seed=1),
)


def test_weighted_curves_are_held_to_the_weighted_svd() -> None:
    assert has_weights(WEIGHTED_CELLS)
    curves = read_curves(WEIGHTED_CELLS, weighted=True)
    (plain,), (rival,), (ours,) = curves.svd, curves.weighted_svd, curves.by_k[2]
    assert curves.baseline == (rival,)
    assert (plain.error, rival.error, ours.error) == (0.30, 0.25, pytest.approx(0.20))
    assert plain.svd_ratio == pytest.approx(1.2)
    assert (rival.svd_ratio, ours.svd_ratio) == (1, pytest.approx(0.8))
    (choice,) = choose_by_rate(curves)
    assert (choice.svd, choice.losing) == (rival, ())


def test_plain_curves_of_a_weighted_sweep_are_held_to_the_plain_svd() -> None:
    curves = read_curves(WEIGHTED_CELLS)
    (plain,), (rival,), (ours,) = curves.svd, curves.weighted_svd, curves.by_k[2]
    assert (plain.svd_ratio, rival.svd_ratio) == (1, pytest.approx(1.1))
    assert ours.svd_ratio == pytest.approx(1.15)
    (choice,) = choose_by_rate(curves)
    assert (choice.svd, choice.losing) == (plain, (2,))


def test_weighted_curves_need_weights() -> None:
    assert not has_weights(CELLS)
    with pytest.raises(ParameterError, match="no weighted errors; run it again with weights"):
        read_curves(CELLS, weighted=True)


def test_choices_say_where_the_svd_wins() -> None:
    low, high = choose_by_rate(read_curves(CELLS))  # nothing to choose from at 0.9
    assert (low.svd.rate, low.best.k, low.losing) == (0.2, 2, (2, 5))
    assert (high.svd.rate, high.best.k, high.losing) == (0.6, 5, ())


@pytest.mark.parametrize("svd_error", [0.0, 3e-14])
def test_rounding_does_not_beat_an_exact_svd(svd_error: float) -> None:
    cells = (cell(1, 0.2, svd_error), cell(2, 0.2, 1e-14), cell(3, 0.2, 0.01))
    curves = read_curves(cells)
    points = (curves.svd, *curves.by_k.values())
    assert [found[0].svd_ratio for found in points] == [1, 1, 1]
    (choice,) = choose_by_rate(curves)
    assert choice.losing == (2, 3)


def test_nothing_comes_of_nothing() -> None:
    nothing = Curves(weighted=False, svd=(), weighted_svd=(), by_k={})
    assert read_curves(()) == nothing
    assert choose_by_rate(nothing) == ()
    assert choose_by_rate(read_curves((cell(1, 0.2, 0.1),))) == ()


def test_a_real_sweep_of_one_flat_shape_is_won_by_the_svd() -> None:
    config = SweepConfig(rates=(0.2,), ks=(10,), seeds=(0, 1))
    (choice,) = choose_by_rate(read_curves(run_sweep(make_table(one_flat_shape()), config).cells))
    assert choice.losing == (10,)
    assert choice.best.lowest <= choice.best.error <= choice.best.highest
