"""The explorer as its user sees it: where things are on its pages, and how long they may take."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression
from tests.browser.driver import (
    WAIT_SECONDS,
    chart_traces,
    find_chart,
    open_app,
    settle,
    wait_until,
)
from tests.browser.server import Server

# A job of a tiny table waits for its worker, which first loads what it needs.
JOB_SECONDS = 2 * WAIT_SECONDS
WORKER = "engine.jobs.worker"

_METRICS = """cards => cards.map(card => ["Label", "Value", "Delta"].map(
  part => card.querySelector(`[data-testid="stMetric${part}"]`)?.innerText.trim() ?? ""))"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TinyTable:
    """A table small enough to be compressed while a test waits.

    Attributes:
        path: A ``.npy`` file with its tokens beside it.
        tokens: One a row, some of which look like markup.
        matrix: Shape (n, d), float32.
        run: Id of a compression of it that is in the server's store.
    """

    path: Path
    tokens: tuple[str, ...]
    matrix: NDArray[np.float32]
    run: str


# Markup of three kinds; each must be shown as it is written.
HOSTILE = ("<b>bold</b>", "[CLS]", "</s>", "<img src=x onerror=alert(1)>", "*a*_b_", "$x$", "&amp;")


def plant_table(path: Path, *, store: RunStore) -> TinyTable:
    """Write 600 rows near three subspaces of dimension 4 out of 24, and compress them."""
    generator = np.random.default_rng(11)
    parts = [
        generator.normal(size=(200, 4)) @ generator.normal(size=(4, 24)) + offset
        for offset in (0.0, 2.0, -2.0)
    ]
    matrix = np.concatenate(parts) + 0.05 * generator.normal(size=(600, 24))
    matrix = matrix.astype(np.float32)[generator.permutation(600)]
    tokens = (*HOSTILE, *(f"word{row}" for row in range(len(HOSTILE), 600)))
    np.save(path, matrix)
    path.with_suffix(".tokens.txt").write_text("\n".join(tokens), encoding="utf-8")
    table = load_table(path)
    config = CompressionConfig(k=3, j=5, n_init=2)
    compression = compress_table(table, config)
    run = store.create(*record_compression(table, config, compression))
    return TinyTable(path=path, tokens=tokens, matrix=matrix, run=run.id)


def link(server: Server, path: Path | str | None = None, **query: object) -> str:
    """The address of the Explore page with a file opened and controls set."""
    if path is not None:
        query = {"source": "File or folder", "spec": str(path), **query}
    return f"{server.url}/?{urlencode(query)}"


def open_tiny(page: Page, server: Server, tiny: TinyTable, **query: object) -> Locator:
    """Open a tiny table on the run it comes with; its map."""
    open_app(page, link(server, tiny.path, run=tiny.run, **query))
    return find_chart(page)


def go_to_compare(page: Page) -> None:
    """Change to the Compare page by the menu."""
    _go_to(page, "Compare", "Subspaces, SVD or rounding?")


def go_to_accuracy(page: Page) -> None:
    """Change to the Accuracy page by the menu."""
    _go_to(page, "Accuracy", "Does the smaller model still work?")


def go_to_runs(page: Page) -> None:
    """Change to the Runs page by the menu."""
    _go_to(page, "Runs", "Your runs")


def go_to_learn(page: Page) -> None:
    """Change to the Learn page by the menu."""
    _go_to(page, "Learn", "Why several subspaces?")


def _go_to(page: Page, link: str, heading: str) -> None:
    """Change the page by the menu, which is in the sidebar where it is narrow.

    By its address a page opens as well, but Streamlit then first looks for the server under that
    address, and the browser's console reports what it does not find there.
    """
    open_sidebar(page)
    page.get_by_role("link", name=link).click()
    page.get_by_role("heading", name=heading).wait_for()
    settle(page)


def open_sidebar(page: Page) -> None:
    """Show the sidebar where it is folded away."""
    expand, sidebar = page.get_by_test_id("stExpandSidebarButton"), page.get_by_test_id("stSidebar")

    def is_open() -> bool:
        if expand.is_visible():  # it is drawn late, and a press may come before it listens
            expand.click()
        return sidebar.get_attribute("data-collapsed") == "false"

    wait_until(page, is_open, what="the sidebar is open")


def close_sidebar(page: Page) -> None:
    """Fold the sidebar away: where it is narrow it lies over the page."""
    page.get_by_test_id("stSidebarHeader").hover()
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    expect(page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "true")


def compress_button(page: Page) -> Locator:
    """The button that starts a compression, in the sidebar."""
    return page.get_by_test_id("stSidebar").get_by_test_id("stBaseButton-primary")


