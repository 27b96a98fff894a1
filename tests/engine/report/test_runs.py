"""Runs on the disk as reports: found by folder or id, written whole or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.errors import EngineError, FormatError, ParameterError
from engine.layout import drawn_rows, umap_layout
from engine.library import keep_umap_layout
from engine.recording import SWEEP_FILE, record_compression, record_sweep
from engine.report.runs import report_run, write_report
from engine.runs import Run
from engine.sweep import SweepConfig, run_sweep
from tests.engine.report.plans import Page
from tests.engine.tables import lines, write_npy


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_npy(tmp_path / "lines.npy", lines())


@pytest.fixture
def run(path: Path) -> Run:
    table = load_table(path)
    config = CompressionConfig(k=3, j=1, n_init=2)
    return RunStore().create(*record_compression(table, config, compress_table(table, config)))


def keep_sweep(path: Path, *, k: int) -> Run:
    table = load_table(path)
    sweep = run_sweep(table, SweepConfig(rates=(0.2, 0.5), ks=(k,), n_init=1))
    return RunStore().create(*record_sweep(table, sweep))


def test_run_is_found_by_its_id_and_by_its_folder(run: Run) -> None:
    by_id, by_folder = report_run(run.id), report_run(run.folder)
    assert by_id == by_folder
    page = Page(report=by_id)
    assert run.record.figures["verdict"] in page.words
    assert f"{run.record.created_at:%d %B %Y}" in page.words
    assert "by PCA" in page.words
    assert "subspace-atlas compress" in page.words
    assert "engine." in page.words
    assert "curves" not in page.figures


def test_where_files_lie_is_nowhere_in_the_page(path: Path) -> None:
    table = load_table(path)
    names = path.with_name("names.txt")
    names.write_text("\n".join(f"word{row}" for row in range(len(table.tokens))), encoding="utf-8")
    table = load_table(path, tokens=names)
    config = CompressionConfig(k=3, j=1, n_init=1, weights=str(names), neighbours=0)
    made = RunStore().create(*record_compression(table, config, compress_table(table, config)))
    report = report_run(made.id).decode()
    for told in ("lines.npy", "--tokens=names.txt", "--weights=names.txt", "tokens=&#39;names.txt"):
        assert told in report
    assert str(path.parent) not in report


def test_umap_is_drawn_where_it_is_kept(run: Run, path: Path) -> None:
    table = load_table(path)
    keep_umap_layout(table.fingerprint, umap_layout(table.matrix))
    assert "by UMAP" in Page(report=report_run(run.id)).words


def test_newest_sweep_that_is_whole_is_drawn(run: Run, path: Path) -> None:
    older, newer = keep_sweep(path, k=2), keep_sweep(path, k=3)

    def drawn() -> set[str]:
        traces = Page(report=report_run(run.id)).figures["curves"]["data"]
        return {trace["name"] for trace in traces}

    assert {"k = 3", "SVD (k = 1)"} <= drawn()
    (newer.folder / SWEEP_FILE).write_text("{", encoding="utf-8")
    assert {"k = 2", "SVD (k = 1)"} <= drawn()
    RunStore().delete(older.id)
    assert "curves" not in Page(report=report_run(run.id)).figures


def test_large_tables_are_drawn_as_an_even_sample() -> None:
    assert torch.equal(drawn_rows(100_000), torch.arange(100_000))
    rows = drawn_rows(262_144)
    assert (len(rows), int(rows[0]), int(rows[-1])) == (100_000, 0, 262_143)
    assert set(rows.diff().tolist()) == {2, 3}


def test_what_is_no_compression_is_refused(run: Run, path: Path, tmp_path: Path) -> None:
    sweep = keep_sweep(path, k=2)
    with pytest.raises(ParameterError, match="is a run of kind sweep; give a folder"):
        report_run(sweep.id)
    with pytest.raises(ParameterError, match="there is no run 'nothing'"):
        report_run("nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"empty is no run; give a folder that subspace-atlas"):
        report_run(tmp_path / "empty")
    (run.folder / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FormatError, match=r"run\.json"):
        report_run(run.folder)


def test_table_that_has_changed_is_refused(run: Run, path: Path) -> None:
    np.save(path, np.ones((180, 8), dtype=np.float32))
    with pytest.raises(ParameterError, match="has changed since"):
        report_run(run.id)


def test_report_is_written_whole_or_not_at_all(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "deep" / "report.html"
    write_report(run.id, target)
    assert target.read_bytes() == report_run(run.id)
    with pytest.raises(ParameterError, match=r"an \.html file, got .*report\.pdf"):
        write_report("not even looked for", tmp_path / "report.pdf")

    def fill_disk(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    before = target.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(EngineError, match=r"could not write the report to .*No space left"):
        write_report(run.id, target)
    assert target.read_bytes() == before
    assert [entry.name for entry in target.parent.iterdir()] == ["report.html"]
