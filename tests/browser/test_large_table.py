"""A table of more rows than a map draws: opened, compressed on a budget, its sample said aloud."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import RunStore
from tests.browser.driver import chart_traces, find_chart, settle
from tests.browser.explorer import finish_compress, link, press_compress
from tests.browser.server import Server

pytestmark = [pytest.mark.usefixtures("quiet_log"), pytest.mark.slow]

ROWS, DRAWN = 120_000, 100_000


def test_large_table_is_opened_compressed_and_drawn_as_a_stated_sample(
    app_server: Server, tmp_path: Path, page: Page
) -> None:
    path = tmp_path / "large.npy"
    rows = np.random.default_rng(0).standard_normal((ROWS, 16), dtype=np.float32)
    np.save(path, rows.astype(np.float16))
    plan = {"k": 2, "rate": 50, "starts": 1, "allocation": "Best for each"}
    page.goto(link(app_server, path, map="PCA", **plan))
    find_chart(page)
    settle(page, seconds=120)
    press_compress(page)
    run = RunStore(app_server.home / "runs").load(finish_compress(page))
    assert run.record.source["rows"] == ROWS
    assert run.record.figures["rate"] >= 0.5
    expect(page.get_by_text(re.compile(f"{DRAWN:,} of {ROWS:,} tokens are drawn"))).to_be_visible()
    assert sum(len(trace["x"]) for trace in chart_traces(find_chart(page))) == DRAWN
