"""Take the README's pictures of the app: ``make screenshots``, with a Chromium installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.driver import CHROMIUM_ARGS, find_chart, find_chromium, open_app, settle
from tests.browser.server import serve_script

FOLDER = Path(__file__).parent
_JOB = 300_000  # milliseconds; checks take a few seconds where nothing else runs
_TOKEN = 4068  # "berlin"
SIZE = {"width": 1440, "height": 1180}


def main() -> None:
    """Write the README's pictures beside this file: every page light, Explore dark as well."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        executable = find_chromium()
        browser = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGS])
        with serve_script(FOLDER.parent / "app.py", home=Path(home)) as server:
            for theme in ("light", "dark"):
                page = browser.new_page(viewport=SIZE, color_scheme=theme)
                open_app(page, f"{server.url}/?token={_TOKEN}")
                _take(page, "explore.png" if theme == "light" else "explore-dark.png")
                if theme == "light":
                    page.get_by_role("link", name="Compare").click()
                    page.get_by_text("The best within a size").wait_for()
                    _take(page, "compare.png")
                    page.get_by_role("link", name="Accuracy").click()
                    page.get_by_role("button", name="Run 2 checks").click(timeout=_JOB)
                    page.get_by_text("Every figure", exact=True).wait_for(timeout=_JOB)
                    page.get_by_test_id("stToast").wait_for(state="detached")
                    _take(page, "accuracy.png")
                    page.get_by_role("link", name="Learn").click()
                    page.get_by_role("heading", name="Finding the lines").wait_for()
                    _take(page, "learn.png", heading="Finding the lines")
                page.close()
        browser.close()


def _take(page: Page, name: str, *, heading: str | None = None) -> None:
    find_chart(page)
    settle(page)
    if heading is None:
        page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    else:
        page.get_by_role("heading", name=heading).evaluate("heading => heading.scrollIntoView()")
    page.wait_for_timeout(1500)  # WebGL draws a moment after the chart is laid out
    page.screenshot(path=FOLDER / name)


if __name__ == "__main__":
    main()
