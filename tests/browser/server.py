"""Runs a streamlit server for as long as a test needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_SECONDS = 60  # importing streamlit on a cold, busy machine has taken 20
STOP_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running streamlit server.

    Attributes:
        url: Where it answers.
        home: The folder it stores its runs in.
        log: The file that everything it prints goes to.
        pid: Its process.
        start_seconds: From starting the process to its first answer.
    """

    url: str
    home: Path
    log: Path
    pid: int
    start_seconds: float


@contextmanager
def serve(
    command: Sequence[str], *, port: int, home: Path, folder: Path | None = None
) -> Iterator[Server]:
    """Run a command that serves streamlit on a port until the block ends.

    Args:
        command: The command line.
        port: Where it will answer.
        home: An existing folder for what it stores (SUBSPACE_ATLAS_HOME) and for its log.
        folder: The folder it is started in; the current one by default.

    Raises:
        AssertionError: If it ends or stays silent; the message carries what it printed.
    """
    log = home / "server.log"
    environment = {**os.environ, "SUBSPACE_ATLAS_HOME": str(home)}
    begun = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that workers it started end with it
        )
        try:
            url = f"http://localhost:{port}"
            _await_answer(process, f"{url}/_stcore/health", log)
            yield Server(
                url=url,
                home=home,
                log=log,
                pid=process.pid,
                start_seconds=time.monotonic() - begun,
            )
        finally:
            _stop(process)


def serve_script(script: Path, *, home: Path) -> AbstractContextManager[Server]:
    """Serve a streamlit script as `serve` does, on a free port."""
    port = free_port()
    flags = ("--server.port", str(port), "--server.headless", "true")
    more = ("--server.address", "localhost", "--browser.gatherUsageStats", "false")
    command = (sys.executable, "-m", "streamlit", "run", str(script), *flags, *more)
    return serve(command, port=port, home=home, folder=script.parent)


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(
                f"server ended with {process.returncode}:\n{log.read_text(encoding='utf-8')}"
            )
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"server silent for {START_SECONDS} s:\n{log.read_text(encoding='utf-8')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The second round takes what the server left behind, workers that did not end with it.
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
