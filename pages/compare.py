"""Compare: error curves, one cell of the grid against the SVD, and two plans side by side."""

from __future__ import annotations

import streamlit as st

from engine import EmbeddingTable, EngineError
from pages.parts import (
    entry,
    error_curves,
    inputs,
    jobs,
    k_against_svd,
    promises,
    state,
    sweeping,
    two_plans,
)
from pages.parts.state import Source
from pages.parts.wording import literal

_CURVES, _LIVE, _PAIR = "Curves", "k against SVD", "Two plans"


def main() -> None:
    """Draw the page."""
    st.title("Subspaces, SVD or rounding?")
    try:
        source = inputs.choose_source()
        if source is None:
            st.info("Name a model or a file in the sidebar to draw its error curves.")
            return
        table = state.load_source(source)
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    if two_plans.is_linked() and "view" not in st.query_params:
        st.session_state.setdefault("view", _PAIR)
    view = st.segmented_control(
        "View",
        [_CURVES, _LIVE, _PAIR],
        default=_CURVES,
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    if view == _PAIR:
        jobs.show_others()
        two_plans.show(table)
    else:
        two_plans.leave_link()
        _show_sweep(source, table, live=view == _LIVE)


def _show_sweep(source: Source, table: EmbeddingTable, *, live: bool) -> None:
    """What reads a sweep, with the controls to run one."""
    sweeping.show_controls(source, table)
    promises.follow(source, table)
    if jobs.outcome("sweep", source) is not None:
        st.toast("The sweep is done.", icon=":material/check:")
    found = sweeping.newest(table)
    if found is None:
        return
    sweep, origin = found
    if live:
        k_against_svd.show(sweep, origin)
    else:
        error_curves.show(source, table, sweep, origin)


entry.enter_by_app()
main()
