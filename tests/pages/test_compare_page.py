"""The Compare page as a script: the grid it asks for, and what it says of a weighted sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.frequencies import row_use
from engine.frontier import BytePoint, SizeCurves
from engine.grid import LISTS
from engine.recording import record_sweep
from engine.sweep import SweepConfig, run_sweep
from pages.parts import state
from tests.pages.fake_queue import FakeQueue

pytestmark = pytest.mark.usefixtures("queue")

COMPARE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"
GRID = SweepConfig(rates=(0.3, 0.5), ks=(2, 3), seeds=(0,))


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
    lists = {name: tuple(params["config"].pop(name)) for name in LISTS}
    assert SweepConfig(**params["config"], **lists) == SweepConfig()


def test_choices_reach_the_sweep(path: Path, queue: FakeQueue) -> None:
    app = open_page(path, weights="English text", allocation="Best for each")
    assert "126 fits." in [item.value for item in app.sidebar.caption]
    app.toggle(key="affine").set_value(True)
    app.slider(key="power").set_value(1.0)
    app.toggle(key="sweep-coded").set_value(False)
    app.slider(key="sweep-starts").set_value(4).run()
    press_run(app)
    config = queue.submitted[0][1]["config"]
    wanted = {"weights": "en", "weight_power": 1.0, "allocation": "optimal", "affine": True}
    assert {name: config[name] for name in wanted} == wanted
    assert (config["n_init"], config["bits"]) == (4, [32])


def keep_sweep(path: Path, **changes: object) -> None:
    table = load_table(path)
    config = SweepConfig(**{"rates": (0.3, 0.5), "ks": (2, 3), "seeds": (0,), **changes})  # pyright: ignore[reportArgumentType]
    RunStore().create(*record_sweep(table, run_sweep(table, config)))


def test_plain_sweep_has_no_weighted_scale(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path, against="Compression rate")
    assert app.segmented_control(key="scale").options == ["Error", "Against the SVD"]
    (frame,) = app.dataframe
    assert list(frame.value.columns) == ["Rate", "SVD", "k", "Error", "Against SVD"]


def test_weighted_sweep_opens_by_its_weighted_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en", allocation="optimal", loss="l1")
    app = open_page(path, against="Compression rate")
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


def verdict(app: AppTest) -> str:
    (text,) = [item.value for item in app.markdown if item.value.startswith(":material/balance:")]
    return text


def test_bytes_come_first_and_say_who_wins(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path)
    assert app.segmented_control(key="against").value == "Stored bytes"
    coding = app.segmented_control(key="coding")
    assert coding.options == ["Best of all", "4 bits", "8 bits", "32 bits"]
    (frame,) = app.dataframe
    assert list(frame.value.columns)[:4] == ["Up to", "Bytes", "Best", "Plain rounding"]
    # Rows without structure: rounding loses least wherever there is room for it.
    assert "**Plain rounding** wins" in verdict(app)
    assert "from 50% of the table's bytes on" in verdict(app) or "% to 50%" not in verdict(app)
    (caption,) = [item.value for item in app.caption if item.value.startswith("From your sweep")]
    assert "6 fits, 22 ways to store of 120" in caption
    for choice in coding.options:
        coding.set_value(choice).run()
        assert not app.exception


def test_links_lead_to_either_axis_and_its_controls(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path, against="Compression rate", scale="Against the SVD")
    assert app.segmented_control(key="scale").value == "Against the SVD"
    app.segmented_control(key="against").set_value("Stored bytes").run()
    assert not app.exception
    app = open_page(path, coding="4 bits")
    assert app.segmented_control(key="coding").value == "4 bits"


def test_a_link_to_bits_that_were_not_measured_opens_on_the_best(path: Path) -> None:
    keep_sweep(path, bits=(4,))
    app = open_page(path, coding="8 bits", **{"size-scale": "Weighted error"})
    coding = app.segmented_control(key="coding")
    assert (coding.options, coding.value) == (["Best of all", "4 bits", "32 bits"], "Best of all")


def test_a_sweep_in_32_bits_alone_says_so(path: Path) -> None:
    keep_sweep(path, bits=(32,))
    app = open_page(path)
    assert not [item for item in app.segmented_control if item.key == "coding"]
    assert any("fits in 32 bits alone" in item.value for item in app.caption)


def test_weighted_sweep_opens_by_its_weighted_error_against_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en")
    app = open_page(path)
    scale = app.segmented_control(key="size-scale")
    assert (scale.options, scale.value) == (["Error", "Weighted error"], "Weighted error")
    scale.set_value("Error").run()
    assert not app.exception


def test_measured_accuracy_is_a_scale_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_sweep(path)
    ours = BytePoint(
        family="messi", line="k = 10", k=10, bits=4, rate=0.5, stored_bytes=900, value=85.5,
        lowest=85.5, highest=85.5,
    )  # fmt: skip
    rounded = replace(ours, family="rounding", line="a step a row", k=0, value=84.0)
    accuracy = SizeCurves(
        measure="STS-B", points=(ours, rounded), dense_bytes=7680, higher_is_better=True,
        whole=86.0,
    )  # fmt: skip
    monkeypatch.setattr(state, "measured_accuracy", lambda _: accuracy)
    app = open_page(path)
    scale = app.segmented_control(key="size-scale")
    assert (scale.options, scale.value) == (["Error", "STS-B"], "Error")
    scale.set_value("STS-B").run()
    assert not app.exception
    assert "**k subspaces** 11.7% (k = 10 at 4 bits: 85.50)" in verdict(app)
    (frame,) = app.dataframe
    assert frame.value["k subspaces"].tolist()[-1] == 85.5
