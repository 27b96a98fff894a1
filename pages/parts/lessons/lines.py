"""Lesson 2: three lines in space, one plane against one line for each, and what both store."""

from __future__ import annotations

import streamlit as st

from engine import lessons
from engine.budget import PlanSizes
from engine.clustering.em import EMPlan
from pages.parts.lessons import drawing
from pages.parts.lessons.page import columns, ink, picture, theme


@st.fragment
def show() -> None:
    """The section."""
    points = lessons.lines_in_space()
    st.markdown(
        f"These {len(points)} rows have three numbers each and lie along **three lines**. One "
        "subspace for all, the SVD's best plane, has to pass between them. Three subspaces, each "
        "row keeping to its closest, follow the rows, **and store fewer numbers**.\n\n"
        "The words used from here on: there are **n rows** of **d numbers**, and **k subspaces** "
        "of **dimension j**. Each row belongs to exactly one of them and keeps **j coordinates**: "
        "where in the subspace it falls. A subspace is held by its **basis**, j directions of d "
        "numbers each, which its own rows share. The rows are those of tokens, so below they are "
        "called tokens too."
    )
    sides = columns(1.0, 1.0)
    for place, (k, j) in zip(sides, ((1, 2), (3, 1)), strict=True):
        found = lessons.trace_random_start(points, EMPlan.even(k, j), 0)[-1]
        assert found.subspaces is not None
        assert found.cost is not None
        n, d = points.shape
        counts = PlanSizes(d=d, sizes=tuple(found.labels.bincount().tolist()), dimensions=(j,) * k)
        name = "One plane (*the SVD, k = 1, j = 2*)" if k == 1 else "Three lines (*k = 3, j = 1*)"
        with place:
            st.markdown(f"**{name}**")
            picture(
                place,
                drawing.draw_space(
                    points.numpy(),
                    found.labels.numpy(),
                    [basis.numpy() for basis in found.subspaces.bases],
                    theme(),
                ),
                key=f"lesson-space-{k}",
                alt=f"{n} rows in space along three lines, and {k} subspaces of dimension {j}; "
                f"{found.cost:.1%} of the energy is lost.",
            )
            bases = rf"{ink(0)}{{{k} \cdot {j} \cdot {d}}}"
            st.latex(
                rf"\underbrace{{{n} \cdot {j}}}_{{n \cdot j,\ \text{{coordinates}}}} + "
                rf"\underbrace{{{bases}}}_{{k \cdot j \cdot d,\ \text{{bases}}}} "
                rf"= {counts.parameters}"
            )
            st.markdown(
                f"**{counts.parameters} numbers** of {n} · {d} = {counts.parameters_before}, "
                f"**{found.cost:.1%}** of the energy lost."
            )
    st.markdown(
        ":material/lightbulb: **Why can one plane fail?** It has to serve all rows at once. Before "
        "one subspace holds rows along three lines it must be all of space, three coordinates a "
        "row; in lines of their own, one coordinate a row will do."
    )
