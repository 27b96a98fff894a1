"""`find_smallest`: the fewest bytes whose loss on a check is still acceptable."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.coding.fitting import NoRoomError, check_room
from engine.errors import ParameterError, SourceError
from engine.evaluation.evaluating import (
    check_available,
    find_checks,
    open_subject,
    split_settings,
)
from engine.evaluation.measuring import Measuring
from engine.evaluation.results import CheckResult
from engine.evaluation.scores import RESAMPLES, Resampled
from engine.evaluation.sizes import SIZES, SizeSearch, SizeTrial
from engine.evaluation.subject import CheckOptions
from engine.evaluation.variants import of_factorization, original
from engine.frequencies.row_use import RowUse, count_row_use
from engine.plans import CompressionConfig, check_fit_memory, fit_plan
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.requests import FitRequest, coded_requests
from engine.table import EmbeddingTable

USUAL_WEIGHTS = "en"
"""Whose use of the tokens they are weighed by, where the user says nothing and they can be counted.

Of all settings the token weights matter most to a model that reads text. Power and floor
stay those of `engine.token_weights`: others that scored higher on STS-B train
(assets/results/coded-settings.md) gain up to 0.4 points there, and give rare words less say.
"""
_EXACT = 1e-9  # points: the order of float sums may make 0.5 a little more
_OWN = ("method", "max_bytes", "j", "rate", "bits")  # settings that are found here


def find_smallest(
    model: str | Path | EmbeddingTable,
    check: str,
    *,
    max_drop: float,
    options: CheckOptions | None = None,
    progress: ProgressCallback = ignore_progress,
    **plan: Any,  # noqa: ANN401 - of the plan and the check, which check them
) -> SizeSearch:
    """Find the smallest coded subspaces that lose no more than this on a check.

    The sizes of `SIZES` are halved until one is left: accuracy rises with bytes, but for noise.
    The check is prepared and the original measured once.

    Args:
        model: As `engine.evaluate` takes it, but nothing that is compressed already.
        check: A name in `engine.evaluation.checks.CHECKS`.
        max_drop: The largest loss to accept, at least 0, in the check's own points.
        options: What the check is told; or give its fields one by one (``data``, ``text``,
            ``probe_task``).
        progress: Called throughout; raises `engine.Cancelled` to stop.
        **plan: Fields of `engine.plans.CompressionConfig` but for the method and the size, and of
            `engine.evaluation.subject.CheckOptions`. Without ``weights``, tokens are weighed by
            `USUAL_WEIGHTS` where they can be counted; ``weights="none"`` counts all alike.

    Returns:
        The size, as a plan for ``engine.compress_model(model, config=found.config)``, and what
        was tried. What is told of it was measured on the items it was chosen on, which flatters
        it a little: ``optimism`` says by how much. All items decide, not half of them with the
        other half to verify: that would make each decision half as sure again, and what was
        promised would not be what `engine.evaluate` then shows.

    Raises:
        ParameterError: If even the largest size loses more, the check cannot be run, or a setting
            makes no sense.
        SourceError: If the model, the data or a text cannot be read.
        MemoryShortageError: If the fit would need more memory than is free.

    Cost: at most four fits and five runs of the check; no SVD is fitted.
    """
    began = time.perf_counter()
    if not (math.isfinite(max_drop) and max_drop >= 0):
        raise ParameterError(
            f"max_drop is the largest loss to accept, at least 0 points, got {max_drop:g}"
        )
    (asked,) = find_checks((check,))
    config, options = _settings(options, plan)
    subject, compressed = open_subject(model, options)
    if compressed is not None:
        raise ParameterError(
            f"{model} is compressed already; give the model it was made from, or evaluate it"
        )
    check_available((asked,), subject)
    _check_fit(subject.table, config)
    config, use, weighing = _weigh(subject.table, config, plan, progress)
    measuring = Measuring(asked, subject, progress)
    measuring.add(original(subject.table), progress)
    measuring.losses()  # too few items are told of before anything is fitted
    search = _Search(measuring, subject.table, config, use, max_drop)
    search.halve(progress)
    resampled = measuring.resample(progress)
    result = measuring.result(resampled=resampled)
    trials = search.trials(result)
    (chosen,) = (trial for trial in trials if trial.max_bytes == search.choose())
    optimism = search.optimism(resampled, falls=result.higher_is_better)
    notes = _describe(chosen, result, max_drop, optimism)
    return SizeSearch(
        name=subject.table.name,
        check=result.check,
        metric=result.metric,
        n=result.n,
        max_drop=float(max_drop),
        config=replace(config, max_bytes=chosen.max_bytes),
        chosen=chosen,
        trials=tuple(trials),
        optimism=optimism,
        seconds=time.perf_counter() - began,
        notes=(*notes, *weighing, *result.notes),
    )


def _settings(
    options: CheckOptions | None, plan: Mapping[str, Any]
) -> tuple[CompressionConfig, CheckOptions]:
    """The plan at the largest size, and what the check is told."""
    own = {name for name in _OWN if plan.get(name) is not None}
    if plan.get("method") == "coded":
        own.remove("method")
    if own:
        raise ParameterError(
            f"max_drop finds the size of coded subspaces by itself, got {', '.join(sorted(own))} "
            "as well; leave one of the two out"
        )
    given = {name: value for name, value in plan.items() if name not in _OWN}
    largest = {**given, "method": "coded", "max_bytes": SIZES[-1]}
    config, options = split_settings(None, options, largest)
    assert config is not None
    return config, options


def _check_fit(table: EmbeddingTable, config: CompressionConfig) -> None:
    """Refuse what could not be fitted even at the largest size, before long work."""
    check_fit_memory(table, config)
    request = FitRequest(**config.fit_arguments(table.dense_bytes))
    n, d = table.matrix.shape
    check_room(n, d, coded_requests(request, n)[0])


def _weigh(
    table: EmbeddingTable,
    config: CompressionConfig,
    plan: Mapping[str, Any],
    progress: ProgressCallback,
) -> tuple[CompressionConfig, RowUse | None, tuple[str, ...]]:
    """The plan with its weights, what they come to, and what is to be said of them."""

    def count(source: str) -> RowUse | None:
        return count_row_use(
            table, source, config.weight_power, config.weight_floor, progress=progress
        )

    if "weights" in plan:
        return config, count(config.weights), ()
    try:
        use = count(USUAL_WEIGHTS)
    except SourceError as error:
        return config, None, (f"All tokens counted alike, as theirs cannot be counted: {error}.",)
    note = (
        "Tokens were weighed by how often English text uses them, as no weights were given: name "
        "another language or a text of yours if that suits better, or none."
    )
    return replace(config, weights=USUAL_WEIGHTS), use, (note,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """One size before chance is drawn; drop is the loss on all items."""

    relative_error: float
    drop: float
    seconds: float


class _Search:
    """What is known so far of the sizes."""

    def __init__(
        self,
        measuring: Measuring,
        table: EmbeddingTable,
        config: CompressionConfig,
        use: RowUse | None,
        max_drop: float,
    ) -> None:
        self._measuring, self._table = measuring, table
        self._config, self._use, self._max_drop = config, use, max_drop
        self._tried: dict[str, _Tried] = {}  # in the order they were measured
        self._no_room: NoRoomError | None = None

    def halve(self, progress: ProgressCallback) -> None:
        """Halve the sizes until none is left to try.

        Raises:
            ParameterError: If none is enough.
        """
        left = SIZES
        while left:
            middle = len(left) // 2
            enough = self._is_enough(left[middle], progress)
            left = left[:middle] if enough else left[middle + 1 :]
        if not any(self._passes(size) for size in self._tried):
            raise self._not_enough()

    def trials(self, result: CheckResult) -> list[SizeTrial]:
        """All that were measured, the smallest first, with their intervals."""
        found = {
            size: SizeTrial(
                max_bytes=size,
                stored_bytes=score.stored_bytes,
                relative_error=self._tried[size].relative_error,
                value=score.value,
                drop=result.loss(score),
                seconds=self._tried[size].seconds,
            )
            for size, score in zip(self._tried, result.scores[1:], strict=True)
        }
        return [found[size] for size in self._sizes()]

    def choose(self) -> str:
        """The smallest that is enough."""
        return next(size for size in self._sizes() if self._passes(size))

    def optimism(self, resampled: Resampled, *, falls: bool) -> float:
        """Points that a size chosen on a sample loses more beyond it, by the bootstrap.

        Args:
            resampled: Figures, the original's first.
            falls: Whether less is worse.

        Source: Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 17: choose on
        each resample as was chosen on all items, and see how that does on all.
        """
        places = [1 + list(self._tried).index(size) for size in self._sizes()]
        sign = 1 if falls else -1
        whole = sign * (resampled.whole[0] - resampled.whole[places])
        drawn = sign * (resampled.drawn[:, :1] - resampled.drawn[:, places])
        enough = drawn <= self._max_drop + _EXACT
        enough[:, -1] = True  # where none is: the search would end at the largest
        chosen = enough.argmax(axis=1)
        return float(np.mean(whole[chosen] - drawn[np.arange(len(drawn)), chosen]))

    def _sizes(self) -> list[str]:
        return sorted(self._tried, key=SIZES.index)

    def _is_enough(self, size: str, progress: ProgressCallback) -> bool:
        """Fit and measure one size; one that has no room is too small."""
        began, name = time.perf_counter(), f"{size} of the bytes"
        config = replace(self._config, max_bytes=size)
        told = _as_part(progress, f"Size {len(self._tried) + 1}, {name}")
        try:
            plan = fit_plan(self._table, config, self._use, progress=told)
        except NoRoomError as error:
            self._no_room = error
            return False
        variant = of_factorization(self._table, plan, name=name, role="compressed")
        self._measuring.add(variant, told)
        self._tried[size] = _Tried(
            relative_error=variant.relative_error,
            drop=self._measuring.losses()[-1],
            seconds=time.perf_counter() - began,
        )
        return self._passes(size)

    def _passes(self, size: str) -> bool:
        return self._tried[size].drop <= self._max_drop + _EXACT

    def _not_enough(self) -> ParameterError:
        if not self._tried:
            assert self._no_room is not None
            return self._no_room
        size, least = min(self._tried.items(), key=lambda item: item[1].drop)
        advice = "give weights, " if self._use is None else ""
        return ParameterError(
            f"no size up to {SIZES[-1]} of the table's bytes loses {self._max_drop:g} points or "
            f"less: the least found is {least.drop:.3g}, at {size}; raise max_drop, {advice}or "
            "keep more of the table with a rate and bits=8"
        )


def _as_part(progress: ProgressCallback, part: str) -> ProgressCallback:
    """Phases of one part of the work, told apart from those of the others."""

    def report(step: Progress) -> None:
        progress(replace(step, phase=f"{part}: {step.phase}"))

    return report


def _describe(
    chosen: SizeTrial, result: CheckResult, max_drop: float, optimism: float
) -> list[str]:
    drop, smallest, largest = chosen.drop, SIZES[0], SIZES[-1]
    found = f"{drop.value:.2f} [{drop.low:.2f}, {drop.high:.2f}]".replace("-", "−")
    notes = [
        f"{chosen.max_bytes} of the bytes is the smallest of {len(SIZES)} sizes from {smallest} "
        f"to {largest} found to lose at most {max_drop:g} on {result.check} ({result.metric}): "
        f"{found} on {result.n:,} items.",
        f"The size was chosen on the items that its loss is told of: by {RESAMPLES:,} resamples, "
        f"one chosen so loses at least {optimism:.2f} more on others.",
    ]
    if drop.high > max_drop:
        notes.append(
            f"Which items a check has is chance, which leaves losses up to {drop.high:.2f} "
            f"possible; to be surer, accept less than {max_drop:g}."
        )
    if chosen.max_bytes == smallest:
        notes.append(f"No size below {smallest} was tried; give max_bytes for one.")
    return notes
