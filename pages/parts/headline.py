"""The first thing said about a plan: what was made, and its figures beside the SVD's."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.figures import is_plain_svd
from pages.parts.languages import name_counted
from pages.parts.state import View
from pages.parts.wording import fewer_or_more, literal, short_bytes, short_count


def describe(view: View) -> str:
    """What the layer was made into, for one who sees it for the first time."""
    figures, factorization = view.figures, view.factorization
    loss = str(factorization.record.config.get("loss", "squared"))
    use = figures["weights"]
    counted = "" if use is None else f" Tokens count by their use in {name_counted(use['source'])}."
    coding = factorization.coding
    coded = "" if coding is None else f" A token's own numbers take {coding.bits} bits each."
    if figures["k"] > 1:
        return (
            f"stored smaller as **{figures['k']} flat subspaces** instead of one (the SVD). A "
            f"point is a token, its colour the subspace it is closest to.{coded}{literal(counted)}"
        )
    usual = is_plain_svd(1, affine=factorization.affine, loss=loss)
    name = "" if not usual else ": the usual SVD" if use is None else ": a weighted SVD"
    return f"stored smaller in one flat subspace{name}.{coded}{literal(counted)}"


def show_figures(view: View) -> None:
    """The figures people decide by, each beside the SVD's."""
    figures, coding = view.figures, view.factorization.coding
    svd = figures["svd"]
    each, rounded = "32 bits a number", ""
    if coding is not None:
        each = f"{coding.bits} bits a coordinate, {coding.basis_bits} a number of a basis"
        rounded = f", at 32 bits each: {short_bytes(svd['stored_bytes'])}"
    row = st.container(horizontal=True, key="figures")  # two by two where it is narrow
    row.metric(
        "Numbers stored",
        short_count(figures["parameters"]),
        f"{fewer_or_more(figures['rate'])} than {short_count(figures['parameters_before'])}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Coordinates of every row and the bases; the layer as it was held the second figure.",
    )
    row.metric(
        "Bytes stored",
        short_bytes(figures["stored_bytes"]),
        _bytes_before(figures),
        delta_color="off",
        delta_arrow="off",
        border=True,
        help=f"Everything a file needs, each row's subspace number included; {each}.",
    )
    row.metric(
        "Error",
        f"{figures['relative_error']:.2%}",
        f"SVD {svd['relative_error']:.2%}",
        delta_color="off",
        delta_arrow="off",
        border=True,
        help="Squared distance between the rows and their approximation, over the rows' squared "
        f"length. The SVD beside it has rank {svd['dimensions'][0]} and stores at least as many "
        f"numbers{rounded}.",
    )
    weighted_svd = figures["weighted_svd"]
    if weighted_svd is not None:
        row.metric(
            "Error, weighted by use",
            f"{figures['weighted_error']:.2%}",
            f"weighted SVD {weighted_svd['weighted_error']:.2%}",
            delta_color="off",
            delta_arrow="off",
            border=True,
            help="The same, where a token's row counts by how often the token is used: what the "
            "fit made small. The SVD beside it was fitted with the same weights.",
        )
    rival, name = (svd, "SVD") if weighted_svd is None else (weighted_svd, "weighted SVD")
    ours, theirs = figures["neighbours_kept"], rival["neighbours_kept"]
    if ours is not None and theirs is not None:
        row.metric(
            "Neighbours kept",
            f"{ours['mean']:.1%}",
            f"{name} {theirs['mean']:.1%}",
            delta_color="off",
            delta_arrow="off",
            border=True,
            help=f"Share of a token's {ours['count']} nearest neighbours (by cosine) that are "
            f"still among its {ours['count']} nearest after compression; mean over "
            f"{ours['queries']:,} sampled tokens, ± {ours['standard_error']:.1%}.",
        )


def _bytes_before(figures: dict[str, Any]) -> str:
    """The table's bytes in float32, as ours are counted, and as its source holds it."""
    before = f"was {short_bytes(figures['dense_bytes'])}"
    if figures["source_bytes"] == figures["dense_bytes"]:
        return before
    return f"{before}, {short_bytes(figures['source_bytes'])} in its file"
