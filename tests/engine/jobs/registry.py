"""Tasks that behave and tasks that do not, for the worker processes of the tests."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from engine.errors import ParameterError
from engine.jobs.protocol import JsonObject, Task
from engine.progress import Progress, ProgressCallback

FOREVER = 60.0  # far longer than any test waits, yet no process stays for ever


def echo(params: JsonObject, report: ProgressCallback) -> JsonObject:
    return {"params": params, "pid": os.getpid()}


def steps(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Report `count` steps, `seconds` apart, in each of `phases`."""
    for phase in params.get("phases", ["Working"]):
        for step in range(params["count"] + 1):
            report(Progress(phase=phase, done=step, total=params["count"], detail=f"at {step}"))
            if params.get("seconds"):  # even a sleep of 0 takes 0.1 ms
                time.sleep(params["seconds"])
    return {}


def early(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Be done long before the last step that was thought to be needed."""
    for step in range(8):
        report(Progress(phase="Converging", done=step, total=1000))
    return {}


def patient(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Work until cancelled, looking up a hundred times a second."""
    until = time.monotonic() + FOREVER
    while time.monotonic() < until:
        report(Progress(phase="Waiting", done=0, total=1))
        time.sleep(0.01)
    return {}


def deaf(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Say that it runs, then hear nothing, as inside one long library call."""
    report(Progress(phase="Not listening", done=0, total=1))
    time.sleep(FOREVER)
    return {}


def stubborn(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """As `deaf`, and a library has taken over the polite signal, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return deaf(params, report)


def killed(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Go as a process goes that the system stops for lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(FOREVER)
    return {}


def crash(params: JsonObject, report: ProgressCallback) -> JsonObject:
    sys.stderr.write("about to crash\n")
    faulthandler._sigsegv()
    return {}


def refuse(params: JsonObject, report: ProgressCallback) -> NoReturn:
    raise ParameterError("k must be between 1 and 5, got 9; lower k")


def bug(params: JsonObject, report: ProgressCallback) -> NoReturn:
    raise KeyError("first line\nsecond line")


def leave(params: JsonObject, report: ProgressCallback) -> NoReturn:
    sys.exit(3)


def panic(params: JsonObject, report: ProgressCallback) -> NoReturn:
    raise BaseException("a Rust panic is no Exception")


def out_of_memory(params: JsonObject, report: ProgressCallback) -> NoReturn:
    raise MemoryError


def torch_out_of_memory(params: JsonObject, report: ProgressCallback) -> NoReturn:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")


def not_json(params: JsonObject, report: ProgressCallback) -> JsonObject:
    return {"labels": {1, 2}}


def chatty(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Use the standard streams, as a library may."""
    sys.stdout.write('{"type": "result", "job_id": "forged", "value": {}}\n')
    os.write(1, b"straight to the descriptor\n")
    return {"read": sys.stdin.read()}


def garble(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Write into every descriptor there is, the worker's own pipe included."""
    for descriptor in range(3, 20):
        with suppress(OSError):
            os.write(descriptor, b"garbage\n")
    return deaf(params, report)


def quick_warm(params: JsonObject, report: ProgressCallback) -> JsonObject:
    with Path(os.environ["WARM_LOG"]).open("a") as log:
        log.write(f"{os.getpid()}\n")
    return {}


def slow_warm(params: JsonObject, report: ProgressCallback) -> JsonObject:
    quick_warm(params, report)
    return patient(params, report)


def deaf_warm(params: JsonObject, report: ProgressCallback) -> JsonObject:
    quick_warm(params, report)
    return deaf(params, report)


def killed_warm(params: JsonObject, report: ProgressCallback) -> JsonObject:
    quick_warm(params, report)
    return killed(params, report)


TASKS: dict[str, Task] = {
    task.__name__: task
    for task in (
        echo,
        steps,
        early,
        patient,
        deaf,
        stubborn,
        killed,
        crash,
        refuse,
        bug,
        leave,
        panic,
        out_of_memory,
        torch_out_of_memory,
        not_json,
        chatty,
        garble,
    )
}
QUICK_WARM = TASKS | {"warm": quick_warm}
SLOW_WARM = TASKS | {"warm": slow_warm}
DEAF_WARM = TASKS | {"warm": deaf_warm}
KILLED_WARM = TASKS | {"warm": killed_warm}
