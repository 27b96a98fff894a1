"""Lesson 4: what is stored, as a network before and after, and when the SVD stores it better."""

from __future__ import annotations

import streamlit as st

from engine.budget import PlanSizes, matching_rank
from pages.parts.lessons.page import columns, ink, theme
from pages.parts.network_drawing import TokenPath, draw_network


@st.fragment
def show() -> None:
    """The section."""
    text, controls = columns(1.6, 1.0)
    with controls:
        n = st.slider("Tokens n", 1_000, 100_000, 30_000, 1_000, format="localized", key="lesson-n")
        d = st.slider("Width d", 64, 1024, 768, 64, key="lesson-d")
        k = st.slider("Subspaces k", 1, 10, 5, key="lesson-k")
        j = st.slider("Dimension j of each", 8, d, min(384, d), 8, key="lesson-j")
    sizes = PlanSizes(d=d, sizes=tuple(n // k + (c < n % k) for c in range(k)), dimensions=(j,) * k)
    rank = matching_rank(n, d, sizes.parameters)
    with text:
        st.markdown(
            f"Each of the {n:,} tokens is in one of the {k} subspaces and keeps **its {j:,} "
            f"coordinates** there. Each subspace has **a basis** of {j:,} × {d:,} numbers, which "
            "turns the coordinates of its tokens back into rows:"
        )
        st.latex(
            rf"\underbrace{{{_spaced(n)} \cdot {j}}}_{{n \cdot j,\ \text{{coordinates}}}} + "
            rf"\underbrace{{{ink(0)}{{{k} \cdot {j} \cdot {d}}}}}_{{k \cdot j \cdot d,\ "
            rf"\text{{bases}}}} = {_spaced(sizes.parameters)}"
        )
        st.markdown(_verdict(sizes, rank))
    st.markdown(
        draw_network(sizes, rank, TokenPath(name="a token", label=0), theme()),
        unsafe_allow_html=True,  # no text of a user's is in it
    )
    st.markdown(
        ":material/lightbulb: **When does the SVD win?** It stores one basis in place of k, so "
        "that within as many numbers its one subspace has more dimensions. It wins where k bases "
        "cost more than the closer fit saves: where tokens are few (2,000 of them, and "
        f"{k * d / (2_000 + k * d):.0%} of what is stored here would be bases), where subspaces "
        "are many, and where little is removed, so that one subspace loses next to nothing "
        "anyway. It also wins where all rows lie near one subspace, to which others add nothing. "
        "**Compare** shows where this happens for a model. (Which subspace a token is in is stored "
        "too: a label of a few bits, counted among the bytes.)"
    )


def _verdict(sizes: PlanSizes, rank: int) -> str:
    before = f"the {sizes.n:,} × {sizes.d:,} = {sizes.parameters_before:,} before"
    if sizes.rate <= 0:
        return (
            f"That is **not less** than {before}: the bases alone are {sum(sizes.bases):,} "
            "numbers. Lower k or j."
        )
    share = sum(sizes.bases) / sizes.parameters
    return (
        f"**{sizes.rate:.0%} fewer numbers** (*compression rate*) than {before}; {share:.0%} of "
        f"what is left are bases. The smallest SVD that stores no less has one subspace of "
        f"dimension {rank:,} (*its rank r*): k\u00a0=\u00a0{sizes.k} pays when "
        f"{sizes.dimensions[0]:,} directions made for its own subspace serve a row better than "
        f"{rank:,} made for all."
    )


def _spaced(count: int) -> str:
    """A count with thin spaces, which LaTeX does not stretch as it does commas."""
    return f"{count:,}".replace(",", r"\,")
