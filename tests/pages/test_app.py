"""The Explore page as a script: its controls, captions and messages. AppTest knows no charts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine.budget import dimension_for_rate, parameters
from pages.parts import jobs
from tests.pages.fake_queue import FakeQueue

APP = Path(__file__).resolve().parents[2] / "app.py"
ROWS, COLUMNS = 120, 16


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return fake


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "small_*table.npy"
    rows = np.random.default_rng(2).normal(size=(ROWS, COLUMNS))
    np.save(path, rows.astype(np.float32))
    return path


def open_file(path: Path, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in {"source": "File or folder", "spec": str(path), **query}.items():
        app.query_params[name] = value
    return app.run()


def caption(app: AppTest) -> str:
    """What the chosen size comes to."""
    (found,) = [item.value for item in app.sidebar.caption if item.value.startswith("j = ")]
    return found


def test_bundled_model_opens_on_its_plan() -> None:
    app = AppTest.from_file(str(APP), default_timeout=120).run()
    assert not app.exception
    assert not app.error
    assert [metric.value for metric in app.metric] == ["7.01 M", "28.0 MB", "13.45%", "82.2%"]
    assert caption(app).startswith("j = 216: 7.01 M of 11.7 M numbers")


@pytest.mark.parametrize(("k", "percent"), [(2, 30), (3, 50), (5, 40)])
def test_rate_comes_to_a_dimension(table: Path, k: int, percent: int) -> None:
    app = open_file(table)
    app.slider(key="k").set_value(k)
    app.slider(key="rate").set_value(percent).run()
    assert not app.exception
    j = dimension_for_rate(ROWS, COLUMNS, k, percent / 100)
    assert caption(app).startswith(f"j = {j}: {parameters(ROWS, COLUMNS, k, j):,} of 1,920 numbers")


def test_dimension_is_taken_as_it_is(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.segmented_control(key="by").set_value("Dimension").run()
    app.slider(key="j").set_value(7).run()
    assert caption(app).startswith(f"j = 7: {parameters(ROWS, COLUMNS, 5, 7):,} of")
    next(button for button in app.sidebar.button if button.label == "Compress").click().run()
    assert not app.exception
    ((kind, params),) = queue.submitted
    assert kind == "compress"
    assert params["source"]["spec"] == str(table)
    assert params["config"] == {"method": "messi", "k": 5, "j": 7, "seed": 0, "n_init": 3}


def test_one_subspace_is_the_svd(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.slider(key="k").set_value(1).run()
    next(button for button in app.sidebar.button if button.label == "Compress").click().run()
    assert queue.submitted[0][1]["config"]["method"] == "svd"


def test_rate_without_room_says_so_and_bars_the_button(table: Path) -> None:
    app = open_file(table)
    app.slider(key="k").set_value(32)
    app.slider(key="rate").set_value(95).run()
    assert not app.exception
    (error,) = app.sidebar.error
    assert "lower" in error.value
    (button,) = [button for button in app.sidebar.button if button.label == "Compress"]
    assert button.disabled


def test_file_name_is_the_title_as_it_is(table: Path) -> None:
    (title,) = open_file(table).title
    assert title.value.replace("\\", "") == "small_*table"
    assert title.value != "small_*table", "Markdown would read the name"


@pytest.mark.parametrize("page", ["explore", "compare"])
def test_missing_file_is_an_error_on_both_pages(tmp_path: Path, page: str) -> None:
    app = AppTest.from_file(str(APP.parent / "pages" / f"{page}.py"), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    app.query_params["source"] = "File or folder"
    app.query_params["spec"] = str(tmp_path / "missing.npy")
    app.run()
    assert not app.exception
    (error,) = app.error
    assert re.match("there is no file .*missing.npy; check the path", error.value.replace("\\", ""))


def test_search_lists_matching_tokens_only(table: Path) -> None:
    app = open_file(table, map="PCA")
    app.text_input(key="find").set_value("ROW 11").run()
    (frame,) = app.dataframe
    assert frame.value["Token"].tolist() == ["row 11", *(f"row 11{i}" for i in range(10))]
    app.text_input(key="find").set_value("[x").run()
    assert not app.exception
    assert [info.value.replace("\\", "") for info in app.info] == ["No token holds “[x”."]
