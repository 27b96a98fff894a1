"""One run: what it came to, its name and note, and what can be done with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EngineError
from engine.archives import file_name
from engine.curves import has_weights, read_curves
from engine.errors import ParameterError
from engine.exchange import export_runs, find_whole_runs
from engine.grid import SweepResult
from engine.labels import LONGEST_NAME, LONGEST_NOTE
from engine.run_differences import plan_figures
from engine.runs import Run, RunLabel
from engine.wording import name_svd
from pages.parts import check_results, evaluations, inputs, reruns, run_list, run_words, state
from pages.parts.plan import take_over
from pages.parts.wording import fewer_or_more, literal, short_bytes

_PAGES = {
    "compress": ("Open on Explore", ":material/scatter_plot:", "pages/explore.py"),
    "sweep": ("Open on Compare", ":material/show_chart:", "pages/compare.py"),
    "evaluate": ("Open on Accuracy", ":material/fact_check:", "pages/accuracy.py"),
}
_NOT_DELETED = "not-deleted"
_SAVED = "label-saved"
_METRICS = (
    "parameters",
    "stored_bytes",
    "relative_error",
    "weighted_error",
    "neighbours_kept",
    "wall_seconds",
)


def show_run(run: Run, runs: Sequence[Run]) -> None:
    """Draw the card of a run.

    Args:
        run: Which.
        runs: All there are.
    """
    record = run.record
    st.subheader(literal(run_words.title(run)))
    beside = f"{literal(run_words.describe(run))} · " if run.label.name else ""
    st.caption(
        f"{run_words.KINDS[record.kind]} · {beside}{literal(record.source['name'])}, "
        f"{record.source['rows']:,} × {record.source['columns']:,} · "
        f"{record.created_at.astimezone():%d %B %Y, %H:%M}"
    )
    if run.damage:
        st.warning(literal(run.damage), icon=":material/warning:")
    _actions(run, runs)
    if record.kind == "compress":
        _metrics(run)
        verdict = record.figures.get("verdict")
        if isinstance(verdict, str):
            st.markdown(literal(verdict))
    if record.kind == "evaluate":
        _show_checks(run)
    left, right = st.columns(2, gap="large")
    with left:
        _name(run)
        st.markdown("**Make it again**")
        reruns.show_recipe(run)
    with right:
        st.markdown("**Settings**")
        frame = pd.DataFrame(run_words.rows_of(record.config), columns=["Setting", "Value"])
        st.dataframe(frame, hide_index=True, height="content", alt="Settings of the run")
    if record.kind == "sweep":
        _show_sweep(run)


def offer_export(place: DeltaGenerator, runs: Sequence[Run]) -> None:
    """A download of one run or more as a zip file, made when it is pressed."""
    run_ids, damage = [run.id for run in runs], ""
    try:
        find_whole_runs(state.run_store(), run_ids)  # what `pack` raises comes too late to be told
    except EngineError as error:
        damage = literal(str(error))

    def pack() -> bytes:
        packed = io.BytesIO()
        export_runs(state.run_store(), run_ids, packed)
        return packed.getvalue()

    name = file_name(runs[0].record.source["name"], runs[0].id) if len(runs) == 1 else "runs"
    place.download_button(
        "Export" if len(runs) == 1 else f"Export {len(runs)} runs",
        pack,
        f"{name}.zip",
        "application/zip",
        icon=":material/download:",
        on_click="ignore",
        disabled=bool(damage),
        help=damage
        or "All of it as a zip file, with your name and note and the paths of its files; import it "
        "here or elsewhere.",
    )


def offer_deletion(place: DeltaGenerator, run_ids: Sequence[str]) -> None:
    """A button that asks before it deletes."""
    many = len(run_ids) > 1
    what = f"{len(run_ids)} runs" if many else "the run"
    with place.popover(
        f"Delete {what}" if many else "Delete", icon=":material/delete:", key=f"ask-{run_ids[0]}"
    ):
        st.markdown(f"Delete {what} for good? An export keeps a copy.")
        sure = st.button("Yes, delete", key=f"delete-{run_ids[0]}", width="stretch")
    if not sure:
        return
    failures = [text for text in map(_delete, run_ids) if text]
    if failures:
        st.session_state[_NOT_DELETED] = failures
    run_list.choose([])
    st.rerun()


def say_what_stayed() -> None:
    """Why the last deletion left runs, once."""
    for text in st.session_state.pop(_NOT_DELETED, ()):
        st.error(text, icon=":material/error:")


def _delete(run_id: str) -> str:
    """Why it could not be; nothing where it is gone, also where someone else was first."""
    try:
        with suppress(ParameterError):
            state.run_store().delete(run_id)
        state.forget_run(run_id)
    except EngineError as error:
        return literal(str(error))
    return ""


def _actions(run: Run, runs: Sequence[Run]) -> None:
    row = st.container(horizontal=True, key="run-actions")
    label, icon, page = _PAGES[run.record.kind]
    newest = run.id == next(
        other.id
        for other in runs
        if (other.record.kind, other.record.source["fingerprint"])
        == (run.record.kind, run.record.source["fingerprint"])
    )
    # Compare draws the newest sweep of a table, whichever is asked for.
    if run.record.kind != "sweep" or newest:
        if row.button(label, icon=icon, type="primary", key=f"open-{run.id}"):
            go_to(page, run)
    if row.button(
        "Run again",
        icon=":material/replay:",
        key=f"again-{run.id}",
        disabled=reruns.is_busy(run),
        help="Makes a new run of the same table with the same settings and seed, and sets the two "
        "side by side.",
    ):
        reruns.start(run)
    offer_export(row, [run])
    offer_deletion(row, [run.id])


def go_to(page: str, run: Run, **query: str) -> None:
    """Change to another page with the table of a run, and the run itself where it is a plan."""
    try:
        table = inputs.point_at(state.source_of(run))
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    plan = run.id if run.record.kind == "compress" else run.record.config.get("run")
    state.choose_run(plan)
    if run.record.kind == "compress":  # the sidebar begins with what made it
        take_over(run.record.config)
    st.switch_page(page, query_params={**table, **({"run": plan} if plan else {}), **query})


def _metrics(run: Run) -> None:
    figures = plan_figures(run.record)
    rate, weighted = figures["rate"], figures["weighted_svd_error"] is not None
    bits = run.record.figures.get("svd", {}).get("bits")
    beside = {
        "parameters": "" if rate is None else fewer_or_more(rate),
        "stored_bytes": _share_kept(run.record.figures) if rate is None else "",
        "relative_error": _beside(name_svd(bits, weighted=False), "svd_error", figures),
        "weighted_error": _beside(name_svd(bits, weighted=True), "weighted_svd_error", figures),
        "neighbours_kept": _beside(name_svd(bits, weighted=weighted), "svd_neighbours", figures),
    }
    row = st.container(horizontal=True, key="run-figures")
    for name in _METRICS:
        value = figures[name]
        if value is not None:
            row.metric(
                run_words.FIGURES[name],
                run_words.figure(name, value),
                beside.get(name) or None,
                delta_color="off",
                delta_arrow="off",
                border=True,
                height="stretch",
            )


def _share_kept(figures: Mapping[str, Any]) -> str:
    """What a coded plan is told by, for which there is no rate."""
    stored, dense = figures.get("stored_bytes"), figures.get("dense_bytes")
    return f"{stored / dense:.1%} of {short_bytes(dense)}" if stored and dense else ""


def _beside(who: str, name: str, figures: dict[str, float | None]) -> str:
    value = figures[name]
    return "" if value is None else f"{who} {run_words.figure(name, value)}"


def _name(run: Run) -> None:
    if st.session_state.pop(_SAVED, False):
        st.toast("Name and note are saved.", icon=":material/check:")
    with st.form(f"label-{run.id}", border=False):
        name = st.text_input(
            "Name",
            run.label.name,
            max_chars=LONGEST_NAME,
            placeholder=run_words.describe(run),
            key=f"name-{run.id}",
        )
        note = st.text_area(
            "Note",
            run.label.note,
            max_chars=LONGEST_NOTE,
            placeholder="Why it was made, what came of it",
            height=150,
            key=f"note-{run.id}",
        )
        saved = st.form_submit_button("Save", icon=":material/save:")
    if not saved:
        return
    try:
        state.run_store().label(run.id, RunLabel(name=name.strip(), note=note.strip()))
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    st.session_state[_SAVED] = True  # said by the next run: this one ends before it is seen
    st.rerun()


def _show_sweep(run: Run) -> None:
    """Its mean errors, a line a rate."""
    try:
        sweep = state.run_sweep_of(run.id)
    except EngineError as error:
        st.warning(literal(str(error)), icon=":material/warning:")
        return
    st.markdown(f"**Mean {'weighted ' if has_weights(sweep.cells) else ''}error at 32 bits**")
    frame = _sweep_frame(sweep)
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        frame,
        column_config=dict.fromkeys(("Rate", *frame.columns), percent),
        alt="Mean error of each k at each compression rate",
    )


def _show_checks(run: Run) -> None:
    """What they found, and why others could not be finished."""
    for check, why in evaluations.failures_in(run.id).items():
        st.warning(
            f"**{literal(check_results.title_of(check))}** could not be finished: {literal(why)}",
            icon=":material/warning:",
        )
    results = [item.result for item in evaluations.found_in(run)]
    if results:
        st.markdown(f":material/balance: {check_results.say_who_loses(results)}")
        check_results.show_figures(results, name=run.record.source["name"])


def _sweep_frame(sweep: SweepResult) -> pd.DataFrame:
    curves = read_curves(sweep.cells, weighted=has_weights(sweep.cells))
    named = {"SVD": curves.svd, "weighted SVD": curves.weighted_svd}
    named |= {f"k = {k}": points for k, points in curves.by_k.items()}
    columns = {
        name: {point.rate: point.error for point in points}
        for name, points in named.items()
        if points
    }
    frame = pd.DataFrame(columns).sort_index()
    frame.index.name = "Rate"
    return frame
