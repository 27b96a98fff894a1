"""Long work on the screen: start it, watch it, cancel it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import streamlit as st

from engine import EngineError
from engine.jobs.queue import JobQueue
from engine.jobs.status import JobStatus
from pages.parts.state import Source
from pages.parts.wording import duration, literal

_ACTIVE = ("queued", "running")
_SLOTS = ("compress", "evaluate", "layout", "measure", "model", "sweep")
_STEADY = 0.1  # share done from which the time left is worth telling


@st.cache_resource(show_spinner=False)
def job_queue() -> JobQueue:
    """The one worker process of this server."""
    return JobQueue(warm=True)


def start(slot: str, source: Source, params: dict[str, Any]) -> None:
    """Submit a job and let this session watch it.

    Args:
        slot: The kind of job, which is also the place on the page that shows it.
        source: The table it works on.
        params: What else the task takes.
    """
    st.session_state.pop(f"message.{slot}", None)
    try:
        job_id = job_queue().submit(slot, {"source": asdict(source), **params})
    except EngineError as error:
        st.session_state[f"message.{slot}"] = ("error", literal(str(error)))
        return
    st.session_state[f"job.{slot}"] = job_id
    st.query_params[f"job_{slot}"] = job_id  # a reload finds its way back to the running job


def is_active(slot: str) -> bool:
    """Whether this session has such a job waiting or running."""
    status = _status(slot)
    return status is not None and status.state in _ACTIVE


def outcome(slot: str) -> dict[str, Any] | None:
    """Show how this session's job stands; hand its result over once, when it is done."""
    status = _status(slot)
    if status is not None and status.state in _ACTIVE:
        _watch(slot)
        return None
    result = None
    if status is not None:
        _forget(slot)
        if status.state == "done":
            result = status.result
        elif status.state == "cancelled":
            st.session_state[f"message.{slot}"] = ("info", "Cancelled. Nothing was changed.")
        else:
            st.session_state[f"message.{slot}"] = (
                "error",
                literal(status.error or "The job failed."),
            )
    kind, text = st.session_state.get(f"message.{slot}", ("", ""))
    if kind == "error":
        st.error(text, icon=":material/error:")
    elif kind == "info":
        st.info(text, icon=":material/info:")
    return result


def show_others(*own: str) -> None:
    """Show the running jobs of this session that another page started and will take over."""
    for slot in _SLOTS:
        if slot not in own and is_active(slot):
            _watch(slot)


@st.fragment(run_every=0.4)
def _watch(slot: str) -> None:
    status = _status(slot)
    if status is None or status.state not in _ACTIVE:
        st.rerun()
        return
    with st.container(border=True, key=f"job-{slot}"):
        left, right = st.columns([6, 1], vertical_alignment="center")
        phase = status.phase or ("Waiting for its turn" if status.state == "queued" else "Starting")
        remaining = (
            f" · about {duration(status.eta_seconds)} left"
            if status.eta_seconds is not None and status.fraction >= _STEADY
            else ""
        )
        detail = f" · {status.detail}" if status.detail else ""
        left.progress(min(1.0, status.fraction), text=f"**{phase}**{detail}{remaining}")
        if right.button("Cancel", key=f"cancel-{slot}", width="stretch"):
            job_queue().cancel(st.session_state[f"job.{slot}"])
            st.rerun()


def _status(slot: str) -> JobStatus | None:
    job_id = st.session_state.get(f"job.{slot}") or st.query_params.get(f"job_{slot}")
    if not job_id:
        return None
    known = {status.job_id: status for status in job_queue().jobs()}
    if job_id not in known:
        _forget(slot)  # of an earlier server
        return None
    st.session_state[f"job.{slot}"] = job_id
    return known[job_id]


def _forget(slot: str) -> None:
    st.session_state.pop(f"job.{slot}", None)
    st.query_params.pop(f"job_{slot}", None)
