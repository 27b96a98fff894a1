"""Compare against compression rate: the chart, where the SVD wins, and the best k at each rate."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine.curves import Curves, RateChoice
from pages.parts import charts


def draw(
    curves: Curves,
    choices: tuple[RateChoice, ...],
    *,
    against_svd: bool,
    chosen: charts.ChosenPlan | None,
) -> None:
    """The chart, and beside it the best k at each rate."""
    left, right = st.columns([1.7, 1], gap="medium")
    left.plotly_chart(
        charts.error_curves(
            curves,
            theme=st.context.theme.type or "light",
            against_svd=against_svd,
            chosen=chosen,
        ),
        key="curves",
        config={"displaylogo": False},
        alt="Error against compression rate. The same figures are in the table beside it.",
    )
    with right:
        st.markdown("**The best k at each rate**")
        _best_table(choices, "Weighted SVD" if curves.weighted else "SVD")


def where_svd_wins(choices: tuple[RateChoice, ...], *, weighted: bool) -> str:
    """Where no k pays, in a sentence."""
    if not choices:
        return "Only the SVD was swept."
    svd = "weighted SVD" if weighted else "SVD"
    measured = "By weighted error, every" if weighted else "Every"
    lost = [choice for choice in choices if choice.losing]
    if not lost:
        return f"{measured} k is closer to the table than the {svd} at every rate of this sweep."
    cases = ", ".join(
        f"{choice.svd.rate:.0%} (k = {', '.join(map(str, choice.losing))})" for choice in lost
    )
    return (
        f"**The {svd} wins** at {cases}: there the k bases cost more than they save. "
        "In every other case k subspaces are closer."
    )


def _best_table(choices: tuple[RateChoice, ...], svd: str) -> None:
    frame = pd.DataFrame(
        {
            "Rate": [choice.svd.rate for choice in choices],
            svd: [choice.svd.error for choice in choices],
            "k": [choice.best.k for choice in choices],
            "Error": [choice.best.error for choice in choices],
            "Against SVD": [100 * (choice.best.svd_ratio - 1) for choice in choices],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "Rate": st.column_config.NumberColumn(format="percent"),
            svd: st.column_config.NumberColumn(format="percent", help=f"Error of the {svd}"),
            "k": st.column_config.NumberColumn(help="The k ≥ 2 with the least mean error"),
            "Error": st.column_config.NumberColumn(format="percent", help="Error of that k"),
            "Against SVD": st.column_config.NumberColumn(
                format="%+.1f %%", help="−: k subspaces lose less than the SVD; +: the SVD wins"
            ),
        },
    )
