"""Compare's second view: any cell of a sweep against the SVD of its size, by two sliders.

The sliders are a component of our own: the whole grid goes to the browser once, and moving them
asks no server. Streamlit's own rerun the script at every step: most of a second where the machine
is busy.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.components import v2
from streamlit.components.v2.types import ComponentRenderer

from engine.curves import Curves, has_weights, read_curves
from engine.grid import SweepResult
from pages.parts.live_cells import closest, describe_cells, rates_of
from pages.parts.wording import literal

_USUAL = {"cell-k": 5.0, "cell-rate": 40.0}  # of the plan that ships; the rate in per cent
_LIVE = Path(__file__).parent / "live"


def show(sweep: SweepResult, origin: str) -> None:
    """The view."""
    curves = read_curves(sweep.cells, weighted=has_weights(sweep.cells))
    if not curves.by_k:
        st.info("This sweep holds the SVD alone. Choose a k in the sidebar and run the sweep.")
        return
    st.markdown(
        "Both sides may store equally many **numbers**: in one subspace for all tokens (the SVD), "
        "or in *k* of lower dimension *j*, each for its own tokens. Move the sliders: every cell "
        "was fitted ahead."
    )
    _show_cells(sweep, curves)
    _show_table(curves)
    st.caption(
        f"From {origin}, in 32 bits; means over {len(sweep.config.seeds)} seeds of "
        f"{literal(sweep.name)}. The SVD’s rank is rounded up, in its favour."
    )


@st.fragment
def _show_cells(sweep: SweepResult, curves: Curves) -> None:
    ks, rates = list(curves.by_k), [100 * rate for rate in rates_of(curves)]
    data = describe_cells(sweep, curves, theme=st.context.theme.type or "light")

    # The steps of the sliders are places in the grid: another grid is another component.
    grid = hashlib.blake2b(repr((ks, rates)).encode(), digest_size=8).hexdigest()
    key = f"cells-{grid}"

    def keep_in_link() -> None:
        k, rate = st.session_state[key]["cell"]
        st.query_params["cell-k"] = str(ks[k])
        st.query_params["cell-rate"] = f"{rates[rate]:g}"

    _component()(
        key=key,
        data={
            **data,
            "k": closest(ks, _linked("cell-k")),
            "rate": closest(rates, _linked("cell-rate")),
        },
        on_cell_change=keep_in_link,
    )


def _linked(name: str) -> float:
    """What the link says, else what is usual."""
    try:
        return float(st.query_params.get(name, ""))
    except ValueError:
        return _USUAL[name]


@cache
def _component() -> ComponentRenderer:
    html, css, js = ((_LIVE / f"cells.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return v2.component("subspace_atlas_cells", html=html, css=css, js=js)


def _show_table(curves: Curves) -> None:
    with st.expander("Every cell as a table"):
        svd = {point.rate: point.error for point in curves.baseline}
        frame = pd.DataFrame(
            [
                {
                    "k": point.k,
                    "Rate": point.rate,
                    "j": point.j,
                    "Error": point.error,
                    "SVD": svd[point.rate],
                    "Of the SVD's": point.svd_ratio,
                    "Numbers": point.parameters,
                    "Bytes": point.stored_bytes,
                }
                for points in curves.by_k.values()
                for point in points
            ]
        )
        percent = st.column_config.NumberColumn(format="percent")
        many = st.column_config.NumberColumn(format="localized")
        st.dataframe(
            frame,
            hide_index=True,
            column_config={
                **dict.fromkeys(("Rate", "Error", "SVD", "Of the SVD's"), percent),
                **dict.fromkeys(("Numbers", "Bytes"), many),
            },
        )
