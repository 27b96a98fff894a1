"""Lesson 5: why subspaces should differ in dimension, and numbers in bits."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from engine import lessons, spending
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
    spent = spending.spend_budget(points, labels, j)
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
        figure = drawing.draw_spectra(spent.spectra.numpy(), kept, theme())
        said = f"Energy by direction of three subspaces; {', '.join(map(str, kept))} kept"
        _show_side(place, name, lost, figure, key=f"lesson-spectra-{place is sides[0]}", said=said)
    st.markdown(
        f"Both store at most {spent.budget:,} numbers. (Here each subspace has $n_i$ = "
        f"{len(labels) // 3} rows of $d$ = {width} numbers, so that $\\lambda$ alone decides; "
        "where one has more rows, its directions cost more.) On **Explore**, with *Dimensions: "
        "Best for each*, EM spends them so at every refit."
    )
    _show_bits(points, labels, j)


def _show_bits(points: Tensor, labels: Tensor, j: int) -> None:
    """The same once more, one bit at a time."""
    st.markdown("#### And in bits")
    text, control = columns(1.6, 1.0)
    with control:
        bits = st.slider("Bits of each number, on the left", 1, 8, 3, key="lesson-bits")
    spent = spending.spend_bits(points, labels, j, bits)
    with text:
        st.markdown(
            "A direction need not be kept whole or cut off: its numbers can be stored roughly, in "
            "a few bits. Each bit more brings the squared error of a number down to about a "
            "quarter, which is worth much where numbers are large and little where they are small. "
            "So each direction of variance $\\sigma^2$ gets as many bits as bring all errors down "
            "to one level $\\theta$, and those that lie below it get none (*reverse "
            "water-filling*):"
        )
        st.latex(
            rf"\text{{bits}} = \tfrac{{1}}{{2}}\log_2\frac{{{ink(0)}{{\sigma^2}}}}{{\theta}}"
            r"\qquad\text{where } \sigma^2 > \theta"
        )
    sides = columns(1.0, 1.0)
    for place, name, given, lost in (
        (sides[0], "The same for all that is kept", spent.even, spent.lost_even),
        (sides[1], "Where they save most", spent.bought, spent.lost_bought),
    ):
        figure = drawing.draw_bits(given.numpy(), theme())
        totals = ", ".join(f"{int(row.sum())}" for row in given)
        said = f"Bits by direction of three subspaces; {totals} a row"
        _show_side(place, name, lost, figure, key=f"lesson-bits-{place is sides[0]}", said=said)
    st.markdown(
        f"The numbers of all rows take at most {spent.budget:,} bits on both sides. On "
        "**Explore**, the method *Coded* does this for a whole table, with the bits of the "
        "directions counted as well, and EM sends each row to where its error and its bits "
        "together cost least."
    )


def _show_side(
    place: DeltaGenerator, name: str, lost: float, figure: go.Figure, *, key: str, said: str
) -> None:
    """One of two ways to spend the same, and what it loses."""
    place.markdown(f"**{name}**: {lost:.1%} of the energy lost")
    picture(place, figure, key=key, alt=f"{said}, {lost:.1%} of the energy lost.")
