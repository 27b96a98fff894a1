"""Long work on the screen: start it, watch it, cancel it."""

from __future__ import annotations

import gc
from dataclasses import asdict
from typing import Any

import streamlit as st

from engine import EngineError
from engine.jobs.queue import JobQueue, request_digest
from engine.jobs.status import JobStatus
from pages.parts import hosting
from pages.parts.state import Source
from pages.parts.wording import duration, literal

_ACTIVE = ("queued", "running")
_SLOTS = ("compress", "evaluate", "layout", "measure", "model", "sweep")
_OWN = "own-jobs"
_STEADY = 0.1  # share done from which the time left is worth telling


@st.cache_resource(show_spinner=False)
def job_queue() -> JobQueue:
    """The one worker process of this server."""
    # Streamlit collects garbage after every run of a script or fragment, and whoever watches a job
    # runs one several times a second. Among the 300,000 objects of the libraries that takes 0.16 s
    # of a core, which the job then lacks; frozen, they are passed over.
    gc.collect()
    gc.freeze()
    return JobQueue(warm=True)


def start(slot: str, source: Source, params: dict[str, Any]) -> None:
    """Submit a job and let this session watch it.

    Args:
        slot: The kind of job, which is also the place on the page that shows it.
        source: The table it works on.
        params: What else the task takes.
    """
    st.session_state.pop(f"message.{slot}", None)
    request = _request(source, params)
    try:
        hosting.access().check_job(request)
        job_id = job_queue().submit(slot, request)
    except EngineError as error:
        st.session_state[f"message.{slot}"] = ("error", literal(str(error)))
        return
    st.session_state[f"job.{slot}"] = job_id
    _own(job_id)
    st.query_params[f"job_{slot}"] = job_id  # a reload finds its way back to the running job


def join(slot: str, source: Source, params: dict[str, Any]) -> None:
    """Watch a job that another tab or visitor started, where it makes what this page waits for.

    Only of use for what is shared by all who look at a table: a layout, a model's zip file.

    Args:
        slot: As in `start`, as the others are.
        source: The table.
        params: What else the task takes.
    """
    if _status(slot) is not None:
        return
    wanted = request_digest(slot, _request(source, params))
    for status in job_queue().jobs():
        if status.request == wanted and status.state in _ACTIVE:
            st.session_state[f"job.{slot}"] = status.job_id


def is_own(job_id: str) -> bool:
    """Whether this session started the job, or came by a link that names it."""
    return job_id in st.session_state.get(_OWN, ())


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
        detail = f" · {status.detail}" if status.detail else ""
        text = f"**{describe_phase(status)}**{detail}{time_left(status)}"
        left.progress(min(1.0, status.fraction), text=text)
        if not is_own(status.job_id):
            right.caption("another tab’s")
        elif right.button("Cancel", key=f"cancel-{slot}", width="stretch"):
            job_queue().cancel(status.job_id)
            st.rerun()


def describe_phase(status: JobStatus) -> str:
    """What a job is doing, or what it waits for."""
    if status.state != "queued":
        return status.phase or "Starting"
    ahead = "next in line" if status.place in (1, None) else f"number {status.place} in line"
    return f"Waiting for its turn, {ahead}"


def time_left(status: JobStatus) -> str:
    """How long the phase of a job will still take, once that can be told; else nothing."""
    if status.eta_seconds is None or status.fraction < _STEADY:
        return ""
    return f" · about {duration(status.eta_seconds)} left"


def _request(source: Source, params: dict[str, Any]) -> dict[str, Any]:
    return {"source": asdict(source), **params}


def _own(job_id: str) -> None:
    st.session_state[_OWN] = {*st.session_state.get(_OWN, ()), job_id}


def _status(slot: str) -> JobStatus | None:
    named = st.query_params.get(f"job_{slot}")
    job_id = st.session_state.get(f"job.{slot}") or named
    if not job_id:
        return None
    if job_id == named:
        _own(job_id)
    known = {status.job_id: status for status in job_queue().jobs()}
    if job_id not in known:
        _forget(slot)  # of an earlier server
        return None
    st.session_state[f"job.{slot}"] = job_id
    return known[job_id]


def _forget(slot: str) -> None:
    st.session_state.pop(f"job.{slot}", None)
    st.query_params.pop(f"job_{slot}", None)
