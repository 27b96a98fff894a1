"""Making a run again: as a job, by the command line, in Python."""

from __future__ import annotations

import json
from dataclasses import dataclass

import streamlit as st

from engine import EngineError
from engine.errors import FormatError
from engine.reproducing import cautions, command_line, job_params, python_snippet
from engine.run_differences import compare_runs, repeats
from engine.runs import Run
from pages.parts import jobs, run_list, state
from pages.parts.state import Source
from pages.parts.wording import literal

_REPEATED = "repeated-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repeat:
    """A run that is made again."""

    run_id: str
    slot: str
    job_id: str | None  # None where the job was refused


def is_busy(run: Run) -> bool:
    """Whether this session has a job of the run's kind waiting or running."""
    return jobs.is_active(run.record.kind)


def start(run: Run) -> None:
    """Make a run again as a job; `watch` shows it."""
    try:
        params = job_params(run.record)
    except FormatError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    slot = run.record.kind
    job_id = jobs.start(slot, Source(**params.pop("source")), params)
    st.session_state[_REPEATED] = _Repeat(run_id=run.id, slot=slot, job_id=job_id)
    st.rerun()


def watch() -> None:
    """Show the running jobs; when a repeated run is made, choose both it and the first one."""
    repeat: _Repeat | None = st.session_state.get(_REPEATED)
    if repeat is None or jobs.watched(repeat.slot) not in (None, repeat.job_id):
        # The pages that started them take over what they make: another job of the kind, too.
        st.session_state.pop(_REPEATED, None)
        jobs.show_others()
        return
    done = jobs.outcome(repeat.slot)
    jobs.show_others(repeat.slot)
    if done is not None:
        del st.session_state[_REPEATED]
        run_list.choose([repeat.run_id, done["run"]])
        _tell(repeat.run_id, done["run"])
    elif not jobs.is_active(repeat.slot) and not jobs.has_message(repeat.slot):
        del st.session_state[_REPEATED]


def _tell(first_id: str, second_id: str) -> None:
    store = state.run_store()
    try:
        first, second = store.load(first_id), store.load(second_id)
        same_table = compare_runs(first.record, second.record).same_table
        same = repeats(first, second)
    except EngineError:  # the first was deleted while the second was made
        st.success("The run was made again.", icon=":material/check:")
        return
    if not same_table:
        st.warning(
            f"The run was made again, but {literal(second.record.source['spec'])} holds other rows "
            "than it did: the two cannot be compared.",
            icon=":material/warning:",
        )
    elif same:
        st.success("Made again: every figure is the same, the time apart.", icon=":material/check:")
    else:
        st.info(
            "Made again. Some figures differ: another machine, thread count or version settles "
            "elsewhere.",
            icon=":material/info:",
        )


def show_recipe(run: Run) -> None:
    """The command line, the Python and the JSON that make the run again."""
    try:
        command, snippet, notes = (
            make(run.record) for make in (command_line, python_snippet, cautions)
        )
    except FormatError as error:
        st.info(literal(str(error)), icon=":material/info:")
        return
    by_command, by_python, by_json = st.tabs(["Command line", "Python", "JSON"])
    by_command.code(command, language="bash", wrap_lines=True)
    by_python.code(snippet, language="python", wrap_lines=True)
    with by_json:
        st.caption("All that is known of the run; the command and the snippet are made of it.")
        st.json(json.loads(run.record.to_json()), expanded=1)
    for note in notes:
        st.caption(f":material/info: {literal(note)}")
