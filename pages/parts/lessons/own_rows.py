"""Lesson 6: the same steps on rows of the loaded table."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from engine import EmbeddingTable, EngineError, lessons
from engine.lessons import SampleTrace, Start
from pages.parts import charts
from pages.parts.lessons import drawing
from pages.parts.lessons.page import columns, picture, prose, theme
from pages.parts.palette import CONTEXT
from pages.parts.wording import literal

_STEP = "lesson-own-step"
_STARTS: dict[str, Start] = {"By direction": "directions", "At random": "random"}


@st.cache_resource(max_entries=12, show_spinner="Taking the steps…")
def _trace(
    fingerprint: str, k: int, rate: float, start: Start, _table: EmbeddingTable
) -> SampleTrace:
    return lessons.trace_sample(_table.matrix, k=k, rate=rate, start=start)


@st.fragment
def show(table: EmbeddingTable) -> None:
    """The section.

    Args:
        table: Whose rows are taken.
    """
    first, second, third = columns(1.0, 1.0, 1.0)
    with first:
        k = st.slider("Subspaces k", 2, 8, 5, key="lesson-own-k")
    with second:
        rate = st.slider(
            "Numbers removed (*compression rate*)",
            20,
            90,
            80,
            10,
            format="%d%%",
            key="lesson-own-rate",
        )
    with third:
        start = st.segmented_control(
            "Where EM starts",
            list(_STARTS),
            default="By direction",
            required=True,
            key="lesson-own-start",
            help="At random is the paper's start; by direction is k-means on the directions of the "
            "rows less their mean.",
        )
    try:
        trace = _trace(table.fingerprint, k, rate / 100, _STARTS[str(start)], table)
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    last = len(trace.costs) - 1
    st.session_state[_STEP] = min(st.session_state.get(_STEP, last), last)
    with prose():
        st.markdown(_verdict(table, trace, k))
    left, right = columns(1.15, 1.0)
    with right:
        at = st.slider("Half-step", 0, last, key=_STEP)
    points = charts.MapPoints(
        layout=trace.layout.numpy(),
        rows=trace.rows.numpy(),
        tokens=[table.tokens[int(row)] for row in trace.rows],
        theme=theme(),
        uirevision="lesson",
    )
    figure = charts.subspace_map(
        points, trace.labels[at].numpy(), [f"subspace {label + 1}" for label in range(k)]
    )
    picture(
        left,
        figure.update_layout(height=470, dragmode="pan"),
        key="lesson-own-map",
        alt=f"{len(trace.rows):,} rows by their first two principal components, coloured by "
        f"subspace after half-step {at}.",
    )
    picture(
        right,
        _add_svd(drawing.draw_costs(trace.costs, trace.phases, at, theme()), trace),
        key="lesson-own-costs",
        alt=f"Energy lost after each half-step; the SVD of that size loses {trace.svd_cost:.1%}.",
    )


def _add_svd(figure: go.Figure, trace: SampleTrace) -> go.Figure:
    known = [cost for cost in trace.costs if cost is not None] + [trace.svd_cost]
    margin = 0.2 * float(np.ptp(known)) + 1e-3
    return (
        figure.add_scatter(
            x=[0, len(trace.costs) - 1],
            y=[trace.svd_cost] * 2,
            mode="lines+text",
            name="SVD of that size",
            text=["", "SVD of that size"],
            textposition="top left",
            line={"dash": "dash", "color": CONTEXT[theme()]},
            hovertemplate="SVD of that size<br>%{y:.1%} of the energy lost<extra></extra>",
        )
        .update_layout(height=380)
        .update_yaxes(range=[min(known) - margin, max(known) + margin], tickformat=".1%")
    )


def _verdict(table: EmbeddingTable, trace: SampleTrace, k: int) -> str:
    final = trace.costs[-1]
    assert final is not None
    n = len(trace.rows)
    who = "less than" if final < trace.svd_cost else "**more** than"
    of = "all" if n == len(table.tokens) else f"{n:,} rows drawn from the {len(table.tokens):,}"
    return (
        f"The same steps on {of} of **{literal(table.name)}**, each of d = "
        f"{table.matrix.shape[1]:,} numbers, with k = {k} and j = {trace.j}: EM ends at "
        f"**{final:.1%}** lost, {who} the {trace.svd_cost:.1%} of the smallest SVD that stores no "
        f"less (rank {trace.rank}). Real rows are less tidy than those above: so few numbers lose "
        "much of them, and subspaces gain less. The map shows the two directions in which the rows "
        "differ most, so that subspaces overlap in it that are apart in truth; the axis of what is "
        "lost does not begin at 0. Choose a table of your own under **Source** in the sidebar."
    )
