"""Long work on the screen: start it, watch it, cancel it."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import streamlit as st

from engine import EngineError
from engine.jobs.queue import JobQueue, request_digest
from engine.jobs.status import JobStatus
from pages.parts import hosting
from pages.parts.state import Source
from pages.parts.wording import duration, literal

_ACTIVE = ("queued", "running")
KINDS = {
    "compress": "Compression",
    "evaluate": "Accuracy checks",
    "layout": "UMAP map",
    "measure": "Measures of the tokens",
    "model": "Smaller model",
    "sweep": "Sweep",
}
"""What people call each kind of job. A kind is also the slot, the place that shows it."""
_OWN = "own-jobs"
_CANCELLED = "Cancelled. Nothing was changed."
_CANCELLED_SECONDS = 10  # said for as long: pages run again by themselves soon after a job's end
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """How a job ended, where there is something to say: kept, for pages run again at any time."""

    kind: Literal["error", "info"]
    text: str
    source: Source | None  # None where the session came to the job by a link
    made: float = field(default_factory=time.monotonic)

    def is_stale(self, source: Source | None) -> bool:
        """Whether it is of another table than the page shows, or was read long ago."""
        if self.kind == "info" and time.monotonic() - self.made > _CANCELLED_SECONDS:
            return True
        return _differ(self.source, source)


def start(slot: str, source: Source, params: dict[str, Any]) -> str | None:
    """Submit a job and let this session watch it.

    Args:
        slot: The kind of job, which is also the place on the page that shows it.
        source: The table it works on.
        params: What else the task takes.

    Returns:
        Its id; None where it was refused, which `outcome` tells.
    """
    st.session_state.pop(_message_key(slot), None)
    request = _request(source, params)
    try:
        hosting.access().check_job(request)
        job_id = job_queue().submit(slot, request)
    except EngineError as error:
        _keep(slot, "error", literal(str(error)), source)
        return None
    st.session_state[f"job.{slot}"] = job_id
    st.session_state[f"source.{slot}"] = source
    _own(job_id)
    st.query_params[f"job_{slot}"] = job_id  # a reload finds its way back to the running job
    return job_id


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
            st.session_state[f"source.{slot}"] = source


def cancel(job_id: str) -> None:
    """Stop a job, and wait the half second that takes: a page drawn sooner would still watch it."""
    job_queue().cancel(job_id)
    job_queue().wait(job_id, timeout=0.5)


def is_own(job_id: str) -> bool:
    """Whether this session started the job, or came by a link that names it."""
    return job_id in st.session_state.get(_OWN, ())


def is_active(slot: str) -> bool:
    """Whether this session has such a job waiting or running."""
    status = _status(slot)
    return status is not None and status.state in _ACTIVE


def watched(slot: str) -> str | None:
    """The id of the job of this kind that this session watches, ended or not."""
    status = _status(slot)
    return None if status is None else status.job_id


def result_of(job_id: str | None) -> dict[str, Any] | None:
    """What a job made, whoever took it over; None where it is not done or long forgotten."""
    ended = (one for one in job_queue().jobs() if one.job_id == job_id and one.state == "done")
    status = next(ended, None)
    return None if status is None else status.result


def outcome(slot: str, source: Source | None = None) -> dict[str, Any] | None:
    """Show how this session's job stands; hand its result over once, when it is done.

    Args:
        slot: As in `start`.
        source: The table the page shows, where what the job made is only of use beside it: nothing
            is told or handed over of a job that is known to be of another. Its run is kept.
    """
    status = _status(slot)
    if status is not None and status.state in _ACTIVE:
        _watch(slot)
        return None
    result = None
    if status is not None:
        of: Source | None = st.session_state.get(f"source.{slot}")
        _forget(slot)
        if status.state == "done":
            result = None if _differ(of, source) else status.result
        elif status.state == "cancelled":
            _keep(slot, "info", _CANCELLED, of)
        else:
            _keep(slot, "error", literal(status.error or "The job failed."), of)
    message: _Message | None = st.session_state.get(_message_key(slot))
    if message is None:
        return result
    if message.is_stale(source):
        del st.session_state[_message_key(slot)]
    elif message.kind == "error":
        st.error(message.text, icon=":material/error:")
    else:
        st.info(message.text, icon=":material/info:")
    return result


def has_message(slot: str) -> bool:
    """Whether `outcome` still says why this session's last job of the kind made nothing."""
    return _message_key(slot) in st.session_state


def show_others(*own: str) -> None:
    """Show the running jobs of this session that another page started and will take over."""
    for slot in KINDS:
        if slot not in own and is_active(slot):
            _watch(slot)


# Each look has the page composed anew, the map with it: without a GPU the job pays for that.
@st.fragment(run_every=1.0)
def _watch(slot: str) -> None:
    status = _status(slot)
    if status is None or status.state not in _ACTIVE:
        st.rerun()
        return
    place = st.empty()
    with place.container(border=True, key=f"job-{slot}"):
        left, right = st.columns([6, 1], vertical_alignment="center")
        detail = f" · {status.detail}" if status.detail else ""
        text = f"**{describe_phase(status)}**{detail}{time_left(status)}"
        left.progress(min(1.0, status.fraction), text=text)
        if not is_own(status.job_id):
            right.caption("another tab’s")
        elif right.button("Cancel", key=f"cancel-{slot}", width="stretch"):
            place.info("Stopping…", icon=":material/hourglass:")  # at once; a page takes a second
            cancel(status.job_id)
            place.info(_CANCELLED, icon=":material/info:")
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
    return f" · about {duration(status.eta_seconds)} left of this step"


def _message_key(slot: str) -> str:
    return f"message.{slot}"


def _keep(slot: str, kind: Literal["error", "info"], text: str, source: Source | None) -> None:
    st.session_state[_message_key(slot)] = _Message(kind=kind, text=text, source=source)


def _differ(a: Source | None, b: Source | None) -> bool:
    """Whether both are known and are not the same."""
    return a is not None and b is not None and a != b


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
        _forget(slot)
        gone = (
            "The server knows nothing of this job any more: it has been started anew since, or did "
            "much else. Start the job again if its result is not among the runs."
        )
        _keep(slot, "error", gone, None)
        return None
    st.session_state[f"job.{slot}"] = job_id
    return known[job_id]


def _forget(slot: str) -> None:
    st.session_state.pop(f"job.{slot}", None)
    st.session_state.pop(f"source.{slot}", None)
    st.query_params.pop(f"job_{slot}", None)
