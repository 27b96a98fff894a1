"""The Compare page on screen: curves beside the SVD's, the explored plan, sweeps of one's own."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from engine import RunStore, load_table
from engine.grid import CODED_KS, CODED_SHARES
from engine.paths import assets_folder
from engine.recording import record_sweep
from engine.sweep import SweepConfig, run_sweep
from tests.browser.driver import chart_traces, find_chart, open_app, settle, wait_until
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    choose,
    download,
    expect_alert,
    expect_no_traceback,
    go_to_compare,
    job_panel,
    link,
    open_sidebar,
    runs_on_disk,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")

Errors = dict[tuple[int, float], list[float]]
"""k and rate → the errors of its fits."""


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return json.loads((assets_folder() / "minilm" / "sweep.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def errors(shipped: dict[str, Any]) -> Errors:
    found: Errors = defaultdict(list)
    for cell in shipped["cells"]:
        if cell["bits"] == 32:
            found[cell["k"], cell["asked_rate"]].append(cell["relative_error"])
    return dict(found)


@pytest.fixture
def sizes(app_url: str, page: Page) -> Iterator[Page]:
    """The Compare page of the bundled model, as it opens: against stored bytes."""
    page.goto(app_url)
    go_to_compare(page)  # without waiting for the map
    yield page
    expect_no_traceback(page)


@pytest.fixture
def compare(sizes: Page) -> Page:
    """The same against compression rate."""
    choose(sizes, "Compression rate")
    return sizes


def curve(chart: Locator, name: str) -> tuple[list[float], list[float]]:
    """x and y of the one trace of a name."""
    (trace,) = [trace for trace in chart_traces(chart) if trace["name"] == name]
    return trace["x"], trace["y"]


def coded(shipped: dict[str, Any], k: int, bits: int) -> dict[int, float]:
    """Bytes → squared error of a k in so many bits, over the seeds."""
    groups: dict[float, list[dict[str, Any]]] = defaultdict(list)
    for cell in shipped["cells"]:
        if (cell["k"], cell["bits"]) == (k, bits):
            groups[cell["asked_rate"]].append(cell)
    return {
        group[0]["stored_bytes"]: fmean(cell["relative_error"] for cell in group)
        for group in groups.values()
    }


@pytest.mark.parametrize("bits", [4, 8, 32])
def test_sizes_are_the_cells_of_the_shipped_sweep(
    sizes: Page, shipped: dict[str, Any], bits: int
) -> None:
    choose(sizes, f"{bits} bits")
    chart = find_chart(sizes)
    ten = set(coded(shipped, 10, bits))
    wait_until(sizes, lambda: set(curve(chart, "k = 10")[0]) == ten, what="those bits are drawn")
    names = [trace["name"] for trace in chart_traces(chart)]
    ks = {"SVD": 1} | {f"k = {k}": k for k in (2, 3, 5, 10)}
    rounded = {"int, a step a row": 384, "int, groups of 32": 32}
    own = {f"coded, k = {k}": k for k in CODED_KS}
    assert set(names) == {"not reached", "explored: k = 5", "told", *ks, *own, *rounded}
    for name, k in ks.items():
        x, y = curve(chart, name)
        wanted = coded(shipped, k, bits)
        assert len(wanted) == 9
        # The height is the root of the error, as the axis says.
        found = dict(zip(x, np.square(y).tolist(), strict=True))
        assert found == pytest.approx(wanted, rel=1e-9)
    for name, k in own.items():
        x, y = curve(chart, name)
        cells = [cell for cell in shipped["cells"] if (cell["method"], cell["k"]) == ("coded", k)]
        assert len(cells) == len(CODED_SHARES)
        assert dict(zip(x, np.square(y).tolist(), strict=True)) == pytest.approx(
            {cell["stored_bytes"]: cell["relative_error"] for cell in cells}, rel=1e-9
        )
    for name, group in rounded.items():
        x, y = curve(chart, name)
        assert dict(zip(x, np.square(y).tolist(), strict=True)) == pytest.approx(
            {
                cell["stored_bytes"]: cell["relative_error"]
                for cell in shipped["cells"]
                if cell["group"] == group
            },
            rel=1e-9,
        )


def test_page_says_who_wins_where(sizes: Page, shipped: dict[str, Any]) -> None:
    dense = 4 * shipped["rows"] * shipped["columns"]

    def best(share: float) -> str:
        within = [cell for cell in shipped["cells"] if cell["stored_bytes"] <= share * dense]
        return min(within, key=lambda cell: cell["relative_error"])["method"]

    assert [best(share) for share in (0.02, 0.13, 0.27, 0.5)] == ["coded"] * 4
    text = sizes.get_by_text("To win is to").inner_text()
    assert "Coded subspaces win from 2% of the table's bytes on" in text


def test_hover_names_the_way_to_store(sizes: Page, shipped: dict[str, Any]) -> None:
    choose(sizes, "4 bits")
    chart = find_chart(sizes)
    four = coded(shipped, 10, 4)
    wait_until(sizes, lambda: set(curve(chart, "k = 10")[0]) == set(four), what="4 bits are drawn")
    (size, error) = list(four.items())[4]
    at = chart.evaluate(
        "(chart, [x, y]) => { const { xaxis, yaxis } = chart._fullLayout;"
        " return [xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(y)]; }",
        [size, error**0.5],
    )
    box = chart.bounding_box()
    assert box is not None
    sizes.mouse.move(box["x"] + at[0] - 9, box["y"] + at[1])
    sizes.mouse.move(box["x"] + at[0], box["y"] + at[1], steps=4)
    layer = chart.locator(".hoverlayer")
    expect(layer).to_contain_text("k = 10 at 4 bits")
    expect(layer).to_contain_text(f"{100 * error:.4g}%")


def test_links_open_either_axis(sizes: Page) -> None:
    choose(sizes, "8 bits")
    assert "coding=8+bits" in sizes.url
    choose(sizes, "Compression rate")
    assert "against=Compression+rate" in sizes.url
    expect(sizes.get_by_text("The best k at each rate")).to_be_visible()
    choose(sizes, "Stored bytes")
    expect(sizes.get_by_text("The best within a size")).to_be_visible()


def test_curves_show_the_shipped_sweep(compare: Page, errors: Errors) -> None:
    chart = find_chart(compare)
    rates = sorted({rate for _, rate in errors})
    names = [trace["name"] for trace in chart_traces(chart)]
    ks = (2, 3, 5, 10)
    bands = {f"k = {k}, spread" for k in ks}
    assert set(names) == {f"k = {k}" for k in ks} | bands | {"SVD (k = 1)", "explored: k = 5"}
    x, y = curve(chart, "SVD (k = 1)")
    assert x == rates
    np.testing.assert_allclose(y, [errors[1, rate][0] for rate in rates], rtol=1e-12)
    for k in ks:
        x, y = curve(chart, f"k = {k}")
        assert x == rates
        np.testing.assert_allclose(y, [fmean(errors[k, rate]) for rate in rates], rtol=1e-12)
        x, y = curve(chart, f"k = {k}, spread")
        assert x == [*rates, *reversed(rates)]
        high = [max(errors[k, rate]) for rate in rates]
        low = [min(errors[k, rate]) for rate in reversed(rates)]
        np.testing.assert_allclose(y, [*high, *low], rtol=1e-12)


def test_explored_plan_is_marked(compare: Page) -> None:
    starter = assets_folder() / "minilm" / "starter.json"
    figures = json.loads(starter.read_text(encoding="utf-8"))["figures"]
    x, y = curve(find_chart(compare), "explored: k = 5")
    assert (x, y) == ([figures["rate"]], [figures["relative_error"]])
    choose(compare, "Against the SVD")
    x, y = curve(find_chart(compare), "explored: k = 5")
    assert y == pytest.approx([figures["relative_error"] / figures["svd"]["relative_error"]])


def test_scale_against_the_svd(compare: Page, errors: Errors) -> None:
    choose(compare, "Against the SVD")
    chart = find_chart(compare)
    rates, ones = curve(chart, "SVD (k = 1)")
    assert ones == [1.0] * len(rates)
    for k in (2, 3, 5, 10):
        _, y = curve(chart, f"k = {k}")
        ratios = [fmean(errors[k, rate]) / errors[1, rate][0] for rate in rates]
        np.testing.assert_allclose(y, ratios, rtol=1e-12)
    choose(compare, "Error")
    chart = find_chart(compare)
    wait_until(
        compare, lambda: max(curve(chart, "SVD (k = 1)")[1]) < 1, what="the errors are drawn"
    )


def test_page_says_where_the_svd_wins(compare: Page, errors: Errors) -> None:
    losses: dict[float, list[int]] = defaultdict(list)
    for (k, rate), found in sorted(errors.items()):
        if k > 1 and fmean(found) >= errors[1, rate][0]:
            losses[rate].append(k)
    assert losses, "the bundled sweep is known to hold cases that the SVD wins"
    text = compare.get_by_text("The SVD wins").locator("..").inner_text()
    said = {
        float(rate) / 100: [int(k) for k in ks.split(", ")]
        for rate, ks in re.findall(r"(\d+)% \(k = ([\d, ]+)\)", text)
    }
    assert said == dict(losses)


def test_hover_reads_out_the_errors_at_a_rate(compare: Page, errors: Errors) -> None:
    chart = find_chart(compare)
    box = chart.bounding_box()
    assert box is not None
    at = chart.evaluate(
        "chart => { const { xaxis, yaxis } = chart._fullLayout;"
        " return [xaxis._offset + xaxis.d2p(0.5), yaxis._offset + yaxis._length / 2]; }"
    )
    compare.mouse.move(box["x"] + at[0] - 20, box["y"] + at[1])
    compare.mouse.move(box["x"] + at[0], box["y"] + at[1], steps=4)
    layer = chart.locator(".hoverlayer")
    expect(layer).to_contain_text(f"SVD: {errors[1, 0.5][0]:.2%}")
    expect(layer).to_contain_text("50%")
    for k in (2, 3, 5, 10):
        found = errors[k, 0.5]
        words = f"k = {k}: {fmean(found):.2%} ({min(found):.2%} – {max(found):.2%})"
        expect(layer).to_contain_text(words)


def test_download_holds_every_fit(compare: Page, shipped: dict[str, Any]) -> None:
    rows = download(compare, "Download every fit as CSV")
    # Each fit in three numbers of bits; coded; ways to round.
    assert len(rows) == len(shipped["cells"]) == 3 * 117 + 12 + 8
    for row, cell in zip(rows, shipped["cells"], strict=True):
        assert row.keys() >= cell.keys()  # a shipped sweep may be older than a column
        assert {
            name: type(value)(row[name]) for name, value in cell.items() if value is not None
        } == {name: value for name, value in cell.items() if value is not None}


def test_sweep_of_ones_own_table(app_server: Server, tiny: TinyTable, page: Page) -> None:
    open_app(page, link(app_server, tiny.path, run=tiny.run))
    find_chart(page)
    go_to_compare(page)
    expect(page.get_by_text("tiny has no curves yet")).to_be_visible()
    before = runs_on_disk(app_server)
    for k in ("2", "10"):
        page.get_by_role("button", name=k, exact=True).click()
    page.get_by_role("slider", name="Seeds").press("Home")
    expect(page.get_by_text("39 fits.")).to_be_visible()
    settle(page)
    button = page.get_by_role("button", name="Run the sweep")
    button.click()
    job_panel(page, "sweep").wait_for()
    expect(button).to_be_disabled()
    page.locator(".js-plotly-plot").wait_for(timeout=JOB_SECONDS * 1000)
    settle(page)
    expect(job_panel(page, "sweep")).to_have_count(0)
    choose(page, "Compression rate")
    (run_id,) = runs_on_disk(app_server) - before
    run = RunStore(app_server.home / "runs").load(run_id)
    assert run.record.kind == "sweep"
    chart = find_chart(page)
    names = {trace["name"] for trace in chart_traces(chart)}
    bands = {"k = 3, spread", "k = 5, spread"}
    assert names == {"SVD (k = 1)", "k = 3", "k = 5", "explored: k = 3"} | bands
    expect(page.get_by_text("From your sweep of")).to_be_visible()
    # Three planted subspaces: three fit far better than one where there is room for little more.
    rates, svd = curve(chart, "SVD (k = 1)")
    _, three = curve(chart, "k = 3")
    assert three[rates.index(0.7)] < 0.1 * svd[rates.index(0.7)]
    rows = download(page, "Download every fit as CSV")
    assert {row["k"] for row in rows} == {"0", "1", "3", "4", "5"}
    assert {row["bits"] for row in rows} == {"0", "2", "3", "4", "8", "32"}
    expect_no_traceback(page)


def place_of(chart: Locator, name: str, index: int) -> tuple[float, float]:
    """Where a point of a trace is on the screen."""
    x, y = (values[index] for values in curve(chart, name))
    left, top = chart.evaluate(
        "(chart, [x, y]) => { const { xaxis, yaxis } = chart._fullLayout;"
        " return [xaxis._offset + xaxis.d2p(x), yaxis._offset + yaxis.d2p(y)]; }",
        [x, y],
    )
    box = chart.bounding_box()
    assert box is not None
    return box["x"] + left, box["y"] + top


def click_point(page: Page, name: str, index: int) -> Locator:
    """Click a point of the chart; what is then said of it stands right below the chart."""
    chart = find_chart(page)
    chart.scroll_into_view_if_needed()
    x, y = place_of(chart, name, index)
    box = chart.bounding_box()
    page.mouse.move(x - 6, y)
    page.mouse.click(x, y)
    clicked = page.get_by_text(f"You clicked {name} at")
    expect(clicked).to_be_visible()
    settle(page)
    assert find_chart(page).bounding_box() == box, "the chart stays under the pointer"
    below = clicked.bounding_box()
    assert box is not None
    assert below is not None
    assert 0 <= below["y"] - (box["y"] + box["height"]) < 60
    return clicked


def test_clicked_points_and_advice_become_plans(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    store = RunStore(app_server.home / "runs")
    table = load_table(tiny.path)
    grid = SweepConfig(rates=(0.5, 0.7), ks=(3,), seeds=(0,), shares=(0.08, 0.16))
    store.create(*record_sweep(table, run_sweep(table, grid)))
    open_app(page, link(app_server, tiny.path, run=tiny.run))
    find_chart(page)
    go_to_compare(page)
    chart = find_chart(page)
    advice = page.get_by_text("should lose")
    expect(advice).to_be_visible()
    index = curve(chart, "k = 3")[0].index(max(curve(chart, "k = 3")[0]))
    assert curve(chart, "told")[0] != [curve(chart, "k = 3")[0][index]], "it is advised already"
    clicked = click_point(page, "k = 3", index)
    expect(advice).to_be_visible()
    assert curve(find_chart(page), "told")[0] == [curve(find_chart(page), "k = 3")[0][index]]
    before = runs_on_disk(app_server)
    page.get_by_role("button", name="Make this one and check it").click()
    made = page.get_by_text("is made, in")
    made.wait_for(timeout=JOB_SECONDS * 1000)
    (run_id,) = runs_on_disk(app_server) - before
    record = store.load(run_id).record
    assert (record.config["method"], record.config["k"]) == ("messi", 3)
    expect(clicked).to_be_visible()
    # What the sweep measured is what the same plan comes to, to all that is shown.
    found, expected = re.findall(r"[0-9.]+%", made.inner_text())
    assert found == expected == f"{record.figures['relative_error']:.2%}"
    page.get_by_role("button", name="Back to the advice").click()
    expect(clicked).to_have_count(0)
    page.get_by_role("button", name="See it on the map").click()
    expect(page.get_by_role("heading", name="tiny")).to_be_visible()
    wait_until(page, lambda: f"run={run_id}" in page.url, what="the map is that plan's")
    go_to_compare(page)
    page.get_by_role("button", name="Put away").click()
    expect(made).to_have_count(0)
    expect_no_traceback(page)


def test_cancelled_sweep_changes_nothing(app_server: Server, compare: Page) -> None:
    before = runs_on_disk(app_server)
    open_sidebar(compare)
    compare.get_by_role("button", name="Run the sweep").click()
    panel = job_panel(compare, "sweep")
    panel.wait_for()
    expect(panel).not_to_contain_text("Waiting", timeout=JOB_SECONDS * 1000)
    panel.get_by_role("button", name="Cancel").click()
    expect_alert(compare, "Cancelled")
    expect(panel).to_have_count(0)
    settle(compare)
    assert runs_on_disk(app_server) == before
    expect(compare.get_by_text("From the sweep that ships with the app")).to_be_visible()
