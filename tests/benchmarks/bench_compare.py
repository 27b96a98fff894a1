"""How soon Compare answers a slider on the precomputed grid, in a real Chromium.

python -m tests.benchmarks.bench_compare
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from tests.benchmarks.machine import describe_machine, machine_line
from tests.browser.driver import CHROMIUM_ARGS, find_chromium, open_app, settle, watch_runs
from tests.browser.explorer import choose, go_to_compare
from tests.browser.server import serve_script

COMMAND = "python -m tests.benchmarks.bench_compare"
APP = Path(__file__).parents[2] / "app.py"
VIEWPORT = {"width": 1440, "height": 900}
WANTED = 0.3  # seconds
# From the key to the frame after the one in which the new figures were painted. A key is taken
# down before the slider hears of it, so that its own work is counted.
WATCH = """table => {
  window.answers = [];
  let pressed;
  window.addEventListener("keydown", () => { pressed = performance.now(); }, true);
  new MutationObserver(() => {
    if (pressed === undefined) return;
    const begun = pressed;
    pressed = undefined;
    requestAnimationFrame(() => requestAnimationFrame(
      () => window.answers.push((performance.now() - begun) / 1000)));
  }).observe(table, { childList: true, subtree: true });
}"""


def seconds_to_answer(browser: Browser, url: str, moves: int) -> list[float]:
    """Of each move of the slider of the rate, to and fro over the whole grid."""
    context = browser.new_context(viewport=VIEWPORT)
    watch_runs(context)
    page = context.new_page()
    open_app(page, url)
    go_to_compare(page)
    choose(page, "k against SVD")
    page.locator(".cells tbody tr").first.wait_for()
    settle(page)
    page.locator(".cells tbody").evaluate(WATCH)
    slider = page.locator(".cells [data-slider=rate]")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("window.answers.length === 1")
    for move in range(moves):
        page.wait_for_timeout(400)  # as a person does; and the link is written in between
        page.keyboard.press("ArrowRight" if move // 8 % 2 == 0 else "ArrowLeft")
        page.wait_for_function(f"window.answers.length === {move + 2}")
    answers: list[float] = page.evaluate("window.answers")
    context.close()
    return answers[1:]


def main() -> None:
    """Measure, then write ``compare.json`` and ``compare.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=20, help="of the slider")
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        executable = find_chromium()
        browser = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGS])
        with serve_script(APP, home=Path(home)) as server:
            answers = seconds_to_answer(browser, server.url, options.moves)
        browser.close()
    summary = {"command": COMMAND, **describe_machine(), "slider_seconds": answers}
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "compare.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = "\n".join(
        [
            "# Time to the answer of a slider, Compare, k against SVD",
            "",
            f"`{COMMAND}`: headless Chromium, 1440 × 900, from the key to the frame after the new "
            "figures were painted. The grid of the bundled model is in the browser; the server is "
            "not asked.",
            "",
            f"{machine_line()}.",
            "",
            "| move | seconds |",
            "| --- | ---: |",
            f"| median of {len(answers)} | {median(answers):.3f} |",
            f"| the slowest of them | {max(answers):.3f} |",
            f"| asked for | {WANTED:.1f} |",
            "",
        ]
    )
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
