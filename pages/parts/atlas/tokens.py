"""The table of the tokens that are selected; a click on a row looks at its token closely."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable
from pages.parts import state
from pages.parts.atlas.selection import Selection, clear_picked, focus_on
from pages.parts.state import View
from pages.parts.wording import FORMULAS

_ROWS = 11  # that fit beside the map without scrolling
_SHOWN = 5000  # rows a table sends to the browser; the download holds all


def show_tokens(
    table: EmbeddingTable, view: View | None, selection: Selection, picked: NDArray[np.int64]
) -> None:
    """List what is picked on the map, among what is selected.

    Args:
        table: Whose tokens.
        view: The plan they are seen in, if there is one.
        selection: By the controls.
        picked: Rows picked on the map; none picked leaves the selection whole.
    """
    rows, words = listed(selection, picked)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(rows):,} {'token' if len(rows) == 1 else 'tokens'}** {words}")
        if len(picked):
            st.button(
                "Clear the loop", icon=":material/close:", on_click=clear_picked, key="clear-picked"
            )
    if not len(rows):
        return
    frame = _frame(table, view, rows)
    digest = blake2b(rows.tobytes(), digest_size=8).hexdigest()
    key = f"tokens-{table.fingerprint}-{digest}"
    st.dataframe(
        frame[:_SHOWN],
        hide_index=True,
        height=430 if len(frame) > _ROWS else "auto",
        key=key,
        selection_mode="single-row",
        on_select=lambda: _focus_chosen(key, rows),
        alt="The selected tokens; select a row to look at its token closely.",
        column_config={
            "Error": st.column_config.NumberColumn(format="percent", help="Of this row's energy"),
            "Norm": st.column_config.NumberColumn(format="%.3f", help="Length of the row"),
        },
    )
    if len(frame) > _SHOWN:
        st.caption(f"The first {_SHOWN:,} are shown; the file holds all.")
    st.download_button(
        "Download CSV",
        lambda: frame.to_csv(index=False).encode(),
        "tokens.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        help=FORMULAS,
    )


def say_how_to_select(view: View | None) -> None:
    """Where nothing is selected and no token is looked at: what can be done."""
    find = "**Draw a loop on the map** to list the tokens inside it, or find a token by name"
    zoom = "Scroll to zoom"
    if view is not None:
        find += ", or choose subspaces and errors by **Filter**"
        zoom += ". Click a name in the legend to hide a subspace, double-click to see it alone"
    with st.container(border=True):
        st.markdown(
            "**Click a point** to look at its token closely; hover over it to read it.\n\n"
            f"{find}.\n\n{zoom}."
        )


def listed(selection: Selection, picked: NDArray[np.int64]) -> tuple[NDArray[np.int64], str]:
    """Rows to list, and what they are in words; no words where nothing is selected."""
    if not len(picked):
        return selection.rows, selection.words
    if not selection.active:
        return picked, "selected on the map"
    return np.intersect1d(picked, selection.rows), f"selected on the map, {selection.words}"


def _frame(table: EmbeddingTable, view: View | None, rows: NDArray[np.int64]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"Token": [table.tokens[i] for i in rows], "Norm": state.row_norms(table)[rows]}
    )
    if view is not None:
        frame.insert(1, "Subspace", view.factorization.labels.numpy()[rows] + 1)
        frame.insert(2, "Error", view.row_errors[rows])
    return frame


def _focus_chosen(key: str, rows: NDArray[np.int64]) -> None:
    chosen: Any = st.session_state[key]["selection"]["rows"]
    focus_on(int(rows[chosen[0]]) if chosen else None)
