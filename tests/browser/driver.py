"""Drives the app in a real Chromium: wait for it, read its charts, draw on them.

What a chart shows is read from two places that cannot stand in for each other: plotly's own data
(what should be drawn) and the pixels of the WebGL canvas (what was).
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# SwiftShader draws WebGL where there is no GPU; without the background switch Chromium calls home.
# The page around the charts is drawn and put together without SwiftShader: that has cost four
# seconds of a core for each page that was opened, for pixels that no test looks at.
CHROMIUM_ARGS = (
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--use-angle=swiftshader",
    "--use-gl=angle",
    "--disable-gpu-rasterization",
    "--disable-gpu-compositing",
    "--disable-background-networking",
    "--no-first-run",
)
# How long anything may take that no test times: on two cores shared with other test runs, a page
# has taken ten times what it takes on an idle machine.
WAIT_SECONDS = 90
LOAD_MILLISECONDS = WAIT_SECONDS * 1000

# Between a click and the rerun it causes the script is not running either, on a busy machine for
# a second and more. So a watched page keeps in mind that a run is owed since the last click or key.
# Not every click causes a run: what is owed for three seconds was not meant to come.
_WATCH = """
  for (const kind of ['pointerup', 'keydown'])
    document.addEventListener(kind, () => { window.owedSince = performance.now(); }, true);
  new MutationObserver(() => {
    const app = document.querySelector('[data-testid="stApp"]');
    if (app?.dataset.testScriptState === 'running') window.owedSince = undefined;
  }).observe(document, {
    subtree: true, childList: true, attributes: true, attributeFilter: ['data-test-script-state'],
  });
"""
# Quiet at six looks in a row. Looks are counted, not time, since WebGL in software can block the
# page for seconds.
_QUIET = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  const busy = !app || app.dataset.testScriptState !== 'notRunning'
    || app.dataset.testConnectionState !== 'CONNECTED'
    || performance.now() - window.owedSince < 3000
    || document.querySelector('[data-stale="true"]') !== null;
  window.quietLooks = busy ? 0 : window.quietLooks + 1;
  return window.quietLooks >= 6;
}"""
# In one call, since a rerun may put another element in the place of this one at any moment.
_SHOWN = """chart => {
  chart.scrollIntoViewIfNeeded();
  return Boolean(chart.isConnected
    && chart._fullData?.length && chart._fullLayout?._size && !chart._transitioning);
}"""
# An empty trace waits for what is found, and draws nothing.
_TRACES = """chart => (chart._fullData ?? []).filter(trace => trace.visible).map(trace => ({
  type: trace.type, name: trace.name, mode: trace.mode,
  x: Array.from(trace.x ?? []), y: Array.from(trace.y ?? []),
  color: trace.marker && trace.marker.color !== undefined
    ? (typeof trace.marker.color === 'string' ? trace.marker.color : Array.from(trace.marker.color))
    : null,
  selected: trace.selectedpoints ? Array.from(trace.selectedpoints) : null,
}))"""
# The pick canvas is left out: it holds point numbers written as colours.
_CANVASES = """chart => Array.from(
  chart.querySelectorAll('canvas.gl-canvas-context, canvas.gl-canvas-focus'),
  canvas => canvas.toDataURL('image/png'))"""
_PIXELS = """(chart, points) => {
  const box = chart.getBoundingClientRect();
  const { xaxis, yaxis } = chart._fullLayout;
  return points.map(([x, y]) => [
    box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(y)]);
}"""
_LISTEN = """chart => {
  chart.drawnLasso = null;
  chart.once('plotly_selected', event => {
    const points = event?.lassoPoints;
    chart.drawnLasso = points ? points.x.map((x, i) => [x, points.y[i]]) : [];
  });
}"""


def find_chromium() -> Path | None:
    """The browser named by CHROMIUM, else the first one installed under a usual name."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named)
    found = (shutil.which(name) for name in CHROMIUM_NAMES)
    return next((Path(path) for path in found if path), None)


def collect_errors(page: Page) -> list[str]:
    """A list that grows by what the page logs as an error or leaves uncaught, from now on."""
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} ({message.location.get('url', '')})")

    def on_uncaught(error: Error) -> None:
        errors.append(str(error))

    page.on("console", on_console)
    page.on("pageerror", on_uncaught)
    return errors


def watch_runs(context: BrowserContext) -> None:
    """Let `settle` know, on every page of a context, of clicks whose run has not begun yet."""
    context.add_init_script(_WATCH)


@contextmanager
def blank_page(
    browser: Browser,
    *,
    width: int = 1440,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Page]:
    """A page of its own; what the browser's console shows as errors fails its end."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
    )
    watch_runs(context)
    page = context.new_page()
    page.set_default_timeout(LOAD_MILLISECONDS)
    errors = collect_errors(page)
    try:
        yield page
    finally:
        context.close()
    assert not errors, f"the browser's console shows {errors}"


def open_app(page: Page, url: str) -> None:
    """Go to a streamlit page and wait until its script has finished."""
    page.goto(url)
    settle(page)


