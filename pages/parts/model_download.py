"""The whole model with a plan for an embedding: made by a job, then a download."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EmbeddingTable
from engine.errors import EngineError
from engine.export.card import cost_table
from engine.export.keeping import KeptModel, find_kept_model
from engine.sources import find_model
from pages.parts import jobs
from pages.parts.state import Source, View
from pages.parts.wording import literal, short_bytes


def has_model(table: EmbeddingTable) -> bool:
    """Whether there is more than a plain file behind a table."""
    try:
        return find_model(table.spec) is not None
    except EngineError:
        return False  # it was there when the table was read


def offer_model(row: DeltaGenerator, view: View, table: EmbeddingTable) -> None:
    """A button that starts the job, its progress, and the download that comes of it.

    Args:
        row: Where the other downloads are.
        view: The plan.
        table: The embedding of a model: see `has_model`.
    """
    source, params = Source(spec=table.spec), {"run": view.run_id}
    jobs.join("model", source, params)
    jobs.outcome("model", source)  # what it made is found below
    kept = find_kept_model(table, view.run_id)
    if kept is not None:
        row.download_button(
            f"Compressed model, {short_bytes(kept.file_bytes)}",
            kept.path.read_bytes,
            kept.path.name,
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
        )
        _describe(kept)
        return
    if row.button(
        "Compressed model",
        icon=":material/deployed_code:",
        disabled=jobs.is_active("model"),
        help="Puts this plan into the whole model, measures it before and after, and packs it: "
        "seconds for a small model, minutes for a large one.",
    ):
        jobs.start("model", source, params)
        st.rerun()


def _describe(kept: KeptModel) -> None:
    """How it is loaded, and what it takes."""
    st.markdown(
        f"Unpack it where Subspace Atlas is installed: after `import engine`, "
        f'`{kept.loader}("{kept.path.stem}")` loads it as any other model.'
    )
    st.markdown(cost_table(kept.cost))
    if kept.cost.times is not None:
        st.caption("Forward: one pass of the whole model, on this machine, as busy as it was then.")
    for note in kept.notes:
        st.caption(f":material/info: {literal(note)}")
