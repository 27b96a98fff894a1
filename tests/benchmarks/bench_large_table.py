"""A table of 262,144 × 640 float16 through the app: opened, compressed on a budget, mapped.

python -m tests.benchmarks.bench_large_table

Everything goes through the pages, in a headless Chromium, as a visitor would do it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Page, expect, sync_playwright

from tests.benchmarks.machine import describe_machine, machine_line
from tests.browser.driver import (
    CHROMIUM_ARGS,
    chart_traces,
    find_chart,
    find_chromium,
    settle,
    watch_runs,
)
from tests.browser.explorer import compress_button, link, shown_run, workers
from tests.browser.server import Server, serve_script

COMMAND = "python -m tests.benchmarks.bench_large_table"
APP = Path(__file__).parents[2] / "app.py"
PATIENCE = 3600  # seconds for one step on a busy machine
SAMPLE_SECONDS = 0.2
BLOCK_ROWS = 16_384


class Peaks:
    """The most memory that the server and its workers were seen to hold, bytes."""

    def __init__(self, server: Server) -> None:
        self.server = self.worker = 0
        self._of = server
        self._ended = threading.Event()

    def watch(self) -> None:
        """Look until told to end."""
        process = psutil.Process(self._of.pid)
        while not self._ended.wait(SAMPLE_SECONDS):
            with suppress(psutil.Error):
                self.server = max(self.server, process.memory_info().rss)
                found = [worker.memory_info().rss for worker in workers(self._of)]
                self.worker = max(self.worker, *found, 0)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()


@contextmanager
def watched(server: Server) -> Iterator[Peaks]:
    """Watch the memory of a server while the block runs."""
    peaks = Peaks(server)
    thread = threading.Thread(target=peaks.watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        peaks.end()
        thread.join()


def write_table(path: Path, n: int, d: int) -> None:
    """Random rows in float16, a block at a time."""
    generator = np.random.default_rng(0)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n, d))
    for start in range(0, n, BLOCK_ROWS):
        rows = table[start : start + BLOCK_ROWS]
        rows[...] = generator.standard_normal(rows.shape, dtype=np.float32)
    table.flush()


def open_map(page: Page, server: Server, path: Path) -> float:
    """Seconds from the address to the table's map."""
    begun = time.monotonic()
    plan = {"k": 4, "rate": 80, "starts": 1, "allocation": "Best for each"}
    page.goto(link(server, path, map="UMAP", **plan))
    page.locator(".js-plotly-plot").first.wait_for(timeout=PATIENCE * 1000)
    find_chart(page)
    return time.monotonic() - begun


def compress(page: Page) -> float:
    """Seconds from the press to the map of the new plan."""
    settle(page, seconds=PATIENCE)
    begun = time.monotonic()
    compress_button(page).click()
    page.wait_for_url(lambda url: shown_run(url) is not None, timeout=PATIENCE * 1000)
    settle(page, seconds=PATIENCE)
    find_chart(page)
    return time.monotonic() - begun


def draw_umap(page: Page) -> float:
    """Seconds from the press to the UMAP map."""
    begun = time.monotonic()
    page.get_by_role("button", name="Draw UMAP").click()
    panel = page.locator(".st-key-job-layout")
    panel.wait_for()
    expect(panel).to_have_count(0, timeout=PATIENCE * 1000)
    settle(page, seconds=PATIENCE)
    expect(page.get_by_text("UMAP has not been drawn")).to_have_count(0)
    return time.monotonic() - begun


def visit(server: Server, path: Path) -> dict[str, object]:
    """Take every step in a browser."""
    with sync_playwright() as playwright, watched(server) as peaks:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*CHROMIUM_ARGS])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        watch_runs(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        seconds = {"open": open_map(page, server, path)}
        print(seconds, flush=True)
        seconds["compress"] = compress(page)
        print(seconds, flush=True)
        seconds["map"] = draw_umap(page)
        traces = chart_traces(find_chart(page))
        said = page.get_by_text("An even sample of").inner_text()
        said = said[said.index(" ") + 1 :]  # the icon's name before it
        page.screenshot(path=path.with_suffix(".png"), full_page=True)
        browser.close()
    return {
        "seconds": seconds,
        "drawn": sum(len(trace["x"]) for trace in traces),
        "said": said,
        "server_peak_bytes": peaks.server,
        "worker_peak_bytes": peaks.worker,
    }


def main() -> None:
    """Measure, then write ``large-table.json`` and ``large-table.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--columns", type=int, default=640)
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        path = Path(folder) / "large.npy"
        write_table(path, options.rows, options.columns)
        with serve_script(APP, home=home) as server:
            found = visit(server, path)
    n, d = options.rows, options.columns
    summary = {"command": COMMAND, **describe_machine(), "rows": n, "columns": d, **found}
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "large-table.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    steps = {
        "open": "opened: read, PCA map on screen",
        "compress": "compressed on a budget (80 % fewer numbers, k = 4): its map",
        "map": "UMAP of all rows: its map",
    }
    total = psutil.virtual_memory().total
    page = "\n".join(
        [
            f"# A table of {n:,} × {d} float16 ({n * d * 2 / 1e6:,.0f} MB) in the app",
            "",
            f"`{COMMAND}`: random rows, headless Chromium, by the pages' own controls.",
            "",
            f"{machine_line()}, {total / 2**30:.0f} GiB of memory.",
            "",
            "| step | seconds |",
            "| --- | ---: |",
            *(f"| {steps[name]} | {seconds:.0f} |" for name, seconds in found["seconds"].items()),
            "",
            f"Most memory: {found['server_peak_bytes'] / 2**30:.1f} GiB in the server, "
            f"{found['worker_peak_bytes'] / 2**30:.1f} GiB in the worker. Drawn: "
            f"{found['drawn']:,} points. The page says: “{found['said']}”",
            "",
        ]
    )
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
