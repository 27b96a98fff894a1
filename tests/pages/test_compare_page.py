"""The Compare page as a script: the grid it asks for, and what it says of a weighted sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.frequencies import row_use
from engine.recording import record_sweep
from engine.sweep import SweepConfig, run_sweep
from pages.parts import jobs
from tests.pages.fake_queue import FakeQueue

COMPARE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"
GRID = SweepConfig(rates=(0.3, 0.5), ks=(2, 3), seeds=(0,))


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(2).normal(size=(120, 16)).astype(np.float32))
    return path


def open_page(path: Path, **query: str) -> AppTest:
    app = AppTest.from_file(str(COMPARE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    for name, value in {"source": "File or folder", "spec": str(path), **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def press_run(app: AppTest) -> None:
    next(button for button in app.sidebar.button if button.label == "Run the sweep").click().run()
    assert not app.exception


def test_plain_sweep_is_what_is_offered_first(path: Path, queue: FakeQueue) -> None:
    app = open_page(path)
    assert "117 fits." in [item.value for item in app.sidebar.caption]
    press_run(app)
    ((kind, params),) = queue.submitted
    assert kind == "sweep"
    lists = {name: tuple(params["config"].pop(name)) for name in ("rates", "ks", "seeds")}
    assert SweepConfig(**params["config"], **lists) == SweepConfig()


def test_choices_reach_the_sweep(path: Path, queue: FakeQueue) -> None:
    app = open_page(path, weights="English text", allocation="Best for each")
    assert "126 fits." in [item.value for item in app.sidebar.caption]
    app.toggle(key="affine").set_value(True)
    app.slider(key="power").set_value(1.0)
    app.slider(key="sweep-starts").set_value(4).run()
    press_run(app)
    config = queue.submitted[0][1]["config"]
    wanted = {"weights": "en", "weight_power": 1.0, "allocation": "optimal", "affine": True}
    assert {name: config[name] for name in wanted} == wanted
    assert config["n_init"] == 4


def keep_sweep(path: Path, **changes: object) -> None:
    table = load_table(path)
    config = SweepConfig(**{"rates": (0.3, 0.5), "ks": (2, 3), "seeds": (0,), **changes})  # pyright: ignore[reportArgumentType]
    RunStore().create(*record_sweep(table, run_sweep(table, config)))


def test_plain_sweep_has_no_weighted_scale(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path)
    assert app.segmented_control(key="scale").options == ["Error", "Against the SVD"]
    (frame,) = app.dataframe
    assert list(frame.value.columns) == ["Rate", "SVD", "k", "Error", "Against SVD"]


def test_weighted_sweep_opens_by_its_weighted_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en", allocation="optimal", loss="l1")
    app = open_page(path)
    scale = app.segmented_control(key="weighted-scale")
    assert scale.options == ["Error", "Weighted error", "Against the SVD"]
    assert scale.value == "Weighted error"
    (frame,) = app.dataframe
    assert "Weighted SVD" in frame.value.columns
    (caption,) = [item.value for item in app.caption if item.value.startswith("From your sweep")]
    assert caption.replace("\\", "").endswith(
        "the best dimensions for each subspace, tokens weighted by English text, the loss l1."
    )
    scale.set_value("Error").run()
    assert not app.exception
    (frame,) = app.dataframe
    assert "SVD" in frame.value.columns
