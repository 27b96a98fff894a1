"""What is known about a job: the queue's own note, and the picture of it that others get."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal

from engine.jobs.protocol import JsonObject, Report

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
_SMOOTHING_SECONDS = 2.0
_SILENT_SECONDS = 1.0  # the first steps load and allocate; a guess from them is wild


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job at one moment.

    Attributes:
        job_id: As `JobQueue.submit` gave it.
        kind: The task.
        request: Digest of what was asked for: equal for equal requests, and tells no more.
        state: Where it is on its way.
        place: In state "queued", how many jobs must begin before it has begun: 1 is the next one.
        phase: What is being done, for people; empty before the first report.
        done: Steps of the phase finished.
        total: Steps of the phase, at least 1.
        detail: A figure worth watching, or nothing.
        elapsed_seconds: Since it began to run; final once it has ended.
        eta_seconds: Until the end of the phase; None while that cannot be told.
        result: What the task gave, in state "done" (shared: do not change it).
        error: Why there is no result, written for the user, in state "failed".
        traceback: For a bug report; only where the failure is a bug of ours.
    """

    job_id: str
    kind: str
    request: str
    state: JobState
    place: int | None
    phase: str
    done: int
    total: int
    detail: str
    elapsed_seconds: float
    eta_seconds: float | None
    result: JsonObject | None
    error: str | None
    traceback: str | None

    @property
    def fraction(self) -> float:
        """Share of the phase that is done, 0 … 1; 1 when the job is done."""
        return 1.0 if self.state == "done" else self.done / self.total

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("queued", "running")


@dataclass(slots=True)
class PhaseClock:
    """Estimates when the current phase ends.

    The expected moment of the end is smoothed, not the time left: between reports the time left
    then runs down by itself.
    """

    phase: str = ""
    started: float = 0.0
    fraction: float = 0.0
    _end: float | None = None
    _seen: float = 0.0

    def observe(self, now: float, phase: str, fraction: float) -> None:
        """Take note of a report.

        Args:
            now: Seconds, of any clock that never goes back.
            phase: Its name; a new one starts the estimate afresh.
            fraction: Share done, 0 … 1.
        """
        if phase != self.phase or fraction < self.fraction:
            self.phase, self.started, self._end, self._seen = phase, now, None, now
        self.fraction = fraction
        if fraction > 0:
            end = self.started + (now - self.started) / fraction
            if self._end is not None:
                keep = math.exp(-(now - self._seen) / _SMOOTHING_SECONDS)
                end = keep * self._end + (1 - keep) * end
            self._end, self._seen = end, now

    def eta(self, now: float) -> float | None:
        """Seconds until the phase ends, at least 0; None within its first second."""
        if self.fraction >= 1:
            return 0.0
        if self._end is None or now - self.started < _SILENT_SECONDS:
            return None
        return max(0.0, self._end - now)


@dataclass(slots=True, kw_only=True)
class Job:
    """The queue's note of one job; changed only under the queue's lock."""

    job_id: str
    kind: str
    request: str = ""
    line: bytes  # the request, made when the job was submitted: later changes have no say
    internal: bool = False
    state: JobState = "queued"
    report: Report | None = None
    clock: PhaseClock = field(default_factory=PhaseClock)
    started: float | None = None
    ended: float | None = None
    stop_by: float | None = None
    result: JsonObject | None = None
    error: str | None = None
    traceback: str | None = None

    def start(self) -> None:
        """It was handed to the worker."""
        self.state, self.started = "running", time.monotonic()

    def observe(self, report: Report) -> None:
        """Take note of its progress."""
        self.report = report
        self.clock.observe(time.monotonic(), report.phase, report.done / report.total)

    def end(
        self,
        state: JobState,
        *,
        result: JsonObject | None = None,
        error: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """Nothing more happens to it."""
        self.state, self.ended, self.line = state, time.monotonic(), b""
        self.result, self.error, self.traceback = result, error, traceback

    def status(self, place: int | None = None) -> JobStatus:
        """The picture of it that others get, with its place in line."""
        now = time.monotonic() if self.ended is None else self.ended
        report = self.report
        return JobStatus(
            job_id=self.job_id,
            kind=self.kind,
            request=self.request,
            state=self.state,
            place=place,
            phase=report.phase if report else "",
            done=report.done if report else 0,
            total=report.total if report else 1,
            detail=report.detail if report else "",
            elapsed_seconds=0.0 if self.started is None else now - self.started,
            eta_seconds=self.clock.eta(now) if self.state == "running" else None,
            result=self.result,
            error=self.error,
            traceback=self.traceback,
        )
