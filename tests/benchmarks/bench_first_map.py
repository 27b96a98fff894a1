"""How soon the bundled model's map is on screen, in a real Chromium with software WebGL.

python -m tests.benchmarks.bench_first_map
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from tests.benchmarks.machine import describe_machine, machine_line
from tests.browser.driver import CHROMIUM_ARGS, find_chart, find_chromium
from tests.browser.server import serve_script

COMMAND = "python -m tests.benchmarks.bench_first_map"
APP = Path(__file__).parents[2] / "app.py"
VIEWPORT = {"width": 1440, "height": 900}
FEWEST_COLOURS = 5  # k: a canvas with fewer shows no map yet
# Looks at a small copy of the canvas within the page, so that looking costs next to nothing.
COLOURS_ON_CANVAS = """chart => {
  const seen = new Set(), [width, height] = [300, 170];
  for (const canvas of chart.querySelectorAll("canvas")) {
    const copy = Object.assign(document.createElement("canvas"), {width, height});
    const context = copy.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 200) seen.add(pixels.slice(i, i + 3).join());
  }
  return seen.size;
}"""


def seconds_to_map(browser: Browser, url: str) -> float:
    """From opening the page to coloured points on the canvas."""
    page = browser.new_page(viewport=VIEWPORT)
    begun = time.monotonic()
    page.goto(url)
    chart = find_chart(page)
    while chart.evaluate(COLOURS_ON_CANVAS) <= FEWEST_COLOURS:
        page.wait_for_timeout(20)
    seconds = time.monotonic() - begun
    page.close()
    return seconds


def main() -> None:
    """Measure a cold server and a warm one, then write ``first-map.json`` and ``first-map.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=5, help="to the warm server")
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        executable = find_chromium()
        browser = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGS])
        begun = time.monotonic()
        with serve_script(APP, home=Path(home)) as server:
            seconds_to_map(browser, server.url)
            cold = time.monotonic() - begun
            time.sleep(20)  # the worker's warming is over by then: the machine is idle again
            warm = [seconds_to_map(browser, server.url) for _ in range(options.visits)]
        browser.close()
    summary = {
        "command": COMMAND,
        **describe_machine(),
        "cold_seconds_from_process_start": cold,
        "warm_seconds_from_page_open": warm,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "first-map.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = "\n".join(
        [
            "# Time to the first map, all-MiniLM-L6-v2 (30,522 points)",
            "",
            f"`{COMMAND}`: headless Chromium, software WebGL, 1440 × 900, until coloured points "
            "are on the canvas.",
            "",
            f"{machine_line()}.",
            "",
            "| from | seconds |",
            "| --- | ---: |",
            f"| start of the server process, first visit | {cold:.1f} |",
            f"| opening the page on a warm server, median of {len(warm)} | {median(warm):.1f} |",
            f"| the slowest of them | {max(warm):.1f} |",
            "",
        ]
    )
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
