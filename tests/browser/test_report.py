"""A report in a browser that is cut off from everything: drawn, searched, in light, dark, print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from engine.colours import subspace_colour
from engine.report.runs import report_run
from tests.browser.driver import (
    LOAD_MILLISECONDS,
    canvas_colours,
    chart_traces,
    collect_errors,
    find_chart,
    palette_pixels,
    wait_until,
)
from tests.browser.explorer import HOSTILE, TinyTable, open_tiny
from tests.browser.server import Server

INK = {"light": "rgb(22, 32, 44)", "dark": "rgb(228, 234, 241)"}

# Where the first point of the first subspace is on the screen.
_FIRST_POINT = """chart => {
  const {left, top} = chart.getBoundingClientRect();
  const {xaxis, yaxis} = chart._fullLayout;
  const {x, y} = chart._fullData[0];
  return [left + xaxis._offset + xaxis.d2p(x[0]), top + yaxis._offset + yaxis.d2p(y[0])];
}"""


@pytest.fixture(scope="module")
def report(app_server: Server, tiny: TinyTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "tiny.html"
    path.write_bytes(report_run(app_server.home / "runs" / tiny.run))
    return path


@contextmanager
def cut_off(
    browser: Browser, path: Path, *, width: int = 1440, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """The file in a browser without network; fails if it asks for anything or logs an error."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.set_default_timeout(LOAD_MILLISECONDS)
    errors, asked = collect_errors(page), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page
    fetched = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert fetched == [path.as_uri()], "the report asks for something besides itself"
    assert not errors, f"the browser's console shows {errors}"
    context.close()


def drawn_map(page: Page) -> Locator:
    chart = find_chart(page)
    wait_until(page, lambda: bool(canvas_colours(chart)), what="points are on the canvas")
    return chart


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_report_is_drawn_without_network(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    with cut_off(browser, report, width=width, scheme=scheme) as page:
        chart = drawn_map(page)
        palette = [subspace_colour(label, scheme) for label in range(3)]
        assert min(palette_pixels(chart, palette)) > 20
        legend = page.get_by_role("group", name="Subspaces").get_by_role("button")
        expect(legend).to_have_count(3)
        expect(page.locator("body")).to_have_css("color", INK[scheme])
        font = chart.evaluate("chart => chart._fullLayout.font.color")
        assert font == {"light": "#16202c", "dark": "#e4eaf1"}[scheme]
        sideways = "document.scrollingElement.scrollWidth - window.innerWidth"
        assert page.evaluate(sideways) <= 0
        for table in page.locator("table").all():
            expect(table).to_be_visible()


def test_tokens_that_look_like_markup_are_text(
    browser: Browser, report: Path, tiny: TinyTable
) -> None:
    with cut_off(browser, report) as page:
        chart = drawn_map(page)
        expect(page.locator("main img, main b:not(svg b), main iframe")).to_have_count(0)
        texts = chart.evaluate("chart => chart._fullData.flatMap(trace => Array.from(trace.text))")
        assert len(texts) == len(tiny.tokens)
        assert not [text for text in texts if re.search("[<>]", text)], "plotly reads a few tags"
        for token in HOSTILE:
            page.get_by_label("Find a token").fill(token)
            expect(page.locator("#found .token").first).to_have_text(token)


def test_search_rings_what_it_finds_and_says_when_there_is_nothing(
    browser: Browser, report: Path, tiny: TinyTable
) -> None:
    with cut_off(browser, report) as page:
        chart = drawn_map(page)
        box, found = page.get_by_label("Find a token"), page.locator("#found")
        wanted = sorted(token for token in tiny.tokens if "word59" in token)
        box.fill("WORD59")
        expect(found.locator("tr")).to_have_count(len(wanted))
        assert sorted(found.locator(".token").all_inner_texts()) == wanted
        *bulk, ring = chart_traces(chart)
        assert (ring["name"], len(ring["x"])) == ("Found", len(wanted))
        places = {(x, y) for trace in bulk for x, y in zip(trace["x"], trace["y"], strict=True)}
        assert places.issuperset(zip(ring["x"], ring["y"], strict=True))
        box.fill("nothing <b>like</b> it")
        expect(found).to_have_text("No token holds “nothing <b>like</b> it”.")
        assert "Found" not in [trace["name"] for trace in chart_traces(chart)]


def test_legend_hides_a_subspace_by_key(browser: Browser, report: Path) -> None:
    with cut_off(browser, report) as page:
        chart = drawn_map(page)
        button = page.get_by_role("group", name="Subspaces").get_by_role("button").nth(1)
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_have_attribute("aria-pressed", "false")
        colour = [subspace_colour(1, "light")]
        wait_until(page, lambda: palette_pixels(chart, colour) == [0], what="it is not drawn")
        page.keyboard.press("Enter")
        wait_until(page, lambda: palette_pixels(chart, colour)[0] > 20, what="it is drawn again")


def test_hover_names_the_token_and_its_subspace(browser: Browser, report: Path) -> None:
    with cut_off(browser, report) as page:
        chart = drawn_map(page)
        chart.scroll_into_view_if_needed()
        page.mouse.move(*chart.evaluate(_FIRST_POINT))
        said = chart.locator(".hovertext")
        expect(said).to_contain_text(re.compile(r"error \d+\.\d%"))
        names = page.get_by_role("group", name="Subspaces").get_by_role("button")
        numbers = [name.partition(" ")[0] for name in names.all_inner_texts()]
        subspace = said.locator("tspan.line").nth(1).text_content() or ""
        assert subspace.partition(" ")[0] in numbers


def test_nothing_offers_to_upload_a_chart(browser: Browser, report: Path) -> None:
    with cut_off(browser, report) as page:
        drawn_map(page)
        titles = page.locator(".modebar-btn").evaluate_all(
            "buttons => buttons.map(button => button.dataset.title)"
        )
        assert "Download plot as a PNG" in titles
        assert not [title for title in titles if re.search("share|cloud|upload", title, re.I)]


def test_colours_follow_the_screen_and_paper_is_light(browser: Browser, report: Path) -> None:
    with cut_off(browser, report) as page:
        chart = drawn_map(page)

        def font() -> str:
            return chart.evaluate("chart => chart._fullLayout.font.color")

        page.emulate_media(color_scheme="dark")
        wait_until(page, lambda: font() == "#e4eaf1", what="the figure is dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert font() == "#16202c"
        expect(page.locator("body")).to_have_css("color", INK["light"])
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert font() == "#e4eaf1"


def test_app_gives_the_report_its_link_and_the_tokens(
    browser: Browser, page: Page, app_server: Server, tiny: TinyTable, tmp_path: Path
) -> None:
    open_tiny(page, app_server, tiny, map="PCA")
    page.get_by_role("button", name="Share", exact=True).click()
    link = page.get_by_test_id("stPopoverBody").get_by_test_id("stCode").inner_text()
    assert f"run={tiny.run}" in link
    assert "map=PCA" in link
    with page.expect_download() as event:
        page.get_by_role("button", name="Report (HTML)").click()
    assert event.value.suggested_filename == "tiny-report.html"
    path = tmp_path / "report.html"
    event.value.save_as(path)
    with cut_off(browser, path) as offline:
        drawn_map(offline)
        expect(offline.get_by_role("heading", level=1)).to_have_text("tiny")
