"""The figure of a check: where its points and bars are, and what the hover says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from engine.evaluation.results import CheckResult, Score
from pages.parts.check_chart import check_chart, printed_loss, score_glyph
from tests.pages.results import ACCURACY, PERPLEXITY


def test_points_stand_at_their_loss_with_its_interval() -> None:
    figure = check_chart(ACCURACY, theme="light")
    assert [trace.name for trace in figure.data] == ["original", "k = 5", "SVD"]
    original, ours, svd = figure.data
    assert (original.x[0], original.y[0]) == (1000, 0)
    assert original.error_y.array is None
    assert (ours.y[0], svd.y[0]) == (0.4, 2.0)
    assert ours.error_y.array[0] == pytest.approx(0.5)
    assert ours.error_y.arrayminus[0] == pytest.approx(0.5)
    assert "drop 0.40 [−0.10, 0.90]" in ours.customdata[0]
    assert "600 bytes" in ours.customdata[0]
    assert ours.marker.color != svd.marker.color
    assert ours.marker.symbol != svd.marker.symbol


def test_a_loss_is_what_the_scores_beside_it_leave() -> None:
    whole, ours, *_ = ACCURACY.scores
    whole = replace(whole, value=replace(whole.value, value=86.716))
    ours = replace(
        ours, value=replace(ours.value, value=86.421), drop=replace(ours.drop, value=0.295)
    )
    result = replace(ACCURACY, scores=(whole, ours))
    assert printed_loss(result, ours).value == pytest.approx(0.30)
    assert printed_loss(result, whole).value == 0
    other = replace(ours, drop=replace(ours.drop, value=1.5))  # counted in another way
    assert printed_loss(result, other).value == 1.5
    falls = replace(result, higher_is_better=False)
    risen = replace(ours, drop=replace(ours.drop, value=0.295))
    assert printed_loss(falls, risen).value == pytest.approx(-0.30)


def test_a_perplexity_that_rises_is_drawn_upwards() -> None:
    figure = check_chart(PERPLEXITY, theme="dark")
    _, ours, svd = figure.data
    assert (ours.y[0], svd.y[0]) == (3.0, -1.0)
    assert "rise 3.00 [2.50, 3.50]" in ours.customdata[0]
    assert figure.layout.yaxis.title.text == "rise"


def sized(*sizes: int) -> CheckResult:
    """A check of variants of these sizes, the original's the first."""
    first, *others = sizes
    scores = [replace(ACCURACY.scores[0], stored_bytes=first)]
    scores += [replace(ACCURACY.scores[1], stored_bytes=size) for size in others]
    return replace(ACCURACY, scores=tuple(scores))


def places(result: CheckResult) -> list[float]:
    return [trace.x[0] for trace in check_chart(result, theme="light").data]


def test_points_of_one_size_stand_side_by_side_and_others_where_they_are() -> None:
    assert places(sized(1000, 600, 300)) == [1000, 600, 300]
    whole, first, second, third, small = places(sized(1000, 600, 602, 604, 300))
    assert (whole, small) == (1000, 300)
    assert first < second < third
    assert second == pytest.approx(602, rel=1e-4)
    assert third / second == pytest.approx(second / first)  # the axis is of powers of ten
    assert second / first > 1.05


@pytest.mark.parametrize("sizes", [(46_881_792, 749_000, 860_000, 865_000), (1000, 600), (8, 1)])
def test_every_marker_stands_within_the_axis(sizes: tuple[int, ...]) -> None:
    figure = check_chart(sized(*sizes), theme="light")
    low, high = figure.layout.xaxis.range
    for trace in figure.data:
        place = (math.log10(trace.x[0]) - low) / (high - low)
        assert 0.04 < place < 0.96  # half a marker, where the chart is narrowest
    drawn = [place for place in figure.layout.xaxis.tickvals if low <= math.log10(place) <= high]
    assert len(drawn) >= 2


def test_other_plans_are_faint_and_without_bars() -> None:
    other = sized(1000, 200)
    figure = check_chart(ACCURACY, others=(other,), theme="light")
    faint = [trace for trace in figure.data if trace.opacity < 1]
    assert [(trace.x[0], trace.y[0]) for trace in faint] == [(200, 0.4)]  # one original is enough
    assert faint[0].error_y.array is None


def test_names_are_shown_as_they_are() -> None:
    ours = replace(ACCURACY.scores[1], variant="k = 5 <b>")
    figure = check_chart(replace(ACCURACY, scores=(ACCURACY.scores[0], ours)), theme="light")
    assert figure.data[1].text[0] == "k = 5 &lt;b&gt;"


def test_each_kind_of_variant_has_a_sign_of_its_own() -> None:
    kinds: list[Score] = [
        *ACCURACY.scores,
        replace(ACCURACY.scores[2], variant="weighted SVD, 8 bits"),
    ]
    assert len({score_glyph(score) for score in kinds}) == len(kinds)
