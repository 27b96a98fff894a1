"""What lies under a plan's map: what rare and frequent tokens lose, and the starts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from engine.frequencies.language_names import name_counted
from engine.wording import BAND_TITLES
from pages.parts.state import View
from pages.parts.wording import literal


def show_use(figures: dict[str, Any]) -> None:
    """What rare and frequent tokens lose; nothing where tokens were not weighted."""
    use, bands = figures["weights"], figures["bands"]
    if use is None or not bands:
        return
    st.subheader("Error by how often a token is used")
    columns = {
        "This plan": bands,
        "Weighted SVD": figures["weighted_svd"]["bands"],
        "SVD": figures["svd"]["bands"],
    }
    frame = pd.DataFrame(
        {
            "Used": [BAND_TITLES[band["name"]] for band in bands],
            "Tokens": [band["rows"] for band in bands],
            "Share of text": [band["share_of_text"] for band in bands],
            **{name: [band["error"] for band in found] for name, found in columns.items()},
        }
    )
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        frame,
        hide_index=True,
        width="content",
        column_config={
            "Used": st.column_config.TextColumn(
                help=f"Expected occurrences in {name_counted(use['source'])}"
            ),
            "Tokens": st.column_config.NumberColumn(format="localized"),
            "Share of text": st.column_config.NumberColumn(
                format="percent", help="Of all tokens in the text, how many are of these"
            ),
            **dict.fromkeys(columns, percent),
        },
    )
    st.caption(
        "The mean of these tokens' errors, each against its own row's length. A token weighs "
        f"(occurrences in a million + {use['floor']:g}) to the power of {use['power']:g}."
    )


def show_fit(view: View) -> None:
    """How the plan was found: every start, and the settings; folded away."""
    with st.expander("How this was fitted"):
        starts = view.figures["starts"]
        if view.figures["k"] > 1 and starts:
            _show_starts(starts)
        config = {**view.factorization.record.config}
        shown = ", ".join(
            f"{name} = {value}" for name, value in config.items() if value is not None
        )
        st.caption(literal(shown))


def _show_starts(starts: list[dict[str, Any]]) -> None:
    # The kept one first; costs on a sample are not to be compared with those on all rows.
    starts = sorted(starts, key=lambda start: (bool(start.get("sampled")), start["cost"]))
    sampled = [bool(start.get("sampled")) for start in starts]
    frame = pd.DataFrame(
        {
            "Begun from": [start["seeding"] for start in starts],
            "Cost": [start["cost"] for start in starts],
            "Seen on": ["a sample" if some else "all rows" for some in sampled],
            "Steps": [len(start["cost_history"]) for start in starts],
            "Settled": ["yes" if start["converged"] else "no" for start in starts],
            "Seconds": [start["wall_seconds"] for start in starts],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        width="content",
        column_config={
            "Cost": st.column_config.NumberColumn(
                format="%.5f", help="What the fit makes small, as a share of the rows' own"
            ),
            "Seen on": st.column_config.TextColumn(
                help="Starts race on a sample of the rows; the best go on to all of them. A sample "
                "is easier to fit: its costs are lower."
            ),
            "Steps": st.column_config.NumberColumn(help="On those rows"),
            "Seconds": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    costs = [start["cost"] for start, some in zip(starts, sampled, strict=True) if not some]
    if len(costs) > 1 and costs[0] > 0:
        st.caption(
            f"The first was kept. Of {len(costs)} starts that saw all rows, the worst costs "
            f"{costs[-1] / costs[0] - 1:.1%} more."
        )
