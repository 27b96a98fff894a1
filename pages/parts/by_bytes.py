"""Compare against stored bytes: the chart, what wins where, and the best within a size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EmbeddingTable
from engine.frontier import FAMILY_NAMES, BytePoint, SizeCurves
from pages.parts import telling
from pages.parts.charts import ChosenPlan
from pages.parts.size_chart import size_chart
from pages.parts.state import Source
from pages.parts.wording import literal, short_bytes

_BEST = "Best of all"
_CODINGS = {_BEST: None, "4 bits": 4, "8 bits": 8, "32 bits": 32}
_PICKED = "picked-point"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is drawn of some curves.

    Attributes:
        bits: Fits in so many bits alone; None for each method's best coding at every size.
        chosen: The explored plan, to be marked.
    """

    bits: int | None
    chosen: ChosenPlan | None = None


def choose_coding(curves: SizeCurves) -> int | None:
    """Which fits to draw: in so many bits, or each method's best coding at every size."""
    measured = {point.bits for point in curves.points if point.family in ("messi", "svd")}
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
        "the bits that lose least at every size; the markers say which. Coded subspaces give each "
        "coordinate bits of its own, and are always drawn.",
    )
    return _CODINGS[name]


def say_who_wins(curves: SizeCurves) -> str:
    """The verdict, the names that begin its clauses in bold."""
    names = "|".join(FAMILY_NAMES.values())
    return re.sub(rf"(^|; |: )({names})", r"\1**\2**", curves.verdict())


@st.fragment
def show(source: Source, table: EmbeddingTable, curves: SizeCurves) -> None:
    """All there is of some curves, where nothing else is chosen between."""
    introduce(st.container(), table, curves)
    draw(source, table, curves, Drawn(bits=choose_coding(curves)))


def introduce(place: DeltaGenerator, table: EmbeddingTable, curves: SizeCurves) -> None:
    """What the curves are of, and what to take from them."""
    verb, better = ("scores", "higher") if curves.higher_is_better else ("loses", "lower")
    place.markdown(
        f"What **{literal(table.name)}** {verb} when its table of "
        f"{short_bytes(curves.dense_bytes)} is stored smaller; {better} is better."
    )
    place.markdown(f":material/balance: {say_who_wins(curves)}")


def draw(source: Source, table: EmbeddingTable, curves: SizeCurves, drawn: Drawn) -> None:
    """What to make, the chart with that on it, what was clicked, and the best within a few sizes.

    Args:
        source: Where the table comes from.
        table: What is stored smaller.
        curves: What was measured of it.
        drawn: What of that is drawn.
    """
    chart = f"sizes-{drawn.bits}"
    curves_id = (table.fingerprint, curves.measure, hash(curves.points))
    picked = _picked(curves, curves_id)
    told = telling.tell(source, curves)
    theme = st.context.theme.type or "light"
    st.plotly_chart(
        size_chart(
            curves,
            theme=theme,
            bits=drawn.bits,
            chosen=drawn.chosen,
            told=picked or told,
            clicked=picked is not None,
        ),
        key=chart,
        on_select=partial(_pick, chart, curves_id),
        selection_mode="points",
        config={"displaylogo": False},
        alt=f"{curves.measure} against stored bytes. The best within each size is in the table "
        "below it, every point in the CSV.",
    )
    # Below the chart: above it, an answer of another height would move the chart off the click.
    if picked is None:
        st.caption(":material/touch_app: Click a point to see its plan and to make it.")
    elif telling.tell_picked(source, curves, picked):
        del st.session_state[_PICKED]
        st.rerun(scope="fragment")
    st.markdown("**The best within a size**")
    _best_table(curves)


def _pick(chart: str, curves_id: tuple[Any, ...]) -> None:
    """Keep which point was clicked: the chart, drawn anew with a ring there, knows it no more."""
    clicked = st.session_state[chart]["selection"]["points"]
    if clicked and clicked[0].get("customdata"):
        st.session_state[_PICKED] = (curves_id, int(clicked[0]["customdata"][-1]))


def _picked(curves: SizeCurves, curves_id: tuple[Any, ...]) -> BytePoint | None:
    """The point that was clicked last, where it was one of these curves."""
    known, index = st.session_state.get(_PICKED, (None, 0))
    return curves.points[index] if known == curves_id else None


def _best_table(curves: SizeCurves) -> None:
    choices = curves.choices()
    columns: dict[str, list[object]] = {
        "Up to": [f"{choice.share:.0%}" for choice in choices],
        "Bytes": [short_bytes(choice.budget) for choice in choices],
        "Best": [choice.best.name for choice in choices],
    }
    digits = "%.2f" if curves.higher_is_better else "percent"
    named: list[str] = []
    for family, name in curves.families.items():
        found = [choice.by_family.get(family) for choice in choices]
        columns[name] = [None if point is None else point.value for point in found]
        named.append(name)
        if family not in ("rounding", "product"):
            columns[f"{name} by"] = ["" if point is None else point.name for point in found]
    st.dataframe(
        pd.DataFrame(columns),
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format=digits) for name in named},
        placeholder="–",
    )
