"""A job queue that says what a test wants and remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.errors import ParameterError
from engine.jobs.status import JobState, JobStatus


def make_status(state: JobState, **changes: Any) -> JobStatus:  # noqa: ANN401 - fields of any kind
    known: dict[str, Any] = {
        "job_id": "1-ab",
        "kind": "compress",
        "request": "",
        "state": state,
        "place": None,
        "phase": "",
        "done": 0,
        "total": 1,
        "detail": "",
        "elapsed_seconds": 0.0,
        "eta_seconds": None,
        "result": None,
        "error": None,
        "traceback": None,
    }
    return JobStatus(**{**known, **changes})


@dataclass(slots=True)
class FakeQueue:
    """Knows the statuses it was given and what it was asked for."""

    known: list[JobStatus] = field(default_factory=list)
    submitted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refusal: str = ""

    def jobs(self) -> list[JobStatus]:
        return self.known

    def submit(self, kind: str, params: dict[str, Any]) -> str:
        if self.refusal:
            raise ParameterError(self.refusal)
        self.submitted.append((kind, params))
        self.known.append(make_status("queued"))
        return "1-ab"

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self.known = [make_status("cancelled")]

    def wait(self, job_id: str, timeout: float) -> JobStatus:
        return next(status for status in self.known if status.job_id == job_id)
