"""Compare against stored bytes: the chart, what wins where, and the best within a size."""

from __future__ import annotations

import re

import pandas as pd
import streamlit as st

from engine.frontier import FAMILY_NAMES, SizeCurves
from pages.parts.charts import ChosenPlan
from pages.parts.size_chart import size_chart
from pages.parts.wording import short_bytes

_BEST = "Best of all"
_CODINGS = {_BEST: None, "4 bits": 4, "8 bits": 8, "32 bits": 32}


def choose_coding(curves: SizeCurves) -> int | None:
    """Which fits to draw: in so many bits, or each method's best coding at every size."""
    measured = {point.bits for point in curves.points if point.family != "rounding"}
    if len(measured) < 2:
        return None
    options = [name for name, bits in _CODINGS.items() if bits is None or bits in measured]
    name = st.segmented_control(
        "Numbers stored at",
        options,
        default=_BEST,
        required=True,
        key="coding",
        bind="query-params",
        help="A fit stores its coordinates at 32, 8 or 4 bits. Best of all draws each method at "
        "the bits that lose least at every size; the markers say which.",
    )
    return _CODINGS[name]


def say_who_wins(curves: SizeCurves) -> str:
    """The verdict, the names that begin its clauses in bold."""
    names = "|".join(FAMILY_NAMES.values())
    return re.sub(rf"(^|; |: )({names})", r"\1**\2**", curves.verdict())


def draw(curves: SizeCurves, *, bits: int | None, chosen: ChosenPlan | None) -> None:
    """The chart, and below it the best within a few sizes."""
    theme = st.context.theme.type or "light"
    st.plotly_chart(
        size_chart(curves, theme=theme, bits=bits, chosen=chosen),
        key="sizes",
        config={"displaylogo": False},
        alt=f"{curves.measure} against stored bytes. The best within each size is in the table "
        "below it, every point in the CSV.",
    )
    st.markdown("**The best within a size**")
    _best_table(curves)


def _best_table(curves: SizeCurves) -> None:
    choices = curves.choices()
    columns: dict[str, list[object]] = {
        "Up to": [f"{choice.share:.0%}" for choice in choices],
        "Bytes": [short_bytes(choice.budget) for choice in choices],
        "Best": [choice.best.name for choice in choices],
    }
    digits = "%.2f" if curves.higher_is_better else "%.4f"
    named: list[str] = []
    for family, name in FAMILY_NAMES.items():
        found = [choice.by_family.get(family) for choice in choices]
        columns[name] = [None if point is None else point.value for point in found]
        named.append(name)
        if family != "rounding":
            columns[f"{name} by"] = ["" if point is None else point.name for point in found]
    st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format=digits) for name in named},
        placeholder="–",
    )
