"""Ctrl-C in the middle of a fit, in a real process on a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds for what takes two or three: only a hang runs into it
# A shell without job control starts what runs behind it deaf to Ctrl-C, and this would inherit it.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from engine.cli import main; main()
"""


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows until the text is there, or until its other end is closed."""
    deadline, seen = time.monotonic() + PATIENCE, b""
    while text not in seen:
        assert time.monotonic() < deadline, f"{text!r} never came, but {seen!r}"
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
    return seen


@pytest.mark.parametrize("place", ["out", None])
def test_ctrl_c_ends_with_130_and_leaves_nothing(
    place: str | None, table: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    options = ["-k", "3", "-j", "1", "--starts", "1000000", *(["-o", place] if place else [])]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "compress", str(table), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        before = read_until(ours, b"Start 1 of 1000000")
        process.send_signal(signal.SIGINT)
        after = read_until(ours, b"nothing was written.\r\n")
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in before + after
    assert sorted(item.name for item in tmp_path.iterdir()) == ["lines.npy"]
