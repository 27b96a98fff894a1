"""Background jobs: one worker process, a queue in front of it. README.md says why it is so."""

from __future__ import annotations

from engine.jobs.queue import JobQueue
from engine.jobs.status import JobState, JobStatus

__all__ = ["JobQueue", "JobState", "JobStatus"]
