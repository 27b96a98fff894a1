"""The parent's end of one worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, cast

import psutil

from engine.errors import FormatError
from engine.jobs.protocol import Message, decode

KILL_SECONDS = 0.2  # from a polite SIGTERM, which a library may have taken over, to SIGKILL
_TAIL_BYTES = 4_000
_DRAIN_SECONDS = 1.0


class WorkerProcess:
    """One worker process, from its start to its end.

    Attributes:
        ready: Whether it has said that it waits for requests.
        stopped: Whether we ended it ourselves.
        warmed: Whether it has loaded the heavy packages.
        peak_bytes: The most memory it was seen to hold.

    Args:
        tasks: ``module:attribute`` of its task registry.
        on_message: Called for each message, from a thread of this object.
        on_end: Called once, after the last message, when the process is gone.
    """

    def __init__(
        self,
        tasks: str,
        *,
        on_message: Callable[[WorkerProcess, Message], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        self.ready = False
        self.stopped = False
        self.warmed = False
        self.peak_bytes = 0
        self._on_message = on_message
        self._on_end = on_end
        self._tail = b""
        self._fault = ""
        self._process = subprocess.Popen(
            # -P: a file torch.py in the working directory must not be imported; -u: what is
            # printed just before a crash still gets out.
            [sys.executable, "-P", "-u", "-m", "engine.jobs.worker", "--tasks", tasks],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": _import_path()},
            # Ctrl-C in the terminal is for the parent; the worker ends when its pipe does.
            start_new_session=True,
        )
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._readers = [
            _start(self._read_messages, self._process.stdout),
            _start(self._read_stderr, self._process.stderr),
        ]
        _start(self._wait)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return self._tail.decode(errors="replace").strip()

    def send(self, line: bytes) -> bool:
        """Write one line, as `encode` gives it.

        Returns:
            Whether the process could take it; if not, `on_end` is about to be called.
        """
        try:
            self._requests.write(line)
            self._requests.flush()
        except (OSError, ValueError):  # ValueError: closed already
            return False
        return True

    def measure_memory(self) -> None:
        """Take note of the memory it holds now."""
        with suppress(psutil.Error):
            self.peak_bytes = max(self.peak_bytes, psutil.Process(self.pid).memory_info().rss)

    def stop(self) -> None:
        """End it now, whatever it is doing; returns at once, `on_end` follows."""
        self.stopped = True
        self._process.terminate()
        killer = threading.Timer(KILL_SECONDS, self._process.kill)
        killer.daemon = True
        killer.start()

    def kill(self, timeout: float) -> None:
        """End it now and wait until it is gone."""
        self.stopped = True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def why_it_ended(self) -> str:
        """The reason of an end we did not ask for, written for the user."""
        if self._fault:
            return f"The worker process was stopped: {self._fault}. Run the job again"
        if self.returncode == -9:  # SIGKILL, a name that Windows does not have
            held = f"; it needed at least {self.peak_bytes / 1e6:,.0f} MB"
            return (
                "The worker process was stopped by the system, most likely for lack of memory"
                f"{held if self.peak_bytes else ''}. Close other programs, or choose a smaller "
                "table, a lower k or fewer starts, then run it again"
            )
        if not self.ready:
            return (
                "The worker process could not start. Install subspace-atlas again; if that does "
                f"not help, send us its last words:\n{self.last_words or '(none)'}"
            )
        return (
            f"The worker process ended unexpectedly ({_describe(self.returncode)}). Run the job "
            "again; if it happens again, send us its last words:\n"
            f"{self.last_words or '(none)'}"
        )

    def _read_messages(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                try:
                    message = decode(line)
                except FormatError as error:
                    self._fault = str(error)
                    self._process.kill()
                    return
                self._on_message(self, message)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := os.read(stream.fileno(), 65_536):
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
                with suppress(OSError):  # no terminal to log to
                    os.write(2, chunk)

    def _wait(self) -> None:
        self._process.wait()
        for reader in self._readers:
            # Bounded: a grandchild may have inherited a pipe and keep it open.
            reader.join(_DRAIN_SECONDS)
        with suppress(OSError):
            self._requests.close()
        self._on_end(self)


def _start(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True)
    thread.start()
    return thread


def _import_path() -> str:
    """Where we import from, so that the worker finds the same code.

    Streamlit and pytest put folders on ``sys.path`` that a new interpreter would not look into.
    """
    entries = dict.fromkeys(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
    return os.pathsep.join(entries)


def _describe(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        with suppress(ValueError):
            return signal.Signals(-returncode).name
    return f"exit status {returncode}"
