"""Explore: the rows of an embedding layer, coloured by the subspace each lives in."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable, EngineError
from pages.parts import charts, entry, history, inputs, jobs, state
from pages.parts.palette import subspace_colour
from pages.parts.state import Source, View
from pages.parts.wording import literal, short_bytes, short_count

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
    plan = inputs.choose_plan(table)
    with st.sidebar:
        pressed = st.button(
            "Compress",
            type="primary",
            width="stretch",
            disabled=plan.j is None or jobs.is_active("compress"),
            icon=":material/compress:",
        )
    if pressed:
        jobs.start("compress", source, {"config": plan.as_params()})
        st.rerun()  # the button then shows that it is busy
    jobs.show_others("compress", "layout")
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
        f"The embedding layer: {n:,} tokens, each a row of {d} numbers, stored smaller as "
        f"**{figures['k']} flat subspaces** instead of one (the SVD). A point is a token, its "
        "colour the subspace it is closest to."
        if figures["k"] > 1
        else f"The embedding layer: {n:,} tokens, each a row of {d} numbers, stored smaller in one "
        "flat subspace: the usual SVD."
    )
    _metrics(figures)
    icon = ":material/check_circle:" if figures["beats_svd"] else ":material/info:"
    st.markdown(f"{icon} {figures['verdict']}")
    for note in figures["notes"]:
        st.caption(f":material/info: {literal(note)}")


def _metrics(figures: dict[str, Any]) -> None:
    svd = figures["svd"]
    row = st.container(horizontal=True, key="figures")  # two by two where it is narrow
    row.metric(
        "Numbers stored",
        short_count(figures["parameters"]),
        f"{abs(figures['rate']):.1%} {'fewer' if figures['rate'] >= 0 else 'more'} than "
        f"{short_count(figures['parameters_before'])}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Coordinates of every row and the bases; the layer as it was held the second figure.",
    )
    row.metric(
        "Bytes stored",
        short_bytes(figures["stored_bytes"]),
        _bytes_before(figures),
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Everything a file needs in float32, each row's subspace number included.",
    )
    row.metric(
        "Error",
        f"{figures['relative_error']:.2%}",
        f"SVD {svd['relative_error']:.2%}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Squared distance between the rows and their approximation, over the rows' squared "
        f"length. The SVD beside it has rank {svd['dimensions'][0]} and stores at least as many "
        "numbers.",
    )
    ours, theirs = figures["neighbours_kept"], svd["neighbours_kept"]
    if ours is not None and theirs is not None:
        row.metric(
            "Neighbours kept",
            f"{ours['mean']:.1%}",
            f"SVD {theirs['mean']:.1%}",
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=f"Share of a token's {ours['count']} nearest neighbours (by cosine) that are "
            f"still among its {ours['count']} nearest after compression; mean over "
            f"{ours['queries']:,} sampled tokens, ± {ours['standard_error']:.1%}.",
        )


def _bytes_before(figures: dict[str, Any]) -> str:
    """The table's bytes in float32, as ours are counted, and as its source holds it."""
    before = f"was {short_bytes(figures['dense_bytes'])}"
    if figures["source_bytes"] == figures["dense_bytes"]:
        return before
    return f"{before}, {short_bytes(figures['source_bytes'])} in its file"


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
        _subspace_table(view, table.tokens)


def _layout(source: Source, table: EmbeddingTable, kind: str) -> NDArray[np.float32]:
    """The wanted coordinates; PCA stands in while UMAP is made."""
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
        tokens=[table.tokens[i] for i in rows] if len(rows) < len(table.tokens) else table.tokens,
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


def _subspace_table(view: View, tokens: list[str]) -> None:
    st.subheader("Subspaces")
    theme = st.context.theme.type or "light"
    frame = pd.DataFrame(
        {
            "Subspace": [f"■ {item.label + 1}" for item in view.summaries],
            "Tokens": [item.rows for item in view.summaries],
            "Dimension": [item.dimension for item in view.summaries],
            "Energy kept": [item.energy_kept for item in view.summaries],
            "Share of the error": [item.error_share for item in view.summaries],
            "Typical tokens": [
                "  ".join(tokens[i] for i in item.typical_rows) for item in view.summaries
            ],
        }
    )
    colours = [f"color: {subspace_colour(item.label, theme)}" for item in view.summaries]
    st.dataframe(
        frame.style.apply(lambda _: colours, subset=["Subspace"]),
        hide_index=True,
        column_config={
            "Subspace": st.column_config.TextColumn(width=80),
            "Tokens": st.column_config.NumberColumn(format="localized", width=80),
            "Dimension": st.column_config.NumberColumn(width=90),
            "Energy kept": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, width=130
            ),
            "Share of the error": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, width=130
            ),
            "Typical tokens": st.column_config.TextColumn(
                width="large", help="Closest to the mean direction of the subspace's rows"
            ),
        },
    )


entry.enter_by_app()
main()
