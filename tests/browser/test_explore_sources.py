"""Other tables than the bundled one: uploads, and files that are not what they should be."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.driver import find_chart, open_app, settle
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    compress_button,
    expect_alert,
    expect_no_traceback,
    finish_compress,
    link,
    map_points,
    shown_run,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")


def write_nan(path: Path) -> None:
    rows = np.ones((40, 8), dtype=np.float32)
    rows[17, 3] = np.nan
    np.save(path, rows)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": [1.0]}))


def write_objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)


def write_ragged(path: Path) -> None:
    path.write_text("3 4\none 1 2 3 4\ntwo 1 2 3\nthree 1 2 3 4\n", encoding="utf-8")


def write_vector(path: Path) -> None:
    np.save(path, np.ones(12, dtype=np.float32))


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_no_file(path: Path) -> None:
    assert not path.exists()


def write_short(path: Path) -> None:
    np.save(path, np.ones((40, 8), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:-100])


MALFORMED: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing.npy": (write_no_file, "there is no file .*missing.npy; check the path"),
    "model.pt": (write_pickle, r"\.pt files are pickles"),
    "objects.npy": (write_objects, "holds Python objects, stored as pickle"),
    "nan.npy": (write_nan, "row 17"),
    "ragged.vec": (write_ragged, "line 3"),
    "vector.npy": (write_vector, r"vector.npy: an embedding table needs shape .* got \(12,\)"),
    "empty.npy": (write_nothing, "empty, damaged or something else"),
    "short.npy": (write_short, r"its header declares float32 \(40 × 8\)"),
}


def type_path(page: Page, path: Path) -> None:
    """Type a path into its box."""
    box = page.get_by_role("textbox", name="Path on this machine")
    box.fill(str(path))
    box.press("Enter")


def choose_source(page: Page, name: str) -> None:
    """Choose what kind of source it is."""
    page.get_by_test_id("stSidebar").get_by_test_id("stSelectbox").first.locator(
        '[role="combobox"], input'
    ).first.click()
    page.get_by_role("option", name=name).click()
    settle(page)


def test_malformed_files_each_show_their_message(
    app_url: str, tiny: TinyTable, page: Page, tmp_path: Path
) -> None:
    open_app(page, app_url)
    choose_source(page, "File or folder")
    expect(page.get_by_text("Name a model or a file in the sidebar")).to_be_visible()
    for name, (write, message) in MALFORMED.items():
        path = tmp_path / name
        write(path)
        type_path(page, path)
        expect_alert(page, message)
        expect(page.locator(".js-plotly-plot")).to_have_count(0)
    type_path(page, tiny.path)
    settle(page)
    assert len(map_points(find_chart(page))) == len(tiny.tokens)
    choose_source(page, "Bundled model")
    assert len(map_points(find_chart(page))) == 30_522
    expect(page.get_by_test_id("stAlert")).to_have_count(0)


def test_table_too_small_for_the_plan_is_handled(
    app_server: Server, page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "three.npy"
    np.save(path, np.random.default_rng(5).normal(size=(3, 6)).astype(np.float32))
    open_app(page, link(app_server, path, k=20, rate=95))
    assert len(map_points(find_chart(page))) == 3
    alert = page.get_by_test_id("stSidebar").get_by_test_id("stAlert")
    expect(alert).to_contain_text("lower")
    expect(compress_button(page)).to_be_disabled()
    expect_no_traceback(page)
    open_app(page, link(app_server, path, k=2, by="Dimension", j=1))
    compress_button(page).click()
    finish_compress(page)
    expect_no_traceback(page)


def test_uploads_are_read_or_refused(
    tiny: TinyTable, app_server: Server, page: Page, tmp_path: Path
) -> None:
    open_app(page, link(app_server, source="Upload"))
    vectors = page.locator('[data-testid="stFileUploader"] input[type="file"]').first
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"\x93NUMPY\x01\x00 this is no header")
    vectors.set_input_files(broken)
    expect_alert(page, "broken.npy: expected a NumPy array")
    vectors.set_input_files(tiny.path)
    expect(page.get_by_role("heading", name="tiny")).to_be_visible(timeout=JOB_SECONDS * 1000)
    settle(page)
    assert len(map_points(find_chart(page))) == len(tiny.tokens)
    expect(page.get_by_text("Rows are named by their number")).to_be_visible()
    before = shown_run(page.url)  # the tiny table may have been compressed by another test
    compress_button(page).click()
    finish_compress(page, before=before)
    expect_no_traceback(page)
    assert not list((app_server.home / "uploads").rglob("broken.npy"))
    kept = list((app_server.home / "uploads").rglob("tiny.npy"))
    assert [path.read_bytes() for path in kept] == [tiny.path.read_bytes()]


def test_missing_model_is_named(app_url: str, page: Page) -> None:
    open_app(page, f"{app_url}/?source=Hugging+Face+model&spec=no_one/no_such_*model*")
    expect_alert(page, re.escape("there is no file 'no_one/no_such_*model*'"))
