"""The app out of the wheel, started by its command in an empty folder, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.driver import canvas_colours, chart_traces, find_chart, wait_until
from tests.browser.server import Server, free_port, serve
from tests.wheel_install import WheelInstall

BUNDLED_ROWS = 30_522
# The promise is 15 s from the start of the process on an idle machine. A machine shared by four
# test runs has taken 30; numba, which the map must never wait for, takes above 100 at first.
START_TO_MAP_SECONDS = 60


@pytest.fixture
def wheel_server(wheel_install: WheelInstall, tmp_path: Path) -> Iterator[Server]:
    empty = tmp_path / "empty"
    empty.mkdir()
    port = free_port()
    command = (str(wheel_install.command), "app", "--port", str(port), "--no-browser")
    with serve(command, port=port, home=tmp_path, folder=empty) as server:
        yield server


@pytest.mark.slow
def test_map_of_the_bundled_model_comes_up(wheel_server: Server, page: Page) -> None:
    begun = time.monotonic() - wheel_server.start_seconds
    page.goto(wheel_server.url)
    chart = find_chart(page)
    wait_until(page, lambda: bool(canvas_colours(chart)), what="points are on the canvas")
    seconds = time.monotonic() - begun
    assert sum(len(trace["x"]) for trace in chart_traces(chart)) == BUNDLED_ROWS
    assert seconds < START_TO_MAP_SECONDS
