"""The first thing said about a plan: what was made, and its figures beside the SVD's."""

from __future__ import annotations

import streamlit as st

from engine.figures import is_plain_svd
from engine.frequencies.language_names import name_counted
from engine.report.headline import headline_figures
from pages.parts.state import View
from pages.parts.wording import literal


def describe(view: View) -> str:
    """What the layer was made into, for one who sees it for the first time."""
    figures, factorization = view.figures, view.factorization
    loss = str(factorization.record.config.get("loss", "squared"))
    use = figures["weights"]
    counted = "" if use is None else f" Tokens count by their use in {name_counted(use['source'])}."
    coding = factorization.coding
    coded = "" if coding is None else f" A token's own numbers take {coding.named_bits} bits each."
    rate_aware = figures["parameters"] is None
    if figures["k"] > 1:
        kind, place = ("coded", "put in") if rate_aware else ("flat", "closest to")
        return (
            f"stored smaller as **{figures['k']} {kind} subspaces** instead of one (the SVD). A "
            f"point is a token, its colour the subspace it is {place}.{coded}{literal(counted)}"
        )
    usual = is_plain_svd(1, affine=factorization.affine, loss=loss, coded=rate_aware)
    name = "" if not usual else ": the usual SVD" if use is None else ": a weighted SVD"
    kind = "coded" if rate_aware else "flat"
    return f"stored smaller in one {kind} subspace{name}.{coded}{literal(counted)}"


def show_figures(view: View) -> None:
    """The figures people decide by, each beside the SVD's."""
    row = st.container(horizontal=True, key="figures")  # two by two where it is narrow
    for figure in headline_figures(view.figures, view.factorization.coding):
        row.metric(
            figure.label,
            figure.value,
            figure.beside,
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=figure.meaning,
        )
