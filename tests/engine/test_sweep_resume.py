"""A sweep that was killed goes on where it ended, and ends the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import engine.cells
from engine.errors import FormatError, ParameterError
from engine.progress import Progress
from engine.sweep import SweepConfig, SweepResult, run_sweep
from tests.engine.tables import gaussian, make_table

CONFIG = SweepConfig(rates=(0.3, 0.6), ks=(2, 3), seeds=(4, 7))
FITS = 2 + 2 * 2 * 2
CELLS = 3 * FITS + 4  # at 32, 8 and 4 bits, and four ways to round a narrow table


def without_times(result: SweepResult) -> SweepResult:
    cells = tuple(replace(cell, wall_seconds=0.0) for cell in result.cells)
    return replace(result, cells=cells)


# A process of its own, killed by the system in the middle of its sixth fit.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from engine.sweep import run_sweep
from tests.engine.tables import gaussian, make_table
from tests.engine.test_sweep_resume import CONFIG

def kill(progress):
    if progress.done == 5:
        os.kill(os.getpid(), signal.SIGKILL)

run_sweep(make_table(gaussian(60, 8)), CONFIG, journal=Path(sys.argv[1]), progress=kill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_sweep_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "sweep.json.partial"
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(journal)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with journal.open("ab") as file:
        file.write(b'{"method": "me')  # as a kill within a write would leave it

    fitted: list[int] = []
    fit = engine.cells.factorize

    def counted(*args: object, **kwargs: object) -> object:
        fitted.append(1)
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.cells, "factorize", counted)
    seen: list[Progress] = []
    table = make_table(gaussian(60, 8))
    resumed = run_sweep(table, CONFIG, journal=journal, progress=seen.append)
    assert len(fitted) == FITS - 5
    assert seen[0].detail == "SVD, rate 0.3, seed 4, 5 fits taken over"
    assert without_times(resumed) == without_times(run_sweep(table, CONFIG))
    assert len(journal.read_text().splitlines()) == 1 + CELLS


def refit(monkeypatch: pytest.MonkeyPatch, journal: Path, config: SweepConfig) -> int:
    """Sweep on from a journal; how many fits that took."""
    fitted: list[int] = []
    fit = engine.cells.factorize

    def counted(*args: object, **kwargs: object) -> object:
        fitted.append(1)
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    table = make_table(gaussian(60, 8))
    with monkeypatch.context() as patch:
        patch.setattr(engine.cells, "factorize", counted)
        resumed = run_sweep(table, config, journal=journal)
    assert without_times(resumed) == without_times(run_sweep(table, config))
    return len(fitted)


def test_a_fit_without_all_its_codings_is_done_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "sweep.csv.partial"
    run_sweep(make_table(gaussian(60, 8)), CONFIG, journal=journal)
    whole = journal.read_text().splitlines(keepends=True)
    for lines, fits in ((6, FITS - 1), (7, FITS - 2), (CELLS - 3, 0), (CELLS + 1, 0)):
        journal.write_text("".join(whole[:lines]))  # the header is one of them
        assert refit(monkeypatch, journal, CONFIG) == fits


def test_a_journal_is_good_for_other_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "sweep.csv.partial"
    run_sweep(make_table(gaussian(60, 8)), CONFIG, journal=journal)
    assert refit(monkeypatch, journal, replace(CONFIG, bits=(4,))) == 0
    assert refit(monkeypatch, journal, replace(CONFIG, bits=(32,))) == 0
    assert refit(monkeypatch, journal, replace(CONFIG, basis_bits=16)) == FITS


def test_coded_subspaces_are_taken_over_by_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "sweep.csv.partial"
    config = replace(CONFIG, shares=(0.4, 0.6))
    whole = run_sweep(make_table(gaussian(60, 8)), config, journal=journal)
    assert sum(cell.method == "coded" for cell in whole.cells) > 1
    assert refit(monkeypatch, journal, config) == 0
    assert refit(monkeypatch, journal, replace(config, shares=(0.6, 0.5))) == 2  # for both k


def test_a_journal_from_before_there_were_codings_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "sweep.csv.partial"
    run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, bits=(32,)), journal=journal)
    header, *lines = journal.read_text().splitlines()
    assert not {"bits", "basis_bits"} & json.loads(header)["config"].keys()
    cells = [json.loads(line) for line in lines]
    for cell in cells:
        del cell["bits"], cell["basis_bits"], cell["group"]
    journal.write_text("\n".join([header, *map(json.dumps, cells), ""]))
    assert refit(monkeypatch, journal, replace(CONFIG, bits=(32,))) == 0
    assert refit(monkeypatch, journal, CONFIG) == FITS


def test_a_journal_of_another_table_or_grid_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "sweep.csv.partial"
    run_sweep(make_table(gaussian(60, 8)), CONFIG, journal=journal)
    before = journal.read_bytes()
    with pytest.raises(ParameterError, match="is what remains of a run on another table or with"):
        run_sweep(make_table(gaussian(60, 8, seed=9)), CONFIG, journal=journal)
    with pytest.raises(ParameterError, match="is what remains of a run on another table or with"):
        run_sweep(make_table(gaussian(60, 8)), replace(CONFIG, seeds=(4,)), journal=journal)
    assert journal.read_bytes() == before


def test_a_cell_that_is_none_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "sweep.csv.partial"
    table = make_table(gaussian(60, 8))
    run_sweep(table, CONFIG, journal=journal)
    header, line, *_ = journal.read_text().splitlines()
    cell = json.dumps(json.loads(line) | {"k": "two"})
    journal.write_text(f"{header}\n{cell}\n")
    with pytest.raises(FormatError, match=r"is damaged \(k must be a int, got 'two'\); delete"):
        run_sweep(table, CONFIG, journal=journal)


def test_nothing_is_written_before_the_first_cell(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no cell of the sweep is possible"):
        run_sweep(
            make_table(gaussian(60, 8)),
            replace(CONFIG, rates=(0.99,)),
            journal=tmp_path / "sweep.csv.partial",
        )
    assert not list(tmp_path.iterdir())
