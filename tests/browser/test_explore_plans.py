"""Plans beyond the plain one, on screen: dimensions of their own, weights by use, coded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from wordfreq import top_n_list

from engine import Factorization, RunStore
from engine.wording import short_bytes
from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    choose,
    expect_no_traceback,
    finish_compress,
    link,
    metrics,
    press_compress,
    shown_run,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """400 words: common ones near a plane, others spread in twelve dimensions of 16."""
    generator = np.random.default_rng(5)
    plane = generator.normal(size=(200, 2)) @ generator.normal(size=(2, 16))
    wide = generator.normal(size=(200, 12)) @ generator.normal(size=(12, 16))
    path = tmp_path / "words.npy"
    np.save(path, np.concatenate([plane, wide]).astype(np.float32))
    tokens = "\n".join([*top_n_list("en", 380), *(f"xqzw{row}" for row in range(20))])
    path.with_suffix(".tokens.txt").write_text(tokens, encoding="utf-8")
    return path


def test_best_dimensions_for_tokens_weighted_by_english(
    app_server: Server, words: Path, page: Page
) -> None:
    open_app(page, link(app_server, words, map="PCA", k=2, rate=50))
    choose(page, "Best for each")
    expect(page.get_by_text("the fit shares them out")).to_be_visible()
    weights = page.get_by_role("combobox", name="Token weights")
    weights.scroll_into_view_if_needed()  # a list that opens while the sidebar scrolls closes again
    settle(page)
    weights.click()
    page.get_by_role("option", name="English text").click()
    press_compress(page)
    run = RunStore(app_server.home / "runs").load(finish_compress(page))
    assert (run.record.config["allocation"], run.record.config["weights"]) == ("optimal", "en")
    figures = run.record.figures
    expect(page.get_by_text(figures["verdict"])).to_be_visible()
    shown = metrics(page, once="Error, weighted by use")
    assert len(set(Factorization.load(run.folder).dimensions)) == 2, "one is flatter than the other"
    assert figures["rate"] >= 0.5
    assert shown["Error, weighted by use"] == (
        f"{figures['weighted_error']:.2%}",
        f"weighted SVD {figures['weighted_svd']['weighted_error']:.2%}",
    )
    expect(page.get_by_text("Tokens count by their use in English text")).to_be_visible()
    expect(page.get_by_role("heading", name="Error by how often a token is used")).to_be_visible()
    page.get_by_text("How this was fitted").click()
    expect(page.get_by_text("The first was kept.")).to_be_visible()
    find_chart(page)
    expect_no_traceback(page)


def test_coded_subspaces_of_a_share_of_the_bytes(
    app_server: Server, words: Path, page: Page
) -> None:
    open_app(page, link(app_server, words, map="PCA"))
    choose(page, "Coded")
    expect(page.get_by_text("Spends bits where rows need them")).to_be_visible()
    for other in ("Compression rate", "Size by", "Dimensions", "Bits of a number"):
        expect(page.get_by_text(other, exact=True)).to_have_count(0)
    share = page.get_by_role("slider", name="Bytes kept")
    share.focus()
    share.press("End")
    settle(page)
    expect(page.get_by_text("At most 6.4 kB of 25.6 kB")).to_be_visible()
    page.wait_for_url(re.compile("method=coded.*bytes=25|bytes=25.*method=coded"))
    open_app(page, page.url)  # the link brings all of it back
    expect(page.get_by_text("At most 6.4 kB of 25.6 kB")).to_be_visible()
    before = shown_run(page.url)  # of another test of this table
    press_compress(page)
    run = RunStore(app_server.home / "runs").load(finish_compress(page, before=before))
    config, figures = run.record.config, run.record.figures
    assert [config[name] for name in ("method", "k", "max_bytes")] == ["coded", 4, "25%"]
    expect(page.get_by_text(figures["verdict"])).to_be_visible()
    shown, stored = metrics(page), figures["stored_bytes"]
    assert stored <= 6400
    assert "Numbers stored" not in shown
    assert shown["Bytes stored"] == (short_bytes(stored), f"{stored / 25600:.1%} of 25.6 kB")
    assert shown["Error"] == (
        f"{figures['relative_error']:.2%}",
        f"SVD, {figures['svd']['bits']} bits {figures['svd']['relative_error']:.2%}",
    )
    expect(page.get_by_text("4 coded subspaces")).to_be_visible()
    expect(page.get_by_text("another plan than the one in the sidebar")).to_have_count(0)
    find_chart(page)
    expect_no_traceback(page)
