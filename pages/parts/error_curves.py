"""Compare's first view: error against stored bytes or compression rate, and every fit as CSV."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EmbeddingTable, EngineError
from engine.cell_points import read_size_curves
from engine.curves import choose_by_rate, has_weights, read_curves
from engine.frequencies.language_names import name_counted
from engine.frequencies.row_use import NO_WEIGHTS
from engine.grid import SweepConfig, SweepResult
from pages.parts import by_bytes, by_rate, charts, state
from pages.parts.state import Source
from pages.parts.wording import literal

_BYTES, _RATE = "Stored bytes", "Compression rate"
_ERROR, _WEIGHTED, _AGAINST = "Error", "Weighted error", "Against the SVD"


@st.fragment
def show(source: Source, table: EmbeddingTable, sweep: SweepResult, origin: str) -> None:
    """The view; a fragment, so that a slider or a click draws no more than this anew."""
    head = st.container()  # what is chosen below decides what is said here
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with bar:
        against = st.segmented_control(
            "Against",
            [_BYTES, _RATE],
            default=_BYTES,
            required=True,
            key="against",
            bind="query-params",
            help="Bytes are what a file takes. A compression rate counts numbers, so it compares "
            "fits in 32 bits alone.",
        )
    if against == _BYTES:
        _show_sizes(source, table, sweep, (head, bar))
    else:
        _show_rates(table, sweep, head, bar)
    coded = "" if len(sweep.cells) == sweep.fits else f", {len(sweep.cells):,} ways to store"
    st.caption(
        f"From {origin}: {sweep.fits} fits{coded} of {sweep.rows:,} × {sweep.columns} rows"
        f"{literal(_describe(sweep.config))}."
    )
    for note in sweep.notes:
        st.caption(f":material/info: {literal(note)}")
    st.download_button(
        "Download every fit as CSV",
        sweep.to_csv().encode(),
        f"{sweep.name}-sweep.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _show_sizes(
    source: Source,
    table: EmbeddingTable,
    sweep: SweepResult,
    places: tuple[DeltaGenerator, DeltaGenerator],
) -> None:
    head, bar = places
    accuracy = state.measured_accuracy(table)
    scales = [_ERROR]
    scales += [_WEIGHTED] if has_weights(sweep.cells) else []
    scales += [] if accuracy is None else [accuracy.measure]
    with bar:
        scale = _choose_scale(scales, key="size-scale")
    weighted = scale == _WEIGHTED
    if accuracy is not None and scale == accuracy.measure:
        curves, chosen = accuracy, None
    else:
        curves = read_size_curves(sweep, weighted=weighted)
        chosen = _chosen(table, sweep, weighted=weighted)
    with bar:
        bits = by_bytes.choose_coding(curves)
    by_bytes.introduce(head, table, curves)
    by_bytes.draw(source, table, curves, by_bytes.Drawn(bits=bits, chosen=chosen))
    if sweep.fits == len(sweep.cells):
        st.caption(
            ":material/info: This sweep has fits in 32 bits alone; run it again for 8 and 4 bits, "
            "coded subspaces and plain rounding."
        )
    elif not sweep.config.shares:
        st.caption(":material/info: This sweep has no coded subspaces; run it again for those.")


def _show_rates(
    table: EmbeddingTable, sweep: SweepResult, head: DeltaGenerator, bar: DeltaGenerator
) -> None:
    weights = has_weights(sweep.cells)
    with bar:
        scale = _choose_scale(
            [_ERROR, _WEIGHTED, _AGAINST] if weights else [_ERROR, _AGAINST],
            key="weighted-scale" if weights else "scale",
        )
    weighted = weights and scale != _ERROR
    head.markdown(
        f"How much of **{literal(table.name)}** is lost at each rate, in 32 bits. At a rate, every "
        "method gets the same budget of stored numbers, rounded in the SVD's favour; lower is "
        "better. Bands span the seeds."
    )
    curves = read_curves(sweep.cells, weighted=weighted)
    choices = choose_by_rate(curves)
    head.markdown(f":material/balance: {by_rate.where_svd_wins(choices, weighted=weighted)}")
    chosen = _chosen(table, sweep, weighted=weighted)
    by_rate.draw(curves, choices, against_svd=scale == _AGAINST, chosen=chosen)


def _choose_scale(scales: list[str], *, key: str) -> str:
    """By which figure; nothing to choose where there is one. The weighted error comes first."""
    if len(scales) == 1:
        return scales[0]
    return str(
        st.segmented_control(
            "Scale",
            scales,
            default=_WEIGHTED if _WEIGHTED in scales else _ERROR,
            required=True,
            key=key,
            bind="query-params",
        )
    )


def _describe(config: SweepConfig) -> str:
    """What was not as usual in a sweep."""
    parts: list[str] = []
    if config.allocation != "uniform":
        parts.append("the best dimensions for each subspace")
    if config.weights != NO_WEIGHTS:
        parts.append(f"tokens weighted by {name_counted(config.weights)}")
    if config.affine:
        parts.append("affine subspaces")
    if config.loss != "squared":
        parts.append(f"the loss {config.loss}")
    return f"; {', '.join(parts)}" if parts else ""


def _chosen(
    table: EmbeddingTable, sweep: SweepResult, *, weighted: bool
) -> charts.ChosenPlan | None:
    """The plan the Explore page shows, as a point on the curves."""
    try:
        view = state.current_view(table)
    except EngineError:
        return None  # the Explore page says what is wrong with it
    if view is None:
        return None
    figures, config = view.figures, sweep.config
    use = {
        "source": config.weights,
        "power": config.weight_power,
        "floor": config.weight_floor,
    }
    if weighted and figures["weights"] != use:
        return None  # errors by other weights are no point among these
    rival, error = ("weighted_svd", "weighted_error") if weighted else ("svd", "relative_error")
    name = "SVD" if figures["k"] == 1 else f"k = {figures['k']}"
    return charts.ChosenPlan(
        name=f"explored: {name}",
        rate=figures["rate"],
        stored_bytes=figures["stored_bytes"],
        error=figures[error],
        svd_error=figures[rival][error],
    )