def job_panel(page: Page, slot: str = "compress") -> Locator:
    """Phase, progress and Cancel of a job."""
    return page.locator(f".st-key-job-{slot}")


def press_compress(page: Page) -> None:
    """Start a compression and wait until its panel is there, or its run where that is quicker.

    A fit of a tiny table by a warm worker may end before the page first looks at its job.
    """
    before = shown_run(page.url)
    compress_button(page).click()

    def is_seen() -> bool:
        return job_panel(page).is_visible() or shown_run(page.url) not in (None, before)

    wait_until(page, is_seen, what="the compression is seen", seconds=JOB_SECONDS)


def finish_compress(page: Page, *, before: str | None = None) -> str:
    """Wait until the page shows another run than before; its id."""

    def is_new(url: str) -> bool:
        return shown_run(url) not in (None, before)

    page.wait_for_url(is_new, timeout=JOB_SECONDS * 1000)
    settle(page)
    run = shown_run(page.url)
    assert run is not None
    return run


def shown_run(url: str) -> str | None:
    """The run that a link leads to."""
    found = re.search(r"[?&]run=([^&]+)", url)
    return found.group(1) if found else None


def metrics(page: Page, *, once: str = "Error") -> dict[str, tuple[str, str]]:
    """Label of each headline figure → its value and what stands beneath, once one of them is there.

    All are read in one call, since a rerun may put another card in the place of one at any moment.
    """
    found: dict[str, tuple[str, str]] = {}

    def is_there() -> bool:
        cards: list[list[str]] = page.get_by_test_id("stMetric").evaluate_all(_METRICS)
        found.clear()
        found.update({label: (value, delta) for label, value, delta in cards})
        return once in found

    wait_until(page, is_there, what=f"the figure {once!r} is shown")
    return found


def choose(page: Page, text: str) -> None:
    """Press a segment of a segmented control."""
    page.get_by_role("radio", name=text, exact=True).click()
    settle(page)


def search(page: Page, text: str) -> None:
    """Type into the search box."""
    box = page.get_by_label("Find a token")
    box.fill(text)
    box.press("Enter")
    settle(page)


def download(page: Page, button: str = "Download CSV") -> list[dict[str, str]]:
    """Rows of the CSV behind a button."""
    with page.expect_download() as event:
        page.get_by_role("button", name=button).click()
    text = Path(event.value.path()).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def map_tokens(chart: Locator) -> list[str]:
    """Tokens of all points of a map, in the order of `map_points`."""
    return [
        unescape(text)
        for trace in chart_traces(chart)
        for text in trace_texts(chart, trace["name"])
    ]


def map_points(chart: Locator, *, traces: list[str] | None = None) -> NDArray[np.float64]:
    """Coordinates of all points of a map, shape (n, 2), trace after trace."""
    points = [
        np.column_stack([trace["x"], trace["y"]])
        for trace in chart_traces(chart)
        if traces is None or trace["name"] in traces
    ]
    # Between two drawings a chart has no traces, for a moment.
    return np.concatenate([np.empty((0, 2)), *points])


def trace_texts(chart: Locator, name: str, *, kind: str = "text") -> list[str]:
    """Labels ("text") or hover labels ("hovertext") of a trace, as plotly got them."""
    return chart.evaluate(
        "(chart, [name, kind]) => Array.from("
        "chart._fullData.find(trace => trace.name === name)?.[kind] ?? [])",
        [name, kind],
    )


def expect_alert(page: Page, pattern: str, *, seconds: float = WAIT_SECONDS) -> None:
    """An alert with such a text is on the page, and nothing of a traceback."""
    alert = page.get_by_test_id("stAlert").filter(has_text=re.compile(pattern))
    expect(alert).to_be_visible(timeout=seconds * 1000)
    expect_no_traceback(page)


def expect_no_traceback(page: Page) -> None:
    """Nothing that only a programmer would read is on the page."""
    expect(page.get_by_test_id("stException")).to_have_count(0)
    text = page.locator("body").inner_text()
    assert not re.search(r"Traceback|Error:|\bFile \"|\.py\b", text), text


def workers(server: Server) -> list[psutil.Process]:
    """The server's worker processes."""
    found: list[psutil.Process] = []
    for process in psutil.Process(server.pid).children(recursive=True):
        try:
            if any(WORKER in word for word in process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def runs_on_disk(server: Server) -> set[str]:
    """Names of the folders in the server's run store."""
    store = server.home / "runs"
    return {entry.name for entry in store.iterdir()} if store.exists() else set()
