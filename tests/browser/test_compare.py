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

from engine import RunStore
from engine.paths import assets_folder
from tests.browser.driver import chart_traces, find_chart, open_app, settle
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
        found[cell["k"], cell["asked_rate"]].append(cell["relative_error"])
    return dict(found)


@pytest.fixture
def compare(app_url: str, page: Page) -> Iterator[Page]:
    """The Compare page of the bundled model."""
    page.goto(app_url)
    go_to_compare(page)  # without waiting for the map
    yield page
    expect_no_traceback(page)


def curve(chart: Locator, name: str) -> tuple[list[float], list[float]]:
    """x and y of the one trace of a name."""
    (trace,) = [trace for trace in chart_traces(chart) if trace["name"] == name]
    return trace["x"], trace["y"]


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
    _, y = curve(find_chart(compare), "SVD (k = 1)")
    assert max(y) < 1


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
    expect(layer).to_contain_text(f"SVD: {errors[1, 0.5][0]:.4f}")
    expect(layer).to_contain_text("50%")
    for k in (2, 3, 5, 10):
        found = errors[k, 0.5]
        words = f"k = {k}: {fmean(found):.4f} ({min(found):.4f} – {max(found):.4f})"
        expect(layer).to_contain_text(words)


def test_download_holds_every_fit(compare: Page, shipped: dict[str, Any]) -> None:
    rows = download(compare, "Download every fit as CSV")
    assert len(rows) == len(shipped["cells"]) == 117
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
    expect(page.get_by_text("27 fits.")).to_be_visible()
    settle(page)
    button = page.get_by_role("button", name="Run the sweep")
    button.click()
    job_panel(page, "sweep").wait_for()
    expect(button).to_be_disabled()
    page.locator(".js-plotly-plot").wait_for(timeout=JOB_SECONDS * 1000)
    settle(page)
    expect(job_panel(page, "sweep")).to_have_count(0)
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
    assert {row["k"] for row in rows} == {"1", "3", "5"}
    expect_no_traceback(page)


def test_cancelled_sweep_changes_nothing(app_server: Server, compare: Page) -> None:
    before = runs_on_disk(app_server)
    open_sidebar(compare)
    compare.get_by_role("button", name="Run the sweep").click()
    panel = job_panel(compare, "sweep")
    panel.wait_for()
    expect(panel).not_to_contain_text("Waiting", timeout=JOB_SECONDS * 1000)
    panel.get_by_role("button", name="Cancel").click()
    expect_alert(compare, "Cancelled", seconds=15)
    expect(panel).to_have_count(0)
    settle(compare)
    assert runs_on_disk(app_server) == before
    expect(compare.get_by_text("From the sweep that ships with the app")).to_be_visible()
