"""How a lesson is laid out: columns, pictures, and colours that text and picture share."""

from __future__ import annotations

from collections.abc import Callable

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.parts.lessons.figure_table import figure_table
from pages.parts.palette import subspace_colour

_PROSE = 760  # pixels: some ninety letters


def theme() -> str:
    """``"light"`` or ``"dark"``."""
    return st.context.theme.type or "light"


def columns(*widths: float) -> list[DeltaGenerator]:
    """Columns of a lesson; they stack where the page is narrow."""
    return st.columns(list(widths), gap="large")


def prose() -> DeltaGenerator:
    """Where a lesson's text goes: lines no longer than one reads with ease."""
    return st.container(width=_PROSE)


def picture(
    place: DeltaGenerator,
    figure: go.Figure,
    *,
    key: str,
    alt: str,
    on_point: Callable[[int], None] | None = None,
) -> None:
    """A figure, and folded away beneath it what it draws as a table.

    It has no bar of tools: there is nothing to zoom or select in a lesson.

    Args:
        place: Where it goes.
        figure: What is drawn.
        key: Names it.
        alt: What it shows, for those who do not see it.
        on_point: Called with the number of a point of its first trace that was pressed.
    """

    def pressed() -> None:
        points = st.session_state[key].selection.points
        if on_point is not None and points and points[0]["curve_number"] == 0:
            on_point(points[0]["point_index"])

    config = {"displayModeBar": False}
    if on_point is None:
        place.plotly_chart(figure, key=key, alt=alt, config=config)
    else:
        place.plotly_chart(
            figure.update_traces(unselected={"marker": {"opacity": 1}}),
            key=key,
            alt=alt,
            config=config,
            on_select=pressed,
            selection_mode="points",
        )
    behind = place.expander(
        "The same as a table", type="compact", key=f"{key}-table", on_change="rerun"
    )
    if behind.open:  # else nothing is sent: there is one under each picture
        frame = figure_table(figure)
        rounded = st.column_config.NumberColumn(format="%.4g")
        numbers = frame.select_dtypes("float").columns
        behind.dataframe(
            frame,
            hide_index=True,
            height=320,
            key=f"{key}-figures",
            column_config=dict.fromkeys(numbers, rounded),
        )


def ink(label: int) -> str:
    r"""LaTeX that colours what follows in braces like a subspace: ``\textcolor{#0072B2}``."""
    return rf"\textcolor{{{subspace_colour(label, theme())}}}"
