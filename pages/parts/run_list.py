"""The table of runs: which are shown, and which of them are chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style_render import StylerRenderer

from engine.evaluation.results import CheckResult
from engine.run_differences import plan_figures
from engine.runs import Run
from pages.parts import check_results, evaluations, run_words
from pages.parts.check_chart import loss_word
from pages.parts.wording import decimals, short_bytes

_CHOSEN = "chosen-runs"
_RESET = f"{_CHOSEN}-reset"
_ALL = "All"
_MOST_ROWS = 10  # that are shown without scrolling


def choose_runs(runs: Sequence[Run]) -> list[Run]:
    """Draw the table, filtered by model and kind; give the runs that are chosen, oldest first."""
    shown = _filter(runs)
    wanted = chosen_ids()
    hidden = [run for run in runs if run.id in wanted and run not in shown]
    if not shown:
        st.info("No run is of that model and kind.", icon=":material/filter_alt_off:")
        return _oldest_first(hidden)
    rows = [row for row, run in enumerate(shown) if run.id in wanted]
    # Rows are known by their place: another list, or another choice from outside, is another table.
    turn = st.session_state.get(f"{_CHOSEN}-turn", 0)
    parts = "\n".join([str(turn), *(run.id for run in shown)])
    key = hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()
    event: Any = st.dataframe(
        _in_words(_frame(shown, _say_checks(runs))),
        hide_index=True,
        key=f"runs-{key}",
        height=38 + 35 * _MOST_ROWS if len(shown) > _MOST_ROWS else "content",
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": rows, "columns": [], "cells": []}},
        placeholder="–",
        column_config=_COLUMNS,
        alt="Every run with what it came to. Tick one to see it, two to compare them.",
    )
    picked = [shown[row] for row in event.selection.rows if row < len(shown)]
    picked += hidden  # what the filter hides is chosen still
    if hidden:
        st.caption(f":material/filter_alt: {len(hidden)} more ticked, hidden by the filter.")
    _remember([run.id for run in picked])
    return _oldest_first(picked)


def _oldest_first(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.record.created_at, run.id))


def chosen_ids() -> list[str]:
    """The runs that this session or its link has chosen."""
    if _CHOSEN not in st.session_state:
        named = st.query_params.get("runs", "")
        st.session_state[_CHOSEN] = [run_id for run_id in named.split(",") if run_id]
    return st.session_state[_CHOSEN]


def choose(run_ids: Sequence[str]) -> None:
    """Choose these runs from now on, whatever is ticked; no filter hides them."""
    st.session_state[_RESET] = True  # a filter that is drawn already cannot be set any more
    st.session_state[f"{_CHOSEN}-turn"] = st.session_state.get(f"{_CHOSEN}-turn", 0) + 1
    _remember(run_ids)


def _remember(run_ids: Sequence[str]) -> None:
    st.session_state[_CHOSEN] = list(run_ids)
    if run_ids:
        st.query_params["runs"] = ",".join(run_ids)
    else:
        st.query_params.pop("runs", None)


def _filter(runs: Sequence[Run]) -> list[Run]:
    models = sorted({run.record.source["name"] for run in runs})
    kinds = [name for kind, name in run_words.KINDS.items() if kind in _kinds(runs)]
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    model, kind = _ALL, _ALL
    if st.session_state.pop(_RESET, False):
        st.session_state["runs-model"] = st.session_state["runs-kind"] = _ALL
    if len(models) > 1:
        if st.session_state.get("runs-model", _ALL) not in (_ALL, *models):
            st.session_state["runs-model"] = _ALL  # its last run was deleted
        model = bar.selectbox(
            "Model or table", [_ALL, *models], key="runs-model", bind="query-params", width=280
        )
    if len(kinds) > 1:
        if st.session_state.get("runs-kind", _ALL) not in (_ALL, *kinds):
            st.session_state["runs-kind"] = _ALL
        kind = bar.segmented_control(
            "Kind",
            [_ALL, *kinds],
            default=_ALL,
            required=True,
            key="runs-kind",
            bind="query-params",
        )
    return [
        run
        for run in runs
        if model in (_ALL, run.record.source["name"])
        and kind in (_ALL, run_words.KINDS[run.record.kind])
    ]


def _kinds(runs: Sequence[Run]) -> set[str]:
    return {run.record.kind for run in runs}


def _say_checks(runs: Sequence[Run]) -> dict[str, str]:
    """What checks found, in short, by the run of them and by the plan that they were of."""
    found: dict[str, dict[str, str]] = {}
    newest_first = sorted(runs, key=lambda run: run.record.created_at, reverse=True)
    for run in newest_first:
        for item in evaluations.found_in(run):
            for of in filter(None, (run.id, item.plan)):
                found.setdefault(of, {}).setdefault(item.result.check, _in_short(item.result))
    return {run_id: "; ".join(checks.values()) for run_id, checks in found.items()}


def _in_short(result: CheckResult) -> str:
    """Our plan's figure and what it lost: "STS-B 86.41, drop 0.30"."""
    ours = next((score for score in result.scores if score.role == "compressed"), None)
    title = check_results.title_of(result.check)
    if ours is None:
        return title
    loss = f"{loss_word(result)} {decimals(result.loss(ours).value)}"
    return f"{title} {decimals(ours.value.value)}, {loss}"


def _frame(runs: Sequence[Run], checks: Mapping[str, str]) -> pd.DataFrame:
    figures = [plan_figures(run.record) for run in runs]
    return pd.DataFrame(
        {
            "Name": [run.label.name or None for run in runs],
            "Run": [run_words.describe(run) for run in runs],
            "Model or table": [run.record.source["name"] for run in runs],
            "Kind": [run_words.KINDS[run.record.kind] for run in runs],
            "Made": [run.record.created_at.astimezone().replace(tzinfo=None) for run in runs],
            "Error": [found["relative_error"] for found in figures],
            "SVD": [found["svd_error"] for found in figures],
            "Bytes": [found["stored_bytes"] for found in figures],
            "Neighbours kept": [found["neighbours_kept"] for found in figures],
            **({"Checks": [checks.get(run.id) for run in runs]} if checks else {}),
            "Seconds": [found["wall_seconds"] for found in figures],
            "Note": [run.label.note.partition("\n")[0] or None for run in runs],
        }
    ).astype(dict.fromkeys(("Error", "SVD", "Bytes", "Neighbours kept", "Seconds"), "float64"))


def _in_words(frame: pd.DataFrame) -> StylerRenderer:
    """Bytes as the cards have them; the column is sorted by its numbers all the same."""
    return frame.style.format({"Bytes": short_bytes}, na_rep="–")


_COLUMNS = {
    "Name": st.column_config.TextColumn(width=150, help="Yours; choose the run to give it one"),
    "Run": st.column_config.TextColumn(help="What was run: subspaces k, dimension j"),
    "Made": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
    "Error": st.column_config.NumberColumn(
        format="percent", width=80, help="‖A − Â‖² / ‖A‖² of the plan"
    ),
    "SVD": st.column_config.NumberColumn(
        format="percent",
        width=80,
        help="The same of the SVD of its size; where tokens were weighted, open the run for the "
        "weighted errors of both",
    ),
    "Bytes": st.column_config.NumberColumn(width=80),
    "Neighbours kept": st.column_config.NumberColumn(
        format="percent", help="Share of a token's nearest neighbours that are still among them"
    ),
    "Checks": st.column_config.TextColumn(
        width=170, help="The last finding of each check of the plan, and what it lost by it"
    ),
    "Seconds": st.column_config.NumberColumn(format="%.1f", width=80, help="The work took"),
}
