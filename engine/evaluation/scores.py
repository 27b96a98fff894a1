"""Metrics of the benchmark, in points of 100, and how far chance moves them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.evaluation.tasks import GlueTask

Metric = Callable[[NDArray[Any], NDArray[Any]], float]
RESAMPLES = 1000
_LEVEL = 0.95

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews": "Matthews correlation",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
}


def metric(name: str) -> Metric:
    """A metric by its name in `METRIC_NAMES`: true values and predictions in, points out.

    Constant predictions have no correlation: they score 0. Predictions that are no finite numbers
    have no score.

    Raises:
        ModelError: By the metric, for such predictions.
    """
    from scipy import stats
    from sklearn import metrics

    known: dict[str, Any] = {
        "accuracy": metrics.accuracy_score,
        "f1": metrics.f1_score,
        "matthews": metrics.matthews_corrcoef,
        "pearson": stats.pearsonr,
        "spearman": stats.spearmanr,
    }
    score = known[name]

    def points(true: NDArray[Any], guess: NDArray[Any]) -> float:
        if not np.isfinite(guess).all():
            raise ModelError(
                "the model gives no finite numbers here, so nothing can be scored; look at its "
                "weights, or compress it less"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what lacks a class or does not vary: it scores 0
            found: Any = score(true, guess)
        value = float(getattr(found, "statistic", found))
        return 0.0 if math.isnan(value) else 100 * value

    return points


def task_scores(
    task: GlueTask, true: NDArray[Any], guess: NDArray[Any]
) -> tuple[float, dict[str, float]]:
    """The benchmark's score of a task, the mean of its metrics, and each of them.

    Args:
        task: Which.
        true: Shape (n,), as `engine.evaluation.data.Split.labels`.
        guess: Shape (n,): predicted classes, or numbers.
    """
    each = {name: metric(name)(true, guess) for name in task.metrics}
    return fmean(each.values()), each


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and where 95 % of resamples put it.

    Attributes:
        value: Of all items.
        low: The 2.5th percentile.
        high: The 97.5th.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether chance in the choice of items does not explain it."""
        return self.low > 0 or self.high < 0

    def negated(self) -> Interval:
        """The same of the opposite figure."""
        return Interval(value=-self.value, low=-self.high, high=-self.low)


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Figures of several variants, of all items and of resamples of them.

    Attributes:
        whole: Shape (v,): of all items.
        drawn: Shape (r, v): of the same resample along a row.
    """

    whole: NDArray[np.float64]
    drawn: NDArray[np.float64]

    def values(self) -> list[Interval]:
        """Each variant's figure."""
        return _intervals(self.whole, self.drawn)

    def less_than(self, variant: int) -> list[Interval]:
        """One variant's figure less each one's.

        Paired: chance in the choice of items moves it less than either figure.
        """
        own = slice(variant, variant + 1)
        return _intervals(self.whole[own] - self.whole, self.drawn[:, own] - self.drawn)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], Sequence[float]],
    n: int,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Percentile bootstrap of several figures over the same items.

    Args:
        statistic: Item numbers, shape (n,), repeats allowed → the figure of each variant.
        n: Number of items.
        seed: Of the resamples.
        resamples: How many.

    Source: Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.
    """
    rng = np.random.default_rng(seed)
    whole = np.asarray(statistic(np.arange(n)), dtype=np.float64)
    drawn = np.array([statistic(rng.integers(n, size=n)) for _ in range(resamples)])
    return Resampled(whole, drawn)


def _intervals(whole: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[Interval]:
    low, high = np.quantile(drawn, ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2), axis=0)
    return [
        Interval(value=float(value), low=float(least), high=float(most))
        for value, least, most in zip(whole, low, high, strict=True)
    ]
