"""What the app and its worker say to each other: one JSON object a line, never pickle.

Requests and cancels go to the worker's standard input, the rest comes back on a copy of its
standard output. Lines are small; arrays travel through files of the run store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from engine.errors import FormatError, ParameterError
from engine.progress import Progress, ProgressCallback

JsonObject = dict[str, Any]
Task = Callable[[JsonObject, ProgressCallback], JsonObject]

# A request fits into an empty pipe, so that sending one never waits for the worker to read.
MAX_REQUEST_BYTES = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Do this task."""

    job_id: str
    kind: str
    params: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop that task at the next safe point."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker has started and waits for requests."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a task is; the fields of `engine.progress.Progress`."""

    job_id: str
    phase: str
    done: int
    total: int
    detail: str = ""

    def __post_init__(self) -> None:
        """Check the counts as `Progress` does."""
        Progress(phase=self.phase, done=self.done, total=self.total, detail=self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The task is done."""

    job_id: str
    value: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The task ended without a result.

    Attributes:
        job_id: Which one.
        reason: "error" is the user's to mend, "cancelled" was asked for, "bug" is ours.
        message: For the user.
        traceback: For us; only with "bug".
    """

    job_id: str
    reason: Literal["error", "cancelled", "bug"]
    message: str
    traceback: str = ""


Message = Request | Cancel | Ready | Report | Result | Failure
_TYPES: dict[str, type[Message]] = {
    kind.__name__.lower(): kind for kind in (Request, Cancel, Ready, Report, Result, Failure)
}


def encode(message: Message) -> bytes:
    """One line of ASCII, its end included.

    Raises:
        ParameterError: If JSON cannot hold a value.
    """
    values = {part.name: getattr(message, part.name) for part in fields(message)}
    try:
        text = json.dumps({"type": type(message).__name__.lower(), **values}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"what goes through the worker's pipe must be JSON (text, finite numbers, true, false, "
            f"null, lists, objects): {error}; put arrays into a file and send its name"
        ) from error
    return text.encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """Read one line back.

    Raises:
        FormatError: If it is no message of ours.
    """
    try:
        raw = json.loads(line)
        values = cast("dict[str, Any]", raw)
        kind = _TYPES[values.pop("type")]
        return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"expected a message between the app and its worker, got {line[:200]!r}: {error!r}; "
            "something wrote into their pipe"
        ) from error
