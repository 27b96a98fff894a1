"""A flood of reports becomes a trickle that still begins and ends every phase."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.jobs.throttle import MIN_SECONDS, Throttle
from engine.progress import Progress


class Recorder:
    """Keeps what was sent and when, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[tuple[float, Progress]] = []

    def throttle(self) -> Throttle:
        return Throttle(lambda progress: self.sent.append((self.now, progress)), lambda: self.now)


def step(done: int, total: int = 1000, phase: str = "Fitting") -> Progress:
    return Progress(phase=phase, done=done, total=total)


def test_flood_in_one_instant_is_first_and_last() -> None:
    recorder = Recorder()
    throttle = recorder.throttle()
    for done in range(1001):
        throttle.report(step(done))
    throttle.flush()
    assert [progress.done for _, progress in recorder.sent] == [0, 1000]


def test_repeating_a_full_bar_is_a_flood_too() -> None:
    recorder = Recorder()
    throttle = recorder.throttle()
    for _ in range(1000):
        throttle.report(step(1000))
    assert len(recorder.sent) == 1


def test_phase_that_stops_early_still_shows_where_it_stopped() -> None:
    recorder = Recorder()
    throttle = recorder.throttle()
    for done in range(8):
        throttle.report(step(done))
    throttle.report(step(0, phase="Measuring"))
    assert [(progress.phase, progress.done) for _, progress in recorder.sent] == [
        ("Fitting", 0),
        ("Fitting", 7),
        ("Measuring", 0),
    ]


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=100))
def test_within_a_phase_reports_keep_their_distance(pauses: list[float]) -> None:
    recorder = Recorder()
    throttle = recorder.throttle()
    for done, pause in enumerate(pauses):
        throttle.report(step(done))
        recorder.now += pause
    moments = [moment for moment, _ in recorder.sent]
    # 1e-9: the clock's own rounding near 100 s is about 1e-14, adding pauses makes a few of it.
    assert all(later - earlier >= MIN_SECONDS - 1e-9 for earlier, later in pairwise(moments))
    throttle.flush()
    assert recorder.sent[-1][1].done == len(pauses) - 1
    before = len(recorder.sent)
    throttle.flush()
    assert len(recorder.sent) == before
