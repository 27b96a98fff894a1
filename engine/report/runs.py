"""A run on the disk as a report, with what else is at hand for its table."""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineError, FormatError, ParameterError
from engine.evaluation.folders import open_compressed
from engine.export.models import is_compressed
from engine.factorization import Factorization
from engine.folders import write_file
from engine.grid import SweepResult
from engine.layout import drawn_rows, pca_layout
from engine.library import find_starter, find_umap_layout
from engine.measures import relative_row_errors, summarise_subspaces
from engine.recording import SWEEP_FILE, read_compression_figures
from engine.report.page import build_report
from engine.report.plan import ReportedMap, ReportedPlan, made_how
from engine.runs import RunStore, find_run
from engine.table import EmbeddingTable


def write_report(run: str | Path, path: Path) -> None:
    """Write the report of a run, whole or not at all; a file of that name is replaced.

    Args:
        run: As `report_run` takes it.
        path: The HTML file.

    Raises:
        ParameterError: If the name is not that of an HTML file, or `report_run` refuses the run.
        FormatError: If the run is damaged.
        EngineError: If the disk refuses.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise ParameterError(f"a report is an .html file, got {path}; name one with -o")
    report = report_run(run)
    try:
        write_file(path, lambda temporary: temporary.write_bytes(report))
    except OSError as error:
        raise EngineError(
            f"could not write the report to {path}: {error}; free some space or choose a folder "
            "you may write to"
        ) from error


def report_run(run: str | Path) -> bytes:
    """The report of a run.

    Args:
        run: Its folder, or its id in the user's store.

    Returns:
        An HTML file, UTF-8. Its map is the UMAP layout that is kept for the table, else PCA.

    Raises:
        ParameterError: If there is no such run, it is no compression, or the table it was made
            from cannot be read or has changed.
        FormatError: If it is damaged.
    """
    folder = find_run(run)
    opened = open_compressed(folder)
    if opened is None:
        raise ParameterError(
            f"{folder} is no run; give a folder that subspace-atlas compress wrote"
        )
    if is_compressed(folder):
        raise ParameterError(
            f"{folder} holds a whole model; a report is of a run: compress the same without -o, "
            "and give the run it names"
        )
    table, record = opened.table, opened.record
    factorization = Factorization.load(folder)
    residuals = factorization.squared_residuals(table.matrix)
    plan = ReportedPlan(
        table=table,
        factorization=factorization,
        figures=read_compression_figures(record.figures),
        row_errors=relative_row_errors(residuals, table.matrix).numpy(),
        summaries=summarise_subspaces(factorization, table.matrix),
        **made_how(record),
    )
    sweep, origin = _find_sweep(table)
    return build_report(plan, _find_map(table), sweep=sweep, origin=origin)


def _find_map(table: EmbeddingTable) -> ReportedMap:
    layout, rows = find_umap_layout(table.fingerprint), drawn_rows(len(table.tokens)).numpy()
    if layout is not None:
        return ReportedMap(kind="UMAP", layout=layout.numpy(), rows=rows)
    return ReportedMap(kind="PCA", layout=pca_layout(table.matrix).numpy(), rows=rows)


def _find_sweep(table: EmbeddingTable) -> tuple[SweepResult | None, str]:
    """The newest sweep of a table, else the one that ships for it, and which of them it is."""
    for run in RunStore().list().of("sweep", table.fingerprint):
        try:
            sweep = SweepResult.load(run.folder / SWEEP_FILE)
        except FormatError:
            continue  # the next older one is still good
        return sweep, f"a sweep of {run.record.created_at:%d %B %Y}"
    starter = find_starter(table.fingerprint)
    if starter is None:
        return None, ""
    return starter.sweep, "the sweep that ships with Subspace Atlas"
