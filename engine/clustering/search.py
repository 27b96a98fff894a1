"""Many starts of EM, the cheapest kept and every one reported."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from engine.clustering.em import EMResult, EMStep, WeightedRows, run_em
from engine.clustering.seeding import SEEDINGS
from engine.progress import Progress, ProgressCallback


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What became of one start.

    Attributes:
        seeding: Where its first partition came from.
        cost: Σ w·dist² / Σ w·‖x‖² at its end.
        cost_history: The same after each step.
        converged: Whether it settled before the step limit.
        refilled: How many times an empty cluster was given rows.
        wall_seconds: Time it took, its seeding included.
    """

    seeding: str
    cost: float
    cost_history: tuple[float, ...]
    converged: bool
    refilled: int
    wall_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How the starts are made and when one is done.

    Attributes:
        seedings: One name from `engine.clustering.seeding.SEEDINGS` a start, in order.
        seed: Decides every random choice.
        max_iterations: Step limit of a start.
        tolerance: A start is settled when a step lowers its cost by no more than this share.
    """

    seedings: tuple[str, ...]
    seed: int
    max_iterations: int
    tolerance: float


def search(
    rows: WeightedRows,
    dimensions: tuple[int, ...],
    settings: SearchSettings,
    *,
    given: Tensor | None = None,
    progress: ProgressCallback,
) -> tuple[EMResult, tuple[StartReport, ...]]:
    """Run every start and keep the cheapest.

    Args:
        rows: The rows.
        dimensions: j_1 … j_k.
        settings: The starts and their limits.
        given: A first partition of the user's, shape (n,), int64; run before the others.
        progress: Called after every step of every start.

    Returns:
        The cheapest start's result, and a report of each in the order they ran.
    """
    seeds = np.random.SeedSequence(settings.seed).generate_state(max(1, len(settings.seedings)))
    plans: list[tuple[str, int]] = [] if given is None else [("given", 0)]
    plans += [(name, int(seed)) for name, seed in zip(settings.seedings, seeds, strict=False)]
    best: EMResult | None = None
    reports: list[StartReport] = []
    for index, (name, seed) in enumerate(plans):
        began = time.perf_counter()
        ticker = _Ticker(progress, index, len(plans), settings.max_iterations, best)
        ticker.tick()
        first = given if name == "given" and given is not None else None
        if first is None:
            first = SEEDINGS[name](rows.points, len(dimensions), seed)
        result = run_em(
            rows,
            first,
            dimensions,
            max_iterations=settings.max_iterations,
            tolerance=settings.tolerance,
            on_step=ticker,
        )
        reports.append(_report(name, result, time.perf_counter() - began))
        if best is None or result.cost_history[-1] < best.cost_history[-1]:
            best = result
    assert best is not None
    return best, tuple(reports)


class _Ticker:
    """Turns EM steps into progress: done counts steps, a settled start jumps to its end."""

    def __init__(
        self,
        progress: ProgressCallback,
        index: int,
        starts: int,
        limit: int,
        best: EMResult | None,
    ) -> None:
        self._progress = progress
        self._phase = f"Start {index + 1} of {starts}"
        self._done = index * limit
        self._total = starts * limit
        self._best = None if best is None else best.cost_history[-1]

    def __call__(self, step: EMStep) -> None:
        self._done += 1
        lowest = step.cost if self._best is None else min(step.cost, self._best)
        self.tick(f"error {step.cost:.4f}, best {lowest:.4f}")

    def tick(self, detail: str = "") -> None:
        self._progress(
            Progress(phase=self._phase, done=self._done, total=self._total, detail=detail)
        )


def _report(name: str, result: EMResult, wall_seconds: float) -> StartReport:
    return StartReport(
        seeding=name,
        cost=result.cost_history[-1],
        cost_history=result.cost_history,
        converged=result.converged,
        refilled=result.refilled,
        wall_seconds=wall_seconds,
    )
