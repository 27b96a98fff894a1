"""Metrics by hand, and intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ModelError
from engine.evaluation.scores import METRIC_NAMES, bootstrap, metric, task_scores
from engine.evaluation.tasks import GLUE_TASKS

# true positives 2, false positives 1, false negatives 1, true negatives 1
TRUE, GUESS = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("name", "points"),
    [("accuracy", 60), ("f1", 200 / 3), ("matthews", 100 * (2 * 1 - 1 * 1) / 6)],
)
def test_metrics_of_classes_by_hand(name: str, points: float) -> None:
    assert metric(name)(TRUE, GUESS) == pytest.approx(points)


def test_correlations_by_hand() -> None:
    true, guess = np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 30])
    assert metric("spearman")(true, guess) == pytest.approx(100)
    assert metric("pearson")(true, guess) == pytest.approx(100 * np.corrcoef(true, guess)[0, 1])


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
def test_what_does_not_vary_correlates_with_nothing(name: str) -> None:
    assert metric(name)(np.array([0, 1, 0, 1]), np.ones(4)) == 0


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_the_truth_scores_100(name: str) -> None:
    assert metric(name)(TRUE, TRUE) == pytest.approx(100)


@pytest.mark.parametrize("name", METRIC_NAMES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_has_no_score(name: str, wrong: float) -> None:
    guess = TRUE.astype(np.float64)
    guess[0] = wrong
    with pytest.raises(ModelError, match="no finite numbers"):
        metric(name)(TRUE, guess)


def test_a_task_scores_the_mean_of_its_metrics() -> None:
    score, each = task_scores(GLUE_TASKS["mrpc"], TRUE, GUESS)
    assert set(each) == {"f1", "accuracy"}
    assert score == pytest.approx((60 + 200 / 3) / 2)


@given(st.integers(0, 100), st.integers(2, 60))
def test_equal_variants_never_drop(seed: int, n: int) -> None:
    items = np.random.default_rng(seed).normal(size=n)

    def means(rows: np.ndarray) -> list[float]:
        mean = float(items[rows].mean())
        return [mean, mean, mean - 3]

    resampled = bootstrap(means, n, seed=seed, resamples=50)
    values, drops = resampled.values(), resampled.less_than(0)
    assert (drops[0].low, drops[1].value, drops[1].high) == (0, 0, 0)
    # A drop that is the same in every resample has no width, however much the figures vary.
    assert (drops[2].low, drops[2].high) == (pytest.approx(3), pytest.approx(3))
    assert values[0].low <= values[0].high


@given(st.integers(0, 100), st.integers(2, 60))
def test_any_variant_can_be_compared_with_each(seed: int, n: int) -> None:
    items = np.random.default_rng(seed).normal(size=(n, 3))
    resampled = bootstrap(lambda rows: items[rows].mean(axis=0).tolist(), n, resamples=50)
    first, second = resampled.less_than(0), resampled.less_than(1)
    for other in range(3):
        assert second[other].value == pytest.approx(first[other].value - first[1].value)
    turned = first[1].negated()
    # The same resamples; a quantile from above is that from below but for rounding.
    assert (second[0].low, second[0].high) == (
        pytest.approx(turned.low),
        pytest.approx(turned.high),
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        items = np.random.default_rng(seed).normal(size=80)
        (found,) = bootstrap(
            lambda rows, items=items: [float(items[rows].mean())], 80, seed=seed, resamples=200
        ).values()
        held += found.low <= 0 <= found.high
    # 190 are expected; percentile intervals of 80 items are a little short, and 200 trials of a
    # 95 % event spread by 3.
    assert 176 <= held <= 199


def test_more_items_give_narrower_intervals() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        items = rng.normal(size=n)
        (found,) = bootstrap(lambda rows: [float(items[rows].mean())], n, resamples=300).values()
        return found.high - found.low

    assert width(1600) < 0.4 * width(100)  # a quarter, but for chance
