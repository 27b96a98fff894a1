"""The worker process: ``python -m engine.jobs.worker [--tasks module:attribute]``.

One task at a time on the main thread; a second thread listens, so that a cancel is heard in the
middle of a task, and so that the process ends when its parent does.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from queue import SimpleQueue
from typing import BinaryIO

from engine.errors import Cancelled, EngineError, ParameterError
from engine.jobs.protocol import (
    Cancel,
    Failure,
    Message,
    Ready,
    Report,
    Request,
    Result,
    Task,
    decode,
    encode,
)
from engine.jobs.throttle import Throttle
from engine.jobs.warming import WARM, warm
from engine.progress import Progress

# torch raises a plain RuntimeError when memory runs out; these are its words for it.
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory")
_MEMORY_MESSAGE = (
    "There was not enough memory for this job. Close other programs, or choose a smaller table, "
    "a lower k or fewer starts, then run it again"
)
_BUG_MESSAGE = (
    "Something went wrong inside the program ({error}). The full report is in the terminal the "
    "app was started from; please send it to us"
)


class Worker:
    """Runs the tasks it is asked for.

    Args:
        requests: Lines from the parent; its end means that the parent is gone.
        events: Lines to the parent.
    """

    def __init__(self, requests: BinaryIO, events: BinaryIO) -> None:
        self._requests = requests
        self._events = events
        self._writing = threading.Lock()  # a task may report from threads of its own
        self._waiting: SimpleQueue[Request] = SimpleQueue()
        self._cancelled: set[str] = set()

    def listen(self) -> None:
        """Take lines until the parent is gone, then end the process, whatever it is doing."""
        try:
            for line in self._requests:
                message = decode(line)
                if isinstance(message, Request):
                    self._waiting.put(message)
                elif isinstance(message, Cancel):
                    self._cancelled.add(message.job_id)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)

    def serve(self, tasks: Mapping[str, Task]) -> None:
        """Say that all is ready, then do one task after the other, for ever."""
        self._send(Ready(pid=os.getpid()))
        while True:
            request = self._waiting.get()
            self._send(self._run(tasks, request))
            self._cancelled.discard(request.job_id)

    def _run(self, tasks: Mapping[str, Task], request: Request) -> Message:
        job_id = request.job_id

        def send(progress: Progress) -> None:
            self._send(
                Report(
                    job_id=job_id,
                    phase=progress.phase,
                    done=progress.done,
                    total=progress.total,
                    detail=progress.detail,
                )
            )

        throttle = Throttle(send)

        def report(progress: Progress) -> None:
            if job_id in self._cancelled:
                raise Cancelled("The job was cancelled")
            throttle.report(progress)

        try:
            value = _find(tasks, request.kind)(request.params, report)
            throttle.flush()
            return _checked(Result(job_id=job_id, value=value))
        except BaseException as error:  # Rust panics and sys.exit() are no Exceptions
            return _failure(job_id, error)

    def _send(self, message: Message) -> None:
        line = encode(message)
        with self._writing:
            self._events.write(line)
            self._events.flush()


def _find(tasks: Mapping[str, Task], kind: str) -> Task:
    if kind not in tasks:
        raise ParameterError(
            f"there is no task called {kind!r}; the worker knows {', '.join(sorted(tasks))}"
        )
    return tasks[kind]


def _checked(result: Result) -> Result:
    try:
        encode(result)
    except ParameterError as error:  # the task's mistake, not the user's
        raise TypeError(f"the task gave back something else than JSON: {error}") from error
    return result


def _failure(job_id: str, error: BaseException) -> Failure:
    if isinstance(error, Cancelled):
        return Failure(job_id=job_id, reason="cancelled", message=str(error))
    if isinstance(error, EngineError):
        return Failure(job_id=job_id, reason="error", message=str(error))
    if _is_memory(error):
        return Failure(job_id=job_id, reason="error", message=_MEMORY_MESSAGE)
    report = "".join(traceback.format_exception(error))
    print(report, file=sys.stderr, flush=True)  # noqa: T201 - the log of this process
    summary = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    message = _BUG_MESSAGE.format(error=summary)
    return Failure(job_id=job_id, reason="bug", message=message, traceback=report)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def _load_tasks(spec: str) -> dict[str, Task]:
    module, _, attribute = spec.partition(":")
    return {WARM: warm, **getattr(import_module(module), attribute)}


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes for ourselves: what libraries print or read goes elsewhere."""
    requests, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(events, "wb")


def main(arguments: list[str] | None = None) -> None:
    """Run until the parent closes our standard input."""
    parser = argparse.ArgumentParser(description="Worker of subspace-atlas; the app starts it.")
    parser.add_argument("--tasks", default="engine.jobs.tasks:TASKS", help="module:attribute")
    options = parser.parse_args(arguments)
    worker = Worker(*_take_pipes())
    faulthandler.enable()  # a crash inside a library says where, on standard error
    # Before the tasks are loaded: the parent may die while we import.
    threading.Thread(target=worker.listen, name="listen", daemon=True).start()
    try:
        worker.serve(_load_tasks(options.tasks))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    # Not sys.exit: the listening thread sits in a read that would block the interpreter's end.
    os._exit(1)


if __name__ == "__main__":
    main()
