"""What the pages look at: tables and plans, loaded once for all sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from engine import (
    EmbeddingTable,
    EngineError,
    Factorization,
    RunStore,
    load_table,
    measures,
    pca_layout,
)
from engine import layout as layouts
from engine.errors import FormatError, ParameterError
from engine.evaluation.glue.cells import CELLS_FOLDER, RUN_FILE
from engine.evaluation.glue.summarizing import read_results
from engine.evaluation.glue.summary import SUMMARY_FILE, GlueSummary
from engine.frontier import SizeCurves
from engine.grid import SweepResult
from engine.library import Starter, find_starter, find_umap_layout, forget_measured_plan
from engine.measures import SubspaceSummary, relative_row_errors, summarise_subspaces
from engine.memory import check_memory
from engine.naming import suggest_names
from engine.recording import SWEEP_FILE, read_compression_figures
from engine.reproducing import job_params
from engine.runs import Run
from pages.parts import hosting, uploads

_LARGEST_COPY = 2_000_000_000  # bytes; larger tables stay mapped from their file
_SHIPPED = "starter"  # key of the view that is no run


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a table comes from: the arguments of `engine.load_table`."""

    spec: str
    tensor: str | None = None
    tokens: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """A plan ready to be drawn.

    Attributes:
        key: Tells views apart, also those of runs that went by the same id.
        factorization: The plan.
        figures: As `engine.compression.Compression.as_dict`.
        config: What was asked for, as the fields of `engine.plans.CompressionConfig`.
        row_errors: Squared error of each row over its squared length, shape (n,).
        summaries: One a subspace.
        run_id: The run it shows; None for the plan that ships with the table.
    """

    key: str
    factorization: Factorization
    figures: dict[str, Any]
    config: Mapping[str, Any]
    row_errors: NDArray[np.float64]
    summaries: tuple[SubspaceSummary, ...]
    run_id: str | None = None


def load_source(source: Source) -> EmbeddingTable:
    """The table, read once; read again when a file has changed.

    Raises:
        EngineError: If it cannot be read, or may not be.
    """
    hosting.access().check_source(source.spec, source.tokens)
    stamps = tuple(_stamp(path) for path in (source.spec, source.tokens) if path)
    try:
        table = _load(source, stamps)
    except EngineError:
        uploads.forget_unread(source.spec, source.tokens)
        raise
    uploads.note_read(source.spec, source.tokens)
    return table


@st.cache_resource(max_entries=3, show_spinner="Reading the table …")
def _load(source: Source, stamps: tuple[float, ...]) -> EmbeddingTable:
    table = load_table(source.spec, tensor=source.tensor, tokens=source.tokens)
    converted = table.matrix.dtype != getattr(torch, table.source_dtype)  # and so a copy already
    if converted or table.dense_bytes > _LARGEST_COPY:
        return table
    # A mapped file that is written anew under a running server would end it: keep our own copy.
    check_memory(
        f"A copy of {table.name}", table.dense_bytes, "keep fewer rows or close other programs"
    )
    return replace(table, matrix=table.matrix.clone())


