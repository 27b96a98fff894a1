"""One check on several variants: prepared once, measured one by one, told of all together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from engine.errors import ParameterError
from engine.evaluation.checks.check import Check, Comparison, Items, Outcome
from engine.evaluation.encoding import Report
from engine.evaluation.results import CheckResult, Score
from engine.evaluation.scores import RESAMPLES, Resampled, bootstrap
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.wording import counted

_FEWEST = 10  # items: resamples of fewer hardly differ, and the interval would be too narrow


def run_check(
    check: Check,
    subject: Subject,
    variants: Sequence[Variant],
    progress: ProgressCallback = ignore_progress,
) -> CheckResult:
    """Measure all variants on the same items, and bootstrap the differences.

    Args:
        check: That is available for the subject.
        subject: What is checked.
        variants: Of its table; the original first.
        progress: Called several times a second; may raise to stop.
    """
    measuring = Measuring(check, subject, progress)
    for place, variant in enumerate(variants):
        measuring.add(variant, _one_of(progress, place, len(variants)))
    return measuring.result(progress)


class Measuring:
    """A check under way on one subject; variants may still come.

    Nothing of a variant is kept but its outcome, its name and its sizes.
    """

    def __init__(
        self, check: Check, subject: Subject, progress: ProgressCallback = ignore_progress
    ) -> None:
        """Read and tokenise what the check needs.

        Args:
            check: That is available for the subject.
            subject: What is checked.
            progress: Called before, after and perhaps between; may raise to stop.
        """
        phase = f"{check.title}: preparing"
        progress(Progress(phase=phase, done=0, total=1))
        self._prepared = check.prepare(subject, progress)
        progress(Progress(phase=phase, done=1, total=1))
        self._check, self._seed = check, subject.options.seed
        self._variants: list[Variant] = []
        self._outcomes: dict[str, Outcome] = {}
        self._seconds: list[float] = []

    def add(self, variant: Variant, progress: ProgressCallback = ignore_progress) -> None:
        """Measure one more variant.

        Args:
            variant: Of the subject's table, with a name of its own; the original comes first.
            progress: Called several times a second; may raise to stop.
        """
        began = time.perf_counter()
        report = _reporter(self._check.title, progress, detail=variant.name)
        self._outcomes[variant.name] = self._prepared.measure(variant, report)
        self._seconds.append(time.perf_counter() - began)
        self._variants.append(replace(variant, factorization=None, model=None))
        vars(self).pop("_compared", None)

    @cached_property
    def _compared(self) -> Comparison:
        found = self._prepared.compare(self._outcomes)
        if found.n < _FEWEST:
            raise ParameterError(
                f"{self._check.title} has {counted(found.n, 'item')} here, and an interval needs "
                f"at least {_FEWEST}; give a longer text or more data"
            )
        return found

    def losses(self) -> list[float]:
        """How much worse than the original each variant is on all items, as `CheckResult.loss`.

        Raises:
            ParameterError: If there are too few items.
        """
        found = self._compared
        values = np.asarray(found.statistic(np.arange(found.n)))
        drops = values[0] - values
        return (drops if found.higher_is_better else -drops).tolist()

    def resample(self, progress: ProgressCallback = ignore_progress) -> Resampled:
        """The figures of all variants so far, of all items and of the same resamples of them.

        Args:
            progress: Called after every resample; may raise to stop.

        Raises:
            ParameterError: If there are too few items.
        """
        found, draws = self._compared, 0
        drawn = _reporter(f"{self._check.title}: intervals", progress)

        def statistic(items: Items) -> Sequence[float]:
            nonlocal draws
            drawn(min(draws, RESAMPLES), RESAMPLES)
            draws += 1
            return found.statistic(items)

        return bootstrap(statistic, found.n, seed=self._seed)

    def result(
        self, progress: ProgressCallback = ignore_progress, *, resampled: Resampled | None = None
    ) -> CheckResult:
        """What the check found of all variants so far.

        Args:
            progress: Called after every resample; may raise to stop.
            resampled: What `resample` gave, where that was called.

        Raises:
            ParameterError: If there are too few items.
        """
        found = self._compared
        return CheckResult(
            check=self._check.name,
            metric=found.metric,
            higher_is_better=found.higher_is_better,
            n=found.n,
            scores=_scores(self._variants, resampled or self.resample(progress), self._seconds),
            notes=found.notes,
            details=found.details,
            settings=found.settings,
            agreement=found.agreement,
        )


def _scores(
    variants: Sequence[Variant], resampled: Resampled, seconds: Sequence[float]
) -> tuple[Score, ...]:
    values, drops = resampled.values(), resampled.less_than(0)
    ours = [index for index, variant in enumerate(variants) if variant.role == "compressed"]
    behind = resampled.less_than(ours[0]) if ours else [None] * len(variants)
    return tuple(
        Score(
            variant=variant.name,
            role=variant.role,
            parameters=variant.parameters,
            stored_bytes=variant.stored_bytes,
            value=values[index],
            drop=drops[index],
            seconds=seconds[index],
            behind=behind[index] if variant.role == "svd" else None,
        )
        for index, variant in enumerate(variants)
    )


def _reporter(phase: str, progress: ProgressCallback, *, detail: str = "") -> Report:
    def report(done: int, total: int) -> None:
        progress(Progress(phase=phase, done=done, total=max(1, total), detail=detail))

    return report


def _one_of(progress: ProgressCallback, place: int, count: int) -> ProgressCallback:
    """Counts what is told of one variant as its part of all, so that time left is that of all."""

    def told(report: Progress) -> None:
        done, total = place * report.total + report.done, count * report.total
        progress(replace(report, done=done, total=total))

    return told
