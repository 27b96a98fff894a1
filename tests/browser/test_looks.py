"""The pages in the sizes and schemes people use: all drawn, nothing cut off."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from engine import RunStore, load_table
from engine.recording import record_evaluation
from pages.parts.palette import subspace_colour
from tests.browser.conftest import PageOpener
from tests.browser.driver import canvas_colours, find_chart, open_app, palette_pixels, wait_until
from tests.browser.explorer import (
    TinyTable,
    choose,
    close_sidebar,
    go_to_accuracy,
    go_to_compare,
    link,
    open_sidebar,
)
from tests.browser.server import Server
from tests.pages.results import ACCURACY, PERPLEXITY

pytestmark = pytest.mark.usefixtures("quiet_log")

_SIDEWAYS = "document.scrollingElement.scrollWidth - window.innerWidth"
# What cannot show all of its text; texts behind an ellipsis too.
_CUT = """() => Array.from(document.querySelectorAll(
    'button[kind], [role="radio"], [role="radio"] p, button[kind] p,'
    + '[data-testid="stMetricValue"] *, [data-testid="stMetricDelta"] *,'
    + '[data-testid="stMetricLabel"] p, h1, h2, h3'))
  .filter(element => element.checkVisibility() && element.clientWidth > 0
    && !element.closest('[data-collapsed="true"]') && element.scrollWidth > element.clientWidth + 1)
  .map(element => element.textContent)"""
# The scrolling part of the page is not the document: it must not scroll sideways either.
_MAIN_SIDEWAYS = """() => {
  const main = document.querySelector('[data-testid="stMain"]');
  return main.scrollWidth - main.clientWidth;
}"""


def expect_tidy(page: Page) -> None:
    """Nothing is cut off and the page does not scroll sideways."""
    assert page.evaluate(_SIDEWAYS) <= 1
    assert page.evaluate(_MAIN_SIDEWAYS) <= 1
    # Not at once: an icon is the long word for it until the icons' font is there.
    wait_until(page, lambda: page.evaluate(_CUT) == [], what=f"nothing of {_CUT} is cut off")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_explore_is_drawn_and_nothing_is_cut_off(
    app_server: Server,
    tiny: TinyTable,
    open_page: PageOpener,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_app(page, link(app_server, tiny.path, run=tiny.run))
        chart = find_chart(page)
        wait_until(page, lambda: bool(canvas_colours(chart)), what="points are on the canvas")
        palette = [subspace_colour(label, scheme) for label in range(3)]
        assert min(palette_pixels(chart, palette)) > 20
        expect_tidy(page)
        open_sidebar(page)
        expect_tidy(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_compare_is_drawn_and_nothing_is_cut_off(
    app_url: str, open_page: PageOpener, width: int, scheme: Literal["light", "dark"]
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_app(page, app_url)
        go_to_compare(page)
        expect(find_chart(page)).to_be_visible()
        expect_tidy(page)
        open_sidebar(page)
        expect_tidy(page)


@pytest.fixture(scope="module")
def checked(app_server: Server, tiny: TinyTable) -> TinyTable:
    """The tiny table with findings of two checks in the server's store."""
    results = [result.as_dict() for result in (ACCURACY, PERPLEXITY)]
    figures = {"variants": [], "results": results, "seconds": 1.0}
    record = record_evaluation(load_table(tiny.path), {"run": tiny.run}, figures)
    RunStore(app_server.home / "runs").create(record, lambda _: None)
    return tiny


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_accuracy_is_drawn_and_nothing_is_cut_off(
    app_server: Server,
    checked: TinyTable,
    open_page: PageOpener,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_app(page, link(app_server, checked.path, run=checked.run))
        go_to_accuracy(page)
        for position in range(2):
            expect(find_chart(page, position=position)).to_be_visible()
        expect_tidy(page)
        close_sidebar(page)
        page.get_by_text("Run checks again, or others").click()
        expect(page.get_by_text("Cannot be run:").first).to_be_visible()
        expect_tidy(page)
        choose(page, "GLUE results")
        expect_tidy(page)
