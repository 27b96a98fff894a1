"""The subspaces of a plan: a table that selects them on the map, and the card of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable
from engine.portraits import SubspacePortrait, describe_subspace
from pages.parts import state
from pages.parts.atlas.card_charts import angles_chart, spectrum_chart
from pages.parts.atlas.selection import SUBSPACES
from pages.parts.palette import subspace_colour
from pages.parts.state import View
from pages.parts.wording import literal

_SWATCH = ""  # the name of the column that has the colours of the map
_HELD = (0.5, 0.8, 0.9, 0.95, 0.99)


def show_subspaces(table: EmbeddingTable, view: View, selected: NDArray[np.int64] | None) -> None:
    """One line a subspace, in the colours of the map; the one that is chosen has a card.

    Args:
        table: Whose subspaces.
        view: The plan.
        selected: Rows that are selected, by the controls or on the map, of which each line then
            says how many are its own; None where nothing is asked.
    """
    st.subheader("Subspaces")
    theme = st.context.theme.type or "light"
    chosen = [label - 1 for label in st.session_state.get(SUBSPACES) or []]
    frame = _frame(table, view)
    if selected is not None:
        counts = np.bincount(view.factorization.labels.numpy()[selected], minlength=len(frame))
        frame.insert(3, "Selected", counts)

    def _colour(_: object) -> list[str]:
        return [f"color: {subspace_colour(item.label, theme)}" for item in view.summaries]

    key = f"subspaces-{view.key}-{chosen}"  # another one shows what other controls chose
    st.dataframe(
        frame.style.apply(_colour, subset=[_SWATCH]),
        hide_index=True,
        key=key,
        selection_mode="multi-row",
        selection_default={"selection": {"rows": chosen, "columns": [], "cells": []}},
        on_select=lambda: _choose(key),
        alt="The subspaces; select one to see its tokens on the map and its card below.",
        column_config={
            _SWATCH: st.column_config.TextColumn(width=30),
            "Subspace": st.column_config.NumberColumn(width=80),
            "Tokens": st.column_config.NumberColumn(format="localized", width=80),
            "Selected": st.column_config.NumberColumn(
                format="localized", width=80, help="Of the tokens that are selected"
            ),
            "Dimension": st.column_config.NumberColumn(width=90),
            "Energy kept": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, width=110
            ),
            "Share of the error": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, width=118
            ),
            "Typical tokens": st.column_config.TextColumn(
                help="Closest to the mean direction of the subspace's rows"
            ),
        },
    )
    if not chosen:
        st.caption("Select a subspace to see it alone on the map, and its card here.")
        return
    _show_card(table, view, chosen[0])


def _frame(table: EmbeddingTable, view: View) -> pd.DataFrame:
    names = state.subspace_names(view, table)
    return pd.DataFrame(
        {
            _SWATCH: ["■"] * len(view.summaries),
            "Subspace": [item.label + 1 for item in view.summaries],
            "Name": [name.partition(" · ")[2] for name in names],
            "Tokens": [item.rows for item in view.summaries],
            "Dimension": [item.dimension for item in view.summaries],
            "Energy kept": [item.energy_kept for item in view.summaries],
            "Share of the error": [item.error_share for item in view.summaries],
            "Typical tokens": [
                "  ".join(table.tokens[i] for i in item.typical_rows) for item in view.summaries
            ],
        }
    )


def _choose(key: str) -> None:
    rows: Any = st.session_state[key]["selection"]["rows"]
    st.session_state[SUBSPACES] = sorted(row + 1 for row in rows)


@st.cache_resource(max_entries=64, show_spinner="Looking closely …")
def _portrait(
    key: str, fingerprint: str, label: int, _table: EmbeddingTable, _view: View
) -> SubspacePortrait:
    return describe_subspace(_view.factorization, _table.matrix, label)


def _show_card(table: EmbeddingTable, view: View, label: int) -> None:
    portrait = _portrait(view.key, table.fingerprint, label, table, view)
    theme = st.context.theme.type or "light"
    with st.container(border=True, key="subspace-card"):
        st.markdown(f"#### Subspace {literal(state.subspace_names(view, table)[label])}")
        if not portrait.rows:
            st.caption("No token lives in it.")
            return
        held = sum(portrait.spectrum[: portrait.dimension])
        st.markdown(
            f"{portrait.rows:,} tokens in {portrait.dimension} of {len(portrait.spectrum)} "
            f"dimensions, which keep {portrait.energy_kept:.1%} of their energy; the best "
            f"{portrait.dimension} for them would keep {held:.1%}."
        )
        left, right = st.columns(2)
        left.markdown("**How flat its tokens lie** (their spectrum, added up)")
        left.plotly_chart(
            spectrum_chart(portrait, theme),
            key=f"spectrum-{label}",
            config={"displayModeBar": False},
            alt="Share of the tokens' energy held by their strongest directions. The table below "
            "has its figures.",
        )
        right.markdown("**How it lies to the others** (principal angles)")
        if portrait.angles:
            right.plotly_chart(
                angles_chart(portrait, theme),
                key=f"angles-{label}",
                config={"displayModeBar": False},
                alt="Principal angles to every other subspace. The table below has their figures.",
            )
        else:
            right.caption("There is no other subspace.")
        _show_axes(table, portrait)
        _show_figures(portrait)


def _show_axes(table: EmbeddingTable, portrait: SubspacePortrait) -> None:
    st.markdown("**What its strongest directions tell apart**")
    frame = pd.DataFrame(
        {
            "Direction": [f"{number}" for number in range(1, len(portrait.axes) + 1)],
            "Energy": [axis.share for axis in portrait.axes],
            "At one end": ["  ".join(table.tokens[i] for i in axis.low) for axis in portrait.axes],
            "At the other": [
                "  ".join(table.tokens[i] for i in axis.high) for axis in portrait.axes
            ],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        key=f"axes-{portrait.label}",
        column_config={
            "Direction": st.column_config.TextColumn(width=80),
            "Energy": st.column_config.NumberColumn(format="percent", width=80),
            "At one end": st.column_config.TextColumn(width="large"),
            "At the other": st.column_config.TextColumn(width="large"),
        },
    )


def _show_figures(portrait: SubspacePortrait) -> None:
    with st.expander("The figures behind both charts"):
        left, right = st.columns(2)
        held, total = [0.0], 0.0
        for share in portrait.spectrum:
            total += share
            held.append(total)
        needed = [
            next((count for count, value in enumerate(held) if value >= part), len(held) - 1)
            for part in _HELD
        ]
        left.dataframe(
            pd.DataFrame({"Energy held": _HELD, "Directions": needed}),
            hide_index=True,
            column_config={"Energy held": st.column_config.NumberColumn(format="percent")},
        )
        angles = [item for item in portrait.angles if item.degrees]
        right.dataframe(
            pd.DataFrame(
                {
                    "To subspace": [item.label + 1 for item in angles],
                    "Least angle": [item.degrees[0] for item in angles],
                    "Mean": [sum(item.degrees) / len(item.degrees) for item in angles],
                    "Greatest": [item.degrees[-1] for item in angles],
                }
            ).style.format("{:.1f}°", subset=["Least angle", "Mean", "Greatest"]),
            hide_index=True,
        )
