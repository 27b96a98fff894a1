"""The Runs page in a browser: ticked, named, made again, carried away, brought back, opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from engine import RunStore
from engine.runs import RunLabel
from tests.browser.conftest import REPOSITORY, PageOpener
from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    expect_alert,
    go_to_runs,
    link,
    plant_table,
    runs_on_disk,
    shown_run,
)
from tests.browser.server import Server, serve_script
from tests.browser.test_looks import expect_tidy

pytestmark = pytest.mark.usefixtures("quiet_log")
_HEADER, _ROW = 35, 35  # pixels of the table; its rows are drawn on a canvas


@pytest.fixture(scope="module")
def app_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose store holds the runs of these tests alone."""
    with serve_script(REPOSITORY / "app.py", home=tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def tiny(app_server: Server, tmp_path: Path) -> TinyTable:
    """A table on planted subspaces, and a run of it, the only one in the server's store."""
    store = store_of(app_server)
    for run in store.list().runs:
        store.delete(run.id)
    return plant_table(tmp_path / "tiny.npy", store=store)


def store_of(server: Server) -> RunStore:
    return RunStore(server.home / "runs")


def open_runs(page: Page, server: Server, tiny: TinyTable) -> None:
    """By way of a small map: the bundled model's is not what is looked at."""
    open_app(page, link(server, tiny.path, map="PCA"))
    go_to_runs(page)


def tick(page: Page, row: int) -> None:
    """Tick a run, or take its tick away, by its place in the list."""
    table = page.get_by_test_id("stDataFrame").first
    table.locator(".dvn-scroller").click(position={"x": 15, "y": _HEADER + _ROW * row + _ROW // 2})
    settle(page)


def card(page: Page, title: str) -> None:
    """The card of a run is there."""
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    settle(page)


def test_a_run_is_named_made_again_and_set_beside_the_first(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    open_runs(page, app_server, tiny)
    tick(page, 0)
    card(page, "k = 3, j = 5")
    assert f"runs={tiny.run}" in page.url
    page.get_by_label("Name", exact=True).fill("planted <b>*three*</b>")
    page.get_by_label("Note").fill("Two\nlines")
    press(page, "Save")
    expect(page.get_by_text("Name and note are saved.")).to_be_visible()
    card(page, "planted <b>*three*</b>")
    assert store_of(app_server).load(tiny.run).label == RunLabel(
        name="planted <b>*three*</b>", note="Two\nlines"
    )
    page.get_by_role("button", name="Run again").click()
    done = page.get_by_text("Made again: every figure is the same, the time apart.")
    expect(done).to_be_visible(timeout=JOB_SECONDS * 1000)
    settle(page)
    (second,) = runs_on_disk(app_server) - {tiny.run}
    assert f"runs={second},{tiny.run}" in page.url.replace("%2C", ",")
    expect(page.get_by_text("A · planted <b>*three*</b>")).to_be_visible()
    expect(page.get_by_role("button", name="See both maps")).to_be_visible()
    tick(page, 1)  # the older: the newer stays
    card(page, "k = 3, j = 5")
    tick(page, 1)
    press(page, "See both maps")
    expect(page.get_by_role("combobox", name="Plan A")).to_have_value(
        re.compile(r"^planted <b>\*three\*</b> · ")
    )
    expect(page.get_by_role("combobox", name="Plan B")).to_have_value(
        re.compile("^k = 3, j = 5 · ")
    )
    assert f"pair-a={tiny.run}" in page.url
    assert f"pair-b={second}" in page.url


def test_a_run_opens_on_explore_with_its_table(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    store_of(app_server).label(tiny.run, RunLabel(name="mine"))
    open_runs(page, app_server, tiny)
    tick(page, 0)
    press(page, "Open on Explore")
    expect(page.get_by_role("heading", name="tiny", exact=True)).to_be_visible()
    find_chart(page)
    settle(page)
    assert shown_run(page.url) == tiny.run
    expect(page.get_by_role("textbox", name="Path on this machine")).to_have_value(str(tiny.path))
    expect(page.get_by_label("Run on the map")).to_have_value(re.compile("^mine · "))
    page.reload()  # the link has all of it
    expect(page.get_by_role("heading", name="tiny", exact=True)).to_be_visible()


def test_a_run_is_exported_deleted_and_imported(
    app_server: Server, tiny: TinyTable, page: Page, tmp_path: Path
) -> None:
    store_of(app_server).label(tiny.run, RunLabel(name="carried"))
    open_runs(page, app_server, tiny)
    tick(page, 0)
    with page.expect_download() as event:
        page.get_by_role("button", name="Export", exact=True).click()
    packed = tmp_path / event.value.suggested_filename
    event.value.save_as(packed)
    assert packed.name == f"tiny-{tiny.run}.zip"
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Delete the run for good?")).to_be_visible()
    assert runs_on_disk(app_server) == {tiny.run}
    press(page, "Yes, delete")
    expect_alert(page, "There is no run yet")
    assert runs_on_disk(app_server) == set()
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator('input[type="file"]').set_input_files(packed)
    page.get_by_role("button", name="Import its runs").click()
    expect_alert(page, "1 run imported")
    settle(page)
    card(page, "carried")
    assert runs_on_disk(app_server) == {tiny.run}


def test_a_run_deleted_in_another_tab_is_told(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    open_runs(page, app_server, tiny)
    tick(page, 0)
    card(page, "k = 3, j = 5")
    store_of(app_server).delete(tiny.run)
    press(page, "Save")
    expect_alert(page, "is not there any more: it was deleted")
    assert runs_on_disk(app_server) == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_nothing_is_cut_off(
    app_server: Server,
    tiny: TinyTable,
    open_page: PageOpener,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    with open_page(width=width, scheme=scheme) as page:
        open_runs(page, app_server, tiny)
        if width < 1000:
            page.get_by_test_id("stSidebarHeader").hover()
            page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        expect_tidy(page)
        tick(page, 0)
        card(page, "k = 3, j = 5")
        expect_tidy(page)
