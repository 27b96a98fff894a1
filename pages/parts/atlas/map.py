"""The map on the page: which layout, how coloured, and what is picked on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from engine import EmbeddingTable
from pages.parts import jobs, state
from pages.parts.atlas.colour_choice import MAP_KEY, choose_colouring, lacking
from pages.parts.atlas.colourings import Colouring
from pages.parts.atlas.drawing import Emphasis, Points, draw_map
from pages.parts.atlas.measuring import colourings, find_measures
from pages.parts.atlas.selection import MAP_ROUND, Selection
from pages.parts.share import picture_options
from pages.parts.state import Source, View

_SPACE_SAMPLE = 3_000  # points that a browser without a GPU turns; with more it stutters
_SPACE_CHOSEN = 2_000  # of what is selected, beside them
_PLANE, _SPACE = "2-D", "3-D"


def choose_layout() -> tuple[str, int]:
    """The kind of map, and its dimensions."""
    kind = st.segmented_control(
        "Map",
        ["UMAP", "PCA"],
        default="UMAP",
        required=True,
        key="map",
        bind="query-params",
        help="UMAP keeps neighbours together; distances between groups mean little. PCA shows the "
        "two directions in which the rows differ most, and nothing else.",
    )
    dimensions = st.segmented_control(
        "In", [_PLANE, _SPACE], default=_PLANE, required=True, key="in", bind="query-params"
    )
    return str(kind), 3 if dimensions == _SPACE else 2


def find_layout(
    source: Source, table: EmbeddingTable, kind: str, dimensions: int
) -> tuple[NDArray[np.float32], str]:
    """The wanted coordinates and their kind; PCA stands in while UMAP is made."""
    request = {"dimensions": dimensions}
    jobs.join("layout", source, request)
    jobs.outcome("layout")  # what it made is found below
    wanted = state.layout(table, kind, dimensions)
    if wanted is not None:
        return wanted, kind
    if not jobs.is_active("layout"):
        where = " in space" if dimensions == 3 else ""
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"UMAP has not been drawn{where} for this table yet; PCA stands in for it.")
            if st.button("Draw UMAP", icon=":material/draw:"):
                jobs.start("layout", source, request)
                st.rerun(scope="fragment")
    pca = state.layout(table, "PCA", dimensions)
    assert pca is not None
    return pca, "PCA"


def drawn_rows(
    table: EmbeddingTable, dimensions: int, selection: Selection, focus: int | None
) -> NDArray[np.int64]:
    """Rows that are drawn, rising: all, or an even sample and of the selected ones as many."""
    rows = state.drawn_rows(table)
    if dimensions == 3:
        rows = _even(rows, _SPACE_SAMPLE)
        if selection.active:
            rows = np.union1d(rows, _even(selection.rows, _SPACE_CHOSEN))
    return rows if focus is None else np.union1d(rows, [focus])


def show_map(
    table: EmbeddingTable,
    view: View | None,
    drawn: tuple[NDArray[np.float32], str],
    rows: NDArray[np.int64],
    emphasised: tuple[Selection, int | None],
    bar: DeltaGenerator,
) -> NDArray[np.int64]:
    """Draw the map.

    Args:
        table: What it is of.
        view: The plan that colours it, if there is one.
        drawn: Coordinates of all rows, and the kind of map they are.
        rows: Those that are drawn.
        emphasised: The selection, and the row that is looked at closely.
        bar: Where the choice of colours goes.

    Returns:
        Rows that are picked on it, rising; all that is drawn is asked for by its own controls.
    """
    layout, kind = drawn
    selection, focus = emphasised
    dimensions = layout.shape[1]
    ways = colourings(table, view, find_measures(table, view, kind), rows, dimensions)
    with bar:
        shown = _shown_colouring(table, view, ways, (kind, dimensions, selection.signature, focus))
    points = Points(
        layout=layout[rows],
        tokens=[table.tokens[int(row)] for row in rows],
        labels=np.zeros(len(rows), np.int64)
        if view is None
        else view.factorization.labels.numpy()[rows],
        names=["Tokens"] if view is None else state.subspace_names(view, table),
        theme=st.context.theme.type or "light",
        uirevision=f"{table.fingerprint}-{kind}-{dimensions}",
    )
    figure = draw_map(points, ways, shown, _emphasis(rows, selection, focus))
    event: Any = None
    with st.container(key=MAP_KEY):
        event = st.plotly_chart(
            figure,
            key=f"map-{view.key if view else 'plain'}-{dimensions}"
            f"-{st.session_state.get(MAP_ROUND, 0)}",
            on_select="rerun" if dimensions == 2 else "ignore",
            selection_mode=("points", "box", "lasso"),
            config={
                "displaylogo": False,
                "scrollZoom": True,
                "modeBarButtonsToRemove": ["autoScale"],
                **picture_options(table),
            },
            alt="Map of the tokens. The same tokens, searchable, are in the tables beside and "
            "below.",
        )
    return rows[_picked(event, points)] if dimensions == 2 else rows[:0]


def say_what_is_drawn(
    table: EmbeddingTable, rows: NDArray[np.int64], dimensions: int, selection: Selection
) -> None:
    """Never a sample in silence."""
    if len(rows) == len(table.tokens):
        return
    beside = " and of those selected as many" if dimensions == 3 and selection.active else ""
    st.caption(
        f":material/filter_none: {len(rows):,} of {len(table.tokens):,} tokens are drawn"
        f"{' in space' if dimensions == 3 else ''}: an even sample of the rows{beside}. "
        "Tables and figures are of all."
    )


def _shown_colouring(
    table: EmbeddingTable, view: View | None, ways: list[Colouring], rest: tuple[object, ...]
) -> int:
    """Number of the colouring to build the figure in.

    A press has recoloured the map in the browser already: a figure that differs by its colours
    alone would be drawn again for nothing. So as long as nothing else changes, it stays what it
    was.
    """
    names = [way.name for way in ways]
    chosen = names.index(choose_colouring(names, lacking(ways), names[0]))
    anchor = (
        table.fingerprint,
        view.key if view else None,
        st.context.theme.type,
        tuple(lacking(ways)),
        st.session_state.get(MAP_ROUND, 0),
        *rest,
    )
    kept = st.session_state.get("map-colours")
    if kept is None or kept[0] != anchor:
        kept = st.session_state["map-colours"] = (anchor, chosen)
    return int(kept[1])


def _emphasis(rows: NDArray[np.int64], selection: Selection, focus: int | None) -> Emphasis:
    where = {} if focus is None else {"focus": int(np.searchsorted(rows, focus))}
    return Emphasis(
        chosen=np.flatnonzero(np.isin(rows, selection.rows)) if selection.active else None,
        ringed=np.flatnonzero(np.isin(rows, np.intersect1d(selection.matches, selection.rows))),
        **where,
    )


def _picked(event: Any, points: Points) -> NDArray[np.int64]:  # noqa: ANN401 - of streamlit
    members = points.members
    found = [
        members[point["curve_number"]][point["point_index"]]
        for point in event.selection.points
        if point["curve_number"] < len(members)
        and point["point_index"] < len(members[point["curve_number"]])
    ]
    return np.unique(np.array(found, dtype=np.int64))


def _even(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
