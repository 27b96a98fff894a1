"""The network on the Explore page: drawn in both themes and widths, and its downloads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import Factorization, RunStore
from pages.parts.palette import PAGE, subspace_colour
from tests.browser.conftest import PageOpener
from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    go_to_compare,
    job_panel,
    link,
    open_tiny,
    search,
)
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
# As the page says it is loaded, with nothing else imported before.
_LOAD = """
import json, sys
import engine
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = ["A cat sits on a mat.", "There is a cat on the rug.", "Shares fell on Monday."]
alike = model.similarity(*[model.encode(texts)] * 2)
count = sum(weight.numel() for weight in model.parameters())
print(json.dumps([float(alike[0, 1]), float(alike[0, 2]), count]))
"""
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


def test_model_is_made_downloaded_and_loads_in_a_process_of_its_own(
    app_server: Server, page: Page, tmp_path: Path
) -> None:
    open_app(page, link(app_server))
    find_chart(page)
    button = page.get_by_role("button", name="Compressed model")
    button.click()
    expect(job_panel(page, "model").get_by_role("button", name="Cancel")).to_be_visible()
    expect(button).to_be_disabled()
    go_to_compare(page)
    expect(job_panel(page, "model"), "also on the other page").to_be_visible()
    page.get_by_role("link", name="Explore").click()
    made = page.get_by_role("button", name=re.compile(r"Compressed model, \d+\.\d MB"))
    expect(made).to_be_visible(timeout=3 * JOB_SECONDS * 1000)
    settle(page)
    expect(page.get_by_role("cell", name="bytes on disk")).to_be_visible()
    with page.expect_download() as event:
        made.click()
    assert event.value.suggested_filename == "all-MiniLM-L6-v2-k5.zip"
    with zipfile.ZipFile(event.value.path()) as archive:
        archive.extractall(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", _LOAD, str(tmp_path / "all-MiniLM-L6-v2-k5")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    alike, different, parameters = json.loads(run.stdout.splitlines()[-1])
    assert alike > different + 0.3, "it still tells sentences apart"
    assert parameters == 18_000_240  # 22,713,216 less what the plan saves
