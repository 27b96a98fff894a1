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
            "Rows of one subspace may need two directions, those of another ten. A bar below is "
            "the energy of its rows along one direction (*an eigenvalue* $\\lambda$ *of their "
            "scatter matrix*); grey is cut off. One more dimension for subspace $i$ stores one "
            f"number for each of its $n_i$ = {len(labels) // 3} rows and one direction of $d$ = "
            f"{width} numbers, so spend on the right what the left stores in the order of"
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
        f"Both store at most {spent.budget:,} numbers. On **Explore**, with *Dimensions: Best for "
        "each*, EM spends them so at every refit."
    )
