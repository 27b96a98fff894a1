"""The Accuracy page on screen: checks that run, what they leave, and how they are stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression
from tests.browser.driver import chart_traces, find_chart, open_app, settle, wait_until
from tests.browser.explorer import (
    JOB_SECONDS,
    download,
    expect_alert,
    expect_no_traceback,
    go_to_accuracy,
    go_to_compare,
    job_panel,
    link,
    runs_on_disk,
    shown_run,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")

PLEASANT = "love joy happy good great nice wonderful best beautiful kind sweet brave".split()
UNPLEASANT = "hate war sad bad evil cruel worst ugly kill pain fear angry".split()
NEUTRAL = [f"w{row}" for row in range(176)]


@pytest.fixture(scope="module")
def words(app_server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A table whose rows say whether their words are pleasant, and a run of it in the store."""
    tokens = [*PLEASANT, *UNPLEASANT, *NEUTRAL]
    rows = np.random.default_rng(5).normal(size=(len(tokens), 16)).astype(np.float32)
    rows[: len(PLEASANT), :4] += 3
    rows[len(PLEASANT) : len(PLEASANT) + len(UNPLEASANT), :4] -= 3
    path = tmp_path_factory.mktemp("tables") / "words.npy"
    np.save(path, rows)
    path.with_suffix(".tokens.txt").write_text("\n".join(tokens), encoding="utf-8")
    return path, compress(app_server, path, k=2)


def compress(server: Server, path: Path, *, k: int) -> str:
    """A run of a table in the server's store."""
    table, config = load_table(path), CompressionConfig(k=k, rate=0.4, n_init=1)
    record = record_compression(table, config, compress_table(table, config))
    return RunStore(server.home / "runs").create(*record).id


def open_accuracy(page: Page, server: Server, path: Path | None = None, **query: object) -> None:
    open_app(page, link(server, path, **query))
    find_chart(page)  # a page that is left before its controls are there takes no link along
    go_to_accuracy(page)


def test_a_check_runs_and_is_found_again(
    app_server: Server, words: tuple[Path, str], page: Page
) -> None:
    path, plan = words
    before = runs_on_disk(app_server)
    open_accuracy(page, app_server, path, run=plan)
    expect(page.get_by_text("with your plan, k = 2")).to_be_visible()
    box = page.get_by_role("checkbox", name="Word valence")
    expect(box).to_be_checked()
    expect(page.get_by_role("checkbox", name="Sentence fidelity")).to_be_disabled()
    button = page.get_by_role("button", name="Run 1 check")
    button.click()
    page.locator(".js-plotly-plot").first.wait_for(timeout=JOB_SECONDS * 1000)
    settle(page)
    expect(job_panel(page, "evaluate")).to_have_count(0)
    (run_id,) = runs_on_disk(app_server) - before
    record = RunStore(app_server.home / "runs").load(run_id).record
    assert (record.kind, record.config["run"]) == ("evaluate", plan)
    (result,) = record.figures["results"]
    drops = {score["variant"]: score["drop"]["value"] for score in result["scores"]}
    assert set(drops) == {"original", "k = 2", "SVD"}

    def drawn() -> dict[str, float]:
        return {trace["name"]: trace["y"][0] for trace in chart_traces(find_chart(page))}

    assert drawn() == pytest.approx(drops)
    rows = download(page, "Download every figure as CSV")
    assert {row["variant"]: float(row["loss"]) for row in rows} == pytest.approx(drops)
    go_to_compare(page)
    go_to_accuracy(page)
    wait_until(page, lambda: drawn() == pytest.approx(drops), what="the check is found again")
    assert shown_run(page.url) == plan
    assert runs_on_disk(app_server) - before == {run_id}
    expect_no_traceback(page)


def test_the_address_keeps_what_was_picked(
    app_server: Server, words: tuple[Path, str], page: Page
) -> None:
    path, _ = words
    unchecked = compress(app_server, path, k=3)  # its checks stand unfolded
    open_accuracy(page, app_server, path, run=unchecked)
    box = page.get_by_role("checkbox", name="Word valence")
    expect(box).to_be_checked()
    page.get_by_text("Word valence", exact=True).click()  # the box itself is not drawn
    expect(page.get_by_role("button", name="Run 0 checks")).to_be_disabled()
    settle(page)
    # In a tab of its own, whose console is not read: streamlit looks for its server there first.
    again = page.context.new_page()
    again.goto(page.url)
    expect(again.get_by_role("button", name="Run 0 checks")).to_be_disabled()
    expect(again.get_by_role("checkbox", name="Word valence")).not_to_be_checked()
    expect_no_traceback(again)


def test_cancelled_checks_change_nothing(app_server: Server, page: Page) -> None:
    before = runs_on_disk(app_server)
    open_accuracy(page, app_server)
    page.get_by_role("button", name="Run 2 checks").click(timeout=JOB_SECONDS * 1000)
    panel = job_panel(page, "evaluate")
    panel.wait_for()
    expect(panel).not_to_contain_text("Waiting", timeout=JOB_SECONDS * 1000)
    panel.get_by_role("button", name="Cancel").click()
    expect_alert(page, "Cancelled")
    expect(panel).to_have_count(0)
    settle(page)
    assert runs_on_disk(app_server) == before
    page.locator("[class*=st-key-checks-] summary").click()  # folded, once they ran
    expect(page.get_by_role("button", name="Run 2 checks")).to_be_enabled()
    expect_no_traceback(page)
