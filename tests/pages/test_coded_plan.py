"""Coded subspaces on the pages: their form, what links say of it, and runs made by it."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.budget import read_bytes
from engine.cli.commands import group
from engine.cli.options import read_plan
from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression
from engine.runs import Run
from pages.parts import share, state
from pages.parts.plan import differs
from pages.parts.wording import short_bytes
from tests.pages.fake_queue import FakeQueue

pytestmark = pytest.mark.usefixtures("queue")

ROOT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS = 400, 16
DENSE = 4 * ROWS * COLUMNS
PLAN = {
    "method": "coded",
    "k": 4,
    "max_bytes": "2.4%",
    "affine": False,
    "weights": "none",
    "weight_power": 0.5,
    "weight_floor": 16.0,
}
_OTHERS = ("by", "rate", "j", "bits", "basis-bits", "allocation")
_OTHERS_FOLDED = ("loss", "moves", "starts", "seed")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.npy"
    rows = np.random.default_rng(2).normal(size=(ROWS, COLUMNS))
    np.save(path, rows.astype(np.float32))
    return path


def open_page(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / page), default_timeout=60)
    app.session_state["app-is-set-up"] = page != "app.py"
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def open_file(path: Path, **query: str) -> AppTest:
    return open_page("app.py", source="File or folder", spec=str(path), map="PCA", **query)


def keys(app: AppTest) -> set[str | None]:
    found = (*app.slider, *app.select_slider, *app.segmented_control, *app.toggle)
    return {item.key for item in (*found, *app.selectbox, *app.number_input)}


def submit(app: AppTest, queue: FakeQueue) -> dict[str, Any]:
    (button,) = [button for button in app.sidebar.button if button.label == "Compress"]
    button.click().run()
    assert not app.exception
    config = queue.submitted[-1][1]["config"]
    CompressionConfig(**config)  # as the worker will
    return config


def keep_run(path: Path, **plan: Any) -> Run:  # noqa: ANN401 - as the config takes them
    table = load_table(path)
    config = CompressionConfig(**{"method": "coded", "max_bytes": "10%", "k": 2, **plan})
    return RunStore().create(*record_compression(table, config, compress_table(table, config)))


def said(app: AppTest) -> str:
    found = (*app.markdown, *app.caption, *app.sidebar.caption, *app.toast)
    return "\n".join(item.value for item in found).replace("\\", "")


def test_coded_has_its_own_controls_and_none_of_the_others(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    assert "bytes" not in keys(app)
    assert {*_OTHERS_FOLDED, "rate", "bits", "allocation"} < keys(app)
    app.segmented_control(key="method").set_value("coded").run()
    assert not app.exception
    assert not {*_OTHERS, *_OTHERS_FOLDED} & keys(app)
    assert {"k", "bytes", "affine", "weights"} < keys(app)
    assert app.query_params["method"] == "coded"
    assert "Spends bits where rows need them" in said(app)
    size = short_bytes(read_bytes("2.4%", DENSE))
    assert f"At most **{size}** of {short_bytes(DENSE)}, no more than an SVD of rank " in said(app)
    assert submit(app, queue) == PLAN


def test_k_can_be_found_by_itself(table: Path, queue: FakeQueue) -> None:
    app = open_file(table, method="coded", auto="true", bytes="10")
    assert app.slider(key="k").disabled
    config = submit(app, queue)
    assert config == {**PLAN, "k": "auto", "max_bytes": "10%"}
    made = keep_run(table, k="auto")
    assert made.record.config["k"] in (1, 2, 4, 8)
    dense = load_table(table).dense_bytes
    assert not differs(config, made.record.config, dense)
    assert differs({**config, "max_bytes": "12%"}, made.record.config, dense)


def test_method_brings_its_usual_k_but_keeps_one_that_was_chosen(table: Path) -> None:
    app = open_file(table)
    assert app.slider(key="k").value == 5
    app.segmented_control(key="method").set_value("coded").run()
    assert app.slider(key="k").value == 4
    app.segmented_control(key="method").set_value("messi").run()
    assert app.slider(key="k").value == 5
    assert "method" not in app.query_params
    app.slider(key="k").set_value(7).run()
    app.segmented_control(key="method").set_value("coded").run()
    assert app.slider(key="k").value == 7


@pytest.mark.parametrize("method", ["coded", "Coded"])
def test_link_restores_the_form(table: Path, queue: FakeQueue, method: str) -> None:
    app = open_file(table, method=method, bytes="6", k="2", affine="true", weights="English text")
    assert not app.toast
    assert app.query_params["method"] == "coded"
    app.slider(key="power").set_value(0.75)
    app.slider(key="floor").set_value(4.0).run()
    chosen = {"k": 2, "max_bytes": "6%", "affine": True}
    weights = {"weights": "en", "weight_power": 0.75, "weight_floor": 4.0}
    assert submit(app, queue) == {**PLAN, **chosen, **weights}


@pytest.mark.parametrize(
    ("name", "value"), [("bytes", "90"), ("bytes", "1.1MB"), ("bytes", "-1"), ("method", "zip")]
)
def test_what_a_link_cannot_have_is_told(table: Path, name: str, value: str) -> None:
    app = open_file(table, **{"method": "coded", name: value})
    assert f"The link asks for {name} = {value}, which there is not here." in said(app)
    if name == "bytes":
        assert app.select_slider(key="bytes").value == 2.4
    else:
        assert app.segmented_control(key="method").value == "messi"


def test_bytes_without_room_say_so_and_bar_the_button(tmp_path: Path) -> None:
    path = tmp_path / "few.npy"
    np.save(path, np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32))
    app = open_file(path, method="coded")
    (error,) = app.sidebar.error
    assert "leaves no room for a single basis vector" in error.value
    assert "give more bytes or lower k" in error.value
    (button,) = [button for button in app.sidebar.button if button.label == "Compress"]
    assert button.disabled
    app.select_slider(key="bytes").set_value(25.0).run()
    assert not app.sidebar.error


def test_one_row_is_told_that_a_basis_vector_is_larger(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, np.ones((1, 800), dtype=np.float32))
    app = open_file(path, method="coded", bytes="25")
    assert "k" not in keys(app)
    (error,) = app.sidebar.error
    assert "leaves no room for a single basis vector" in error.value


def test_same_size_is_the_same_plan_however_it_was_asked() -> None:
    wanted = {**PLAN, "max_bytes": "10%"}
    made = {**PLAN, "k": None, "max_bytes": DENSE // 10}
    assert not differs(wanted, made, DENSE)
    assert differs(wanted, {**made, "max_bytes": "9%"}, DENSE)
    assert differs(wanted, {"k": 4, "rate": 0.4}, DENSE)
    assert not differs({"method": "svd", "k": 1, "j": 3}, {"method": "svd", "j": 3}, DENSE)
    assert not differs({"k": 5, "j": 3}, {"j": 3}, DENSE)


def test_run_is_told_by_its_bytes_and_made_again_by_what_is_shown(
    table: Path, queue: FakeQueue
) -> None:
    run = keep_run(table, affine=True)
    figures = run.record.figures
    app = open_page("pages/runs.py", runs=run.id)
    shown = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert "Numbers stored" not in shown
    stored = figures["stored_bytes"]
    beside = f"{stored / DENSE:.1%} of {short_bytes(DENSE)}"
    assert shown["Bytes stored"] == (short_bytes(stored), beside)
    names, values = (app.dataframe[1].value[name] for name in ("Setting", "Value"))
    settings = dict(zip(names, values, strict=True))
    assert (settings["Method"], settings["Bytes kept at most"]) == ("coded", "10%")
    assert not {"Starts", "Loss", "Compression rate", "Bits of a coordinate"} & set(settings)
    command, snippet = (block.value for block in app.code[:2])
    assert "--starts" not in command
    _, name, *words = shlex.split(command)
    options = group.commands[name].make_context(name, words).params
    for other in ("source", "tensor", "tokens", "output", "as_json"):
        options.pop(other, None)
    assert asdict(read_plan(options)) == run.record.config
    assert "method='coded', k=2, max_bytes='10%', affine=True" in snippet
    (again,) = [button for button in app.button if button.label == "Run again"]
    again.click().run()
    assert not app.exception
    assert CompressionConfig(**queue.submitted[0][1]["config"]) == CompressionConfig(
        **run.record.config
    )


def test_explore_calls_it_coded(table: Path) -> None:
    app = open_file(table, run=keep_run(table).id, method="coded", bytes="10", k="2")
    assert "stored smaller as **2 coded subspaces**" in said(app)
    assert "another plan than the one in the sidebar" not in said(app)
    app.select_slider(key="bytes").set_value(12.0).run()
    assert "another plan than the one in the sidebar" in said(app)


def test_two_plans_one_of_them_coded(table: Path) -> None:
    coded, other = keep_run(table), keep_run(table, method="messi", max_bytes=None, j=3, n_init=1)
    file = {"source": "File or folder", "spec": str(table), "map": "PCA", "view": "Two plans"}
    for second in (other.id, "svd"):
        app = open_page("pages/compare.py", **file, **{"pair-a": coded.id, "pair-b": second})
        assert not app.warning
        assert f"in {short_bytes(coded.record.figures['stored_bytes'])}, B " in said(app)
    app = open_page("pages/runs.py", runs=f"{coded.id},{other.id}")
    figures = app.dataframe[1].value
    stored = figures[figures["Figure"] == "Numbers stored"]
    assert stored["A"].tolist() == ["–"]


def test_accuracy_tells_its_bytes_without_a_rate(table: Path) -> None:
    run = keep_run(table)
    app = open_page("pages/accuracy.py", source="File or folder", spec=str(table), run=run.id)
    size = short_bytes(run.record.figures["stored_bytes"])
    assert f"bits a number, {size} of {short_bytes(DENSE)}" in said(app)


def test_report_tells_what_was_asked_for_and_nothing_of_others(table: Path) -> None:
    source, run = load_table(table), keep_run(table, affine=True)
    view = state.named_view(source, run.id)
    html = share.make_report(source, view, share.find_map(source, "PCA")).decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "stored smaller as 2 coded affine subspaces" in text
    assert "Bytes asked for at most 10%" in text
    assert "of each subspace as many as earn their bits" in text
    assert "Starts 10" not in text
    assert "Numbers stored" not in text
