"""What lies under two plans' maps: the tokens, the partners, and who went where."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from engine import EmbeddingTable
from pages.parts.plan_pair import Pair
from pages.parts.wording import FORMULAS, literal

_SHOWN = 5000  # rows a table sends to the browser; the download holds all
_TABLE_ROWS = 11
_MOVED, _ALL = "Those that moved", "All tokens"
_COLUMNS = [
    "Subspace",
    "Tokens in A",
    "Tokens in B",
    "In both",
    "Error in A",
    "Error in B",
    "j in A",
    "j in B",
    "Mean angle",
    "Greatest angle",
]
_DEEPEST = 0.4  # of the shade behind a number, which must stay readable


@st.fragment
def show_rows(pair: Pair, table: EmbeddingTable) -> None:
    """Every token in both plans, the greatest change of its error first."""
    st.subheader("Tokens")
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    which = _ALL
    if pair.regrouped:
        which = bar.segmented_control(
            "Show",
            [_MOVED, _ALL],
            default=_MOVED,
            required=True,
            key="pair-rows",
            bind="query-params",
        )
    query = bar.text_input(
        "Find a token", key="pair-find", placeholder="part of a token", icon=":material/search:"
    )
    frame = token_frame(pair, table)
    if which == _MOVED:
        frame = frame.loc[pair.difference.moved.numpy()[frame.index]]
    if query:
        frame = frame.loc[frame["Token"].str.contains(re.escape(query), case=False)]
    words = f" with “{literal(query)}”" if query else ""
    verb = "moved" if which == _MOVED else "in both plans"
    st.markdown(f"**{len(frame):,} {'token' if len(frame) == 1 else 'tokens'}**{words} {verb}")
    percent = st.column_config.NumberColumn(format="percent", help="Of this row's energy")
    st.dataframe(
        frame[:_SHOWN],
        hide_index=True,
        height=430 if len(frame) > _TABLE_ROWS else "auto",
        column_config={
            "Error in A": percent,
            "Error in B": percent,
            "B − A": st.column_config.NumberColumn(
                format="percent", help="Below 0 where B is closer to this token"
            ),
        },
    )
    if len(frame) > _SHOWN:
        st.caption(f"The first {_SHOWN:,} are shown; the file holds all.")
    st.download_button(
        "Download CSV",
        partial(_make_csv, frame),
        "two-plans.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        help=FORMULAS,
    )


def _make_csv(frame: pd.DataFrame) -> bytes:
    """Called in a thread of its own when the button is pressed."""
    return frame.to_csv(index=False).encode()


def token_frame(pair: Pair, table: EmbeddingTable) -> pd.DataFrame:
    """Every token, the greatest change of its error first; its index is the row number."""
    names = np.array(pair.numbers)
    places = {
        "In A": names[pair.first.factorization.labels.numpy()],
        "In B": names[pair.difference.labels.numpy()],
    }
    frame = pd.DataFrame(
        {
            "Token": list(table.tokens),
            **(places if pair.regrouped else {}),  # one subspace for all is no place
            "Error in A": pair.first.row_errors,
            "Error in B": pair.second.row_errors,
            "B − A": -pair.difference.gain.numpy(),
        }
    )
    return frame.sort_values("B − A", key=np.abs, ascending=False, kind="stable")


def show_subspaces(pair: Pair) -> None:
    """What becomes of each subspace: its tokens, their errors, how far its partner is turned."""
    st.subheader("Subspaces")
    st.dataframe(
        subspace_frame(pair),
        hide_index=True,
        placeholder="–",
        column_config={
            **dict.fromkeys(
                ("Tokens in A", "Tokens in B", "In both"),
                st.column_config.NumberColumn(format="localized"),
            ),
            **dict.fromkeys(
                ("Error in A", "Error in B"),
                st.column_config.NumberColumn(
                    format="percent", help="Mean over the tokens that live in it in A"
                ),
            ),
            **dict.fromkeys(
                ("Mean angle", "Greatest angle"),
                st.column_config.NumberColumn(
                    format="%.1f°",
                    help="Principal angles between the partners: 0° is the same direction, 90° a "
                    "right angle",
                ),
            ),
        },
    )


def subspace_frame(pair: Pair) -> pd.DataFrame:
    """One line a number: A's subspaces, then those that only B has."""
    found, first, second = pair.difference, pair.first.factorization, pair.second.factorization
    partners = {item.first: item for item in found.pairs}
    lines: list[dict[str, object]] = []
    for number, name in enumerate(pair.numbers):
        in_b = found.numbers.index(number) if number in found.numbers else None
        line: dict[str, object] = {"Subspace": name}
        if number < first.k:
            mean_a, mean_b = found.mean_errors[number].tolist()
            line |= {"Tokens in A": first.sizes[number], "Error in A": mean_a, "Error in B": mean_b}
            line["j in A"] = first.dimensions[number]
        if in_b is not None:
            line |= {"Tokens in B": second.sizes[in_b], "j in B": second.dimensions[in_b]}
        if (item := partners.get(number)) is not None:
            line |= {"In both": item.shared, "Mean angle": item.mean_angle}
            line["Greatest angle"] = item.greatest_angle
        lines.append(line)
    return pd.DataFrame(lines, columns=_COLUMNS)


def show_flow(pair: Pair) -> None:
    """Tokens from each of A's subspaces to each of B's, shaded by their share of A's."""
    st.subheader("From A to B")
    st.caption(
        "A row is a subspace of A, a column one of B under its partner's number. Shade: share of "
        "A's tokens; all on the diagonal would mean that nothing moved."
    )
    found, names = pair.difference, pair.numbers
    order = np.argsort(found.numbers)
    counts = found.counts.numpy()[:, order]
    frame = pd.DataFrame(
        counts,
        index=[f"A {names[a]}" for a in range(len(counts))],
        columns=[f"B {names[found.numbers[b]]}" for b in order],
    )
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))

    def shade(_: object) -> pd.DataFrame:
        styles = [
            [f"background-color: rgba(0, 114, 178, {_DEEPEST * share:.2f})" for share in line]
            for line in shares
        ]
        return pd.DataFrame(styles, index=frame.index, columns=frame.columns)

    st.dataframe(frame.style.apply(shade, axis=None).format("{:,}"))
