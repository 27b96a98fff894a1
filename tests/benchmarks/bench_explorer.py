"""How soon the explorer answers, on the bundled model, in a real Chromium with software WebGL.

python -m tests.benchmarks.bench_explorer

The first map, sliders and cancels have tables of their own: ``bench_first_map``, ``bench_compare``
and ``bench_cancel``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Locator, Page, sync_playwright

from tests.benchmarks.machine import describe_machine, machine_line
from tests.browser.driver import (
    CHROMIUM_ARGS,
    draw_lasso,
    find_chart,
    find_chromium,
    open_app,
    settle,
    watch_runs,
)
from tests.browser.explorer import (
    finish_compress,
    job_panel,
    map_points,
    press_compress,
    shown_run,
)
from tests.browser.server import serve_script

COMMAND = "python -m tests.benchmarks.bench_explorer"
APP = Path(__file__).parents[2] / "app.py"
VIEWPORT = {"width": 1440, "height": 1000}
PROMISED = {
    "recolour the map": 0.7,
    "lasso → table of its tokens": 1.0,
    "search → matches ringed and listed": None,
    "compress k = 5 at 40 %, ten starts": 15.0,
    "cancel → it is said to be cancelled": 0.5,
    "report (HTML), pressed → on the disk": 5.0,
}
# From the press to the frame after the map was drawn anew.
_RECOLOUR = """([chart, button]) => new Promise(done => {
  const begun = performance.now();
  chart.once('plotly_afterplot', () => requestAnimationFrame(
    () => done((performance.now() - begun) / 1000)));
  button.click();
})"""

# From the press to the page that says so.
_CANCEL = """button => new Promise(done => {
  const begun = performance.now();
  new MutationObserver((_, observer) => {
    const said = [...document.querySelectorAll('[data-testid="stAlert"]')];
    if (!said.some(alert => alert.textContent.includes('Cancelled.'))) return;
    observer.disconnect();
    done((performance.now() - begun) / 1000);
  }).observe(document, { subtree: true, childList: true, characterData: true });
  button.click();
})"""


def recolour(page: Page, chart: Locator, name: str) -> float:
    """Seconds from a press on a colour to the map in it."""
    button = page.get_by_role("radio", name=name, exact=True).element_handle()
    seconds = page.evaluate(_RECOLOUR, [chart.element_handle(), button])
    settle(page)
    return float(seconds)


def lasso(page: Page, chart: Locator, share: float) -> float:
    """Seconds from letting go of a loop to the heading of its table."""
    points = map_points(chart)
    low, high = points.min(axis=0), points.max(axis=0)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * share
    heading = page.get_by_text("selected on the map")
    before = heading.inner_text() if heading.count() else ""
    draw_lasso(page, chart, (low + high) / 2 + corners * (high - low) / 2)
    begun = time.monotonic()
    while not heading.count() or heading.inner_text() == before:
        page.wait_for_timeout(10)
    seconds = time.monotonic() - begun
    settle(page)
    return seconds


def search(page: Page, chart: Locator, text: str) -> float:
    """Seconds from Enter to the heading of the matches."""
    box = page.get_by_label("Find a token")
    box.fill(text)
    begun = time.monotonic()
    box.press("Enter")
    page.get_by_text(f"with “{text}”").wait_for()
    seconds = time.monotonic() - begun
    settle(page)
    return seconds


def compress(page: Page) -> float:
    """Seconds from Compress to the figures of the new run."""
    before, begun = shown_run(page.url), time.monotonic()
    press_compress(page)
    finish_compress(page, before=before)
    return time.monotonic() - begun


def cancel(page: Page, after: float) -> float:
    """Seconds from Cancel to the message that nothing was changed."""
    press_compress(page)
    page.wait_for_timeout(after * 1000)
    button = job_panel(page).get_by_role("button", name="Cancel").element_handle()
    seconds = page.evaluate(_CANCEL, button)
    settle(page)
    return float(seconds)


def report(page: Page) -> float:
    """Seconds from the press to the file."""
    page.get_by_role("button", name="Share").click()
    button = page.get_by_role("button", name="Report (HTML)")
    button.wait_for()
    settle(page)
    begun = time.monotonic()
    with page.expect_download() as event:
        button.click()
    event.value.path()
    seconds = time.monotonic() - begun
    page.keyboard.press("Escape")
    settle(page)
    return seconds


def measure(page: Page, times: int) -> dict[str, list[float]]:
    """Every action several times, on the page as it opens."""
    chart = find_chart(page)
    colours = ("Error", "Norm", "Frequency", "Subspace", "Neighbours kept")
    found = {
        "recolour the map": [
            recolour(page, chart, colours[number % len(colours)]) for number in range(2 * times)
        ],
        "lasso → table of its tokens": [
            lasso(page, chart, 0.2 + 0.05 * number) for number in range(times)
        ],
    }
    page.reload()
    settle(page)
    chart = find_chart(page)
    words = ("berlin", "tion", "un", "##s", "qu", "art", "over")
    found["search → matches ringed and listed"] = [
        search(page, chart, words[number % len(words)]) for number in range(times)
    ]
    once: dict[str, Callable[[], float]] = {
        "report (HTML), pressed → on the disk": lambda: report(page),
        "compress k = 5 at 40 %, ten starts": lambda: compress(page),
        "cancel → it is said to be cancelled": lambda: cancel(page, 2.0),
    }
    return found | {name: [act() for _ in range(3)] for name, act in once.items()}


def main() -> None:
    """Measure, then write ``explorer.json`` and ``explorer.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        executable = find_chromium()
        browser = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGS])
        with serve_script(APP, home=Path(home)) as server:
            context = browser.new_context(viewport=VIEWPORT)
            watch_runs(context)
            page = context.new_page()
            open_app(page, server.url)
            find_chart(page)
            page.wait_for_timeout(20_000)  # the worker's warming is over by then
            found = measure(page, options.times)
        browser.close()
    summary = {"command": COMMAND, **describe_machine(), "seconds": found}
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "explorer.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# How soon the explorer answers, all-MiniLM-L6-v2 (30,522 points)",
        "",
        f"`{COMMAND}`: headless Chromium, software WebGL, 1440 × 1000, one server.",
        "",
        f"{machine_line()}.",
        "",
        "| action | times | median, s | slowest, s | promised, s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, promised in PROMISED.items():
        seconds, wanted = found[name], "" if promised is None else f"{promised:g}"
        lines.append(
            f"| {name} | {len(seconds)} | {median(seconds):.2f} | {max(seconds):.2f} | {wanted} |"
        )
    page_text = "\n".join(lines) + "\n"
    target.with_suffix(".md").write_text(page_text, encoding="utf-8")
    print(page_text)


if __name__ == "__main__":
    main()
