"""Every job of the server, at the foot of the sidebar: what runs, what waits, how others ended."""

from __future__ import annotations

import streamlit as st

from engine.jobs.status import JobState, JobStatus
from pages.parts import jobs
from pages.parts.wording import duration, literal

_LOOK_SECONDS = 3.0  # the job's own panel looks more often, on the page that started it
_ENDED_SHOWN = 5
_ENDINGS: dict[JobState, tuple[str, str]] = {
    "done": (":material/check_circle:", "done"),
    "failed": (":material/error:", "failed"),
    "cancelled": (":material/cancel:", "cancelled"),
}


def show_jobs() -> None:
    """List the jobs in the sidebar; nothing where there was none yet.

    While one waits or runs the list looks again by itself, without the page.
    """
    known = jobs.job_queue().jobs()
    if not known:
        return
    active = any(not status.finished for status in known)
    with st.sidebar:
        st.fragment(_draw, run_every=_LOOK_SECONDS if active else None)(watched=active)


def _draw(*, watched: bool) -> None:
    known = jobs.job_queue().jobs()
    active = [status for status in known if not status.finished]
    if watched and not active:
        st.rerun()  # a page without the clock of this list: nobody looks while nothing runs
    with st.container(key="job-list", gap="small"):
        st.subheader("Jobs on this server")
        for status in active:
            _show_active(status)
        ended = [status for status in known if status.finished][: -_ENDED_SHOWN - 1 : -1]
        if ended:
            with st.expander(f"Ended lately: {len(ended)}"):
                for status in ended:
                    st.caption(_describe_end(status))
        if active:
            st.caption("One at a time, in the order they came.")


def _show_active(status: JobStatus) -> None:
    own = jobs.is_own(status.job_id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container():
            text = f"**{_name(status)}**  \n{jobs.describe_phase(status)}{jobs.time_left(status)}"
            st.progress(min(1.0, status.fraction), text=text)
        if own:
            st.button(
                "Cancel",
                key=f"cancel-{status.job_id}",
                type="tertiary",
                icon=":material/close:",
                on_click=jobs.cancel,
                args=(status.job_id,),
            )


def _describe_end(status: JobStatus) -> str:
    icon, ending = _ENDINGS[status.state]
    unfinished = len((status.result or {}).get("unfinished", ()))
    if unfinished:
        icon = ":material/warning:"
        ending = f"ended, but {unfinished} of the checks could not be finished"
    took = f" in {duration(status.elapsed_seconds)}" if status.state == "done" else ""
    own = jobs.is_own(status.job_id)
    why = f". {literal(status.error)}" if own and status.error else ""  # may name another's files
    return f"{icon} {_name(status)}: {ending}{took}{why}"


def _name(status: JobStatus) -> str:
    """What it is and whose. Nothing else is told of others' jobs: not what they work on."""
    whose = "yours" if jobs.is_own(status.job_id) else "another session’s"
    return f"{jobs.KINDS[status.kind]}, {whose}"
