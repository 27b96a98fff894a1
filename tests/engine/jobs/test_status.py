"""How long a phase will still take, as far as can be told."""

from __future__ import annotations

import pytest

from engine.jobs.status import PhaseClock


def steady(clock: PhaseClock, *, until: float, total: float, phase: str = "Fitting") -> None:
    """Ten reports a second of a phase that began at 0 and takes `total` seconds."""
    for tick in range(round(until * 10) + 1):
        clock.observe(tick / 10, phase, tick / 10 / total)


def test_nothing_is_said_in_the_first_second() -> None:
    clock = PhaseClock()
    steady(clock, until=0.9, total=10)
    assert clock.eta(0.9) is None
    assert clock.eta(1.1) is not None


def test_nothing_is_said_without_a_step() -> None:
    clock = PhaseClock()
    clock.observe(0.0, "Loading", 0.0)
    assert clock.eta(5.0) is None


def test_steady_work_is_told_exactly() -> None:
    clock = PhaseClock()
    steady(clock, until=4, total=10)
    assert clock.eta(4.0) == pytest.approx(6.0, abs=1e-9)  # sums of tenths, float64


def test_time_left_runs_down_between_reports_and_never_below_zero() -> None:
    clock = PhaseClock()
    steady(clock, until=4, total=10)
    assert clock.eta(5.0) == pytest.approx(5.0, abs=1e-9)
    assert clock.eta(20.0) == 0.0


def test_full_bar_has_nothing_left() -> None:
    clock = PhaseClock()
    clock.observe(0.0, "Fitting", 1.0)
    assert clock.eta(0.0) == 0.0


def test_new_phase_starts_afresh() -> None:
    clock = PhaseClock()
    steady(clock, until=4, total=10)
    clock.observe(4.0, "Measuring", 0.0)
    assert clock.eta(4.5) is None
    clock.observe(6.0, "Measuring", 0.5)
    assert clock.eta(6.0) == pytest.approx(2.0)


def test_same_phase_from_the_start_again_starts_afresh() -> None:
    clock = PhaseClock()
    steady(clock, until=9, total=10)
    clock.observe(9.0, "Fitting", 0.0)
    assert clock.eta(9.5) is None


def test_one_slow_step_moves_the_estimate_only_partly() -> None:
    clock = PhaseClock()
    steady(clock, until=4, total=10)
    before = clock.eta(4.0)
    clock.observe(4.5, "Fitting", 0.4)  # half a second without progress: raw estimate 6.75 s
    after = clock.eta(4.5)
    assert before is not None
    assert after is not None
    assert 5.5 < after < 6.75
