"""The map on the page: which layout, how coloured, and what is picked on it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable
from pages.parts import jobs, state
from pages.parts.atlas.colourings import Colouring
from pages.parts.atlas.drawing import Emphasis, Points, Rings, draw_map
from pages.parts.atlas.map_control import MAP_KEY, DrawnMap, control_map
from pages.parts.atlas.measuring import colourings, find_measures
from pages.parts.atlas.selection import ANY_PICKED, MAP_ROUND, Selection
from pages.parts.share import picture_options
from pages.parts.state import Source, View

_SPACE_SAMPLE = 3_000  # points that a browser without a GPU turns; with more it stutters
_SPACE_CHOSEN = 2_000  # of what is selected, beside them
_PLANE, _SPACE = "2-D", "3-D"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """A map that is drawn.

    Attributes:
        layout: Coordinates of all rows, shape (n, 2) or (n, 3).
        rows: Those that are drawn, rising.
        points: As they are drawn.
        ways: To colour them.
        shows: Tells figures apart.
        view: Zoom and camera are kept while this stays the same.
    """

    layout: NDArray[np.float32]
    rows: NDArray[np.int64]
    points: Points
    ways: list[Colouring]
    shows: str
    view: str


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
    jobs.outcome("layout", source)  # what it made is found below
    wanted = state.layout(table, kind, dimensions)
    if wanted is not None:
        return wanted, kind
    request = {"dimensions": dimensions}
    jobs.join("layout", source, request)
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


def drawn_rows(table: EmbeddingTable, dimensions: int, selection: Selection) -> NDArray[np.int64]:
    """Rows that are drawn, rising: all, or an even sample and of the selected ones as many."""
    rows = state.drawn_rows(table)
    if dimensions == 3:
        rows = _even(rows, _SPACE_SAMPLE)
        if selection.active:
            rows = np.union1d(rows, _even(selection.rows, _SPACE_CHOSEN))
    return rows


def show_map(
    table: EmbeddingTable,
    view: View | None,
    drawn: tuple[NDArray[np.float32], str],
    rows: NDArray[np.int64],
) -> tuple[Map, NDArray[np.int64]]:
    """Draw the map.

    Args:
        table: What it is of.
        view: The plan that colours it, if there is one.
        drawn: Coordinates of all rows, and the kind of map they are.
        rows: Those that are drawn.

    Returns:
        The map, for `control`, and the rows that are picked on it, rising.
    """
    layout, kind = drawn
    dimensions = layout.shape[1]
    ways = colourings(table, view, find_measures(table, view, kind), rows, dimensions)
    points = Points(
        layout=layout[rows],
        rows=rows,
        tokens=[table.tokens[int(row)] for row in rows],
        labels=np.zeros(len(rows), np.int64)
        if view is None
        else view.factorization.labels.numpy()[rows],
        names=["Tokens"] if view is None else state.subspace_names(view, table),
        theme=st.context.theme.type or "light",
    )
    key = f"map-{view.key if view else 'plain'}-{dimensions}-{st.session_state.get(MAP_ROUND, 0)}"
    digest = blake2b(rows.tobytes(), digest_size=8).hexdigest()
    lacking = "-".join(way.name for way in ways if way.lacks)
    found = Map(
        layout=layout,
        rows=rows,
        points=points,
        ways=ways,
        shows=f"{table.fingerprint} {kind} {key} {points.theme} {digest} {lacking}",
        view=f"{table.fingerprint} {kind} {dimensions}",
    )
    with st.container(key=MAP_KEY):
        event: Any = st.plotly_chart(
            _figure(found.shows, hash(tuple(points.tokens)), points, ways),
            key=key,
            on_select="rerun" if dimensions == 2 else "ignore",
            selection_mode=("points", "box", "lasso"),
            config={
                "displaylogo": False,
                "scrollZoom": True,
                "modeBarButtonsToRemove": ["autoScale"],
                **picture_options(table),
            },
            alt="Map of the tokens. A search or a filter lists them beside it; the CSV under Share "
            "holds all of them, with their places on the plane.",
        )
    picked = rows[_picked(event, points)] if dimensions == 2 else rows[:0]
    st.session_state[ANY_PICKED] = bool(len(picked))
    return found, picked


@st.cache_resource(max_entries=8, show_spinner=False)
def _figure(shows: str, tokens: int, _points: Points, _ways: list[Colouring]) -> go.Figure:
    """The figure of a map, which every run of the page would make anew; 0.3 s, a few MB.

    ``tokens`` tells tables of the same rows apart, which go by the same name in ``shows``.
    """
    return draw_map(_points, _ways, shows)


def control(
    found: Map,
    table: EmbeddingTable,
    selection: Selection,
    picked: NDArray[np.int64],
    focus: int | None,
) -> None:
    """Let the map's colour be chosen, and let stand out what is selected, found and looked at.

    Args:
        found: The map.
        table: What it is of.
        selection: By the controls.
        picked: Rows that are picked on it.
        focus: The row that is looked at closely.
    """
    matches = np.intersect1d(selection.matches, selection.rows)
    matches = matches[matches != focus]  # whose ring is larger
    chosen = np.intersect1d(picked, selection.rows) if len(picked) else selection.rows
    emphasis = Emphasis(
        chosen=np.flatnonzero(np.isin(found.rows, chosen)) if selection.active else None,
        picked=bool(len(picked)),
        ringed=_rings(found, table, matches),
        focus=None if focus is None else _rings(found, table, np.array([focus])),
    )
    drawn = DrawnMap(
        shows=found.shows,
        view=found.view,
        count=len(found.points.names),
        space=found.layout.shape[1] == 3,
        theme=found.points.theme,
    )
    control_map(drawn, found.ways, emphasis.as_data(found.points))


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


def _rings(found: Map, table: EmbeddingTable, rows: NDArray[np.int64]) -> Rings:
    return Rings(rows, found.layout[rows], [table.tokens[int(row)] for row in rows])


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
