"""Cells of sweeps as points: gathered by how they store, each with a plan that makes it again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.cell_points import cell_plan, expected_seconds, read_size_curves
from engine.errors import ParameterError
from engine.frequencies import row_use
from engine.grid import CODED_KS, PLAIN_BITS, ROUNDING, SweepCell, SweepResult
from engine.plans import CompressionConfig, fit_plan
from engine.sweep import SweepConfig, run_sweep
from tests.engine.tables import gaussian, lines, make_table


def sweep_of(*cells: SweepCell) -> SweepResult:
    return SweepResult(
        name="tiny", source="", rows=50, columns=64, config=SweepConfig(), cells=cells
    )


def test_coded_cells_become_points_by_k_and_share() -> None:
    config = SweepConfig(rates=(0.5,), ks=(2,), seeds=(0, 1), shares=(0.1, 0.2))
    table = make_table(gaussian(300, 16))
    found = read_size_curves(run_sweep(table, config))
    assert found.dense_bytes == table.dense_bytes
    coded = {name: len(line) for name, line in found.lines(8).items() if "coded" in name}
    assert coded == {"coded, k = 1": 2, "coded, k = 4": 2}


def test_points_are_mean_and_range_over_the_seeds() -> None:
    cell = SweepCell(
        method="messi", k=3, j=4, asked_rate=0.4, rate=0.41, parameters=90, stored_bytes=100,
        seed=0, relative_error=0.2, steps=3, wall_seconds=0.1, least_j=4, weighted_error=0.1,
        bits=8, basis_bits=8,
    )  # fmt: skip
    other = replace(cell, seed=1, relative_error=0.4, weighted_error=0.3, stored_bytes=103)
    rounded = replace(cell, method=ROUNDING, k=0, asked_rate=0.0, bits=2, basis_bits=0, group=64)
    groups = replace(rounded, group=32, stored_bytes=400)
    sweep = sweep_of(cell, rounded, other, groups)
    found = read_size_curves(sweep)
    three, row, apart = (
        next(one for one in found.points if one.name == name)
        for name in ("k = 3 at 8 bits", "int2, a step a row", "int2, groups of 32")
    )
    assert len(found.points) == 3
    assert (three.family, three.k, three.bits, three.rate) == ("messi", 3, 8, 0.4)
    assert three.plan is not None
    assert (three.plan["seed"], three.plan["bits"], three.plan["j"]) == (0, 8, 4)
    assert row.plan is None
    assert three.seconds == 0.1
    fit = replace(cell, bits=PLAIN_BITS, basis_bits=PLAIN_BITS, wall_seconds=5.0)
    eight, plain = read_size_curves(sweep_of(replace(cell, stored_bytes=90), fit)).points
    assert (eight.seconds, plain.seconds) == (5.1, 5.0), "rounding comes after the fit"
    assert (three.stored_bytes, three.lowest, three.highest) == (102, 0.2, 0.4)
    assert three.value == pytest.approx(0.3)
    assert (row.family, row.k, row.value, apart.stored_bytes) == ("rounding", 0, 0.2, 400)
    weighted = read_size_curves(sweep, weighted=True)
    assert weighted.lines()["k = 3"][0].value == pytest.approx(0.2)
    with pytest.raises(ParameterError, match="no weighted errors; run it again with weights"):
        read_size_curves(sweep_of(replace(cell, weighted_error=None)), weighted=True)


def test_a_grid_is_foretold_by_the_times_of_another() -> None:
    cell = SweepCell(
        method="messi", k=3, j=4, asked_rate=0.4, rate=0.41, parameters=90, stored_bytes=100,
        seed=0, relative_error=0.2, steps=3, wall_seconds=10.0, least_j=4, weighted_error=None,
    )  # fmt: skip
    svd = replace(cell, method="svd", k=1, wall_seconds=1.0)
    other = replace(cell, seed=1, wall_seconds=20.0)
    sweep = replace(sweep_of(cell, svd, other), config=SweepConfig(bits=(PLAIN_BITS,)))
    wanted = replace(sweep.config, rates=(0.2, 0.4), ks=(3,), seeds=(0, 1, 2))
    assert expected_seconds(sweep, wanted) == pytest.approx(2 * 1 + 2 * 3 * 15)
    assert expected_seconds(sweep, replace(wanted, ks=(3, 5))) is None
    assert expected_seconds(sweep, replace(wanted, n_init=2)) is None
    assert expected_seconds(sweep, replace(wanted, bits=(8,))) is None
    assert expected_seconds(sweep, replace(wanted, shares=(0.1,))) is None
    coded = [replace(cell, method="coded", k=k, bits=0, wall_seconds=2.0) for k in CODED_KS]
    sweep = replace(sweep, cells=(*sweep.cells, *coded))
    assert expected_seconds(sweep, replace(wanted, shares=(0.1,))) == pytest.approx(96)


def test_unstructured_rows_are_best_rounded_and_lines_best_kept_as_lines() -> None:
    # Gaussian rows have no subspaces to find; three lines in R^8 are all subspaces.
    for matrix, sure in ((gaussian(400, 8), "rounding"), (lines(), "messi")):
        config = SweepConfig(rates=(0.3, 0.6), ks=(3,), seeds=(0,))
        found = read_size_curves(run_sweep(make_table(matrix), config))
        winner = found.choices()[-2].best if sure == "rounding" else found.choices()[0].best
        assert winner.family == sure, found.verdict()
    assert {one.bits for one in found.points} == {2, 3, 4, 8, PLAIN_BITS}


@pytest.mark.parametrize("allocation", ["uniform", "optimal"])
def test_every_plan_makes_its_cell_again(allocation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: torch.arange(300).double())
    config = SweepConfig(
        rates=(0.5,), ks=(2,), seeds=(3,), bits=(8,), shares=(0.2,), weights="en",
        weight_power=0.75, weight_floor=2.0, allocation=allocation,
    )  # fmt: skip
    table = make_table(gaussian(300, 16))
    sweep = run_sweep(table, config)
    use = row_use.count_row_use(table, "en", 0.75, 2.0)
    made: set[str] = set()
    for cell in sweep.cells:
        plan = cell_plan(cell, config)
        if plan is None:
            assert cell.method == ROUNDING
            continue
        asked = CompressionConfig(**plan)
        assert (asked.weights == "none") == (cell.method == "svd")
        found = fit_plan(table, asked, None if cell.method == "svd" else use)
        assert found.stored_bytes == cell.stored_bytes
        # The same seed gives the same fit, to the last digit that threads leave alone.
        assert found.relative_error(table.matrix) == pytest.approx(cell.relative_error, rel=1e-6)
        made.add(cell.method)
    assert made == {"svd", "weighted svd", "messi", "coded"}
