"""Controls of a plan of coded subspaces: a number of bytes, and how few other things it takes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import EngineError
from engine.budget import read_bytes, svd_beside
from engine.coding.fitting import check_room
from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
from engine.frequencies.row_use import NO_WEIGHTS
from engine.requests import FitRequest, coded_requests
from engine.table import EmbeddingTable
from pages.parts import fit
from pages.parts.wording import literal, short_bytes

# Controls that keep their value while another page is looked at; those of `fit` are shared.
LASTING = ("method", "bytes")

PLAIN, CODED = "messi", "coded"
"""The methods, as links call them."""
_LABELS = {PLAIN: "Subspaces", CODED: "Coded"}
_USUAL_PERCENT = 2.4
# Closer together where a tenth of a percent matters: a slider of equal steps would crowd them.
_PERCENTS = (
    *(tenths / 10 for tenths in range(15, 50)),
    *(halves / 2 for halves in range(10, 20)),
    *(float(percent) for percent in range(10, 26)),
)


def choose_method(usual_k: dict[str, int]) -> str:
    """Control for the kind of plan: `PLAIN` or `CODED`.

    Args:
        usual_k: What k is for each of the two until the user says something else.
    """
    if "method" not in st.session_state:
        named = st.query_params.get("method", PLAIN).casefold()
        st.session_state["method"] = named if named in _LABELS else PLAIN
    # Not bound as other controls are: those are linked by their labels, this one by its name.
    chosen = st.segmented_control(
        "Method",
        list(_LABELS),
        format_func=lambda method: _LABELS[method],
        required=True,
        key="method",
        width="stretch",
        on_change=_follow_usual,
        args=(usual_k,),
        help="Subspaces: every token keeps as many numbers as the subspace it is closest to has "
        "dimensions. Coded: the same idea, counted in bytes, at a few per cent of the table.",
    )
    if chosen != CODED:
        st.query_params.pop("method", None)
        return PLAIN
    st.query_params["method"] = CODED
    st.caption(
        "Spends bits where rows need them: tokens and directions that hold more get more, the "
        "others few or none."
    )
    return CODED


def choose_share(table: EmbeddingTable) -> str:
    """Control for the size, as `engine.plans.CompressionConfig.max_bytes` takes it: "2.4%"."""
    percent = st.select_slider(
        "Bytes kept, % of the table in float32",
        _PERCENTS,
        _USUAL_PERCENT,
        key="bytes",
        bind="query-params",
        format_func=lambda percent: f"{percent:g}",
        help=f"Of {short_bytes(table.dense_bytes)}. Everything counts, so that no file is larger: "
        "codes, bases and each token's subspace number.",
    )
    return f"{percent:g}%"


def share_of(max_bytes: int | str) -> float | None:
    """What the control of the size says for a plan's; None where it cannot say it."""
    try:
        percent = float(str(max_bytes).removesuffix("%"))
    except ValueError:
        return None
    return percent if str(max_bytes).endswith("%") and percent in _PERCENTS else None


def choose_rest(table: EmbeddingTable, k: int | str, share: str) -> dict[str, Any] | None:
    """What the size comes to, then the weights and what most people leave alone.

    Args:
        table: What is to be compressed.
        k: Number of subspaces, or "auto".
        share: As `choose_share` gives it.

    Returns:
        Keyword arguments of `engine.plans.CompressionConfig`; None where the size has no room or
        something is still missing.
    """
    comes_to = st.container()
    weights = fit.choose_known_weights()
    power, floor = DEFAULT_POWER, DEFAULT_FLOOR
    with st.expander("Advanced"):
        affine = fit.choose_affine()
        if weights != NO_WEIGHTS:
            power, floor = fit.choose_weighing()
    with comes_to:
        try:
            st.caption(_describe_size(table, k, share, affine=affine))
        except EngineError as error:
            st.error(literal(str(error)))
            return None
    if weights is None:
        return None
    return {
        "method": "coded",
        "k": k,
        "max_bytes": share,
        "affine": affine,
        "weights": weights,
        "weight_power": power,
        "weight_floor": floor,
    }


def _describe_size(table: EmbeddingTable, k: int | str, share: str, *, affine: bool) -> str:
    """What the size comes to, beside the SVD of as many bytes.

    Raises:
        EngineError: If there is no room for one direction.
    """
    n, d = table.matrix.shape
    size = read_bytes(share, table.dense_bytes)
    request = FitRequest(method="coded", k=k, max_bytes=size, affine=affine)
    for one in coded_requests(request, n):
        check_room(n, d, one)
    svd = svd_beside(n, d, None, size)
    return (
        f"At most **{short_bytes(size)}** of {short_bytes(table.dense_bytes)}, no more than an SVD "
        f"of rank {svd.rank} at {svd.coding.bits if svd.coding else 32} bits a number."
    )


def _follow_usual(usual_k: dict[str, int]) -> None:
    """Begin with the usual k of the method chosen now, where k was the other's usual one."""
    chosen = str(st.session_state["method"])
    others = {usual for method, usual in usual_k.items() if method != chosen}
    if st.session_state.get("k") in others:
        st.session_state["k"] = usual_k[chosen]
