"""A Chromium for all browser tests, the app on a free port, and pages in the sizes that matter.

Every page fails its test if the browser's console shows an error, and leaves a screenshot in
``.pytest_cache/d/browser`` when the test failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine import RunStore
from tests.browser.driver import (
    CHROMIUM_ARGS,
    WAIT_SECONDS,
    blank_page,
    find_chromium,
)
from tests.browser.explorer import TinyTable, plant_table
from tests.browser.server import Server, serve_script

REPOSITORY = Path(__file__).resolve().parents[2]
MISSING = "no Chromium found: `make browser-deps` installs one, or set CHROMIUM to its path"
_FAILED = pytest.StashKey[bool]()
# What playwright raises when it waited in vain for a page to settle or an element to come; what a
# test expects of them is an AssertionError. Such a test is run once more, and the closing line
# counts it: on a machine shared with others a page can stand still for minutes.
_OVERRUN = "TimeoutError"

# Playwright's own is five seconds, which a page on a busy machine has overrun.
expect.set_options(timeout=WAIT_SECONDS * 1000)

PageOpener = Callable[..., AbstractContextManager[Page]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder; without a browser skip each test by name, but never in CI."""
    in_ci = os.environ.get("CI", "").lower() in {"true", "1"}
    skip_all = find_chromium() is None and not in_ci
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker("browser")
        item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=[_OVERRUN]))
        if skip_all:
            item.add_marker(pytest.mark.skip(reason=f"{item.name}: {MISSING}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember which tests failed, for the pages' screenshots."""
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


# Package scope, not session: playwright keeps an event loop running in this thread, which would
# be in the way of other tests that start their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A headless Chromium with software WebGL."""
    executable = find_chromium()
    if executable is None:
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=[*CHROMIUM_ARGS])
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def app_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app of this checkout, storing its runs in a folder of its own."""
    with serve_script(REPOSITORY / "app.py", home=tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture(scope="package")
def tiny(app_server: Server, tmp_path_factory: pytest.TempPathFactory) -> TinyTable:
    """A table on planted subspaces, and a run of it in the server's store."""
    path = tmp_path_factory.mktemp("tables") / "tiny.npy"
    return plant_table(path, store=RunStore(app_server.home / "runs"))


@pytest.fixture
def quiet_log(app_server: Server) -> Iterator[None]:
    """Fails the test in which the server logs a traceback: the page shows none by design."""
    before = len(app_server.log.read_bytes())
    yield
    logged = app_server.log.read_bytes()[before:].decode(errors="replace")
    assert "Traceback" not in logged, logged


@pytest.fixture
def app_url(app_server: Server) -> str:
    """Where the app answers."""
    return app_server.url


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> PageOpener:
    """Opens blank pages of a width, height and colour scheme of their own."""

    @contextmanager
    def opener(
        *, width: int = 1440, height: int = 900, scheme: Literal["light", "dark"] = "light"
    ) -> Iterator[Page]:
        with blank_page(browser, width=width, height=height, scheme=scheme) as page:
            try:
                yield page
            finally:
                if request.node.stash.get(_FAILED, False):
                    _save_screenshot(page, request.node.name, request.config)

    return opener


@pytest.fixture
def page(open_page: PageOpener) -> Iterator[Page]:
    """A blank light page of 1440 × 900."""
    with open_page() as opened:
        yield opened


@pytest.fixture
def dark_page(open_page: PageOpener) -> Iterator[Page]:
    """A blank dark page of 1440 × 900."""
    with open_page(scheme="dark") as opened:
        yield opened


@pytest.fixture
def narrow_page(open_page: PageOpener) -> Iterator[Page]:
    """A blank light page as narrow as a phone, 420 × 900."""
    with open_page(width=420) as opened:
        yield opened


def _save_screenshot(page: Page, name: str, config: pytest.Config) -> None:
    assert config.cache is not None
    folder = config.cache.mkdir("browser")
    page.screenshot(path=folder / f"{name}.png", full_page=True)
