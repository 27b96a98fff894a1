"""Compare's other views on screen: sliders that ask no server, and two maps that move as one."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Locator, Page, expect

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.grid import SweepResult
from engine.paths import assets_folder
from engine.recording import record_compression, record_sweep
from tests.browser.conftest import PageOpener
from tests.browser.driver import chart_traces, find_chart, open_app, settle, wait_until
from tests.browser.explorer import (
    HOSTILE,
    TinyTable,
    choose,
    close_sidebar,
    download,
    expect_alert,
    expect_no_traceback,
    go_to_compare,
    link,
)
from tests.browser.server import Server
from tests.browser.test_looks import expect_tidy

pytestmark = pytest.mark.usefixtures("quiet_log")

# Moves a slider to a step and reads what is said before anything else can run: no server is asked.
MOVE = """(slider, step) => {
  slider.value = step;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  const root = slider.getRootNode();
  return {
    winner: root.querySelector('[data-text=winner]').textContent,
    error: root.querySelector('tbody td b').textContent,
    ringed: Array.from(root.querySelectorAll('.chosen'), (ring) => Number(ring.getAttribute('cx'))),
  };
}"""
RANGES = "chart => [chart._fullLayout.xaxis, chart._fullLayout.xaxis2].map((axis) => axis.range)"


@pytest.fixture(scope="module")
def other(app_server: Server, tiny: TinyTable) -> str:
    """A second run of the tiny table: two subspaces instead of three."""
    table, config = load_table(tiny.path), CompressionConfig(k=2, j=6, n_init=1)
    record = record_compression(table, config, compress_table(table, config))
    return RunStore(app_server.home / "runs").create(*record).id


def open_live(page: Page, url: str) -> None:
    page.goto(url)
    _show_view(page, "k against SVD")
    page.locator(".cells tbody tr").first.wait_for()


def open_pair(page: Page, server: Server, tiny: TinyTable) -> Locator:
    """Two plans of the tiny table, as they come; the map."""
    open_app(page, link(server, tiny.path, run=tiny.run))
    find_chart(page)  # a page that is left before its controls are there takes no link along
    _show_view(page, "Two plans")
    return find_chart(page)


def _show_view(page: Page, view: str) -> None:
    go_to_compare(page)
    if page.viewport_size is not None and page.viewport_size["width"] < 768:
        close_sidebar(page)
    choose(page, view)


def pick(page: Page, label: str, option: str) -> None:
    """Choose in a select box."""
    box = page.get_by_role("combobox", name=label)
    settle(page)  # a list that opens while the page is still drawn closes again
    box.click()
    box.fill(option)
    page.get_by_role("option", name=option).click()
    settle(page)


def slider(page: Page, name: str) -> Locator:
    return page.locator(f".cells [data-slider={name}]")


def test_sliders_answer_without_the_server(page: Page, app_url: str) -> None:
    open_live(page, app_url)
    sweep = SweepResult.load(assets_folder() / "minilm" / "sweep.json")
    seen: set[tuple[float, ...]] = set()
    for step_k, k in enumerate((2, 3, 5, 10)):
        slider(page, "k").evaluate(MOVE, step_k)
        for step_rate, rate in enumerate((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
            told: dict[str, Any] = slider(page, "rate").evaluate(MOVE, step_rate)
            errors = [
                cell.relative_error
                for cell in sweep.cells
                if (cell.k, cell.asked_rate, cell.bits) == (k, rate, 32)
            ]
            assert told["error"] == f"{fmean(errors):.2%}"
            assert len(told["ringed"]) == 2
            seen.add(tuple(told["ringed"]))
    assert len(seen) == 4 * 9, "every cell is ringed at a place of its own"
    expect_no_traceback(page)


def test_keys_move_the_sliders_and_the_link_follows(page: Page, app_url: str) -> None:
    open_live(page, app_url)
    expect(slider(page, "k")).to_have_attribute("aria-valuetext", "5")
    expect(slider(page, "rate")).to_have_attribute("aria-valuetext", "40%")
    slider(page, "rate").focus()
    page.keyboard.press("ArrowRight")
    expect(slider(page, "rate")).to_have_attribute("aria-valuetext", "50%")
    slider(page, "k").focus()
    page.keyboard.press("End")
    page.wait_for_url(lambda url: "cell-k=10" in url and "cell-rate=50" in url)
    settle(page)
    expect(slider(page, "k")).to_have_attribute("aria-valuetext", "10")
    # In a tab of its own, whose console is not read: streamlit looks for its server there first.
    again = page.context.new_page()
    again.goto(page.url)
    again.locator(".cells tbody tr").first.wait_for()
    expect(slider(again, "k")).to_have_attribute("aria-valuetext", "10")
    expect(slider(again, "rate")).to_have_attribute("aria-valuetext", "50%")


def test_sliders_take_the_steps_of_another_grid(
    page: Page, app_server: Server, app_url: str
) -> None:
    open_live(page, app_url)
    slider(page, "k").focus()
    page.keyboard.press("End")
    expect(slider(page, "k")).to_have_attribute("aria-valuetext", "10")
    settle(page)
    shipped = SweepResult.load(assets_folder() / "minilm" / "sweep.json")
    few = tuple(cell for cell in shipped.cells if cell.k in (1, 3) and cell.asked_rate < 0.35)
    store = RunStore(app_server.home / "runs")
    record = record_sweep(load_table("bundled:minilm"), replace(shipped, cells=few))
    run = store.create(*record)
    try:
        # The script runs again, and finds a newer sweep.
        page.get_by_role("slider", name="Seeds").press("Home")
        settle(page)  # while it runs, the sliders of the old grid may stand beside the new ones
        expect(slider(page, "k")).to_have_attribute("aria-valuetext", "3")
        assert slider(page, "k").evaluate("slider => slider.max") == "0"
        assert slider(page, "rate").evaluate("slider => slider.max") == "2"
        slider(page, "rate").focus()
        page.keyboard.press("Home")
        expect(slider(page, "rate")).to_have_attribute("aria-valuetext", "10%")
        page.wait_for_url(lambda url: "cell-k=3" in url and "cell-rate=10" in url)
        expect_no_traceback(page)
    finally:
        store.delete(run.id)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 420])
def test_live_cells_are_tidy(app_url: str, open_page: PageOpener, width: int, scheme: Any) -> None:  # noqa: ANN401
    with open_page(width=width, scheme=scheme) as page:
        open_live(page, app_url)
        expect_tidy(page)
        wide = "cells => cells.scrollWidth <= cells.clientWidth"
        assert page.locator(".cells").evaluate(wide)
        assert page.locator(".cells").evaluate("cells => cells.style.colorScheme") == scheme


def test_two_maps_show_the_same_points_and_zoom_as_one(
    page: Page, app_server: Server, tiny: TinyTable, other: str
) -> None:
    chart = open_pair(page, app_server, tiny)
    wait_until(page, lambda: f"pair-b={other}" in page.url, what="the link names plan B")
    traces = chart_traces(chart)
    points = sorted(place for trace in traces for place in zip(trace["x"], trace["y"], strict=True))
    assert len(points) == 2 * len(tiny.tokens)
    assert points[::2] == points[1::2], "each token is at the same place in both"
    colours: dict[str, set[str]] = {}
    for trace in traces:
        colours.setdefault(trace["name"], set()).add(trace["color"])
    assert all(len(found) == 1 for found in colours.values())
    first, second = chart.evaluate(RANGES)
    assert first == pytest.approx(second)
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.wheel(0, -400)
    wait_until(page, lambda: chart.evaluate(RANGES)[0] != first, what="the first map is zoomed")
    zoomed, followed = chart.evaluate(RANGES)
    assert zoomed == pytest.approx(followed)
    assert zoomed[1] - zoomed[0] < first[1] - first[0]
    expect_no_traceback(page)


def test_who_moved_and_where_one_wins(
    page: Page, app_server: Server, tiny: TinyTable, other: str
) -> None:
    open_pair(page, app_server, tiny)
    rows = download(page)
    assert rows
    assert {"Token", "In A", "In B", "Error in A", "Error in B", "B − A"} == set(rows[0])
    assert all(row["In A"] != row["In B"] for row in rows)
    choose(page, "All tokens")
    tokens = {row["Token"] for row in download(page)}
    assert tokens == set(tiny.tokens) >= set(HOSTILE)
    choose(page, "Who moved")
    chart = find_chart(page)
    stayed = [len(trace["x"]) for trace in chart_traces(chart) if trace["name"] == "stayed"]
    assert stayed == 2 * [len(tiny.tokens) - len(rows)]
    choose(page, "Where one wins")
    (trace,) = chart_traces(find_chart(page))
    assert len(trace["x"]) == len(tiny.tokens)
    assert min(trace["color"]) < max(trace["color"])


def test_link_opens_two_plans(page: Page, app_server: Server, tiny: TinyTable, other: str) -> None:
    # In a tab of its own, whose console is not read: streamlit looks for its server there first.
    place = {"source": "File or folder", "spec": str(tiny.path), "pair-a": other}
    tab = page.context.new_page()
    tab.goto(f"{app_server.url}/compare?{urlencode({**place, 'pair-b': tiny.run})}")
    expect(tab.get_by_text("of the tokens moved")).to_be_visible()
    settle(tab)
    assert f"pair-a={other}" in tab.url
    assert f"pair-b={tiny.run}" in tab.url
    tab.goto(f"{app_server.url}/compare?{urlencode({**place, 'pair-b': 'gone'})}")
    expect_alert(tab, "no plan of this table")


def test_phone_has_the_maps_below_each_other(
    narrow_page: Page, app_server: Server, tiny: TinyTable, other: str
) -> None:
    chart = open_pair(narrow_page, app_server, tiny)
    stacked = "chart => chart._fullLayout.yaxis.domain[0] > chart._fullLayout.yaxis2.domain[1]"
    wait_until(narrow_page, lambda: chart.evaluate(stacked), what="B's map is below A's")
    expect_tidy(narrow_page)


def test_choice_of_plans_is_kept_by_the_session(
    page: Page, app_server: Server, tiny: TinyTable, other: str
) -> None:
    open_pair(page, app_server, tiny)
    pick(page, "Plan B", "the SVD that stores as much as A")
    expect(page.get_by_text("B has one subspace for all tokens")).to_be_visible()
    assert "pair-b=svd" in page.url
    choose(page, "Curves")
    assert "pair-b" not in page.url
    choose(page, "Two plans")
    expect(page.get_by_text("B has one subspace for all tokens")).to_be_visible()
