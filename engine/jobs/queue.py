"""The job queue: first come, first served, by one worker process that may be killed at any time."""

from __future__ import annotations

import atexit
import hashlib
import itertools
import secrets
import threading
import time
from types import TracebackType

from engine.errors import JobError, ParameterError
from engine.jobs.process import WorkerProcess
from engine.jobs.protocol import (
    MAX_REQUEST_BYTES,
    Cancel,
    Failure,
    JsonObject,
    Message,
    Ready,
    Report,
    Request,
    Result,
    encode,
)
from engine.jobs.status import Job, JobState, JobStatus
from engine.jobs.warming import WARM

KEPT_JOBS = 200
CANCEL_SECONDS = 0.3  # how long a task may take to notice before its process is ended
# Loading one package takes up to two seconds, ten the first time on a machine: waiting longer
# than that costs the user more than a fresh worker, which loads torch again.
_WARM_PATIENCE_SECONDS = 2.0
_SAMPLE_SECONDS = 0.5
_CLOSE_SECONDS = 5.0


def request_digest(kind: str, params: JsonObject) -> str:
    """What `JobStatus.request` is of a job of this kind and these parameters.

    Raises:
        ParameterError: If JSON cannot hold the parameters.
    """
    line = encode(Request(job_id="", kind=kind, params=params))
    return hashlib.blake2b(line, digest_size=16).hexdigest()


