"""Plans beyond the plain one, on screen: dimensions of their own and tokens weighted by use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from wordfreq import top_n_list

from engine import Factorization, RunStore
from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    choose,
    expect_no_traceback,
    finish_compress,
    link,
    metrics,
    press_compress,
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
    shown = metrics(page)
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
