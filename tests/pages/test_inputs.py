"""The sidebar's controls on all pages: what they keep, without a word in the server's log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.elements.lib import policies
from streamlit.testing.v1 import AppTest

from pages.parts import inputs, jobs
from pages.parts.state import Source
from tests.pages.fake_queue import FakeQueue

APP = Path(__file__).resolve().parents[2] / "app.py"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app at a table of one's own."""
    monkeypatch.setattr(jobs, "job_queue", FakeQueue)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    path = tmp_path / "small.npz"
    rows = np.random.default_rng(2).normal(size=(120, 16)).astype(np.float32)
    np.savez(path, rows=rows)
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params["source"], app.query_params["spec"] = "File or folder", str(path)
    return app.run()


@pytest.mark.parametrize("page", ["explore", "compare", "accuracy", "runs"])
def test_no_control_that_keeps_its_value_is_warned_of(
    app: AppTest, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(policies, "_shown_default_value_warning", False)
    monkeypatch.setattr(policies._LOGGER, "warning", lambda _, key, **__: warned.append(key))
    app.switch_page(f"pages/{page}.py").run()
    app.run()
    assert not app.exception
    assert app.title or app.metric or app.info
    assert warned == []


def test_controls_keep_their_values_while_other_pages_are_looked_at(app: AppTest) -> None:
    app.text_input(key="tensor").set_value("rows").run()
    app.slider(key="k").set_value(3)
    app.segmented_control(key="bits").set_value("8").run()
    app.switch_page("pages/accuracy.py").run()
    app.segmented_control(key="accuracy-evidence").set_value("GLUE results").run()
    app.switch_page("pages/compare.py").run()
    app.switch_page("pages/runs.py").run()
    app.switch_page("pages/explore.py").run()
    assert not app.exception
    assert (app.slider(key="k").value, app.segmented_control(key="bits").value) == (3, "8")
    assert app.text_input(key="tensor").value == "rows"
    assert app.selectbox(key="source").value == "File or folder"
    app.switch_page("pages/accuracy.py").run()
    assert app.segmented_control(key="accuracy-evidence").value == "GLUE results"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (Source(spec="bundled:minilm"), "Bundled model"),
        (Source(spec="org/name", tensor="rows"), "Hugging Face model"),
        (Source(spec="org/name", tokens="names.txt"), "File or folder"),
        (Source(spec="rows.npy"), "File or folder"),
        (Source(spec="/data/model"), "File or folder"),
        (Source(spec="table-*.npy"), "File or folder"),
        (Source(spec="{home}/uploads/ab/mine.npy", tokens="{home}/uploads/cd/t.txt"), "Upload"),
    ],
)
def test_controls_are_pointed_at_the_table_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source, kind: str
) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path))
    state: dict[str, object] = {"tensor": "of another", "tokens": "of another"}
    monkeypatch.setattr(st, "session_state", state)
    spec, tokens = (
        text and text.replace("{home}", str(tmp_path)) for text in (source.spec, source.tokens)
    )
    inputs.point_at(replace(source, spec=str(spec), tokens=tokens))
    assert state["source"] == kind
    if kind == "Upload":
        assert state["last-upload"] == (spec, tokens)
    elif kind != "Bundled model":
        shown = (state["spec"], state["tensor"], state["tokens"])
        assert shown == (spec, source.tensor or "", tokens or "")
