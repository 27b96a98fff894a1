"""Two runs side by side: what differs, and which is better where that can be said."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression
from engine.records import RunRecord
from engine.run_differences import Figure, compare_runs, compare_sweeps, plan_figures
from engine.sweep import SweepConfig, run_sweep
from tests.engine.tables import gaussian, lines, make_table
from tests.engine.test_records import SOURCE, json_values, make_record

TABLE = make_table(lines())


def run_of(*, k: int = 3, method: str = "messi") -> RunRecord:
    config = CompressionConfig(method=method, k=k, j=1, n_init=2, neighbours=5)
    return record_compression(TABLE, config, compress_table(TABLE, config))[0]


GOOD, POOR = run_of(), run_of(k=1, method="svd")


def figure(found: tuple[Figure, ...], name: str) -> Figure:
    return next(item for item in found if item.name == name)


def test_only_what_differs_differs() -> None:
    found = compare_runs(GOOD, POOR)
    assert {item.name for item in found.config if item.differs} == {"method", "k"}
    assert {item.name for item in found.config} == set(asdict(CompressionConfig(j=1)))
    assert not any(item.differs for item in (*found.source, *found.versions))
    assert found.same_table
    assert found.notes == ()


def test_the_better_one_is_named_by_what_measures_the_same() -> None:
    found = compare_runs(GOOD, POOR).figures
    error = figure(found, "relative_error")
    ours, theirs = (run.figures["relative_error"] for run in (GOOD, POOR))
    assert (error.a, error.b, error.better) == (ours, theirs, "a")
    assert error.difference == theirs - ours
    assert figure(found, "stored_bytes").better == "b", "fewer bases"
    assert figure(found, "neighbours_kept").better == "a"
    assert figure(found, "wall_seconds").better is None, "it says more of the machine"
    assert "weighted_error" not in {item.name for item in found}


def test_sides_change_with_the_order() -> None:
    turned = {"a": "b", "b": "a", None: None}
    there, back = compare_runs(GOOD, POOR).figures, compare_runs(POOR, GOOD).figures
    for one, other in zip(there, back, strict=True):
        assert (one.a, one.b, one.better) == (other.b, other.a, turned[other.better])


def test_a_run_beside_itself_differs_in_nothing() -> None:
    found = compare_runs(GOOD, GOOD)
    assert not any(item.differs for item in (*found.config, *found.source, *found.versions))
    assert all(item.better is None and item.difference == 0 for item in found.figures)


def test_different_tables_have_no_better() -> None:
    other = replace(POOR, source={**POOR.source, "fingerprint": "blake2b:11"})
    found = compare_runs(GOOD, other)
    assert not found.same_table
    assert [item.better for item in found.figures] == [None] * len(found.figures)
    assert found.notes[0].startswith("The two are of different tables")


def weighted(error: float, *, power: float = 0.5) -> RunRecord:
    return replace(
        GOOD,
        figures={**GOOD.figures, "weighted_error": error},
        config={**GOOD.config, "weights": "en", "weight_power": power},
    )


def test_weighted_errors_are_compared_under_the_same_weights_only() -> None:
    found = compare_runs(weighted(0.2), weighted(0.1))
    assert figure(found.figures, "weighted_error").better == "b"
    found = compare_runs(weighted(0.2), weighted(0.1, power=1.0))
    assert figure(found.figures, "weighted_error").better is None
    assert found.notes[0].startswith("Tokens were weighted differently")


def with_neighbours(mean: float, spread: float = 0.01, count: int = 10) -> RunRecord:
    kept = {"mean": mean, "standard_error": spread, "count": count}
    return replace(GOOD, figures={**GOOD.figures, "neighbours_kept": kept})


@pytest.mark.parametrize(
    ("other", "better"),
    [
        (with_neighbours(0.52), None),
        (with_neighbours(0.54), "b"),
        (with_neighbours(0.40), "a"),
        (with_neighbours(0.54, spread=0.05), None),
        (with_neighbours(0.9, count=5), None),
    ],
)
def test_neighbours_are_better_beyond_chance_only(other: RunRecord, better: str | None) -> None:
    """By two standard errors of the difference: 2 · √2 · 0.01 = 0.028."""
    found = compare_runs(with_neighbours(0.5), other)
    assert figure(found.figures, "neighbours_kept").better == better


def test_settings_that_an_older_version_left_out_are_its_defaults() -> None:
    config = {name: value for name, value in GOOD.config.items() if name != "moves"}
    found = compare_runs(GOOD, replace(GOOD, config=config))
    assert not any(item.differs for item in found.config)
    foreign = compare_runs(GOOD, replace(GOOD, config={**GOOD.config, "future": 1}))
    assert [item.name for item in foreign.config if item.differs] == ["future"]


def test_kinds_have_no_figures_in_common() -> None:
    found = compare_runs(GOOD, make_record(kind="sweep", config=asdict(SweepConfig())))
    assert found.figures == ()
    assert found.notes[-1].startswith("The two are runs of different kinds")


@given(st.dictionaries(st.sampled_from(["relative_error", "svd", "neighbours_kept"]), json_values))
def test_any_figures_can_be_compared(figures: dict[str, Any]) -> None:
    strange = make_record(figures=figures, config={"k": 5}, source={**SOURCE})
    assert set(plan_figures(strange)) == set(plan_figures(GOOD))
    compare_runs(strange, make_record())


def test_sweeps_are_compared_where_both_fitted() -> None:
    grid = SweepConfig(rates=(0.2, 0.5), ks=(2, 3), seeds=(0, 1), bits=(32,))
    table = make_table(gaussian(60, 8))
    a = run_sweep(table, grid)
    b = run_sweep(table, replace(grid, rates=(0.5,), ks=(3, 4), n_init=4))
    found = compare_sweeps(a, b)
    assert [item.name for item in found] == ["SVD at rate 0.5", "k = 3 at rate 0.5"]
    svd, ours = found
    assert (svd.difference, svd.better) == (0, None)
    cells = [cell for cell in a.cells if (cell.k, cell.asked_rate) == (3, 0.5)]
    assert ours.a == pytest.approx(sum(cell.relative_error for cell in cells) / 2)
    ahead = replace(
        b, cells=tuple(replace(c, relative_error=c.relative_error / 2) for c in b.cells)
    )
    assert [item.better for item in compare_sweeps(a, ahead)] == ["b", "b"]
    elsewhere = replace(ahead, source="blake2b:11")
    assert [item.better for item in compare_sweeps(a, elsewhere)] == [None, None]
