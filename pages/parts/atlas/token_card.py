"""One token looked at closely: what is kept of it, what is lost, and its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from engine import EmbeddingTable
from engine.portraits import RowPortrait, describe_row
from pages.parts.atlas.selection import focus_on
from pages.parts.palette import WORSE, subspace_colour
from pages.parts.state import View
from pages.parts.wording import literal

_FEW = 6  # tokens that the residual is named after
_PART = 0.5  # of the row's energy: how many coordinates hold this much says how spread it is


def show_token(table: EmbeddingTable, view: View | None, row: int) -> None:
    """The card of a token; without a plan there is only its name to show.

    Args:
        table: Whose token.
        view: The plan it is seen in, if there is one.
        row: Which.
    """
    with st.container(border=True, key="token-card"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"#### {literal(table.tokens[row])}")
            st.button(
                "",
                icon=":material/close:",
                key="close-token",
                help="Close this card",
                on_click=focus_on,
                args=(None,),
                type="tertiary",
            )
        if view is None:
            st.caption(f"Row {row:,}. Compress the table to see what is kept of it.")
            return
        portrait = _portrait(view.key, table.fingerprint, row, table, view)
        _show_facts(view, portrait)
        _show_neighbours(table, portrait)
        if portrait.residual:
            named = ", ".join(literal(table.tokens[item.row]) for item in portrait.residual[:_FEW])
            st.markdown(
                f"**What is lost** (the residual x − x̂) points most towards: {named}",
                help="Tokens whose rows have the highest cosine with the part of this row that "
                "its subspace has no room for.",
            )


@st.cache_resource(max_entries=256, show_spinner="Looking closely …")
def _portrait(
    key: str, fingerprint: str, row: int, _table: EmbeddingTable, _view: View
) -> RowPortrait:
    return describe_row(_view.factorization, _table.matrix, row)


def _show_facts(view: View, portrait: RowPortrait) -> None:
    theme = st.context.theme.type or "light"
    colour = subspace_colour(portrait.label, theme)
    st.html(
        f'<span style="color:{colour}">■</span> Subspace {portrait.label + 1} of '
        f"{view.factorization.k} · row {portrait.row:,} · length {portrait.length:.3g}"
    )
    with st.container(horizontal=True):
        st.metric(
            "Error", f"{portrait.error:.1%}", help="‖x − x̂‖² / ‖x‖²: the part of it that is lost."
        )
        st.metric(
            "Neighbours kept",
            f"{round(portrait.kept * len(portrait.before))} of {len(portrait.before)}",
            help="Of its nearest tokens by cosine, how many are still nearest among the "
            "approximated rows.",
        )
    energy = np.array(portrait.energy)
    half = int(np.searchsorted(energy, _PART)) + 1
    if len(energy) and energy[-1] >= _PART:
        st.caption(
            f"It is stored as {len(energy)} coordinates, which hold {energy[-1]:.1%} of its "
            f"energy; the {half} largest alone hold half of it."
        )


def _show_neighbours(table: EmbeddingTable, portrait: RowPortrait) -> None:
    if not portrait.before:
        st.caption("A row of zeros has no neighbours.")
        return
    after = {item.row for item in portrait.after}
    before = {item.row for item in portrait.before}
    frame = pd.DataFrame(
        {
            "Before": [table.tokens[item.row] for item in portrait.before],
            "Cosine": [item.cosine for item in portrait.before],
            "After": [table.tokens[item.row] for item in portrait.after],
        }
    )
    colour = f"color: {WORSE[st.context.theme.type or 'light']}"

    def mark(column: pd.Series) -> list[str]:
        """Those that are on one side alone."""
        own, other = (
            (portrait.before, after) if column.name == "Before" else (portrait.after, before)
        )
        return ["" if item.row in other else colour for item in own]

    marked = frame.style.apply(mark, subset=["Before", "After"])
    key = f"neighbours-{portrait.row}"
    st.dataframe(
        marked,
        hide_index=True,
        key=key,
        selection_mode="single-cell",
        on_select=lambda: _follow(key, portrait),
        column_config={
            "Cosine": st.column_config.NumberColumn(format="%.2f", width=52),
        },
        alt="Nearest tokens before and after compression; choose one to look at it closely.",
    )
    st.caption("In colour: lost by the compression, or new. Click a neighbour to go to it.")


def _follow(key: str, portrait: RowPortrait) -> None:
    cells: Any = st.session_state[key]["selection"]["cells"]
    if cells:
        row, column = cells[0]
        side = portrait.after if column == "After" else portrait.before
        focus_on(side[row].row)