class JobQueue:
    """Runs tasks in a worker process, one after the other.

    All methods may be called from any thread and return at once, but for `wait` and `close`. The
    worker starts with the queue, is started again when it dies, and never outlives this process.

    Args:
        tasks: ``module:attribute`` of the registry, a dict from kind to task.
        warm: Load the heavy packages in the worker while there is nothing to do.
    """

    def __init__(self, tasks: str = "engine.jobs.tasks:TASKS", *, warm: bool = False) -> None:
        self._tasks = tasks
        self._warm = warm
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count(1)
        self._running: Job | None = None
        self._worker: WorkerProcess | None = None
        self._spawn_early = True  # also while no job waits for it
        self._closed = False
        self._changed = threading.Condition()
        self._supervisor = threading.Thread(target=self._supervise, name="jobs", daemon=True)
        self._supervisor.start()
        atexit.register(self.close)

    def __enter__(self) -> JobQueue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        with self._changed:
            return self._worker.pid if self._worker else None

    def submit(self, kind: str, params: JsonObject) -> str:
        """Add a job at the end of the queue.

        Args:
            kind: Which task.
            params: What it is given; JSON values, at most 32 kB. Arrays go through files.

        Returns:
            The job's id.

        Raises:
            ParameterError: If JSON cannot hold the parameters or they are too large.
            JobError: If the queue is closed.
        """
        job_id = f"{next(self._numbers)}-{secrets.token_hex(4)}"
        line = encode(Request(job_id=job_id, kind=kind, params=params))
        if len(line) > MAX_REQUEST_BYTES:
            raise ParameterError(
                f"the parameters of a job may take {MAX_REQUEST_BYTES:,} bytes as JSON, got "
                f"{len(line):,}; write what is large to a file and give its name"
            )
        with self._changed:
            if self._closed:
                raise JobError("the job queue is closed and takes no new jobs; make a new one")
            self._jobs[job_id] = Job(
                job_id=job_id, kind=kind, request=request_digest(kind, params), line=line
            )
            if self._running and self._running.internal:
                self._ask_to_stop(self._running, _WARM_PATIENCE_SECONDS)
            self._changed.notify_all()
        return job_id

    def status(self, job_id: str) -> JobStatus:
        """Where a job is.

        Raises:
            ParameterError: If there is no such job, or it ended more than 200 jobs ago.
        """
        with self._changed:
            return self._describe(self._find(job_id))

    def jobs(self) -> list[JobStatus]:
        """All jobs that are known, in the order they came."""
        with self._changed:
            return [self._describe(job) for job in self._jobs.values()]

    def cancel(self, job_id: str) -> None:
        """Stop a job; it is cancelled within half a second.

        One that waits is dropped at once. One that runs is asked, and after 0.3 s its process is
        ended. One that finishes before it hears of it is done; one that has ended stays as it is.

        Raises:
            ParameterError: If there is no such job.
        """
        with self._changed:
            job = self._find(job_id)
            if job.state == "queued":
                self._finish(job, "cancelled")
            elif job.state == "running":
                self._ask_to_stop(job, CANCEL_SECONDS)

    def wait(self, job_id: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job has ended.

        Args:
            job_id: Which one.
            timeout: Seconds; None for as long as it takes.

        Returns:
            Its status then, or at the end of the time.

        Raises:
            ParameterError: If there is no such job.
        """
        with self._changed:
            job = self._find(job_id)
            self._changed.wait_for(lambda: job.ended is not None, timeout)
            return self._describe(job)

    def close(self) -> None:
        """Cancel what waits or runs and end the worker. Closing again does nothing."""
        with self._changed:
            self._closed = True
            for job in list(self._jobs.values()):
                if job.ended is None:
                    self._finish(job, "cancelled")
            self._running = None
            worker = self._worker
            self._changed.notify_all()
        if worker is not None:
            worker.kill(_CLOSE_SECONDS)
        self._supervisor.join(_CLOSE_SECONDS)
        atexit.unregister(self.close)

    # The supervisor's thread

    def _supervise(self) -> None:
        with self._changed:
            while not self._closed:
                self._start_worker()
                self._hand_over()
                self._changed.wait(self._watch_running())

    def _start_worker(self) -> None:
        while self._worker is None and (self._spawn_early or self._next_waiting()):
            self._spawn_early = False
            try:
                self._worker = WorkerProcess(
                    self._tasks, on_message=self._take_message, on_end=self._take_end
                )
            except OSError as error:
                text = f"The worker process could not start: {error}. Close other programs, then "
                text += "run the job again"
                if job := self._next_waiting():
                    self._finish(job, "failed", error=text)

    def _hand_over(self) -> None:
        worker = self._worker
        if worker is None or not worker.ready or worker.stopped or self._running:
            return
        job = self._next_waiting()
        if job is None and self._warm and not worker.warmed:
            request = Request(job_id=f"0-{secrets.token_hex(4)}", kind=WARM, params={})
            job = Job(job_id=request.job_id, kind=WARM, line=encode(request), internal=True)
        if job and worker.send(job.line):
            job.start()
            self._running = job

    def _watch_running(self) -> float | None:
        """End what was asked to stop and did not; seconds until we must look again."""
        job, worker = self._running, self._worker
        if job is None or worker is None:
            return None
        if job.stop_by is None:
            worker.measure_memory()
            return _SAMPLE_SECONDS
        left = job.stop_by - time.monotonic()
        if left > 0:
            return left
        self._finish(job, "cancelled")
        self._spawn_early = True
        worker.stop()
        return None

    # Called from the worker's threads

    def _take_message(self, worker: WorkerProcess, message: Message) -> None:
        with self._changed:
            if isinstance(message, Ready):
                worker.ready = True
                self._changed.notify_all()
            elif isinstance(message, Report | Result | Failure):
                job = self._running
                # Late words of a job that was ended in the meantime are nobody's.
                if job is not None and job.job_id == message.job_id:
                    self._hear(job, worker, message)

    def _hear(self, job: Job, worker: WorkerProcess, message: Report | Result | Failure) -> None:
        if isinstance(message, Report):
            job.observe(message)
        elif isinstance(message, Result):
            self._finish(job, "done", result=message.value)
        elif message.reason == "cancelled":
            self._finish(job, "cancelled")
        else:
            trace = message.traceback or None
            self._finish(job, "failed", error=message.message, traceback=trace)
        if job.internal:
            # A package that cannot be loaded is told when a job needs it, not before.
            worker.warmed = job.state in ("done", "failed")

    def _take_end(self, worker: WorkerProcess) -> None:
        with self._changed:
            if self._closed:
                return
            self._worker = None
            # A worker that cannot start fails the job it was started for. Only the next job tries
            # again, or it would be started for ever.
            job = self._running if worker.ready else self._next_waiting()
            if job is not None and not worker.stopped:
                self._spawn_early = worker.ready
                if job.internal:
                    self._warm = False  # it would only die of it again
                if job.stop_by is not None:
                    self._finish(job, "cancelled")
                else:
                    self._finish(job, "failed", error=worker.why_it_ended())
            self._changed.notify_all()

    # Under the lock, from anywhere

    def _next_waiting(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == "queued"), None)

    def _describe(self, job: Job) -> JobStatus:
        if job.state != "queued":
            return job.status()
        waiting = (other for other in self._jobs.values() if other.state == "queued")
        return job.status(1 + list(waiting).index(job))

    def _find(self, job_id: str) -> Job:
        if job_id not in self._jobs:
            raise ParameterError(
                f"there is no job {job_id!r}; it ended more than {KEPT_JOBS} jobs ago or was never "
                "submitted here. Submit it again"
            )
        return self._jobs[job_id]

    def _ask_to_stop(self, job: Job, patience: float) -> None:
        """Ask once; a later, shorter patience has no say."""
        if job.stop_by is None and self._worker is not None:
            self._worker.send(encode(Cancel(job_id=job.job_id)))
            job.stop_by = time.monotonic() + patience
            self._changed.notify_all()

    def _finish(
        self,
        job: Job,
        state: JobState,
        *,
        result: JsonObject | None = None,
        error: str | None = None,
        traceback: str | None = None,
    ) -> None:
        job.end(state, result=result, error=error, traceback=traceback)
        if self._running is job:
            self._running = None
        ended = [job_id for job_id, other in self._jobs.items() if other.ended is not None]
        for job_id in ended[: max(0, len(ended) - KEPT_JOBS)]:
            del self._jobs[job_id]
        self._changed.notify_all()
