"""Explore: the rows of an embedding layer, coloured by the subspace each lives in."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import EmbeddingTable, EngineError
from pages.parts import details, entry, headline, history, inputs, jobs, network, share, state
from pages.parts.atlas.map import (
    choose_layout,
    control,
    drawn_rows,
    find_layout,
    say_what_is_drawn,
    show_map,
)
from pages.parts.atlas.measuring import show_trust
from pages.parts.atlas.selection import choose_tokens, focused_row
from pages.parts.atlas.subspaces import show_subspaces
from pages.parts.atlas.token_card import show_token
from pages.parts.atlas.tokens import listed, say_how_to_select, show_tokens
from pages.parts.model_download import has_model
from pages.parts.plan import choose_plan, controls_of, differs, take_over
from pages.parts.state import Source, View
from pages.parts.wording import literal


def main() -> None:
    """Draw the page."""
    try:
        source = inputs.choose_source()
        if source is None:
            _invite()
            return
        table = state.load_source(source)
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    plan = choose_plan(table)
    with st.sidebar:
        pressed = st.button(
            "Compress",
            type="primary",
            width="stretch",
            disabled=plan is None or jobs.is_active("compress"),
            icon=":material/compress:",
        )
    if pressed:
        jobs.start("compress", source, {"config": plan})
        st.rerun()  # the button then shows that it is busy
    # However much stands above it, the map keeps its place among the page's elements: in another
    # one the browser would draw it anew, at the cost of the job that was just begun.
    with st.container():
        view = _show_above(source, table, plan)
    _explore(source, table, view)
    jobs.job_queue()  # made last, so that its imports do not delay the first map


def _invite() -> None:
    st.title("Subspace Atlas")
    st.info(
        "Name a model or a file in the sidebar to see its tokens, or go back to the bundled model.",
        icon=":material/arrow_back:",
    )


def _show_above(source: Source, table: EmbeddingTable, plan: dict[str, Any] | None) -> View | None:
    """Jobs, messages and figures; the plan to look at."""
    done = jobs.outcome("compress", source)
    if done is not None:
        state.choose_run(done["run"])
    history.choose_earlier(table)
    try:
        view = state.current_view(table)
    except EngineError as error:
        st.warning(f"That run cannot be opened: {literal(str(error))}", icon=":material/warning:")
        state.choose_run(None)
        view = state.current_view(table)
    shown_below = ("model",) if view is not None and has_model(table) else ()
    jobs.show_others("compress", "layout", "measure", *shown_below)
    _headline(table, view)
    made = jobs.is_active("compress")
    if (
        view is not None
        and plan is not None
        and not made
        and differs(plan, view.config, table.dense_bytes)
    ):
        _tell_apart(view)
    return view


def _tell_apart(view: View) -> None:
    """The sidebar holds another plan; where it can, it takes over this one's settings."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            ":material/info: This is another plan than the one in the sidebar, which is made when "
            "you press **Compress**.",
            width="content",
        )
        if controls_of(view.config) is not None:
            st.button(
                "Set the sidebar to this one",
                key="take-over",
                type="tertiary",
                icon=":material/keyboard_return:",
                on_click=take_over,
                args=(view.config,),
            )


def _headline(table: EmbeddingTable, view: View | None) -> None:
    n, d = table.matrix.shape
    st.title(literal(table.name))
    for note in table.notes:
        st.caption(f":material/build: {literal(note)}")
    if view is None and n == 1:
        st.markdown(
            f"The embedding layer: one token, a row of {d} numbers. It has no other to share a "
            "subspace with, so nothing makes it smaller: open a table of more rows."
        )
        return
    if view is None:
        st.markdown(
            f"The embedding layer: {n:,} tokens, each a row of {d} numbers. Choose **k** and a "
            "size in the sidebar and press **Compress** to see which tokens share a subspace."
        )
        return
    figures = view.figures
    st.markdown(
        f"The embedding layer: {n:,} tokens, each a row of {d} numbers, {headline.describe(view)}"
    )
    headline.show_figures(view)
    icon = ":material/check_circle:" if figures["beats_svd"] else ":material/info:"
    st.markdown(f"{icon} {literal(figures['verdict'])}")
    for note in figures["notes"]:
        st.caption(f":material/info: {literal(note)}")


@st.fragment
def _explore(source: Source, table: EmbeddingTable, view: View | None) -> None:
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with bar:
        kind, dimensions = choose_layout()
    with st.container():
        drawn = find_layout(source, table, kind, dimensions)
    left, right = st.columns([1.8, 1], gap="medium")
    with right:
        selection = choose_tokens(table, view)
    rows = drawn_rows(table, dimensions, selection)
    with left:
        found, picked = show_map(table, view, drawn, rows)
        say_what_is_drawn(table, rows, dimensions, selection)
        show_trust(source, table, view, (drawn[1], dimensions))
    focus = focused_row(table)
    with bar:
        control(found, table, selection, picked, focus)
    with right:
        if focus is not None:
            show_token(table, view, focus)
        if selection.active or len(picked):
            show_tokens(table, view, selection, picked)
        elif focus is None:
            say_how_to_select(view)
    if view is not None:
        asked = selection.active or len(picked)
        show_subspaces(table, view, listed(selection, picked)[0] if asked else None)
        named = focus if focus is not None or not len(selection.matches) else selection.matches[0]
        network.show_network(view, table, None if named is None else int(named))
        details.show_use(view.figures)
        details.show_fit(view)
    share.show_share(table, view, str(kind))


entry.enter_by_app()
main()
