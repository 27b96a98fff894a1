"""The Learn page on screen: lessons are drawn, points can be pressed, nothing is cut off."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from engine import lessons
from tests.browser.conftest import PageOpener
from tests.browser.driver import chart_traces, find_chart, open_app, settle, wait_until
from tests.browser.explorer import TinyTable, choose, expect_no_traceback, go_to_learn, link
from tests.browser.server import Server
from tests.browser.test_looks import expect_tidy

pytestmark = pytest.mark.usefixtures("quiet_log")

CHARTS = 15  # of all lessons
EM, COSTS, STARTS = 4, 5, 6  # by their place on the page


@pytest.fixture
def learn(app_server: Server, tiny: TinyTable, page: Page) -> Page:
    open_app(page, link(app_server, tiny.path))
    go_to_learn(page)
    return page


def lines(chart: Locator) -> list[list[float]]:
    """Ends of the four lines of EM."""
    return [trace["x"] for trace in chart_traces(chart) if trace["name"].startswith("subspace ")]


def press_point(page: Page, chart: Locator, number: int) -> None:
    """Click a point of a chart's first trace."""
    chart.scroll_into_view_if_needed()
    x, y = chart.evaluate(
        """(chart, number) => {
          const box = chart.getBoundingClientRect();
          const { xaxis, yaxis } = chart._fullLayout;
          const { x, y } = chart._fullData[0];
          return [box.left + xaxis._offset + xaxis.d2p(x[number]),
                  box.top + yaxis._offset + yaxis.d2p(y[number])];
        }""",
        number,
    )
    page.mouse.move(x - 4, y)
    page.mouse.move(x, y, steps=3)
    page.mouse.click(x, y)
    settle(page)


def test_em_by_hand(learn: Page) -> None:
    chart = find_chart(learn, position=EM)
    before = lines(chart)
    assert len(before) == 4
    learn.get_by_role("button", name="Next: refit").click()
    settle(learn)
    wait_until(learn, lambda: lines(find_chart(learn, position=EM)) != before, what="lines move")
    learn.get_by_role("button", name="To the end").click()
    settle(learn)
    expect(learn.get_by_text("has settled")).to_be_visible()
    press_point(learn, find_chart(learn, position=COSTS), 1)
    expect(learn.get_by_text("each line became the best one")).to_be_visible()
    press_point(learn, find_chart(learn, position=STARTS), 1)
    expect(learn.get_by_text("0.7% of the energy is lost")).to_be_visible()
    expect_no_traceback(learn)


def test_another_loss_turns_the_line_back(learn: Page) -> None:
    points = lessons.line_with_outliers()
    squared, robust = (
        f"{lessons.angle_of(lessons.best_line(points, loss)):.0f}°" for loss in ("squared", "tukey")
    )
    assert squared != robust
    expect(learn.get_by_text(f"Squared distance: a line at {squared}")).to_be_visible()
    choose(learn, "Tukey")
    expect(learn.get_by_text(f"Tukey: a line at {robust}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_learn_is_drawn_and_nothing_is_cut_off(
    app_server: Server,
    tiny: TinyTable,
    open_page: PageOpener,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_app(page, link(app_server, tiny.path))
        go_to_learn(page)
        for position in range(CHARTS):
            expect(find_chart(page, position=position)).to_be_visible()
        assert page.locator(".js-plotly-plot").count() == CHARTS
        expect_tidy(page)