def _stamp(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except (OSError, ValueError):
        return 0.0  # not a file: a bundled model or an id


def source_of(run: Run) -> Source:
    """The table a run was made from.

    Raises:
        EngineError: If this version does not know how it was read.
    """
    return Source(**job_params(run.record)["source"])


def run_store() -> RunStore:
    """The user's runs."""
    return RunStore()


def starter(table: EmbeddingTable) -> Starter | None:
    """What ships ready-made for this table."""
    return _starter(table.fingerprint)


@st.cache_resource(max_entries=4, show_spinner=False)
def _starter(fingerprint: str) -> Starter | None:
    return find_starter(fingerprint)


def current_view(table: EmbeddingTable) -> View | None:
    """The plan to look at: the run chosen last for this table, else what ships with it.

    Raises:
        EngineError: If the chosen run cannot be read, or a link names one of another table.
    """
    by_link = not st.session_state.get("run")
    run_id = current_run_id()
    if run_id:
        run = run_store().load(run_id)
        if run.record.source["fingerprint"] == table.fingerprint:
            if st.query_params.get("run") != run_id:
                st.query_params["run"] = run_id  # the menu leads to a bare address
            return _run_view(run_id, _record_digest(run), table)
        if by_link:
            raise ParameterError(
                f"the link names a run of another table ({run.record.name}); open it on "
                "the Runs page"
            )
        st.query_params.pop("run", None)  # another table has been opened since
    shipped = starter(table)
    return _starter_view(table.fingerprint, table) if shipped is not None else None


def named_view(table: EmbeddingTable, run_id: str | None) -> View:
    """A run of this table; None stands for the plan that ships with it.

    Raises:
        EngineError: If there is no such plan of this table, or it cannot be read.
    """
    if run_id is None:
        if starter(table) is None:
            raise ParameterError(f"no plan ships with {table.name}; make one, and choose that")
        return _starter_view(table.fingerprint, table)
    run = run_store().load(run_id)
    if not run.is_of("compress", table.fingerprint):
        raise ParameterError(f"the run {run_id} is no plan of {table.name}; choose one of its own")
    return _run_view(run_id, _record_digest(run), table)


def current_run_id() -> str | None:
    """The run this session or its link names, of whatever table."""
    if not st.session_state.get("run"):
        st.session_state["run"] = st.query_params.get("run")
    return st.session_state["run"]


def choose_run(run_id: str | None) -> None:
    """Look at this run from now on, in this session and in its link."""
    st.session_state["run"] = run_id
    if run_id:
        st.query_params["run"] = run_id
    else:
        st.query_params.pop("run", None)


def _record_digest(run: Run) -> str:
    """Tells runs apart that go by one id: one was deleted, another imported in its place."""
    return hashlib.blake2b(run.record.to_json().encode(), digest_size=16).hexdigest()


def forget_run(run_id: str) -> None:
    """Keep nothing of this run, and look at it no more where this session does: it was deleted.

    Raises:
        EngineError: If the disk refuses.
    """
    if st.session_state.get("run") == run_id:
        choose_run(None)
    forget_measured_plan(run_id)


@st.cache_resource(max_entries=4, show_spinner="Opening the run …")
def _run_view(run_id: str, record: str, _table: EmbeddingTable) -> View:
    run = run_store().load(run_id)
    figures = read_compression_figures(run.record.figures)
    view = _view(f"{run_id} {record}", _table, Factorization.load(run.folder), figures)
    return replace(view, config=run.record.config, run_id=run_id)


@st.cache_resource(max_entries=2, show_spinner="Opening the bundled plan …")
def _starter_view(fingerprint: str, _table: EmbeddingTable) -> View:
    shipped = _starter(fingerprint)
    assert shipped is not None
    figures = read_compression_figures(shipped.figures)
    view = _view(_SHIPPED, _table, shipped.fit(_table.matrix), figures)
    return replace(view, config=shipped.config)


def _view(
    key: str, table: EmbeddingTable, factorization: Factorization, figures: dict[str, Any]
) -> View:
    residuals = factorization.squared_residuals(table.matrix)
    return View(
        key=key,
        factorization=factorization,
        figures=figures,
        config={},
        row_errors=relative_row_errors(residuals, table.matrix).numpy(),
        summaries=summarise_subspaces(factorization, table.matrix),
    )


def current_sweep(table: EmbeddingTable) -> tuple[SweepResult | None, str]:
    """The newest sweep of this table, and where it comes from, in words."""
    for run in run_store().list().of("sweep", table.fingerprint):
        try:
            sweep = run_sweep_of(run.id)
        except FormatError:
            continue  # the next older one is still good
        made = run.record.created_at.astimezone()
        return sweep, f"your sweep of {made:%d %b %H:%M}"
    shipped = starter(table)
    return (None, "") if shipped is None else (shipped.sweep, "the sweep that ships with the app")


def run_sweep_of(run_id: str) -> SweepResult:
    """The cells of a run that is a sweep.

    Raises:
        EngineError: If it cannot be read.
    """
    return _run_sweep(run_id, _record_digest(run_store().load(run_id)))


@st.cache_resource(max_entries=8, show_spinner=False)
def _run_sweep(run_id: str, record: str) -> SweepResult:
    return SweepResult.load(run_store().load(run_id).folder / SWEEP_FILE)


def load_glue_run(path: str) -> GlueSummary:
    """The results of a GLUE run of the user's, read once; read again when cells have come.

    Args:
        path: Of its folder; one that begins with ``~`` is looked for at home.

    Raises:
        EngineError: If there is none, it may not be read, or it holds no cells or damaged ones.
    """
    folder = Path.home() / path[2:] if path.startswith("~/") else Path(path)
    hosting.access().check_path(folder)
    stamps = tuple(_stamp(str(folder / name)) for name in (CELLS_FOLDER, RUN_FILE, SUMMARY_FILE))
    return _glue_run(folder, stamps)


@st.cache_resource(max_entries=4, show_spinner="Reading the run …")
def _glue_run(folder: Path, stamps: tuple[float, ...]) -> GlueSummary:
    return read_results(folder)


def measured_accuracy(table: EmbeddingTable) -> SizeCurves | None:
    """What the model scored with this table stored in many ways, where that ships."""
    shipped = starter(table)
    return None if shipped is None else shipped.accuracy


def subspace_names(view: View, table: EmbeddingTable) -> list[str]:
    """What a legend calls each subspace: its number and what its tokens are."""
    names = _names(view.key, table.fingerprint, view, table)
    return [f"{label + 1} · {name}" for label, name in enumerate(names)]


@st.cache_resource(max_entries=16, show_spinner=False)
def _names(key: str, fingerprint: str, _view: View, _table: EmbeddingTable) -> tuple[str, ...]:
    plan = _view.factorization
    typical = [item.typical_rows for item in _view.summaries]
    return suggest_names(_table.tokens, plan.labels, plan.k, typical)


def row_norms(table: EmbeddingTable) -> NDArray[np.float64]:
    """‖x‖ of each row, shape (n,); read-only, for all sessions share it."""
    return _row_norms(table.fingerprint, table)


@st.cache_resource(max_entries=3, show_spinner=False)
def _row_norms(fingerprint: str, _table: EmbeddingTable) -> NDArray[np.float64]:
    norms = measures.row_norms(_table.matrix).numpy()
    norms.setflags(write=False)
    return norms


def drawn_rows(table: EmbeddingTable) -> NDArray[np.int64]:
    """Rows that a map draws: all of them, or an even sample above what a browser can pan."""
    return layouts.drawn_rows(len(table.tokens)).numpy()


@st.cache_resource(max_entries=4, show_spinner="Projecting the rows …")
def _pca(fingerprint: str, _table: EmbeddingTable, dimensions: int) -> NDArray[np.float32]:
    return pca_layout(_table.matrix, dimensions).numpy()


def layout(table: EmbeddingTable, kind: str, dimensions: int = 2) -> NDArray[np.float32] | None:
    """Coordinates of the rows, shape (n, dimensions); None where UMAP was not computed yet."""
    if kind == "PCA":
        return _pca(table.fingerprint, table, dimensions)
    shipped = starter(table) if dimensions == 2 else None
    if shipped is not None:
        return shipped.layout.numpy()
    found = find_umap_layout(table.fingerprint, dimensions)
    return None if found is None else found.numpy()
