"""Lesson 5: why subspaces should differ in dimension."""

from __future__ import annotations

import streamlit as st

from engine import lessons
from pages.parts.lessons import drawing
from pages.parts.lessons.page import columns, ink, picture, theme


@st.fragment
def show() -> None:
    """The section."""
    points, labels = lessons.uneven_clusters()
    width = points.shape[1]
    text, control = columns(1.6, 1.0)
    with control:
        j = st.slider(
            "Dimension j of each, on the left",
            1,
            width,
            5,
            key="lesson-even",
        )
    spent = lessons.spend_budget(points, labels, j)
    with text:
        st.markdown(
            "Rows of one subspace may need two directions, those of another ten. Each bar below is "
            "one direction of a subspace: how much of the energy of its rows lies along it "
            "(*an eigenvalue* $\\lambda$ *of the sum of* $x x^\\top$ *over its rows*). Grey is "
            "cut off.\n\nOn the left every subspace keeps the same number of directions. On the "
            "right as many numbers are spent one direction at a time, always where that saves "
            "most for what it stores. A further direction of subspace $i$ stores one number for "
            "each of its $n_i$ rows, and itself, $d$ numbers:"
        )
        st.latex(
            rf"\frac{{{ink(0)}{{\lambda}}}}{{n_i + d}}\qquad\text{{what it saves over what it "
            r"stores}"
        )
    sides = columns(1.0, 1.0)
    for place, name, kept, lost in (
        (sides[0], "The same for all (*uniform*)", spent.even, spent.lost_even),
        (sides[1], "Where they save most (*optimal*)", spent.bought, spent.lost_bought),
    ):
        with place:
            st.markdown(f"**{name}**: {lost:.1%} of the energy lost")
            picture(
                place,
                drawing.draw_spectra(spent.spectra.numpy(), kept, theme()),
                key=f"lesson-spectra-{place is sides[0]}",
                alt=f"Energy by direction of three subspaces; {', '.join(map(str, kept))} "
                f"directions kept, {lost:.1%} of the energy lost.",
            )
    st.markdown(
        f"Both store at most {spent.budget:,} numbers. (Here each subspace has $n_i$ = "
        f"{len(labels) // 3} rows of $d$ = {width} numbers, so that $\\lambda$ alone decides; "
        "where one has more rows, its directions cost more.) On **Explore**, with *Dimensions: "
        "Best for each*, EM spends them so at every refit."
    )
