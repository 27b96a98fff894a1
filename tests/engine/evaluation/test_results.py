"""What a check finds, as plain values and as a loss."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.results import CheckResult, Score
from engine.evaluation.scores import Interval

FIGURES = st.floats(-1e6, 1e6)
INTERVALS = st.tuples(FIGURES, FIGURES, FIGURES).map(
    lambda found: Interval(low=sorted(found)[0], value=sorted(found)[1], high=sorted(found)[2])
)


def make_result(drop: Interval, *, higher_is_better: bool = True) -> CheckResult:
    score = Score(
        variant="k = 5",
        role="compressed",
        parameters=10,
        stored_bytes=40,
        value=Interval(value=1.0, low=0.5, high=1.5),
        drop=drop,
        seconds=0.1,
    )
    return CheckResult(
        check="valence",
        metric="accuracy, %",
        higher_is_better=higher_is_better,
        n=3,
        scores=(score,),
        notes=("A note.",),
    )


@given(drop=INTERVALS)
def test_a_loss_is_worse_upwards_whatever_is_better(drop: Interval) -> None:
    higher, lower = make_result(drop), make_result(drop, higher_is_better=False)
    assert higher.loss(higher.scores[0]) == drop
    risen = lower.loss(lower.scores[0])
    assert (risen.value, risen.low, risen.high) == (-drop.value, -drop.high, -drop.low)
    assert risen.low <= risen.value <= risen.high
    assert risen.excludes_zero == drop.excludes_zero


@given(behind=INTERVALS)
def test_a_lead_is_better_upwards_whatever_is_better(behind: Interval) -> None:
    higher, lower = make_result(behind), make_result(behind, higher_is_better=False)
    assert higher.lead(higher.scores[0]) is None
    svd = replace(higher.scores[0], role="svd", behind=behind)
    assert higher.lead(svd) == behind
    assert lower.lead(svd) == behind.negated()
    whole = replace(higher, scores=(*higher.scores, svd))
    assert CheckResult.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


def test_findings_of_before_the_comparison_are_read() -> None:
    values = make_result(Interval(value=0.0, low=0.0, high=0.0)).as_dict()
    del values["scores"][0]["behind"]
    assert CheckResult.from_dict(values).scores[0].behind is None


@given(drop=INTERVALS)
def test_an_interval_excludes_zero_where_zero_is_outside(drop: Interval) -> None:
    assert drop.excludes_zero != (drop.low <= 0 <= drop.high)


@given(drop=INTERVALS)
def test_a_result_comes_back_from_json(drop: Interval) -> None:
    result = replace(make_result(drop), details={"F1": {"k = 5": 1.5}}, settings={"seed": 0})
    assert CheckResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result
