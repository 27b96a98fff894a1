"""The figure of GLUE: a line a plan in its colour, its interval as a band."""

from __future__ import annotations

import pytest

from engine.evaluation.glue.summarizing import summarize_cells
from engine.evaluation.glue.summary import AVERAGE, GlueSummary
from pages.parts.glue_chart import GlueLine, glue_chart
from pages.parts.palette import ACCENT, WEIGHTED_SVD, subspace_colour
from tests.engine.evaluation.glue_cells import make_run


@pytest.fixture(scope="module")
def summary() -> GlueSummary:
    return summarize_cells(make_run(tasks=("cola", "rte")), model="tiny", settings={})


def lines_of(summary: GlueSummary, *plans: str) -> list[GlueLine]:
    return [
        GlueLine(plan=plan, name=f"the {plan}", points=summary.curve(AVERAGE, "compressed", plan))
        for plan in plans
    ]


def test_lines_and_bands_are_the_points(summary: GlueSummary) -> None:
    (line,) = lines_of(summary, "k3")
    figure = glue_chart([line], ks=[2, 3, 5], theme="light")
    band, drawn = figure.data
    assert list(drawn.x) == [0.2, 0.4, 0.6, 0.8]
    assert list(drawn.y) == [point.drop.value for point in line.points]
    high = [point.drop.high for point in line.points]
    low = [point.drop.low for point in line.points]
    assert list(band.y) == [*high, *reversed(low)]
    assert band.legendgroup == drawn.legendgroup  # hidden together
    assert drawn.name == "the k3"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_k_has_its_colour_whatever_is_drawn_beside_it(summary: GlueSummary, theme: str) -> None:
    def colour(*plans: str) -> str:
        figure = glue_chart(lines_of(summary, *plans), ks=[2, 3, 5], theme=theme)
        return figure.data[-1].line.color

    assert colour("k3") == colour("svd", "k2", "k3") == subspace_colour(1, theme)
    assert colour("k5") == subspace_colour(2, theme)


def test_svds_are_dashed_and_told_apart(summary: GlueSummary) -> None:
    lines = lines_of(summary, "svd", "svd-weighted", "k2", "best-k")
    _, _, _, _, *drawn = glue_chart(lines, ks=[2, 3, 5], theme="light").data
    assert [trace.line.dash for trace in drawn] == ["dash", "dash", None, None]
    assert [trace.line.color for trace in drawn[:2]] == [ACCENT["light"], WEIGHTED_SVD]
    assert len({trace.line.color for trace in drawn}) == 4