def settle(page: Page, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until the script has finished and nothing on the page is stale."""
    page.evaluate("window.quietLooks = 0")
    page.wait_for_function(_QUIET, timeout=seconds * 1000, polling=50)


def find_chart(page: Page, *, position: int = 0) -> Locator:
    """The n-th plotly chart of the page, once plotly has laid it out."""
    return _laid_out(page, page.locator(".js-plotly-plot").nth(position))


def find_keyed_chart(page: Page, key: str) -> Locator:
    """The plotly chart that the script gave a key, once plotly has laid it out."""
    return _laid_out(page, page.locator(f".st-key-{key} .js-plotly-plot"))


def _laid_out(page: Page, chart: Locator) -> Locator:
    chart.wait_for(timeout=LOAD_MILLISECONDS)
    wait_until(page, lambda: bool(chart.evaluate(_SHOWN)), what="the chart is laid out")
    return chart


def count_draws(chart: Locator) -> None:
    """From now on count how often a chart is drawn, for `drawn_times`."""
    chart.evaluate(
        "chart => { window.draws = 0; chart.counted = true;"
        " chart.on('plotly_afterplot', () => { window.draws += 1; }); }"
    )


def draws_are_counted(chart: Locator) -> bool:
    """Whether the chart is the very one that `count_draws` was told of."""
    return bool(chart.evaluate("chart => chart.counted === true"))


def drawn_times(chart: Locator) -> int:
    """How often a chart was drawn since `count_draws`."""
    return int(chart.evaluate("window.draws"))


def wait_until(
    page: Page, condition: Callable[[], bool], *, what: str, seconds: float = WAIT_SECONDS
) -> None:
    """Wait for a condition that is computed here, not in the page."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        page.wait_for_timeout(100)


def chart_traces(chart: Locator) -> list[dict[str, Any]]:
    """What plotly was given: type, name, mode, x, y, marker colour and selection of each trace."""
    return chart.evaluate(_TRACES)


def canvas_colours(chart: Locator) -> Counter[tuple[int, int, int]]:
    """Colours that WebGL has drawn, with their number of pixels; blended edges are left out."""
    colours: Counter[tuple[int, int, int]] = Counter()
    for url in chart.evaluate(_CANVASES):
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")
        pixels = np.asarray(image).reshape(-1, 4)
        drawn, counts = np.unique(pixels[pixels[:, 3] >= 128, :3], axis=0, return_counts=True)
        for colour, count in zip(drawn.tolist(), counts.tolist(), strict=True):
            colours[(colour[0], colour[1], colour[2])] += count
    return colours


def palette_pixels(chart: Locator, palette: Sequence[str], *, tolerance: int = 16) -> list[int]:
    """Pixels that WebGL has drawn in each colour of a palette.

    Args:
        chart: The chart.
        palette: Colours as ``#rrggbb``.
        tolerance: How far each channel may be off: translucent markers mix where they overlap.
    """
    colours = canvas_colours(chart)
    drawn = np.array(list(colours) or [(0, 0, 0)], dtype=np.int64)
    counts = np.array(list(colours.values()) or [0], dtype=np.int64)
    wanted = [[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in palette]
    return [int(counts[np.abs(drawn - rgb).max(axis=1) <= tolerance].sum()) for rgb in wanted]


def point_pixels(chart: Locator, points: NDArray[np.float64]) -> list[list[float]]:
    """Where points of a map are on the page, shape (m, 2)."""
    return chart.evaluate(_PIXELS, points.tolist())


def draw_lasso(page: Page, chart: Locator, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a lasso with the mouse.

    Args:
        page: The page.
        chart: A chart with x and y axes.
        corners: The polygon in data coordinates, shape (m, 2), closed by itself.

    Returns:
        The polygon plotly took, in data coordinates, shape (m', 2). It differs from the one asked
        for by the rounding to whole pixels and by corners that plotly found too flat to keep.
    """
    chart.scroll_into_view_if_needed()
    if chart.evaluate("chart => chart._fullLayout.dragmode") != "lasso":
        chart.hover()
        chart.locator('[data-attr="dragmode"][data-val="lasso"]').click()
    chart.evaluate(_LISTEN)
    path = point_pixels(chart, corners)
    page.mouse.move(*path[0])
    page.mouse.down()
    for x, y in [*path[1:], path[0]]:
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    taken = "chart => chart.drawnLasso !== null"
    wait_until(page, lambda: chart.evaluate(taken), what="plotly reports the lasso")
    return np.asarray(chart.evaluate("chart => chart.drawnLasso"), dtype=np.float64).reshape(-1, 2)


def points_inside(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points a polygon holds, by counting the edges to the right of each (even-odd rule).

    Args:
        points: Shape (n, 2).
        corners: Shape (m, 2), closed by itself.

    Returns:
        Shape (n,).
    """
    x, y = points[:, 0], points[:, 1]
    inside = np.zeros(len(points), dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside
