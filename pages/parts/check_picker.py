"""Which checks to run: what each can tell, what it cannot, and why one cannot be run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.evaluation.checks import CHECKS
from engine.evaluation.checks.check import Check
from engine.evaluation.checks.fidelity import read_sentences
from engine.evaluation.evaluating import DEFAULT_CHECKS
from engine.evaluation.subject import CheckOptions, Subject
from engine.evaluation.tasks import GLUE_TASKS
from pages.parts import jobs
from pages.parts.state import Source, View
from pages.parts.uploads import forget_unread, keep_upload, note_read
from pages.parts.wording import literal

_COLUMNS = 3
_LAST_SENTENCES, _TAKEN = "last-sentences", "taken-sentences"
_READ_SENTENCES = {"fidelity", "language"}
_PROBE = "probe"


def choose_checks(source: Source, table: EmbeddingTable, view: View, *, unfold: bool) -> None:
    """Controls for the checks, and the button that runs them on a plan.

    Args:
        source: Where the table comes from.
        table: What is checked.
        view: The plan.
        unfold: Whether they are open to begin with: nothing was measured yet.
    """
    subject = Subject(table, alone=bool(source.tensor or source.tokens))
    with st.spinner("Looking which checks can be run …"):  # seconds, where transformers loads
        reasons = {name: check.unavailable(subject) for name, check in CHECKS.items()}
    # Those that can be run come first, each group in its own order.
    ordered = sorted(CHECKS.values(), key=lambda check: reasons[check.name] is not None)
    label = "Choose checks, then run them" if unfold else "Run checks again, or others"
    place = f"checks-{view.run_id or 'shipped'}"
    with st.expander(
        label, expanded=unfold, key=place, icon=":material/checklist:", on_change="rerun"
    ):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        picked: list[str] = []
        for begin in range(0, len(ordered), _COLUMNS):
            columns = st.columns(_COLUMNS, gap="small")
            for column, check in zip(columns, ordered[begin : begin + _COLUMNS], strict=False):
                with column.container(border=True, height="stretch"):
                    if _choose(check, reasons[check.name]):
                        picked.append(check.name)
        noun = "check" if len(picked) == 1 else "checks"
        pressed = row.button(
            f"Run {len(picked)} {noun}",
            type="primary",
            disabled=not picked or jobs.is_active("evaluate"),
            icon=":material/play_arrow:",
            key="run-checks",
            on_click=_fold,  # the progress is above, and what is found comes below
            args=(place,),
        )
        with row:
            options = _choose_options(picked)
    if pressed:
        params = {"run": view.run_id, "checks": picked, "options": asdict(options)}
        jobs.start("evaluate", source, params)
        st.rerun()  # the button then shows that it is busy


def _fold(place: str) -> None:
    st.session_state[place] = False


def _choose(check: Check, reason: str | None) -> bool:
    title = f"**{literal(check.title)}**"
    if reason is None:
        picked = st.checkbox(
            title,
            check.name in DEFAULT_CHECKS,
            key=f"accuracy-{check.name}",
            bind="query-params",
        )
    else:  # by another key, so that the choice is kept for a table that has what it needs
        picked = st.checkbox(title, key=f"cannot-{check.name}", disabled=True)
    st.markdown(f"**Tells:** {literal(check.tells)}")
    st.markdown(f"**Limits:** {literal(check.blind)}")
    if reason is not None:
        st.caption(f":material/block: **Cannot be run:** {literal(reason)}.")
    return picked


def _choose_options(picked: list[str]) -> CheckOptions:
    """What the chosen checks let one decide."""
    text: str | None = None
    task = CheckOptions().probe_task
    if _READ_SENTENCES.intersection(picked):
        text = _choose_text()
    if _PROBE in picked:
        task = st.selectbox(
            f"GLUE task of the {CHECKS[_PROBE].title.lower()}",
            list(GLUE_TASKS),
            index=list(GLUE_TASKS).index(task),
            key="accuracy-probe-task",
            bind="query-params",
            width=380,
            format_func=lambda name: f"{GLUE_TASKS[name].title}: {GLUE_TASKS[name].asks}",
        )
    return CheckOptions(text=text, probe_task=task)


def _choose_text() -> str | None:
    path: str | None = st.session_state.get(_LAST_SENTENCES)
    label = "Your own sentences" if path is None else literal(Path(path).name)
    with st.popover(label, icon=":material/upload_file:"):
        file = st.file_uploader(
            "Text in UTF-8, one sentence a line, plain or gzipped",
            key="sentences-upload",
            help="Without one, built-in English sentences are read.",
        )
        back = path is not None and st.button("Back to the built-in sentences")
    if back:
        st.session_state.pop(_LAST_SENTENCES)
        st.rerun()
    if file is None or file.file_id == st.session_state.get(_TAKEN):
        return path  # one that was taken may have been put away since
    kept = None
    try:
        kept = keep_upload(file)
        read_sentences(kept)  # what cannot be read is told here, not by a job minutes later
    except EngineError as error:
        forget_unread(kept)
        before = "the built-in sentences are" if path is None else f"{Path(path).name} is"
        st.error(
            literal(f"{error}. Until then {before} read."),
            icon=":material/error:",
        )
        return path
    note_read(kept)
    st.session_state[_LAST_SENTENCES] = kept
    st.session_state[_TAKEN] = file.file_id
    st.rerun()  # the button then has its name
