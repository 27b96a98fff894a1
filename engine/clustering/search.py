"""Many starts of EM: raced on a sample, the best polished on all rows, every one reported."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.clustering.coreset import coreset
from engine.clustering.em import EMPlan, EMResult, EMRun, begin
from engine.clustering.moves import merge_and_split
from engine.clustering.seeding import SEEDINGS
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import WeightedRows
from engine.progress import Progress, ProgressCallback

_ROUND_STEPS = (2, 2, 4)  # steps of every start between two halvings of the field
_POLISHED = 2  # starts that go on to all rows
_POLISH_STEPS = 3  # on all rows before the better of the two is known
_WORTH_SAMPLING = 1.25  # times the sample: below, all rows are as good a field

REFINING = "Refining the best on all rows"
"""What progress calls the steps after the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport:
    """What became of one start.

    Attributes:
        seeding: Where its first partition came from.
        cost: Σ w·φ(dist²) / Σ w·φ(‖x‖²) at its end, over the rows it was last run on.
        cost_history: The same after each step on those rows.
        converged: Whether it settled before the step limit.
        refilled: How many times an empty cluster was given rows.
        wall_seconds: Time it took, its seeding included.
        sampled: Whether it was only run on a sample of the rows, where costs are lower than on all
            of them: few rows are easier to fit.
    """

    seeding: str
    cost: float
    cost_history: tuple[float, ...]
    converged: bool
    refilled: int
    wall_seconds: float
    sampled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How the starts are made and when one is done.

    Attributes:
        seedings: One name from `engine.clustering.seeding.SEEDINGS` a start, in order.
        seed: Decides every random choice.
        max_iterations: Step limit of a start on all rows.
        tolerance: A start is settled when a step lowers its cost by no more than this share.
        moves: Merge-and-split moves tried on the best start.
        race_rows: Rows of the sample that starts are raced on; a table hardly larger is not
            sampled, and every start runs to its end.
    """

    seedings: tuple[str, ...]
    seed: int
    max_iterations: int
    tolerance: float
    moves: int = 0
    race_rows: int = 8192


def search(
    rows: WeightedRows,
    plan: EMPlan,
    settings: SearchSettings,
    *,
    given: Tensor | SubspaceSet | None = None,
    progress: ProgressCallback,
) -> tuple[EMResult, tuple[StartReport, ...]]:
    """Run every start and keep the cheapest.

    Args:
        rows: The rows.
        plan: What is fitted.
        settings: The starts and their limits.
        given: A first partition of the user's, shape (n,), int64, or first subspaces; run on all
            rows before the others.
        progress: Called after every step of every start.

    Returns:
        The cheapest start's result, and a report of each in the order they were named.
    """
    return _Search(rows, plan, settings, progress).run(given)


class _Start:
    """One start and what it took."""

    def __init__(self, name: str, run: EMRun, began: float) -> None:
        self.name = name
        self.run = run
        self.sampled = False
        self.steps = 0
        self.wall_seconds = time.perf_counter() - began

    def advance(self) -> None:
        began = time.perf_counter()
        self.run.advance()
        self.steps += 1
        self.wall_seconds += time.perf_counter() - began

    def report(self) -> StartReport:
        return StartReport(
            seeding=self.name,
            cost=self.run.cost,
            cost_history=tuple(self.run.history),
            converged=self.run.converged,
            refilled=self.run.refilled,
            wall_seconds=self.wall_seconds,
            sampled=self.sampled,
        )


class _Search:
    """The search, its settings and its progress."""

    def __init__(
        self, rows: WeightedRows, plan: EMPlan, settings: SearchSettings, progress: ProgressCallback
    ) -> None:
        self._rows, self._plan, self._settings = rows, plan, settings
        self._progress = progress
        self._lowest = float("inf")
        self._done, self._total = 0, 1
        self._seeds = np.random.SeedSequence(settings.seed).generate_state(
            max(1, len(settings.seedings)) + 1
        )

    def run(self, given: Tensor | SubspaceSet | None) -> tuple[EMResult, tuple[StartReport, ...]]:
        reports: list[StartReport] = []
        # Several processes hold different rows: only a sample gives all of them the same start.
        large = self._rows.table_rows > _WORTH_SAMPLING * self._settings.race_rows
        sampled = self._plan.k > 1 and (large or self._rows.group.size > 1)
        self._total = self._count_steps(given is not None, sampled)
        best: _Start | None = None
        if given is not None:
            best = self._start("given", self._rows, given)
            self._finish(best, "The given start")
            reports.append(best.report())
        if self._settings.seedings:
            found, others = self._race() if sampled else self._run_all()
            reports += others
            best = found if best is None or found.run.cost < best.run.cost else best
        assert best is not None
        if not (sampled and self._settings.seedings):  # else the race has moved its leader
            best = self._move(best, self._rows)
        return best.run.result(), tuple(reports)

    def _run_all(self) -> tuple[_Start, list[StartReport]]:
        """Every start to its end on all rows."""
        reports: list[StartReport] = []
        best: _Start | None = None
        count = len(self._settings.seedings)
        for index, name in enumerate(self._settings.seedings):
            phase = f"Start {index + 1} of {count}"
            self._tick(phase)
            began = time.perf_counter()
            labels = torch.zeros(len(self._rows.points), dtype=torch.int64)
            if self._plan.k > 1:
                labels = self._seed(self._rows, index, phase)
            start = self._start(name, self._rows, labels, began)
            self._finish(start, phase)
            reports.append(start.report())
            if best is None or start.run.cost < best.run.cost:
                best = start
        assert best is not None
        return best, reports

    def _race(self) -> tuple[_Start, list[StartReport]]:
        """Successive halving on a coreset, then the best few on all rows."""
        self._tick("Taking a sample of the rows")
        seed = int(self._seeds[-1])
        sample = coreset(self._rows, self._settings.race_rows, self._plan, seed)
        starts: list[_Start] = []
        for index, name in enumerate(self._settings.seedings):
            began = time.perf_counter()
            phase = f"Start {index + 1} of {len(self._settings.seedings)}: first partition"
            self._tick(phase)
            labels = self._seed(sample, index, phase)
            starts.append(self._start(name, sample, labels, began))
            starts[-1].sampled = True
        field = starts
        for steps in _ROUND_STEPS:
            phase = "Trying the start on a sample"
            if len(field) > 1:
                phase = f"Comparing {len(field)} starts on a sample"
            for start in field:
                for _ in range(steps):
                    self._advance(start, phase)
            field = sorted(field, key=lambda start: start.run.cost)
            field = field[: max(_POLISHED, (len(field) + 1) // 2)]
        leader = self._move(field[0], sample)
        field = [leader, *field[1:_POLISHED]]
        polished = [self._onto_all_rows(start) for start in field]
        if len(polished) > 1:
            for start in polished:
                for _ in range(_POLISH_STEPS):
                    self._advance(start, REFINING)
        best = min(polished, key=lambda start: start.run.cost)
        self._finish(best, REFINING)
        replaced = dict(zip(map(id, field), polished, strict=True))
        if leader not in starts:  # a move found it: it stands for the start it was made from
            starts.append(leader)
        return best, [replaced.get(id(start), start).report() for start in starts]

    def _seed(self, rows: WeightedRows, index: int, phase: str) -> Tensor:
        """The first partition of a start; where it grows part by part, each is told."""
        return SEEDINGS[self._settings.seedings[index]](
            rows,
            self._plan,
            int(self._seeds[index]),
            lambda parts: self._tick(phase, f"{parts} of {self._plan.k} subspaces so far"),
        )

    def _onto_all_rows(self, start: _Start) -> _Start:
        subspaces = start.run.result().subspaces
        self._share(subspaces)
        polished = self._start(start.name, self._rows, subspaces)
        polished.wall_seconds += start.wall_seconds
        return polished

    def _share(self, subspaces: SubspaceSet) -> None:
        """Every process polishes the same subspaces, should their arithmetic differ a bit."""
        offsets = () if subspaces.offsets is None else (subspaces.offsets,)
        self._rows.group.share((subspaces.frames, subspaces.energies, *offsets))

    def _move(self, start: _Start, rows: WeightedRows) -> _Start:
        """Merge two clusters and split another, as long as it pays."""
        for number in range(self._settings.moves if self._plan.k > 1 else 0):
            began = time.perf_counter()
            labels = merge_and_split(rows, start.run.result(), self._plan, number)
            moved = self._start("move", rows, labels, began)
            moved.sampled = start.sampled
            limit = sum(_ROUND_STEPS) if start.sampled else self._settings.max_iterations
            phase = f"Move {number + 1}: merging two subspaces, splitting another"
            for _ in range(limit):
                self._advance(moved, phase, counted=False)
                if moved.run.converged:
                    break
            if moved.run.cost < start.run.cost:
                start = moved
        return start

    def _start(
        self,
        name: str,
        rows: WeightedRows,
        first: Tensor | SubspaceSet,
        began: float | None = None,
    ) -> _Start:
        began = time.perf_counter() if began is None else began
        return _Start(name, begin(rows, first, self._plan, self._settings.tolerance), began)

    def _finish(self, start: _Start, phase: str) -> None:
        while not start.run.converged and start.steps < self._settings.max_iterations:
            self._advance(start, phase)
        self._done += max(0, self._settings.max_iterations - start.steps)
        self._lowest = min(self._lowest, start.run.cost)

    def _advance(self, start: _Start, phase: str, *, counted: bool = True) -> None:
        start.advance()
        self._done += counted
        error = f"error {start.run.cost:.4f}"
        if start.sampled:  # where it is lower than that of all rows will be
            self._tick(phase, f"{error} on the sample")
        else:
            self._tick(phase, f"{error}, best {min(start.run.cost, self._lowest):.4f}")

    def _tick(self, phase: str, detail: str = "") -> None:
        done = min(self._done, self._total)
        self._progress(Progress(phase=phase, done=done, total=self._total, detail=detail))

    def _count_steps(self, given: bool, sampled: bool) -> int:
        """How many steps there may be at most; a start that settles jumps to its end."""
        count, limit = len(self._settings.seedings), self._settings.max_iterations
        if not sampled:
            return (count + given) * limit
        total = given * limit + (limit if count else 0)
        for steps in _ROUND_STEPS:
            total += count * steps
            count = max(min(_POLISHED, count), (count + 1) // 2)
        return total + min(_POLISHED, count) * _POLISH_STEPS
