"""The sweep that Compare reads: controls to run one, and the newest there is."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.cell_points import expected_seconds
from engine.frequencies.row_use import NO_WEIGHTS
from engine.grid import CODED_KS, CODED_SHARES, LISTS, SweepConfig, SweepResult
from pages.parts import fit, jobs, state
from pages.parts.state import Source
from pages.parts.wording import about, literal

_KS = (2, 3, 4, 5, 8, 10, 16, 20)
_DEFAULT_KS = (2, 3, 5, 10)
_RATE_STEP = 10  # per cent


def newest(table: EmbeddingTable) -> tuple[SweepResult, str] | None:
    """The newest sweep of a table and its origin in words; where there is none, says so."""
    try:
        sweep, origin = state.current_sweep(table)
    except EngineError as error:
        st.warning(
            f"Your last sweep cannot be opened. {literal(str(error))}", icon=":material/warning:"
        )
        return None
    if sweep is None:
        st.markdown(
            f"**{literal(table.name)}** has no curves yet. Choose the grid in the sidebar and "
            "press **Run the sweep**: every k is fitted at every rate, beside the SVD of the same "
            "size, and stored in 32, 8 and 4 bits, beside coded subspaces and plain rounding."
        )
        return None
    return sweep, origin


def show_controls(source: Source, table: EmbeddingTable) -> None:
    """Controls for the grid, in the sidebar."""
    n = len(table.tokens)
    with st.sidebar:
        st.subheader("Sweep")
        ks = st.pills(
            "Subspaces k",
            [k for k in _KS if k <= n] or [1],
            selection_mode="multi",
            default=[k for k in _DEFAULT_KS if k <= n],
            key="sweep-ks",
            help="The SVD, k = 1, is always drawn.",
        )
        low, high = st.slider(
            "Compression rates", 10, 90, (10, 90), _RATE_STEP, format="%d %%", key="sweep-rates"
        )
        seeds = st.slider(
            "Seeds", 1, 5, 3, key="sweep-seeds", help="Fits of each cell; the band is their spread."
        )
        allocation = fit.choose_allocation()
        weights = fit.choose_known_weights()
        with st.expander("Advanced"):
            advanced = fit.choose_advanced(weighted=weights != NO_WEIGHTS)
            starts = st.slider(
                "Starts of each fit",
                1,
                10,
                1,
                key="sweep-starts",
                help="More find a better optimum, and take longer.",
            )
            coded = st.toggle(
                "Also in fewer bits",
                True,
                key="sweep-coded",
                help="Stores every fit at 8 and 4 bits as well, fits coded subspaces, whose "
                "coordinates get the bits they earn, within a few sizes, and rounds the whole "
                "table to 8, 4, 3 and 2 bits to compare with.",
            )
        rates = [percent / 100 for percent in range(low, high + 1, _RATE_STEP)]
        count = len(rates) * ((1 if weights == NO_WEIGHTS else 2) + len(ks) * seeds)
        count += len(CODED_KS) * len(CODED_SHARES) if coded else 0
        grid = {
            "rates": rates,
            "ks": sorted(ks),
            "seeds": list(range(seeds)),
            "n_init": starts,
            "allocation": allocation,
            "affine": advanced.affine,
            "loss": advanced.loss,
            "moves": advanced.moves,
            "weights": weights,
            "weight_power": advanced.power,
            "weight_floor": advanced.floor,
            "bits": [8, 4] if coded else [32],
            "shares": list(CODED_SHARES) if coded else [],
        }
        _say_effort(table, grid if ks and weights is not None else None, count)
        if st.button(
            "Run the sweep",
            type="primary",
            width="stretch",
            disabled=not ks or weights is None or jobs.is_active("sweep"),
            icon=":material/play_arrow:",
        ):
            jobs.start("sweep", source, {"config": grid})
            st.rerun()  # the button then shows that it is busy


def _say_effort(table: EmbeddingTable, grid: dict[str, Any] | None, count: int) -> None:
    """How many fits, about how long they take where that can be told, and what is there already."""
    try:
        sweep, origin = state.current_sweep(table)
    except EngineError:  # `newest` says why
        sweep, origin = None, ""
    if sweep is None or grid is None:
        st.caption(f"{count} fits.")
        return
    settings: dict[str, Any] = {**grid, **{name: tuple(grid[name]) for name in LISTS}}
    config = SweepConfig(**settings)
    seconds = expected_seconds(sweep, config)
    if seconds is None:
        st.caption(f"{count} fits.")
    else:
        st.caption(f"{count} fits, {about(seconds)} by the times of {origin}.")
    if config == sweep.config:
        st.caption(":material/info: This very grid is drawn already: there is no need to run it.")
    elif state.starter(table) is not None:
        st.caption(
            ":material/info: Curves of this table ship with the app; a sweep of yours is drawn in "
            "their place."
        )
