"""Earlier runs of the table at hand: look at one again, delete it."""

from __future__ import annotations

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.runs import DamagedRun, Run
from pages.parts import state
from pages.parts.run_words import captions
from pages.parts.wording import literal


def choose_earlier(
    table: EmbeddingTable, *, label: str = "Run on the map", deletable: bool = True
) -> None:
    """Controls in the sidebar; nothing where there is no run yet.

    Args:
        table: Whose runs.
        label: What a run is to the page.
        deletable: Whether the chosen one can be deleted here.
    """
    try:
        listing = state.run_store().list()
    except EngineError as error:
        st.sidebar.warning(literal(str(error)), icon=":material/warning:")
        return
    runs = listing.of("compress", table.fingerprint)
    with st.sidebar:
        if runs:
            named = state.current_run_id()
            elsewhere = named is None or named in {run.id for run in listing.runs}
            chosen = _choose(table, runs, label=label, newest=elsewhere)
            if chosen is not None and deletable:
                _offer_deletion(chosen)
        if listing.damaged:
            _report(listing.damaged)


def _choose(
    table: EmbeddingTable, runs: tuple[Run, ...], *, label: str, newest: bool
) -> str | None:
    """The run looked at; None for what ships, or where the link names one of another table."""
    named: dict[str | None, str] = {**captions(runs)}
    if state.starter(table) is not None:
        named[None] = "the one that ships with the app"
    options = list(named)
    current = state.current_run_id()
    if current not in named:
        current = None
        if newest and None not in named:  # nothing ships for this table: show its newest run
            current = runs[0].id
            state.choose_run(current)
    picked = st.selectbox(
        label,
        options,
        index=options.index(current) if current in named else None,
        format_func=lambda run_id: named[run_id],
        placeholder="Choose a run",
    )
    if picked != current:
        state.choose_run(picked)
        st.rerun()
    return current


def _offer_deletion(run_id: str) -> None:
    with st.popover("Delete this run", width="stretch", icon=":material/delete:"):
        sure = st.button("Yes, delete it", width="stretch")
    if sure:
        try:
            state.run_store().delete(run_id)
            state.forget_run(run_id)
        except EngineError as error:
            st.error(literal(str(error)), icon=":material/error:")
            return
        st.rerun()


def _report(damaged: tuple[DamagedRun, ...]) -> None:
    noun = "run is" if len(damaged) == 1 else "runs are"
    with st.expander(f"{len(damaged)} {noun} damaged", icon=":material/warning:"):
        for run in damaged:
            st.caption(literal(run.reason))
