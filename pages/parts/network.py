"""The layer as a network before and after, the same as a table, and both to take home."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine import EmbeddingTable
from engine.archives import file_name
from engine.budget import PlanSizes
from pages.parts.downloads import zip_folder
from pages.parts.model_download import has_model, offer_model
from pages.parts.network_drawing import TokenPath, draw_network
from pages.parts.state import View
from pages.parts.wording import literal, printable, short_bytes

_Row = tuple[str, str, tuple[int, ...], int | None, int | None]


def show_network(view: View, table: EmbeddingTable, row: int | None) -> None:
    """The section.

    Args:
        view: The plan.
        table: What it stands for.
        row: Token whose path is drawn; one typical of the largest subspace when None.
    """
    plan = view.factorization
    sizes = PlanSizes(
        d=plan.shape[1], sizes=plan.sizes, dimensions=plan.dimensions, affine=plan.affine
    )
    if row is None:
        largest = max(view.summaries, key=lambda item: item.rows)
        row = min(largest.typical_rows, key=lambda row: len(table.tokens[row]))  # fits best
    token = TokenPath(name=table.tokens[row], label=int(plan.labels[row]))
    st.subheader("The layer as a network")
    st.markdown(_explain(sizes, token))
    theme = st.context.theme.type or "light"
    rank = view.figures["svd"]["dimensions"][0]
    # Every name in it is escaped; `st.html` would take the drawing out.
    stored = None
    if plan.parameters is None:
        bytes_before = short_bytes(view.figures["dense_bytes"])
        stored = f"{short_bytes(plan.stored_bytes)} of {bytes_before}"
    drawing = draw_network(sizes, rank, token, theme, stored=stored)
    st.markdown(drawing, unsafe_allow_html=True)
    bits = ""
    if plan.coding is not None:
        bits = (
            f" In this plan a coordinate takes {plan.coding.named_bits} bits, a number of a basis "
            f"{plan.coding.named_basis_bits}."
        )
    st.caption(
        "The column of tokens is parted as the tokens are; all other columns have one scale. Find "
        f"another token above the map to see its way.{bits}"
    )
    with st.expander("The same as a table"):
        _show_parts(view, sizes, rank)
    _show_downloads(view, table)


def _explain(sizes: PlanSizes, token: TokenPath) -> str:
    many = sizes.k > 1
    small = (
        f" in **exactly one of {sizes.k} small layers** (*parallel layers, one a subspace*)"
        if many
        else ""
    )
    shared = "the stacked bases" if many else "the basis"
    alone = f", through layer {token.label + 1} alone" if many else ""
    return (
        f"Before, every token has a row of {sizes.d:,} numbers of its own (*one fully connected "
        f"layer*). After, it has {sizes.dimensions[token.label]:,} (*coordinates*){small}, and a "
        f"last layer that all share (*{shared}*) turns them into {sizes.d:,}; the lines show the "
        f"way of “{literal(printable(token.name))}”{alone}."
    )


def _show_parts(view: View, sizes: PlanSizes, rank: int) -> None:
    """Every matrix of the drawing with its shape; bytes as counted, of the whole."""
    figures, labels = view.figures, view.factorization.label_bytes
    svd = PlanSizes(d=sizes.d, sizes=(sizes.n,), dimensions=(rank,))
    rows: list[_Row] = [
        ("Before", "Whole", (sizes.n, sizes.d), sizes.parameters_before, figures["dense_bytes"])
    ]
    if sizes.k > 1 or sizes.affine:
        rows += _matrices("SVD", svd)
        rows.append(("SVD", "Whole", (), svd.parameters, figures["svd"]["stored_bytes"]))
    rows += _matrices("This plan", sizes)
    if labels:
        rows.append(("This plan", "Each token's subspace", (sizes.n,), None, labels))
    rows.append(("This plan", "Whole", (), sizes.parameters, figures["stored_bytes"]))
    frame = pd.DataFrame(rows, columns=["Layer", "Part", "Shape", "Numbers", "Bytes"])
    frame["Shape"] = [" × ".join(f"{side:,}" for side in shape) for shape in frame["Shape"]]
    frame = frame.astype({"Numbers": "Int64", "Bytes": "Int64"})
    count = st.column_config.NumberColumn(format="localized", width=110)
    st.dataframe(
        frame,
        hide_index=True,
        width="content",
        placeholder="",
        column_config={"Numbers": count, "Bytes": count},
    )


def _matrices(layer: str, sizes: PlanSizes) -> list[_Row]:
    """The matrices of one network, subspace by subspace."""
    each = range(sizes.k)
    of = [f" of subspace {label + 1}" if sizes.k > 1 else "" for label in each]
    n, j, d = sizes.sizes, sizes.dimensions, sizes.d
    rows: list[_Row] = [
        (layer, f"Coordinates{of[c]}", (n[c], j[c]), sizes.coordinates[c], None) for c in each
    ]
    rows += [(layer, f"Basis{of[c]}", (j[c], d), sizes.bases[c], None) for c in each]
    if sizes.affine:
        rows.append((layer, "Offsets", (sizes.k, d), sizes.offsets, None))
    return rows


def _show_downloads(view: View, table: EmbeddingTable) -> None:
    """What can be taken home; the factorization is zipped when its button is pressed."""
    plan = view.factorization
    name = file_name(table.name, f"k{plan.k}", "factorization")
    row = st.container(horizontal=True, key="downloads")
    row.download_button(
        "Factorization",
        lambda: zip_folder(name, plan.save),
        f"{name}.zip",
        "application/zip",
        icon=":material/download:",
        on_click="ignore",
        help="Coordinates, bases and how they were found, for `engine.Factorization.load`.",
    )
    if has_model(table):
        offer_model(row, view, table)
