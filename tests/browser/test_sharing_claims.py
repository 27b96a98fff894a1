"""What a run is taken home as, and what makes it again: pictures, tables, commands, reports."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from engine import Factorization, RunStore, load_table, run_sweep
from engine.colours import subspace_colour
from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression, record_sweep
from engine.run_differences import plan_figures
from engine.runs import Run
from engine.sweep import SweepConfig
from tests.browser.conftest import REPOSITORY
from tests.browser.driver import blank_page, chart_traces, find_chart, settle, wait_until
from tests.browser.explorer import (
    TinyTable,
    download,
    open_tiny,
    plant_table,
)
from tests.browser.server import Server, serve_script
from tests.browser.test_report import cut_off
from tests.browser.test_runs import card, open_runs, tick

pytestmark = pytest.mark.usefixtures("quiet_log")

_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_CELLS = "rows => rows.map(row => Array.from(row.children, cell => cell.textContent.trim()))"


@pytest.fixture(scope="module")
def app_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose store holds the runs of these tests alone."""
    with serve_script(REPOSITORY / "app.py", home=tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture(scope="module")
def store(app_server: Server) -> RunStore:
    return RunStore(app_server.home / "runs")


@pytest.fixture(scope="module")
def tiny(store: RunStore, tmp_path_factory: pytest.TempPathFactory) -> TinyTable:
    return plant_table(tmp_path_factory.mktemp("tables") / "tiny.npy", store=store)


@pytest.fixture(scope="module")
def other(store: RunStore, tiny: TinyTable) -> Run:
    """A run of the same table that differs in k alone."""
    table, config = load_table(tiny.path), CompressionConfig(k=2, j=5, n_init=2)
    return store.create(*record_compression(table, config, compress_table(table, config)))


@pytest.fixture(scope="module")
def share(browser: Browser, app_server: Server, tiny: TinyTable) -> Iterator[Page]:
    """The Explore page on the run of the tiny table, its Share menu as the last test left it."""
    with blank_page(browser) as page:
        open_tiny(page, app_server, tiny, map="PCA")
        yield page


def open_share(page: Page) -> Locator:
    """The Share menu, opened."""
    menu = page.get_by_test_id("stPopoverBody")
    if not menu.is_visible():
        page.get_by_role("button", name="Share", exact=True).click()
    expect(menu).to_be_visible()
    return menu


def take_picture(page: Page, kind: str) -> tuple[str, bytes]:
    """Name and content of what the camera over the map saves."""
    open_share(page).get_by_role("radio", name=kind).click()
    settle(page)
    page.keyboard.press("Escape")
    chart = find_chart(page)
    chart.hover()
    with page.expect_download() as event:
        chart.locator('.modebar-btn[data-title^="Download plot"]').click()
    return event.value.suggested_filename, Path(event.value.path()).read_bytes()


def subspace_pixels(image: bytes) -> list[int]:
    """Pixels of a PNG in the colour of each of three subspaces."""
    with Image.open(io.BytesIO(image)) as opened:
        shown = np.asarray(opened.convert("RGB")).astype(int)
    wanted = [list(bytes.fromhex(subspace_colour(label, "light")[1:])) for label in range(3)]
    return [int((np.abs(shown - rgb).max(axis=2) <= 16).sum()) for rgb in wanted]


def test_png_is_the_map_at_twice_its_size(share: Page) -> None:
    name, content = take_picture(share, "PNG")
    layout = "chart => [chart._fullLayout.width, chart._fullLayout.height]"
    size = find_chart(share).evaluate(layout)
    with Image.open(io.BytesIO(content)) as image:
        assert (name, image.format) == ("tiny-map.png", "PNG")
        assert image.size == pytest.approx([2 * side for side in size], abs=1)
    assert min(subspace_pixels(content)) > 20


def test_svg_is_the_map_with_words_as_words(share: Page) -> None:
    name, content = take_picture(share, "SVG")
    root = ElementTree.fromstring(content)
    assert (name, root.tag) == ("tiny-map.svg", f"{_SVG}svg")
    words = {"".join(text.itertext()) for text in root.iter(f"{_SVG}text")}
    assert words.issuperset(trace["name"] for trace in chart_traces(find_chart(share))[:3])
    pictures = [
        base64.b64decode(image.attrib[_HREF].partition(",")[2])
        for image in root.iter(f"{_SVG}image")
    ]
    assert max(min(subspace_pixels(picture)) for picture in pictures) > 20


def test_csv_has_every_token_with_the_subspace_and_error_of_the_run(
    share: Page, store: RunStore, tiny: TinyTable
) -> None:
    open_share(share)
    rows = download(share, "Every token (CSV)")
    plan = Factorization.load(store.load(tiny.run).folder)
    lost = np.square(tiny.matrix - plan.reconstruct().numpy()).sum(axis=1)
    errors = lost / np.square(tiny.matrix).sum(axis=1)
    assert [row["token"] for row in rows] == list(tiny.tokens)
    assert [int(row["subspace"]) for row in rows] == (plan.labels + 1).tolist()
    found = [float(row["error"]) for row in rows]
    np.testing.assert_allclose(found, errors, atol=1e-5)  # float32: a difference of squares


def grid(page: Page, title: str, *, least: int = 1) -> list[list[str]]:
    """Rows of a table as it says them to a screen reader; its cells are drawn on a canvas.

    There are at least so many, and no more than are in sight.
    """
    named = page.locator(f'[aria-label*="{title}"]')
    table = page.get_by_test_id("stDataFrame").filter(has=named)
    rows: list[list[str]] = []

    def is_said() -> bool:
        table.scroll_into_view_if_needed()
        rows[:] = table.locator("tr").evaluate_all(_CELLS)
        return len(rows) > least

    wait_until(page, is_said, what=f"{title!r} has {least} rows")
    return rows[1:]


def test_two_runs_show_the_setting_that_differs_and_both_figures(
    app_server: Server, tiny: TinyTable, store: RunStore, other: Run, page: Page
) -> None:
    open_runs(page, app_server, tiny)
    for run in ("k = 3, j = 5", "k = 2, j = 5"):
        tick(page, [row[1] for row in grid(page, "Every run")].index(run))
    a, b = (plan_figures(store.load(run).record) for run in (tiny.run, other.id))
    figures = {name: tuple(said) for name, *said in grid(page, "Figures of both runs")}
    assert figures["Numbers stored"][:2] == (f"{a['parameters']:,}", f"{b['parameters']:,}")
    errors = [float(said.rstrip("%")) / 100 for said in figures["Error"][:2]]
    assert errors == pytest.approx([a["relative_error"], b["relative_error"]], rel=0.05)
    settings = "Settings, table and versions"
    assert grid(page, settings) == [["Settings", "Subspaces (k)", "3", "2"]]
    page.get_by_text("Show what is the same as well").click()
    settle(page)
    whole = {name: tuple(said) for _, name, *said in grid(page, settings, least=2)}
    assert whole["Subspaces (k)"] == ("3", "2")
    assert whole["Dimension (j)"] == ("5", "5")
    assert whole["Starts"] == ("2", "2")


def execute(home: Path, *command: str) -> str:
    """What a command prints that stores its runs in a home of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"SUBSPACE_ATLAS_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "PATH": path}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=home, env={**os.environ, **own}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_command_and_snippet_make_the_run_again(
    app_server: Server, tiny: TinyTable, other: Run, page: Page, tmp_path: Path
) -> None:
    open_runs(page, app_server, tiny)
    tick(page, [row[1] for row in grid(page, "Every run")].index("k = 2, j = 5"))
    card(page, "k = 2, j = 5")
    code = page.get_by_test_id("stCode")
    command = code.filter(has_text="subspace-atlas compress").text_content() or ""
    snippet = code.filter(has_text="import engine").text_content() or ""
    execute(tmp_path, "bash", "-c", command)
    (made,) = RunStore(tmp_path / "runs").list().runs
    wanted, verdict = (other.record.figures[name] for name in ("relative_error", "verdict"))
    assert made.record.figures["relative_error"] == pytest.approx(wanted, rel=1e-5)
    told = "print(compression.figures.relative_error)"
    *said, error = execute(tmp_path, sys.executable, "-c", f"{snippet}\n{told}").splitlines()
    assert said == [verdict]
    assert float(error) == pytest.approx(wanted, rel=1e-5)


def test_report_shows_the_curves_of_a_stored_sweep_and_the_settings(
    share: Page, browser: Browser, store: RunStore, tiny: TinyTable, tmp_path: Path
) -> None:
    asked = SweepConfig(rates=(0.5, 0.7), ks=(3,), seeds=(0,), shares=())
    table = load_table(tiny.path)
    sweep = run_sweep(table, asked)
    store.create(*record_sweep(table, sweep))
    open_share(share)
    with share.expect_download() as event:
        share.get_by_role("button", name="Report (HTML)").click()
    event.value.save_as(path := tmp_path / "report.html")
    with cut_off(browser, path) as report:
        drawn = {trace["name"]: trace for trace in chart_traces(find_chart(report, position=1))}
        for name, method in (("k = 3", "messi"), ("SVD (k = 1)", "svd")):
            cells = [cell for cell in sweep.cells if cell.method == method and cell.bits == 32]
            errors = {cell.asked_rate: cell.relative_error for cell in cells}
            assert dict(zip(drawn[name]["x"], drawn[name]["y"], strict=True)) == errors
        pairs = report.locator("dl.terms div").evaluate_all(_CELLS)
        settings = {term: text for term, text in pairs}
        assert (settings["Subspaces (k)"], settings["Dimension (j)"]) == ("3", "5")
        assert (settings["Starts"], settings["Seed"]) == ("2", "0")
