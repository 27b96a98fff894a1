"""The network on the Explore page: drawn in both themes and widths, and its download."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import Factorization, RunStore
from pages.parts.palette import PAGE, subspace_colour
from tests.browser.conftest import PageOpener
from tests.browser.driver import find_chart, open_app
from tests.browser.explorer import TinyTable, link, open_tiny, search
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")

TITLES = ["Before: one layer", "SVD: one subspace of rank 6", "3 subspaces of dimension 5"]
# What lies outside the window to the left or right, of all that is drawn or written.
_OUTSIDE = """svg => Array.from(svg.querySelectorAll('rect, circle, polygon, text'))
  .map(mark => mark.getBoundingClientRect())
  .filter(box => box.left < 0 || box.right > window.innerWidth).length"""
_SMALLEST_TEXT = """svg => Math.min(...Array.from(
  svg.querySelectorAll('text'), text => text.getBoundingClientRect().height
    / (1 + text.querySelectorAll('tspan').length)))"""
_LEFTS = "all => all.map(svg => Math.round(svg.getBoundingClientRect().left))"
_TEXT_COLOUR = "svg => getComputedStyle(svg.querySelector('text')).fill"
_FILLS = """svg => Array.from(svg.querySelectorAll('polygon'), band => band.getAttribute('fill'))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_network_is_drawn_in_every_size_and_scheme(
    app_server: Server,
    tiny: TinyTable,
    open_page: PageOpener,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_app(page, link(app_server, tiny.path, run=tiny.run))
        find_chart(page)
        drawings = page.locator("figure svg[role=img]")
        expect(drawings).to_have_count(3)
        assert page.locator("figure strong").all_inner_texts() == TITLES
        for drawing in drawings.all():
            drawing.scroll_into_view_if_needed()
            expect(drawing).to_be_visible()
            assert drawing.evaluate(_OUTSIDE) == 0
            assert drawing.evaluate(_SMALLEST_TEXT) > 11  # pixels of a line
            assert drawing.evaluate(_TEXT_COLOUR) == text_colour(page)
        lefts = drawings.evaluate_all(_LEFTS)
        assert len(set(lefts)) == (3 if width > 1000 else 1), "side by side, or all below another"
        colours = [subspace_colour(label, scheme) for label in range(3)]
        assert drawings.last.evaluate(_FILLS) == [colour for colour in colours for _ in range(2)]
        assert page_colour(page) == PAGE[scheme]


def text_colour(page: Page) -> str:
    return page.locator("figure strong").first.evaluate("text => getComputedStyle(text).color")


def page_colour(page: Page) -> str:
    """The background as it is computed, as ``#RRGGBB``."""
    text = page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    red, green, blue = text.removeprefix("rgb(").removesuffix(")").split(",")
    return f"#{int(red):02X}{int(green):02X}{int(blue):02X}"


def test_network_follows_the_token_that_was_found(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    open_tiny(page, app_server, tiny, map="PCA")
    search(page, "<img src=x")
    written = page.locator("figure svg text").get_by_text("<img src=…", exact=True)
    expect(written).to_have_count(3)
    expect(page.get_by_text("the way of “<img src=x onerror=alert(1)>”")).to_be_visible()


def test_factorization_is_downloaded_and_opens(
    app_server: Server, tiny: TinyTable, page: Page, tmp_path: Path
) -> None:
    open_tiny(page, app_server, tiny, map="PCA")
    with page.expect_download() as event:
        page.get_by_role("button", name="Factorization", exact=True).click()
    assert event.value.suggested_filename == "tiny-k3-factorization.zip"
    with zipfile.ZipFile(event.value.path()) as archive:
        archive.extractall(tmp_path)
    plan = Factorization.load(tmp_path / "tiny-k3-factorization")
    kept = Factorization.load(RunStore(app_server.home / "runs").load(tiny.run).folder)
    np.testing.assert_array_equal(plan.reconstruct().numpy(), kept.reconstruct().numpy())
    assert (plan.labels == kept.labels).all()
