"""Compare: error against compression rate, k subspaces beside the SVD."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.curves import RateChoice, choose_by_rate, has_weights, read_curves
from engine.frequencies.row_use import NO_WEIGHTS
from engine.grid import SweepConfig, SweepResult
from pages.parts import charts, entry, fit, inputs, jobs, state
from pages.parts.languages import name_counted
from pages.parts.state import Source
from pages.parts.wording import literal

_KS = (2, 3, 4, 5, 8, 10, 16, 20)
_DEFAULT_KS = (2, 3, 5, 10)
_RATE_STEP = 10  # per cent
_ERROR, _WEIGHTED, _AGAINST = "Error", "Weighted error", "Against the SVD"


def main() -> None:
    """Draw the page."""
    st.title("k subspaces against the SVD")
    try:
        source = inputs.choose_source()
        if source is None:
            st.info("Name a model or a file in the sidebar to draw its error curves.")
            return
        table = state.load_source(source)
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    _sweep_controls(source, table)
    jobs.show_others("sweep")
    done = jobs.outcome("sweep")
    if done is not None:
        st.toast("The sweep is done.", icon=":material/check:")
    try:
        sweep, origin = state.current_sweep(table)
    except EngineError as error:
        st.warning(
            f"Your last sweep cannot be opened. {literal(str(error))}", icon=":material/warning:"
        )
        return
    if sweep is None:
        st.markdown(
            f"**{literal(table.name)}** has no curves yet. Choose the grid in the sidebar and "
            "press **Run the sweep**: every k is fitted at every rate, beside the SVD of the same "
            "size."
        )
        return
    _show(table, sweep, origin)


def _sweep_controls(source: Source, table: EmbeddingTable) -> None:
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
        weights = _choose_weights()
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
        rates = [percent / 100 for percent in range(low, high + 1, _RATE_STEP)]
        count = len(rates) * ((1 if weights == NO_WEIGHTS else 2) + len(ks) * seeds)
        st.caption(f"{count} fits.")
        if st.button(
            "Run the sweep",
            type="primary",
            width="stretch",
            disabled=not ks or weights is None or jobs.is_active("sweep"),
            icon=":material/play_arrow:",
        ):
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
            }
            jobs.start("sweep", source, {"config": grid})
            st.rerun()  # the button then shows that it is busy


def _choose_weights() -> str | None:
    try:
        return fit.choose_weights()
    except EngineError as error:
        st.error(literal(str(error)))
        return None


def _show(table: EmbeddingTable, sweep: SweepResult, origin: str) -> None:
    st.markdown(
        f"How much of **{literal(table.name)}** is lost at each size. At a rate, every "
        "method gets the same budget of stored numbers, rounded in the SVD's favour; lower is "
        "better. Bands span the seeds."
    )
    verdict = st.container()
    weights = has_weights(sweep.cells)
    scale = st.segmented_control(
        "Scale",
        [_ERROR, _WEIGHTED, _AGAINST] if weights else [_ERROR, _AGAINST],
        default=_WEIGHTED if weights else _ERROR,
        required=True,
        key="weighted-scale" if weights else "scale",
        bind="query-params",
        label_visibility="collapsed",
    )
    weighted = weights and scale != _ERROR
    curves = read_curves(sweep.cells, weighted=weighted)
    choices = choose_by_rate(curves)
    verdict.markdown(f":material/balance: {_where_svd_wins(choices, weighted=weighted)}")
    left, right = st.columns([1.7, 1], gap="medium")
    left.plotly_chart(
        charts.error_curves(
            curves,
            theme=st.context.theme.type or "light",
            against_svd=scale == _AGAINST,
            chosen=_chosen(table, sweep, weighted=weighted),
        ),
        key="curves",
        config={"displaylogo": False},
        alt="Error against compression rate. The same figures are in the table beside it.",
    )
    with right:
        st.markdown("**The best k at each rate**")
        _best_table(choices, "Weighted SVD" if weighted else "SVD")
    st.caption(
        f"From {origin}: {len(sweep.cells)} fits on {sweep.rows:,} × {sweep.columns} rows"
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
        error=figures[error],
        svd_error=figures[rival][error],
    )


def _where_svd_wins(choices: tuple[RateChoice, ...], *, weighted: bool) -> str:
    if not choices:
        return "Only the SVD was swept."
    svd = "weighted SVD" if weighted else "SVD"
    measured = "By weighted error, every" if weighted else "Every"
    lost = [choice for choice in choices if choice.losing]
    if not lost:
        return f"{measured} k is closer to the table than the {svd} at every rate of this sweep."
    cases = ", ".join(
        f"{choice.svd.rate:.0%} (k = {', '.join(map(str, choice.losing))})" for choice in lost
    )
    return (
        f"**The {svd} wins** at {cases}: there the k bases cost more than they save. "
        "In every other case k subspaces are closer."
    )


def _best_table(choices: tuple[RateChoice, ...], svd: str) -> None:
    frame = pd.DataFrame(
        {
            "Rate": [choice.svd.rate for choice in choices],
            svd: [choice.svd.error for choice in choices],
            "k": [choice.best.k for choice in choices],
            "Error": [choice.best.error for choice in choices],
            "Against SVD": [100 * (choice.best.svd_ratio - 1) for choice in choices],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "Rate": st.column_config.NumberColumn(format="percent"),
            svd: st.column_config.NumberColumn(format="%.4f", help=f"Error of the {svd}"),
            "k": st.column_config.NumberColumn(help="The k ≥ 2 with the least mean error"),
            "Error": st.column_config.NumberColumn(format="%.4f", help="Error of that k"),
            "Against SVD": st.column_config.NumberColumn(
                format="%+.1f %%", help="−: k subspaces lose less than the SVD; +: the SVD wins"
            ),
        },
    )


entry.enter_by_app()
main()
