"""Fewer progress reports than steps: enough to watch, too few to cost anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from engine.progress import Progress

MIN_SECONDS = 0.05  # 20 a second: smoother than a screen that asks twice a second can show


class Throttle:
    """Passes the first and the last report of each phase, and at most 20 a second between.

    Args:
        send: Where reports go.
        clock: Seconds, never going back.
    """

    def __init__(
        self, send: Callable[[Progress], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._clock = clock
        self._last: Progress | None = None
        self._last_at = 0.0
        self._held: Progress | None = None
        self._lock = threading.RLock()  # a task may report from threads of its own

    def report(self, progress: Progress) -> None:
        """Send this report, or hold it until a later one or `flush`."""
        with self._lock:
            last = self._last
            new_phase = last is None or progress.phase != last.phase
            if new_phase:
                self.flush()  # the phase before may have ended early, its last report still held
            # A full bar goes out at once, but only the first time: tasks may repeat it.
            completes = progress.done == progress.total and (last is None or last.done < last.total)
            if new_phase or completes or self._clock() - self._last_at >= MIN_SECONDS:
                self._pass_on(progress)
            else:
                self._held = progress

    def flush(self) -> None:
        """Send what is held, if anything."""
        with self._lock:
            if self._held is not None:
                self._pass_on(self._held)

    def _pass_on(self, progress: Progress) -> None:
        self._held = None
        self._last = progress
        self._last_at = self._clock()
        self._send(progress)
