"""The grid of k and rates: complete, cancellable, and the same again from its file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.cells
from engine.budget import dimension_for_rate
from engine.cells import Plan, coded_cell
from engine.coding.rounding import round_to_nearest
from engine.errors import Cancelled, EngineError, FormatError, ParameterError
from engine.frequencies import row_use, token_weights
from engine.grid import CODED, CODED_KS
from engine.methods import factorize
from engine.progress import Progress
from engine.sweep import (
    SweepCell,
    SweepConfig,
    SweepResult,
    check_sweep_target,
    run_sweep,
)
from tests.engine.tables import gaussian, lines, make_table

CONFIG = SweepConfig(rates=(0.3, 0.6), ks=(3, 2, 1), seeds=(4, 7), bits=(32,))


@pytest.fixture(scope="module")
def result() -> SweepResult:
    """A grid in which every cell is possible."""
    return run_sweep(make_table(gaussian(60, 8)), CONFIG)


def test_grid_is_complete_and_the_svd_is_fitted_once_a_rate(result: SweepResult) -> None:
    cells = [(cell.method, cell.k, cell.asked_rate, cell.seed) for cell in result.cells]
    assert cells == [
        ("svd", 1, 0.3, 4),
        ("svd", 1, 0.6, 4),
        *[("messi", k, rate, seed) for k in (2, 3) for rate in (0.3, 0.6) for seed in (4, 7)],
    ]
    assert result.notes == ()
    assert (result.rows, result.columns, result.config) == (60, 8, CONFIG)
    assert result.source == make_table(gaussian(60, 8)).fingerprint


def test_no_k_has_more_numbers_than_the_svd_beside_it(result: SweepResult) -> None:
    svd = {cell.asked_rate: cell.parameters for cell in result.cells if cell.method == "svd"}
    assert all(cell.parameters <= svd[cell.asked_rate] for cell in result.cells)


def test_cells_are_the_fits_they_say(result: SweepResult) -> None:
    matrix = gaussian(60, 8)
    for cell in result.cells:
        within = dimension_for_rate(60, 8, cell.k, cell.asked_rate)
        assert cell.j == within + (cell.method == "svd")  # neither rank fills its budget exactly
        assert (cell.rate >= cell.asked_rate) == (cell.method != "svd")
        assert (cell.least_j, cell.weighted_error) == (cell.j, None)
        assert cell.parameters == 60 * cell.j + cell.k * cell.j * 8
        fit = factorize(matrix, method=cell.method, k=cell.k, j=cell.j, seed=cell.seed, n_init=1)
        assert cell.relative_error == fit.relative_error(matrix)
        assert cell.stored_bytes == fit.stored_bytes
        assert cell.steps == len(fit.cost_history)
        assert cell.wall_seconds > 0


def counted(monkeypatch: pytest.MonkeyPatch, n: int) -> torch.Tensor:
    """Let the first rows occur often; the counts."""
    counts = torch.arange(n, 0, -1).double().square()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    return counts


def test_weights_bring_the_weighted_svd_at_every_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(60, 8)
    weights = token_weights(counted(monkeypatch, 60), 1.0, 0.0)
    config = replace(CONFIG, weights="en", weight_power=1.0, weight_floor=0.0, ks=(2,), seeds=(4,))
    cells = run_sweep(make_table(matrix), config).cells
    names = ["svd"] * 2 + ["weighted svd"] * 2 + ["messi"] * 2
    assert [cell.method for cell in cells] == names
    for cell in cells:
        assert cell.weighted_error is not None
    for plain, weighted, ours in zip(cells[:2], cells[2:4], cells[4:], strict=True):
        assert plain.parameters == weighted.parameters
        assert plain.relative_error <= weighted.relative_error
        assert weighted.weighted_error <= plain.weighted_error
        fit = factorize(matrix, k=2, j=ours.j, seed=4, n_init=1, weights=weights)
        assert ours.weighted_error == fit.relative_error(matrix, weights)
        assert ours.relative_error == fit.relative_error(matrix)


def test_optimal_cells_stay_within_the_rate() -> None:
    config = replace(CONFIG, allocation="optimal", ks=(3,), seeds=(0, 1))
    matrix = lines()
    found = run_sweep(make_table(matrix), config)
    for cell in found.cells[2:]:
        assert cell.rate >= cell.asked_rate
        assert 0 <= cell.least_j <= cell.j
        fit = factorize(
            matrix, k=3, rate=cell.asked_rate, seed=cell.seed, n_init=1, allocation="optimal"
        )
        assert cell.relative_error == fit.relative_error(matrix)
        assert (cell.least_j, cell.j) == (min(fit.dimensions), max(fit.dimensions))


def test_affine_and_loss_reach_the_fits() -> None:
    matrix = gaussian(60, 8) + 3
    config = replace(CONFIG, rates=(0.3,), ks=(2,), seeds=(0,), affine=True, loss="l1", moves=1)
    svd, ours = run_sweep(make_table(matrix), config).cells
    fit = factorize(matrix, k=2, rate=0.3, seed=0, n_init=1, affine=True, loss="l1", moves=1)
    assert ours.relative_error == fit.relative_error(matrix)
    assert ours.parameters == fit.parameters <= svd.parameters


def test_offsets_without_room_are_noted() -> None:
    config = SweepConfig(rates=(0.5, 0.8), ks=(2,), seeds=(0,), affine=True, allocation="optimal")
    found = run_sweep(make_table(gaussian(7, 6)), replace(config, bits=()))
    assert [(cell.k, cell.asked_rate) for cell in found.cells] == [(1, 0.5), (2, 0.5)]
    assert any("for coordinates and bases" in note for note in found.notes)


def test_each_fit_is_followed_by_itself_in_fewer_bits() -> None:
    matrix = gaussian(60, 40)
    config = replace(CONFIG, rates=(0.3,), ks=(2,), seeds=(4,), bits=(4, 32, 8))
    found = run_sweep(make_table(matrix), config)
    *fits, rounded = [list(found.cells[at : at + 3]) for at in (0, 3, 6)]
    assert found.fits == len(fits) == 2
    for computed, eight, four in fits:
        assert [cell.bits for cell in (computed, eight, four)] == [32, 8, 4]
        assert [cell.basis_bits for cell in (computed, eight, four)] == [32, 8, 8]
        fit = factorize(
            matrix, method=computed.method, k=computed.k, j=computed.j, seed=4, n_init=1
        )
        for cell in (eight, four):
            coded = fit.quantize(bits=cell.bits, basis_bits=8)
            assert cell.stored_bytes == coded.stored_bytes < computed.stored_bytes
            assert cell.relative_error == coded.relative_error(matrix)
            own = ("bits", "basis_bits", "stored_bytes", "relative_error", "wall_seconds")
            same = {name: getattr(cell, name) for name in own}
            assert replace(computed, **same) == cell
    assert rounded == list(found.cells[6:9])


def test_rounding_comes_last_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(60, 40)
    weights = token_weights(counted(monkeypatch, 60), 1.0, 0.0)
    config = replace(
        CONFIG, weights="en", weight_power=1.0, weight_floor=0.0, ks=(1,), seeds=(4,), bits=(8,)
    )
    cells = run_sweep(make_table(matrix), config).cells
    rounded = cells[-8:]
    assert {cell.method for cell in cells[:-8]} == {"svd", "weighted svd"}
    assert {cell.method for cell in rounded} == {"rounding"}
    assert [(cell.bits, cell.group) for cell in rounded] == [
        (bits, group) for bits in (8, 4, 3, 2) for group in (40, 32)
    ]
    for cell in rounded:
        coded = round_to_nearest(matrix, bits=cell.bits, group=cell.group)
        assert cell.stored_bytes == coded.stored_bytes
        assert cell.relative_error == coded.relative_error(matrix)
        assert cell.weighted_error == coded.relative_error(matrix, weights)
        assert (cell.k, cell.rate, cell.parameters) == (0, 0.0, 2400)


def test_narrow_tables_are_rounded_by_the_row_alone() -> None:
    cells = run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, ks=(1,), bits=(4,))).cells
    assert [cell.group for cell in cells if cell.method == "rounding"] == [8] * 4


def test_old_files_are_read(result: SweepResult, tmp_path: Path) -> None:
    result.save(tmp_path / "sweep.json")
    values = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    old = ("rates", "ks", "seeds", "n_init", "seeding")
    values["config"] = {name: values["config"][name] for name in old}
    for cell in values["cells"]:
        for later in ("least_j", "weighted_error", "bits", "basis_bits", "group", "share"):
            del cell[later]
    (tmp_path / "sweep.json").write_text(json.dumps(values), encoding="utf-8")
    assert SweepResult.load(tmp_path / "sweep.json") == result


def test_repeated_ks_are_fitted_once() -> None:
    found = run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, ks=(2, 2), seeds=(0,)))
    assert [cell.k for cell in found.cells] == [1, 1, 2, 2]


def test_impossible_cells_are_noted_once_and_left_out() -> None:
    config = SweepConfig(rates=(0.5, 0.8), ks=(2, 6), seeds=(0, 1))
    found = run_sweep(make_table(gaussian(12, 6)), config)
    left = {(cell.k, cell.asked_rate) for cell in found.cells if cell.k}  # but rounding
    assert left == {(1, 0.5), (2, 0.5)}
    assert len(found.notes) == 4  # k = 6 at both rates, SVD and k = 2 at 0.8; not once a seed
    for note in found.notes:
        assert note.startswith("Left out: a rate of ")
        assert note.endswith(".")


def test_coded_subspaces_are_measured_within_their_shares_once_whatever_the_seeds() -> None:
    table = make_table(gaussian(300, 16))
    found = run_sweep(table, replace(CONFIG, shares=(0.002, 0.1, 0.2)))
    coded = [cell for cell in found.cells if cell.method == CODED]
    assert [(cell.k, cell.share) for cell in coded] == [
        (k, share) for k in CODED_KS for share in (0.1, 0.2)
    ]
    (note,) = found.notes
    assert note == "Left out: coded subspaces of sizes with no room for a basis vector."
    assert {cell.method for cell in found.cells} == {"svd", "messi", CODED}
    for cell in coded:
        asked = int(cell.share * table.dense_bytes)
        fit = factorize(table.matrix, method="coded", max_bytes=asked, k=cell.k)
        assert cell.stored_bytes == fit.stored_bytes <= asked
        assert cell.relative_error == fit.relative_error(table.matrix)
        assert (cell.j, cell.least_j) == (max(fit.dimensions), min(fit.dimensions))


def test_coded_subspaces_are_fitted_by_the_weights_of_the_sweep() -> None:
    matrix, weights = gaussian(300, 16), torch.linspace(0, 1, 300, dtype=torch.float64) ** 4
    found = [
        coded_cell(
            matrix,
            Plan(CODED, 1, 0.0, 0, 0.1),
            {"method": CODED, "k": 1, "max_bytes": 1920, "weights": own},
            weights,
            lambda _: None,
        )
        for own in (weights, None)
    ]
    assert (found[0].weighted_error or 1) < 0.9 * (found[1].weighted_error or 0)


def test_nothing_possible_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"no cell of the sweep is possible. Left out: a rate"):
        run_sweep(make_table(gaussian(4, 3)), SweepConfig(rates=(0.9,), ks=(2,)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rates": ()}, "at least one rate, one k and one seed"),
        ({"ks": ()}, "at least one rate, one k and one seed"),
        ({"seeds": ()}, "at least one rate, one k and one seed"),
        ({"rates": (0.4, 1.0)}, "0 to below 1, got 1; 0.4 makes"),
        ({"rates": (float("nan"),)}, "0 to below 1, got nan"),
        ({"seeds": (0, -1)}, "seeds of at least 0 and at least 1 start, got -1 and 1"),
        ({"n_init": 0}, "at least 1 start, got 0 and 0"),
        ({"allocation": "fair"}, "allocation must be one of uniform, optimal, got 'fair'"),
        ({"loss": "soft"}, "soft"),
        ({"moves": -1}, "moves must not be negative"),
        ({"shares": (0.03, 3.0)}, "above 0 and at most 1, got 0.03, 3; 0.03 is 3 %"),
        ({"shares": (0.0,)}, "above 0 and at most 1, got 0"),
        ({"bits": (8, 3)}, "measures its fits at 32, 8 and 4 bits, got 8, 3"),
        ({"basis_bits": 4}, "basis_bits must be 16 or 8, got 4"),
    ],
)
def test_grids_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SweepConfig(**wrong)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"ks": (2, 61)}, r"k must be between 1 and 60 .*, got 61"),
    ({"ks": (0,)}, r"k must be between 1 and 60 .*, got 0"),
])  # fmt: skip
def test_a_k_that_does_not_fit_is_refused_before_any_fit(
    wrong: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.cells, "factorize", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(ParameterError, match=message):
        run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, **wrong))


def test_unknown_seeding_is_refused() -> None:
    with pytest.raises(ParameterError, match="unknown seeding best"):
        run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, seeding="best"))


def test_progress_names_every_cell_and_reaches_the_total() -> None:
    seen: list[Progress] = []
    run_sweep(make_table(gaussian(60, 8)), CONFIG, progress=seen.append)
    assert {(step.phase, step.total) for step in seen} == {("Sweeping", 10)}
    done = [step.done for step in seen]
    assert done == sorted(done)
    assert set(done) == set(range(11))
    assert len(done) > 11  # the steps within a cell report as well
    captions = dict.fromkeys(step.detail for step in seen)
    assert list(captions)[:3] == ["SVD, rate 0.3, seed 4", "SVD, rate 0.6, seed 4",
                                  "k = 2, rate 0.3, seed 4"]  # fmt: skip


def test_cancel_is_heard_within_a_cell() -> None:
    reports: list[int] = []

    def cancel(progress: Progress) -> None:
        reports.append(progress.done)
        if reports.count(3) == 2:  # the first is that of the cell itself
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        run_sweep(make_table(gaussian(60, 8)), CONFIG, progress=cancel)
    assert reports[-2:] == [3, 3]


def test_csv_holds_the_same_numbers(result: SweepResult, tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    result.save(path)
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    kinds = {"str": str, "int": int, "float": float, "float | None": lambda text: text or None}
    read = [
        SweepCell(**{part.name: kinds[str(part.type)](line[part.name])
                     for part in fields(SweepCell)})
        for line in lines
    ]  # fmt: skip
    assert tuple(read) == result.cells
    assert list(csv.reader(io.StringIO(result.to_csv()))) == list(
        csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    )


def test_json_comes_back_equal(result: SweepResult, tmp_path: Path) -> None:
    noted = replace(result, name="naïve [b]名[/b]", notes=("Left out: k = 9.",))
    path = tmp_path / "sweep.json"
    noted.save(path)
    assert SweepResult.load(path) == noted
    assert [item.name for item in tmp_path.iterdir()] == ["sweep.json"]


def test_reading_leaves_the_values_as_they_are(result: SweepResult, tmp_path: Path) -> None:
    result.save(tmp_path / "sweep.json")
    text = (tmp_path / "sweep.json").read_text(encoding="utf-8")
    values = json.loads(text)
    del values["schema"]
    assert SweepResult.from_dict(values) == SweepResult.from_dict(values) == result


def spoil(text: str, **changed: object) -> str:
    return json.dumps({**json.loads(text), **changed})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "is not a sweep of ours"),
        ("cut", "is not a sweep of ours"),
        ("list", "is not a sweep of ours"),
        ("deep", "is not a sweep of ours"),
        ("binary", "is not a sweep of ours"),
        ("newer", "of another schema version; update"),
        ("no schema", "is not a sweep of ours"),
        ("unknown key", "is not a sweep of ours: .*unexpected keyword argument 'extra'"),
        ("missing key", "is not a sweep of ours: 'cells'"),
        ("bad rate", "is not a sweep of ours: .*0 to below 1, got 7"),
        ("text for a number", "relative_error must be a float, got 'low'"),
        ("not a number", "relative_error must be a float, got nan"),
        ("fraction for a count", "k must be a int, got 2.5"),
    ],
)
def test_damaged_files_are_refused(
    name: str, message: str, result: SweepResult, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.json"
    result.save(path)
    good = path.read_text(encoding="utf-8")
    cell = json.loads(good)["cells"][0]
    values = json.loads(good)
    without_cells = {key: value for key, value in values.items() if key != "cells"}
    text = {
        "empty": "",
        "cut": good[: len(good) // 2],
        "list": "[1, 2]",
        "deep": "[" * 100_000,
        "binary": "",
        "newer": spoil(good, schema=99),
        "no schema": json.dumps({key: value for key, value in values.items() if key != "schema"}),
        "unknown key": spoil(good, extra=1),
        "missing key": json.dumps(without_cells),
        "bad rate": spoil(good, config={**values["config"], "rates": [7]}),
        "text for a number": spoil(good, cells=[{**cell, "relative_error": "low"}]),
        "not a number": spoil(good, cells=[{**cell, "relative_error": float("nan")}]),
        "fraction for a count": spoil(good, cells=[{**cell, "k": 2.5}]),
    }[name]
    path.write_bytes(b"\xff\xfe\x00" if name == "binary" else text.encode())
    with pytest.raises(FormatError, match=message):
        SweepResult.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.json is not a sweep of ours: .*No such file"):
        SweepResult.load(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["sweep", "sweep.txt", "sweep.CSV.gz"])
def test_other_endings_are_refused(name: str, result: SweepResult, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=f"a .csv or .json file, got '{name}'"):
        check_sweep_target(tmp_path / name)
    with pytest.raises(ParameterError, match=f"a .csv or .json file, got '{name}'"):
        result.save(tmp_path / name)


def test_places_that_cannot_be_written_to_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="none is not a folder; make it first"):
        check_sweep_target(tmp_path / "none" / "sweep.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ParameterError, match=r"folder\.csv cannot be written to"):
        check_sweep_target(tmp_path / "folder.csv")
    check_sweep_target(tmp_path / "sweep.json")
    assert not (tmp_path / "sweep.json").exists()


def test_a_disk_that_refuses_leaves_the_old_file(
    result: SweepResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EngineError, match=r"could not write .*sweep\.csv: No space left"):
        result.save(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["sweep.csv"]
