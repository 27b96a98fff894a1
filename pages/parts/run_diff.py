"""Two runs side by side: what was asked for, what came out, what they ran on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from engine import EngineError
from engine.run_differences import Figure, RunDifference, Setting, compare_runs, compare_sweeps
from engine.runs import Run
from pages.parts import run_card, run_words, state
from pages.parts.palette import BETTER
from pages.parts.wording import literal


def show_difference(a: Run, b: Run) -> None:
    """Draw both runs and where they differ.

    Args:
        a: The older.
        b: The newer.
    """
    found = compare_runs(a.record, b.record)
    st.subheader("Where the two differ")
    left, right = st.columns(2, gap="medium")
    for place, letter, run in ((left, "A", a), (right, "B", b)):
        with place.container(border=True, height="stretch"):
            st.markdown(f"**{letter} · {literal(run_words.title(run))}**")
            st.caption(
                f"{literal(run.record.source['name'])} · {literal(run_words.describe(run))} · "
                f"{run.record.created_at.astimezone():%d %B %Y, %H:%M}"
            )
            if run.label.note:
                st.markdown(literal(run.label.note))
    row = st.container(horizontal=True, key="diff-actions")
    plans = a.record.kind == b.record.kind == "compress"
    if plans and found.same_table:
        if row.button("See both maps", icon=":material/compare:", type="primary", key="both-maps"):
            run_card.go_to("pages/compare.py", b, **{"pair-a": a.id, "pair-b": b.id})
    run_card.offer_export(row, [a, b])
    run_card.offer_deletion(row, [a.id, b.id])
    for note in found.notes:
        st.info(note, icon=":material/info:")
    _show_figures((*found.figures, *_sweep_figures(a, b)))
    _show_settings(found)


def _sweep_figures(a: Run, b: Run) -> tuple[Figure, ...]:
    if not a.record.kind == b.record.kind == "sweep":
        return ()
    try:
        return compare_sweeps(state.run_sweep_of(a.id), state.run_sweep_of(b.id))
    except EngineError as error:
        st.warning(literal(str(error)), icon=":material/warning:")
        return ()


def _show_figures(figures: Sequence[Figure]) -> None:
    if not figures:
        return
    st.markdown("**Figures**")
    sides = ["" if item.better is None else item.better.upper() for item in figures]
    frame = pd.DataFrame(
        {
            "Figure": [run_words.FIGURES.get(item.name, item.name) for item in figures],
            "A": [run_words.figure(item.name, item.a) for item in figures],
            "B": [run_words.figure(item.name, item.b) for item in figures],
            "B − A": [
                run_words.figure(item.name, item.difference, signed=True) for item in figures
            ],
            "Better": ["" if item.better is None else item.better.upper() for item in figures],
        }
    )
    theme = st.context.theme.type or "light"

    def emphasise(column: pd.Series) -> list[str]:
        style = f"font-weight: bold; color: {BETTER[theme]}"
        return [style if column.name in (side, "Better") and side else "" for side in sides]

    st.dataframe(
        frame.style.apply(emphasise, subset=["A", "B", "Better"]),
        hide_index=True,
        height="content" if len(frame) <= 14 else 528,
        column_config={
            **{
                name: st.column_config.TextColumn(alignment="right") for name in ("A", "B", "B − A")
            },
            "Better": st.column_config.TextColumn(
                help="Fewer numbers and bytes, less error, more neighbours kept beyond the chance "
                "of the sample; of sweeps, where the worst seed of one is ahead of the best of the "
                "other. Empty where that cannot be said."
            ),
        },
        alt="Figures of both runs, their difference, and which is better",
    )


def _show_settings(found: RunDifference) -> None:
    st.markdown("**Settings, table and versions**")
    whole = st.toggle("Show what is the same as well", key="diff-all", bind="query-params")
    parts = (
        ("Settings", found.config),
        ("Table", found.source),
        ("Versions", found.versions),
    )
    rows = [
        (kind, run_words.SETTINGS.get(item.name, item.name), _word(item, "a"), _word(item, "b"))
        for kind, items in parts
        for item in items
        if whole or item.differs
    ]
    if not rows:
        st.caption("The two were given the same settings, on the same table, by the same versions.")
        return
    frame = pd.DataFrame(rows, columns=["Part", "Name", "A", "B"])
    st.dataframe(
        frame,
        hide_index=True,
        height="content" if len(frame) <= 14 else 528,
        alt="Settings, table and versions of both runs",
    )


def _word(item: Setting, side: str) -> str:
    return run_words.setting(item.a if side == "a" else item.b)
