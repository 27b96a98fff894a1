"""The Share menu of Explore as a script: the link, what can be taken home, and what is in it."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.paths import uploads_folder
from engine.recording import record_compression
from pages.parts import jobs, share, state
from tests.engine.report.plans import Page
from tests.pages.fake_queue import FakeQueue

APP = Path(__file__).resolve().parents[2] / "app.py"
TOKENS = ["plain", '"quoted", with comma', "=SUM(A1)", "</script>", "ünï", "  spaced"]


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    st.session_state.clear()
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.npy"
    tokens = [*TOKENS, *(f"token {row}" for row in range(len(TOKENS), 60))]
    np.save(path, np.random.default_rng(4).normal(size=(60, 8)).astype(np.float32))
    path.with_suffix(".tokens.txt").write_text("\n".join(tokens), encoding="utf-8")
    return path


def keep_run(path: Path) -> str:
    table, config = load_table(path), CompressionConfig(k=2, j=3, n_init=1)
    return RunStore().create(*record_compression(table, config, compress_table(table, config))).id


def open_file(path: Path, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in {
        "source": "File or folder",
        "spec": str(path),
        "map": "PCA",
        **query,
    }.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def offered(app: AppTest) -> set[str]:
    buttons = [button.proto for button in app.get("download_button")]
    assert all("formula" in button.help for button in buttons if button.label.endswith("(CSV)"))
    assert all(button.deferred_file_id for button in buttons if button.label in _OURS)
    return {button.label for button in buttons} & _OURS


_OURS = {"Report (HTML)", "Every token (CSV)"}


def test_link_holds_what_is_looked_at(path: Path) -> None:
    run = keep_run(path)
    app = open_file(path, run=run)
    (link,) = [code.value for code in app.code if "?" in code.value]
    assert f"run={run}" in link
    assert "source=File+or+folder" in link
    assert offered(app) == _OURS


def link_of(app: AppTest) -> str:
    (link,) = [code.value for code in app.code if "?" in code.value]
    return link


def test_link_holds_what_the_controls_do(path: Path) -> None:
    app = open_file(path, run=keep_run(path), map="PCA")
    app.text_input(key="find").set_value("row 1").run()
    app.slider(key="errors").set_value((10, 90)).run()
    for name in ("map", "find", "errors"):  # as when the browser is sent the address of before
        if name in app.query_params:
            del app.query_params[name]
    app.session_state["subspaces"] = [2]
    link = link_of(app.run())
    for name, value in (("map", "PCA"), ("find", "row 1"), ("errors", "10"), ("errors", "90")):
        assert urlencode({name: value}) in link
    assert "subspaces=2" in link
    assert "find-by" not in link, "the usual is left out"


def test_link_names_the_file_of_tokens(path: Path) -> None:
    names = path.with_name("other.txt")
    names.write_text("\n".join(f"other {row}" for row in range(60)), encoding="utf-8")
    app = open_file(path, tokens=str(names))
    assert app.text_input(key="tokens").value == str(names)
    assert urlencode({"tokens": str(names)}) in link_of(app)
    app = open_file(path)
    app.text_input(key="tokens").set_value(str(names)).run()
    assert urlencode({"tokens": str(names)}) in link_of(app)


def test_link_holds_no_jobs(path: Path) -> None:
    link = link_of(open_file(path, job_layout="abc", job_measure="def", find="job_x"))
    assert "find=job_x" in link
    assert "job_layout" not in link
    assert "job_measure" not in link


def test_menu_says_what_a_link_cannot_hold(path: Path) -> None:
    def said(app: AppTest) -> tuple[str, bool]:
        (title,) = [item for item in app.markdown if item.value.startswith("**Link**")]
        uploaded = any("cannot hold an upload" in item.value for item in app.caption)
        return title.proto.help, uploaded

    words, uploaded = said(open_file(path))
    assert "A loop drawn on the map is not in it" in words
    assert not uploaded
    kept = uploads_folder() / "ab" / path.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(path.read_bytes())
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["source"] = "Upload"
    app.session_state["last-upload"] = (str(kept), None)
    app.run()
    assert not app.exception
    assert said(app)[1]


def test_link_to_a_run_alone_opens_its_table_also_an_upload(path: Path) -> None:
    kept = uploads_folder() / "ab" / path.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(path.read_bytes())
    run = keep_run(kept)
    for named in ({}, {"source": "Upload"}):
        app = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in {**named, "run": run}.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        assert not app.error
        assert kept.stem in app.title[0].value.replace("\\", "")
        assert f"run={run}" in link_of(app)
        assert not any("cannot hold an upload" in item.value for item in app.caption)


def test_link_holds_each_of_several_subspaces(path: Path) -> None:
    app = open_file(path, run=keep_run(path))
    app.session_state["subspaces"] = [1, 2]
    app.run()
    assert urlencode([("subspaces", 1), ("subspaces", 2)]) in link_of(app)


def test_table_without_a_plan_has_no_report(path: Path) -> None:
    assert offered(open_file(path)) == {"Every token (CSV)"}


@pytest.mark.parametrize("planned", [True, False])
def test_csv_holds_every_token_as_it_is(path: Path, planned: bool) -> None:
    table = load_table(path)
    view = None
    if planned:
        state.choose_run(keep_run(path))
        view = state.current_view(table)
        assert view is not None
    places = share.find_map(table, "UMAP")
    assert places.kind == "PCA", "no UMAP has been drawn yet"
    text = io.BytesIO(share.make_csv(table, view, places))
    frame = pd.read_csv(text, keep_default_na=False)
    assert frame["token"].tolist() == list(table.tokens)
    np.testing.assert_allclose(frame["norm"], np.linalg.norm(table.matrix, axis=1), rtol=1e-6)
    np.testing.assert_allclose(frame[["pca_x", "pca_y"]], places.layout, rtol=1e-6)
    assert ("subspace" in frame) is planned
    if view is not None:
        assert frame["subspace"].tolist() == (view.factorization.labels + 1).tolist()
        np.testing.assert_allclose(frame["error"], view.row_errors)


def test_report_is_of_the_run_that_is_shown(path: Path) -> None:
    run = keep_run(path)
    state.choose_run(run)
    table = load_table(path)
    view = state.current_view(table)
    assert view is not None
    page = Page(report=share.make_report(table, view, share.find_map(table, "PCA")))
    record = RunStore().load(run).record
    assert record.figures["verdict"] in page.words
    assert f"{record.created_at:%d %B %Y, %H:%M} UTC" in page.words


def test_camera_saves_what_the_menu_says(path: Path) -> None:
    table = load_table(path)
    options = share.picture_options(table)["toImageButtonOptions"]
    assert options == {"format": "png", "filename": "rows-map", "scale": 2}
    st.session_state["picture"] = "SVG"
    assert share.picture_options(table)["toImageButtonOptions"]["format"] == "svg"
