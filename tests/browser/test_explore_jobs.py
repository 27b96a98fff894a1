"""Long work on the Explore page: progress, a finished run, cancelling, and a worker that dies."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import RunStore
from tests.browser.driver import (
    chart_traces,
    count_draws,
    drawn_times,
    draws_are_counted,
    find_chart,
    open_app,
    settle,
    wait_until,
)
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    compress_button,
    expect_alert,
    finish_compress,
    job_panel,
    link,
    map_points,
    metrics,
    press_compress,
    runs_on_disk,
    shown_run,
    workers,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")

# Twelve starts of twenty subspaces take minutes on the bundled model: no test waits for their end.
LONG_JOB = {"k": 20, "rate": 20, "starts": 12}
# Half a second is promised; the page then looks every 0.4 s and draws the bundled map once more.
CANCEL_SECONDS = 15
UMAP_SECONDS = 200  # numba compiles at the first map of a machine, which has taken 100


def start_long_job(page: Page, server: Server) -> None:
    """Start what would take minutes, and see it advance."""
    open_app(page, link(server, **LONG_JOB))
    find_chart(page)
    press_compress(page)
    expect(job_panel(page)).to_contain_text(re.compile(r"start", re.I), timeout=JOB_SECONDS * 1000)


def compress_tiny(page: Page, server: Server, tiny: TinyTable, **query: object) -> str:
    """Compress a tiny table by the button; the new run's id."""
    open_app(page, link(server, tiny.path, **query))
    before = shown_run(page.url)  # a table opens with the newest of its runs
    press_compress(page)
    return finish_compress(page, before=before)


def test_compress_leads_to_the_figures_of_the_new_run(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    before = runs_on_disk(app_server)
    open_app(page, link(app_server, tiny.path, map="PCA", k=4, by="Dimension", j=6, seed=3))
    opened_with = shown_run(page.url)
    press_compress(page)
    run_id = finish_compress(page, before=opened_with)
    assert runs_on_disk(app_server) == before | {run_id}
    run = RunStore(app_server.home / "runs").load(run_id)
    assert run.record.kind == "compress"
    assert run.record.config["k"] == 4
    assert run.record.config["j"] == 6
    assert run.record.config["seed"] == 3
    figures = run.record.figures
    expect(page.get_by_text(figures["verdict"])).to_be_visible()
    shown = metrics(page)
    assert shown["Numbers stored"][0] == f"{figures['parameters']:,}"
    svd_error = figures["svd"]["relative_error"]
    assert shown["Error"] == (f"{figures['relative_error']:.2%}", f"SVD {svd_error:.2%}")
    assert len(chart_traces(find_chart(page))) == 4
    page.reload()
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    settle(page)
    assert shown_run(page.url) == run_id
    assert metrics(page) == shown
    assert len(chart_traces(find_chart(page))) == 4


def test_cancel_after_a_reload_stops_a_long_job_and_changes_nothing(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    before = runs_on_disk(app_server)
    start_long_job(page, app_server)
    page.reload()
    job_panel(page).wait_for()
    expect(compress_button(page)).to_be_disabled()
    begun = time.monotonic()
    job_panel(page).get_by_role("button", name="Cancel").click()
    expect_alert(page, "Cancelled", seconds=CANCEL_SECONDS)
    expect(job_panel(page)).to_have_count(0)
    assert time.monotonic() - begun < CANCEL_SECONDS
    settle(page)
    expect(compress_button(page)).to_be_enabled()
    assert metrics(page)["Error"] == ("13.45%", "SVD 14.98%")
    assert runs_on_disk(app_server) == before
    assert compress_tiny(page, app_server, tiny) not in before


def test_the_map_stays_as_it_is_drawn_while_a_job_comes_and_goes(
    app_server: Server, page: Page
) -> None:
    open_app(page, link(app_server, **LONG_JOB))
    chart = find_chart(page)
    count_draws(chart)
    press_compress(page)
    expect(job_panel(page)).to_contain_text(re.compile("start", re.I), timeout=JOB_SECONDS * 1000)
    job_panel(page).get_by_role("button", name="Cancel").click()
    expect(job_panel(page)).to_have_count(0, timeout=CANCEL_SECONDS * 1000)
    settle(page)
    assert draws_are_counted(chart), "another map was put in its place"
    assert drawn_times(chart) == 0


def test_killed_worker_is_reported_and_replaced(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    before = runs_on_disk(app_server)
    start_long_job(page, app_server)
    (worker,) = workers(app_server)
    worker.kill()
    expect_alert(page, r"worker.*(killed|ended|memory)")
    expect(job_panel(page)).to_have_count(0)
    assert runs_on_disk(app_server) == before
    assert compress_tiny(page, app_server, tiny) not in before
    assert worker not in workers(app_server)


def test_job_of_an_earlier_server_in_the_link_is_forgotten(app_url: str, page: Page) -> None:
    open_app(page, f"{app_url}/?job_compress=7-0123abcd")
    find_chart(page)
    expect(job_panel(page)).to_have_count(0)
    expect(page).not_to_have_url(re.compile("job_compress"))


@pytest.mark.parametrize("run_id", ["20200101-000000-000000-abcdef", "../../outside", "%00"])
def test_link_to_a_run_that_is_not_there_says_so(
    app_server: Server, tiny: TinyTable, page: Page, run_id: str
) -> None:
    open_app(page, link(app_server, tiny.path, run=run_id))
    expect_alert(page, "That run cannot be opened")
    assert shown_run(page.url) is None
    assert len(map_points(find_chart(page))) == len(tiny.tokens)


@pytest.mark.slow
def test_umap_replaces_pca_once_it_is_drawn(
    app_server: Server, tiny: TinyTable, page: Page
) -> None:
    open_app(page, link(app_server, tiny.path, run=tiny.run, map="UMAP"))
    pca = map_points(find_chart(page))
    centred = pca - pca.mean(axis=0)
    assert abs(np.corrcoef(centred.T)[0, 1]) < 0.01, "PCA stands in until then"
    page.get_by_role("button", name="Draw UMAP").click()
    job_panel(page, "layout").wait_for()
    # Until the panel goes, since the words that UMAP has not been drawn go when the job begins.
    expect(job_panel(page, "layout")).to_have_count(0, timeout=UMAP_SECONDS * 1000)
    settle(page)

    def changed() -> bool:
        drawn = map_points(find_chart(page))
        return drawn.shape == pca.shape and not np.array_equal(drawn, pca)

    wait_until(page, changed, what="the UMAP map is drawn")
    assert (app_server.home / "layouts").is_dir()
    page.reload()
    settle(page)
    expect(page.get_by_role("button", name="Draw UMAP")).to_have_count(0)
