"""The browser harness itself, on an app small enough to know every answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page

from tests.browser.conftest import PageOpener
from tests.browser.driver import (
    canvas_colours,
    chart_traces,
    collect_errors,
    draw_lasso,
    find_chart,
    open_app,
    palette_pixels,
    points_inside,
    settle,
    wait_until,
)
from tests.browser.server import (
    Server,
    free_port,
    serve,
    serve_script,
)

ROWS = 2_000
PALETTE = ("#0072b2", "#e69f00", "#009e73")
UNUSED = "#cc79a7"
SCRIPT = f"""
import time
import numpy as np
import plotly.graph_objects as go
import streamlit as st

def draw():
    xy = np.random.default_rng(7).normal(size=({ROWS}, 2)).astype(np.float32)
    colours = np.array({PALETTE!r})[np.arange({ROWS}) % 3]
    chart = go.Figure(go.Scattergl(x=xy[:, 0], y=xy[:, 1], mode="markers", marker_color=colours))
    chart.update_layout(height=600, dragmode="pan")
    event = st.plotly_chart(chart, on_select="rerun", selection_mode="lasso", key="map")
    chosen = sorted(event.selection.point_indices)
    st.code(" ".join(map(str, chosen)) or "nothing")

if "plain" in st.query_params:
    if st.button("Slow"):
        time.sleep(2)
        st.write("slow work done")
else:
    draw()
"""
PLAIN = "/?plain=1"
# Concave, so that a bounding box or a convex hull would not pass for it.
STAR = np.array([[0.0, 1.6], [0.3, 0.3], [1.5, -1.2], [0.0, -0.4], [-1.5, -1.2], [-0.3, 0.3]])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("harness")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    with serve_script(script, home=folder) as running:
        yield running


@pytest.fixture
def points() -> NDArray[np.float64]:
    drawn = np.random.default_rng(7).normal(size=(ROWS, 2))
    return drawn.astype(np.float32).astype(np.float64)


def test_traces_are_the_data_of_the_script(
    server: Server, page: Page, points: NDArray[np.float64]
) -> None:
    open_app(page, server.url)
    (trace,) = chart_traces(find_chart(page))
    assert trace["type"] == "scattergl"
    np.testing.assert_array_equal(np.column_stack([trace["x"], trace["y"]]), points)
    assert set(trace["color"]) == set(PALETTE)


def test_canvas_shows_the_colours_drawn_and_no_other(server: Server, page: Page) -> None:
    open_app(page, server.url)
    chart = find_chart(page)
    wait_until(page, lambda: bool(canvas_colours(chart)), what="points are on the canvas")
    *drawn, absent = palette_pixels(chart, [*PALETTE, UNUSED])
    assert min(drawn) > 1_000
    assert absent == 0


def test_lasso_selects_exactly_the_points_inside(
    server: Server, page: Page, points: NDArray[np.float64]
) -> None:
    open_app(page, server.url)
    chart = find_chart(page)
    polygon = draw_lasso(page, chart, STAR)
    # Both axes are about 8 long: 0.05 is the two or three pixels that plotly may smooth away.
    gaps = np.linalg.norm(STAR[:, None] - polygon[None], axis=2).min(axis=1)
    assert gaps.max() < 0.05
    expected = np.flatnonzero(points_inside(points, polygon))
    assert 100 < len(expected) < ROWS - 100
    code = page.get_by_test_id("stCode")
    wait_until(page, lambda: code.inner_text().strip() != "nothing", what="the lasso arrives")
    settle(page)
    assert [int(word) for word in code.inner_text().split()] == expected.tolist()


def test_settle_outlasts_the_rerun_of_a_click(server: Server, page: Page) -> None:
    open_app(page, server.url + PLAIN)
    begun = time.monotonic()
    page.get_by_role("button", name="Slow").click()
    settle(page)
    assert time.monotonic() - begun > 2
    assert page.get_by_text("slow work done").is_visible()


def test_settle_waits_for_a_run_that_begins_late(server: Server, page: Page) -> None:
    page.add_init_script(
        "const send = WebSocket.prototype.send;"
        "WebSocket.prototype.send = function (data) {"
        "  setTimeout(() => send.call(this, data), 1000); };"
    )
    open_app(page, server.url + PLAIN)
    page.get_by_role("button", name="Slow").click()
    settle(page)
    assert page.get_by_text("slow work done").is_visible()


def test_pages_have_their_size_and_scheme(
    server: Server, dark_page: Page, narrow_page: Page
) -> None:
    colour = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    channels = colour + r".match(/\d+/g).map(Number)"
    for page, width in ((dark_page, 1440), (narrow_page, 420)):
        open_app(page, server.url + PLAIN)
        assert page.evaluate("window.innerWidth") == width
    assert max(dark_page.evaluate(channels)) < 64
    assert min(narrow_page.evaluate(channels)) > 192


def test_console_errors_are_collected(page: Page) -> None:
    other = page.context.new_page()
    errors = collect_errors(other)
    other.evaluate("console.log('fine'); console.error('not fine')")
    other.evaluate("setTimeout(() => { throw new Error('uncaught') })")
    wait_until(other, lambda: len(errors) == 2, what="both errors are collected")
    assert "not fine" in errors[0]
    assert "uncaught" in errors[1]


def test_console_error_fails_the_test_that_caused_it(open_page: PageOpener) -> None:
    with pytest.raises(AssertionError, match=r"console shows .*broken"), open_page() as page:
        page.evaluate("console.error('broken')")


def test_server_that_ends_is_reported_with_its_words(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "print('cannot serve'); raise SystemExit(3)")
    with (
        pytest.raises(AssertionError, match=r"ended with 3:\ncannot serve"),
        serve(command, port=free_port(), home=tmp_path),
    ):
        pass


def test_point_in_polygon_on_a_known_shape() -> None:
    square_with_notch = np.array([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]], dtype=np.float64)
    points = np.array([[1, 1], [2, 0.5], [2, 2], [3.5, 2], [5, 1], [-1, 1]], dtype=np.float64)
    inside = points_inside(points, square_with_notch)
    assert inside.tolist() == [True, True, False, True, False, False]
