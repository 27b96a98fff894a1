"""Explore: the rows of an embedding layer, coloured by the subspace each lives in."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable, EngineError
from pages.parts import charts, details, entry, headline, history, inputs, jobs, network, state
from pages.parts.model_download import has_model
from pages.parts.plan import choose_plan
from pages.parts.state import Source, View
from pages.parts.wording import literal

_COLOURINGS = ("Subspace", "Error", "Norm")
_TABLE_ROWS = 11  # that fit beside the map without scrolling
_SHOWN_TOKENS = 5000  # rows a table sends to the browser; the download holds all


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
    done = jobs.outcome("compress")
    if done is not None:
        state.choose_run(done["run"])
    history.choose_earlier(table)
    try:
        view = state.current_view(table)
    except EngineError as error:
        st.warning(f"That run cannot be opened. {literal(str(error))}", icon=":material/warning:")
        state.choose_run(None)
        view = state.current_view(table)
    shown_below = ("model",) if view is not None and has_model(table) else ()
    jobs.show_others("compress", "layout", *shown_below)
    _headline(table, view)
    _explore(source, table, view)
    jobs.job_queue()  # made last, so that its imports do not delay the first map


def _invite() -> None:
    st.title("Subspace Atlas")
    st.info(
        "Name a model or a file in the sidebar to see its tokens, or go back to the bundled model.",
        icon=":material/arrow_back:",
    )


def _headline(table: EmbeddingTable, view: View | None) -> None:
    n, d = table.matrix.shape
    st.title(literal(table.name))
    for note in table.notes:
        st.caption(f":material/build: {literal(note)}")
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
    st.markdown(f"{icon} {figures['verdict']}")
    for note in figures["notes"]:
        st.caption(f":material/info: {literal(note)}")


@st.fragment
def _explore(source: Source, table: EmbeddingTable, view: View | None) -> None:
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    kind = bar.segmented_control(
        "Map", ["UMAP", "PCA"], default="UMAP", required=True, key="map", bind="query-params"
    )
    colouring = bar.segmented_control(
        "Colour",
        _COLOURINGS if view else _COLOURINGS[-1:],
        default="Subspace" if view else "Norm",
        required=True,
        key="colour" if view else "plain-colour",
    )
    query = bar.text_input(
        "Find a token",
        key="find",
        placeholder="part of a token, such as “berlin” or “##ing”",
        icon=":material/search:",
    )
    layout = _layout(source, table, str(kind))
    rows = state.drawn_rows(table)
    found = _search(table, query)
    if query and not len(found):
        st.info(f"No token holds “{literal(query)}”.", icon=":material/search_off:")
    left, right = st.columns([2.1, 1], gap="medium")
    with left:
        selected = _map(table, view, layout[rows], rows, str(colouring), found)
        if len(rows) < len(table.tokens):
            st.caption(f"An even sample of {len(rows):,} of {len(table.tokens):,} tokens is drawn.")
    with right:
        _token_table(table, view, selected, found, query)
    if view is not None:
        details.show_subspaces(view, table.tokens)
        network.show_network(view, table, int(found[0]) if len(found) else None)
        details.show_use(view.figures)
        details.show_fit(view)


def _layout(source: Source, table: EmbeddingTable, kind: str) -> NDArray[np.float32]:
    """The wanted coordinates; PCA stands in while UMAP is made."""
    jobs.join("layout", source, {})
    jobs.outcome("layout")  # what it made is found below
    wanted = state.layout(table, kind)
    if wanted is not None:
        return wanted
    if not jobs.is_active("layout"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("UMAP has not been drawn for this table yet; PCA stands in for it.")
            if st.button("Draw UMAP", icon=":material/draw:"):
                jobs.start("layout", source, {})
                st.rerun(scope="fragment")
    pca = state.layout(table, "PCA")
    assert pca is not None
    return pca


def _search(table: EmbeddingTable, query: str) -> NDArray[np.int64]:
    if not query:
        return np.empty(0, dtype=np.int64)
    pattern = re.compile(re.escape(query), re.IGNORECASE)
    return np.array([i for i, token in enumerate(table.tokens) if pattern.search(token)], np.int64)


def _map(
    table: EmbeddingTable,
    view: View | None,
    layout: NDArray[np.float32],
    rows: NDArray[np.int64],
    colouring: str,
    found: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Draw the map; give the rows that are selected on it."""
    theme = st.context.theme.type or "light"
    points = charts.MapPoints(
        layout=layout,
        rows=rows,
        tokens=[table.tokens[int(i)] for i in rows]
        if len(rows) < len(table.tokens)
        else table.tokens,
        theme=theme,
        uirevision=f"{table.fingerprint}-{st.session_state['map']}",
    )
    labels = None
    if view is None:
        figure = charts.plain_map(points)
    elif colouring == "Subspace":
        labels = view.factorization.labels.numpy()[rows]
        figure = charts.subspace_map(points, labels, state.subspace_names(view, table.tokens))
    elif colouring == "Error":
        figure = charts.value_map(points, view.row_errors[rows], "error of the row")
    else:
        figure = charts.value_map(points, state.row_norms(table)[rows], "length of the row")
    if len(found):
        charts.add_matches(figure, points, np.flatnonzero(np.isin(rows, found)))
    event: Any = st.plotly_chart(
        figure,
        key=f"map-{view.key if view else 'plain'}-{colouring}",
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        config={"displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["autoScale"]},
        alt="Map of the tokens. The same tokens, searchable, are in the tables beside and below.",
    )
    positions = charts.trace_positions(labels, len(rows), view.factorization.k if view else 1)
    picked = [
        positions[point["curve_number"]][point["point_index"]]
        for point in event.selection.points
        if point["curve_number"] < len(positions)
    ]
    return rows[np.unique(np.array(picked, dtype=np.int64))]


def _token_table(
    table: EmbeddingTable,
    view: View | None,
    selected: NDArray[np.int64],
    found: NDArray[np.int64],
    query: str,
) -> None:
    shown = selected if len(selected) else found
    if not len(shown):
        with st.container(border=True):
            st.markdown(
                "**Draw a loop on the map** to list the tokens inside it, or find a token by name "
                "above.\n\nHover to read a token. Scroll to zoom. Click a name in the legend to "
                "hide a subspace, double-click to see it alone."
            )
        return
    what = "selected on the map" if len(selected) else f"with “{literal(query)}”"
    st.markdown(f"**{len(shown):,} {'token' if len(shown) == 1 else 'tokens'}** {what}")
    frame = pd.DataFrame(
        {"Token": [table.tokens[i] for i in shown], "Norm": state.row_norms(table)[shown]}
    )
    if view is not None:
        frame.insert(1, "Subspace", view.factorization.labels.numpy()[shown] + 1)
        frame.insert(2, "Error", view.row_errors[shown])
    st.dataframe(
        frame[:_SHOWN_TOKENS],
        hide_index=True,
        height=430 if len(frame) > _TABLE_ROWS else "auto",
        column_config={
            "Error": st.column_config.NumberColumn(format="percent", help="Of this row's energy"),
            "Norm": st.column_config.NumberColumn(format="%.3f", help="Length of the row"),
        },
    )
    if len(frame) > _SHOWN_TOKENS:
        st.caption(f"The first {_SHOWN_TOKENS:,} are shown; the file holds all.")
    st.download_button(
        "Download CSV",
        frame.to_csv(index=False).encode(),
        "tokens.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


entry.enter_by_app()
main()
