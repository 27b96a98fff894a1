"""The Explore page as a script: its controls, captions and messages. AppTest knows no charts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button, UnknownElement

from engine import Factorization, RunStore, load_table
from engine.budget import dimension_for_rate, parameters
from engine.clustering.losses import parse_loss
from engine.compression import CompressionConfig, compress_table
from engine.export.keeping import keep_model
from engine.frequencies import row_use
from engine.recording import record_compression
from pages.parts import fit
from pages.parts.run_words import captions
from pages.parts.wording import short_bytes
from tests.engine.coded_plans import fit_coded
from tests.engine.export.conftest import make_model
from tests.pages.fake_queue import FakeQueue, make_status

pytestmark = pytest.mark.usefixtures("queue")

APP = Path(__file__).resolve().parents[2] / "app.py"
ROWS, COLUMNS = 120, 16
PLAN = {
    "method": "messi",
    "k": 5,
    "rate": 0.4,
    "j": None,
    "allocation": "uniform",
    "affine": False,
    "loss": "squared",
    "weights": "none",
    "weight_power": 0.5,
    "weight_floor": 16.0,
    "moves": 0,
    "seed": 0,
    "n_init": 10,
    "bits": None,
    "basis_bits": 16,
}


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
    (found,) = [
        item.value for item in app.sidebar.caption if " numbers, no more than " in item.value
    ]
    return found


def compress_button(app: AppTest) -> Button:
    (button,) = [button for button in app.sidebar.button if button.label == "Compress"]
    return button


def submit(app: AppTest, queue: FakeQueue) -> dict[str, Any]:
    """Press the button; the config that the job gets."""
    compress_button(app).click().run()
    assert not app.exception
    config = queue.submitted[-1][1]["config"]
    CompressionConfig(**config)  # as the worker will
    return config


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
    compress_button(app).click().run()
    assert not app.exception
    ((kind, params),) = queue.submitted
    assert kind == "compress"
    assert params["source"]["spec"] == str(table)
    assert params["config"] == {**PLAN, "rate": None, "j": 7}


def test_one_subspace_is_the_svd(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.slider(key="k").set_value(1).run()
    compress_button(app).click().run()
    assert queue.submitted[0][1]["config"]["method"] == "svd"


def test_rate_without_room_says_so_and_bars_the_button(table: Path) -> None:
    app = open_file(table)
    app.slider(key="k").set_value(32)
    app.slider(key="rate").set_value(95).run()
    assert not app.exception
    (error,) = app.sidebar.error
    assert "lower" in error.value
    assert compress_button(app).disabled


def test_plain_plan_is_what_is_offered_first(table: Path, queue: FakeQueue) -> None:
    assert submit(open_file(table), queue) == PLAN


def test_best_dimensions_are_told_as_a_budget(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.segmented_control(key="allocation").set_value("Best for each").run()
    assert caption(app) == (
        "At most 1,152 of 1,920 numbers, no more than an SVD of rank 9; the fit shares them out. "
        "Stored in at most 4.7 kB of 7.7 kB."
    )
    assert submit(app, queue) == {**PLAN, "allocation": "optimal"}


def test_one_subspace_has_no_dimensions_to_share(table: Path) -> None:
    app = open_file(table, allocation="Best for each")
    assert caption(app).startswith("At most")
    app.slider(key="k").set_value(1).run()
    assert caption(app).startswith("j = 8: ")
    app.slider(key="k").set_value(2).run()
    assert caption(app).startswith("At most"), "the choice is kept meanwhile"


def test_k_found_by_itself_is_asked_by_rate(table: Path, queue: FakeQueue) -> None:
    app = open_file(table, by="Dimension")
    app.toggle(key="auto").set_value(True).run()
    assert app.slider(key="k").disabled
    assert [item.key for item in app.segmented_control if item.key == "by"] == []
    assert caption(app) == (
        "At most 1,152 of 1,920 numbers, no more than an SVD of rank 9. "
        "Stored in at most 4.7 kB of 7.7 kB."
    )
    assert submit(app, queue) == {**PLAN, "k": "auto"}


def test_weights_bring_their_controls(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    assert not [slider for slider in app.slider if slider.key in ("power", "floor")]
    app.selectbox(key="weights").set_value("English text").run()
    app.slider(key="power").set_value(0.75)
    app.slider(key="floor").set_value(4.0).run()
    weights = {"weights": "en", "weight_power": 0.75, "weight_floor": 4.0}
    assert submit(app, queue) == {**PLAN, **weights}


def test_languages_are_offered_by_name(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.selectbox(key="weights").set_value("Text in another language").run()
    offered = app.selectbox(key="language").options
    assert offered == sorted(offered)
    assert {"German", "Chinese"} < set(offered)
    assert "English" not in offered
    app.selectbox(key="language").set_value("de").run()
    assert submit(app, queue)["weights"] == "de"


def test_missing_text_bars_the_button(table: Path) -> None:
    app = open_file(table)
    app.selectbox(key="weights").set_value("A text file of yours").run()
    assert not app.exception
    assert compress_button(app).disabled


def test_advanced_choices_reach_the_job(table: Path, queue: FakeQueue) -> None:
    app = open_file(table)
    app.toggle(key="affine").set_value(True)
    app.selectbox(key="loss").set_value("tukey")
    app.slider(key="moves").set_value(2).run()
    j = dimension_for_rate(ROWS, COLUMNS, 5, 0.4, affine=True)
    stored = parameters(ROWS, COLUMNS, 5, j, affine=True)
    assert caption(app).startswith(f"j = {j}: {stored:,} of 1,920 numbers")
    advanced = {"affine": True, "loss": "tukey", "moves": 2}
    assert submit(app, queue) == {**PLAN, **advanced}


@pytest.mark.parametrize(("bits", "basis_bits"), [("8", "16"), ("4", "8")])
def test_bits_reach_the_job_and_its_bytes_are_told_beforehand(
    table: Path, queue: FakeQueue, bits: str, basis_bits: str
) -> None:
    app = open_file(table, bits=bits)
    app.segmented_control(key="basis-bits").set_value(basis_bits).run()
    config = submit(app, queue)
    assert config == {**PLAN, "bits": int(bits), "basis_bits": int(basis_bits)}
    fitted = compress_table(load_table(table), CompressionConfig(**{**config, "n_init": 1}))
    told = short_bytes(fitted.figures.stored_bytes)
    assert caption(app).endswith(f"Stored in {told} of 7.7 kB.")
    queue.known.clear()
    app.segmented_control(key="bits").set_value("32").run()
    assert not [item for item in app.segmented_control if item.key == "basis-bits"]
    assert submit(app, queue) == PLAN


def test_every_loss_that_is_offered_is_known() -> None:
    for loss in fit._LOSSES:
        assert str(parse_loss(loss)) == loss


def keep_run(path: Path, *, old: bool = False, **plan: Any) -> str:  # noqa: ANN401 - as the config takes them
    """Compress a table into the store; the run's id."""
    table = load_table(path)
    config = CompressionConfig(**{"k": 2, "rate": 0.4, "neighbours": 4, **plan})
    record, write = record_compression(table, config, compress_table(table, config))
    if old:
        for name in ("weighted_error", "bands"):
            del record.figures[name], record.figures["svd"][name]
        del record.figures["weighted_svd"], record.figures["weights"]
        for start in record.figures["starts"]:
            del start["sampled"]
    return RunStore().create(record, write).id


def test_weighted_run_shows_what_it_was_weighted_by(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(ROWS).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    app = open_file(table, run=keep_run(table, weights="en", allocation="optimal"), map="PCA")
    assert not app.exception
    labels = [metric.label for metric in app.metric]
    assert labels[2:4] == ["Error", "Error, weighted by use"]
    assert app.metric[3].delta.startswith("weighted SVD ")
    assert app.metric[4].delta.startswith("weighted SVD ")
    assert any("Tokens count by their use in English text" in item.value for item in app.markdown)
    subspaces, _, use, starts = (frame.value for frame in app.dataframe)
    assert len(subspaces.data if hasattr(subspaces, "data") else subspaces) == 2
    assert use["Used"].tolist() == ["never", "up to 1 in a million", "up to 100 in a million",
                                    "more often"]  # fmt: skip
    assert use["Tokens"].tolist() == [1, 1, 99, 19]
    assert list(use.columns)[-3:] == ["This plan", "Weighted SVD", "SVD"]
    assert starts["Cost"].is_monotonic_increasing
    assert set(starts["Seen on"]) == {"all rows"}


def test_plain_run_shows_no_weights(table: Path) -> None:
    app = open_file(table, run=keep_run(table), map="PCA")
    assert not app.exception
    assert "Error, weighted by use" not in [metric.label for metric in app.metric]
    assert len(app.dataframe) == 3


def test_runs_of_the_first_version_still_open(table: Path) -> None:
    app = open_file(table, run=keep_run(table, old=True), map="PCA")
    assert not app.exception
    assert not app.warning
    assert len(app.metric) == 4


def test_a_plan_made_twice_in_a_minute_stays_the_one_that_is_chosen(table: Path) -> None:
    first, second = keep_run(table), keep_run(table)
    assert len(set(captions(RunStore().list().runs).values())) == 2
    for run in (first, second):
        app = open_file(table, run=run, map="PCA")
        app.run()
        assert app.query_params["run"] == run


def drawing(app: AppTest) -> str:
    """The network."""
    (found,) = [item.value for item in app.markdown if "<svg" in item.value]
    return found


def explanation(app: AppTest) -> str:
    """What is said above the network."""
    (found,) = [item.value for item in app.markdown if item.value.startswith("Before, every")]
    return found


def test_network_and_its_table_count_as_the_run_does(table: Path) -> None:
    run = keep_run(table, k=3, rate=None, j=[2, 5, 9])
    figures = RunStore().load(run).record.figures
    app = open_file(table, run=run, map="PCA")
    assert not app.exception
    counted = f"{figures['parameters']:,} numbers, {figures['rate']:.1%} fewer"
    assert counted in drawing(app)
    assert f"{figures['svd']['parameters']:,} numbers, " in drawing(app)
    assert "in **exactly one of 3 small layers**" in explanation(app)
    parts = app.dataframe[1].value
    whole = parts[parts["Part"] == "Whole"]
    assert whole["Bytes"].tolist() == [
        figures["dense_bytes"],
        figures["svd"]["stored_bytes"],
        figures["stored_bytes"],
    ]
    plan = parts[parts["Layer"] == "This plan"]
    assert plan["Numbers"][:-1].sum() == plan["Numbers"].iloc[-1] == figures["parameters"]
    assert [shape.split(" × ")[1] for shape in plan["Shape"][:3]] == ["2", "5", "9"]
    labels = plan[plan["Part"] == "Each token's subspace"]
    assert (labels["Shape"].tolist(), labels["Bytes"].tolist()) == (["120"], [30])


@pytest.mark.parametrize("affine", [False, True])
def test_network_of_one_subspace(table: Path, affine: bool) -> None:
    app = open_file(table, run=keep_run(table, k=1, affine=affine), map="PCA")
    assert not app.exception
    assert "small layers" not in explanation(app)
    layers = app.dataframe[1].value["Layer"].unique().tolist()
    assert layers == (["Before", "SVD", "This plan"] if affine else ["Before", "This plan"])
    assert ("Offsets" in app.dataframe[1].value["Part"].tolist()) == affine


def test_found_token_is_the_one_whose_path_is_drawn(table: Path) -> None:
    run = keep_run(table)
    app = open_file(table, run=run, map="PCA")
    app.text_input(key="find").set_value("ROW 11").run()
    label = int(Factorization.load(RunStore().load(run).folder).labels[11])
    assert f"the way of “row 11”, through layer {label + 1} alone." in explanation(app)


def test_network_says_in_how_many_bits_it_is_stored(table: Path) -> None:
    run = keep_run(table, bits=4, basis_bits=8)
    app = open_file(table, run=run, map="PCA")
    assert not app.exception
    (said,) = [item.value for item in app.caption if "The column of tokens" in item.value]
    assert said.endswith(" In this plan a coordinate takes 4 bits, a number of a basis 8.")
    parts = app.dataframe[1].value
    assert parts["Bytes"].iloc[-1] == RunStore().load(run).record.figures["stored_bytes"]


def test_coded_run_is_told_by_its_bytes(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.compression.fit_plan", fit_coded)
    run = keep_run(table)
    figures = RunStore().load(run).record.figures
    app = open_file(table, run=run, map="PCA")
    assert not app.exception
    coding = Factorization.load(RunStore().load(run).folder).coding
    assert coding is not None
    words = " ".join(item.value for item in app.markdown)
    assert f"numbers take {coding.named_bits} bits each" in words
    shown = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert "Numbers stored" not in shown
    share = figures["stored_bytes"] / figures["dense_bytes"]
    assert shown["Bytes stored"][1].startswith(f"{share:.1%} of ")
    (said,) = [item.value for item in app.caption if "The column of tokens" in item.value]
    each = f"takes {coding.named_bits} bits, a number of a basis {coding.named_basis_bits}."
    assert said.endswith(each)
    assert f" numbers in {short_bytes(figures['stored_bytes'])} of " in drawing(app)


def download_button(app: AppTest, label: str) -> UnknownElement:
    (button,) = [each for each in app.get("download_button") if each.proto.label == label]
    return button


def test_factorization_is_a_download(table: Path) -> None:
    app = open_file(table, run=keep_run(table), map="PCA")
    button = download_button(app, "Factorization")
    assert button.proto.deferred_file_id, "the file is made only when it is asked for"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "bert", "BertForMaskedLM")


def model_button(app: AppTest) -> Button:
    (button,) = [button for button in app.button if button.label == "Compressed model"]
    return button


def test_model_is_made_by_a_job(model: Path, queue: FakeQueue) -> None:
    run = keep_run(model)
    app = open_file(model, run=run, map="PCA")
    model_button(app).click().run()
    assert not app.exception
    source = {"spec": str(model), "tensor": None, "tokens": None}
    assert queue.submitted == [("model", {"source": source, "run": run})]
    assert model_button(app).disabled
    assert len([button for button in app.button if button.label == "Cancel"]) == 1
    queue.known = [make_status("failed", kind="model", error="no such model")]
    app.run()
    assert [error.value for error in app.error] == ["no such model"]
    assert not model_button(app).disabled


def test_finished_model_is_a_download_with_its_cost(model: Path) -> None:
    run = keep_run(model, bits=8)
    kept = keep_model(load_table(model), run)
    app = open_file(model, run=run, map="PCA")
    assert not app.exception
    assert "Compressed model" not in [button.label for button in app.button]
    size = short_bytes(kept.path.stat().st_size)
    button = download_button(app, f"Compressed model, {size}")
    assert button.proto.deferred_file_id, "the file is read only when it is asked for"
    (said,) = [item.value for item in app.markdown if "import engine" in item.value]
    assert '`BertForMaskedLM.from_pretrained("bert-k2-8bit")`' in said
    before, after = kept.cost.before.file_bytes, kept.cost.after.file_bytes
    (cost,) = [item.value for item in app.markdown if "| before | after |" in item.value]
    assert f"| bytes on disk | {before:,} | {after:,} |" in cost


def test_running_model_is_shown_where_its_button_is_not(
    table: Path, model: Path, queue: FakeQueue
) -> None:
    queue.known = [make_status("running", kind="model", phase="Packing")]
    for path, run in ((table, keep_run(table)), (model, ""), (model, keep_run(model))):
        app = open_file(path, run=run, map="PCA", job_model="1-ab")
        assert not app.exception
        assert len([button for button in app.main.button if button.label == "Cancel"]) == 1


def test_coded_plan_is_not_told_as_one_of_32_bits(table: Path) -> None:
    app = open_file(table, run=keep_run(table, bits=4), map="PCA")
    assert any("A token's own numbers take 4 bits each." in item.value for item in app.markdown)
    stored, error = app.metric[1], app.metric[2]
    assert "4 bits a coordinate, 16 a number of a basis" in stored.help
    assert "numbers, at 32 bits each: " in error.help


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        ({"method": "svd", "k": 1}, "one flat subspace: the usual SVD."),
        ({"k": 1, "affine": True}, "one flat subspace."),
    ],
)
def test_one_subspace_is_called_what_it_is(table: Path, plan: dict[str, Any], name: str) -> None:
    app = open_file(table, run=keep_run(table, **plan), map="PCA")
    assert not app.exception
    assert any(item.value.endswith(name) for item in app.markdown)


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


def test_a_token_found_alone_is_looked_at_once(table: Path) -> None:
    app = open_file(table, map="PCA")
    app.text_input(key="find").set_value("row 119").run()
    assert app.session_state["token"] == 119
    app.session_state["token"] = None
    app.run()
    assert app.session_state["token"] is None, "it stays closed"
    app.text_input(key="find").set_value("row 11").run()
    assert app.session_state["token"] is None, "none of several is chosen"


def test_each_subspace_counts_its_own_of_what_is_selected(table: Path) -> None:
    run = keep_run(table)
    app = open_file(table, run=run, map="PCA")
    (frame,) = [item.value for item in app.dataframe if "Typical tokens" in item.value]
    assert "Selected" not in frame
    labels = Factorization.load(RunStore().load(run).folder).labels
    for query, rows in (("row 11", [11, *range(110, 120)]), ("nothing such", [])):
        app.text_input(key="find").set_value(query).run()
        (frame,) = [item.value for item in app.dataframe if "Typical tokens" in item.value]
        counts = labels[rows].bincount(minlength=len(frame)).tolist()
        assert frame["Selected"].tolist() == counts


def test_a_new_search_closes_the_card_of_a_token_it_does_not_find(table: Path) -> None:
    app = open_file(table, map="PCA", token="7", find="row 11")
    assert app.session_state["token"] == 7, "a link shows both"
    alone = open_file(table, map="PCA", token="7", find="row 119")
    assert alone.session_state["token"] == 7, "also where the search finds one alone"
    app.text_input(key="find").set_value("row 7").run()
    assert app.session_state["token"] == 7, "it is among what is found"
    app.text_input(key="find").set_value("row 3").run()
    assert app.session_state["token"] is None


def test_token_that_is_not_there_leaves_the_link(table: Path) -> None:
    for named in ("999", "abc", "-1"):
        app = open_file(table, map="PCA", token=named)
        assert not app.exception
        assert "token" not in app.query_params
        (said,) = app.toast
        assert f"token = {named}" in said.value.replace("\\", "")


def test_run_of_another_table_is_named_not_passed_over(table: Path, tmp_path: Path) -> None:
    run = keep_run(table)
    other = tmp_path / "other.npy"
    np.save(other, np.load(table) + 1)
    app = open_file(other, run=run, map="PCA")
    assert not app.exception
    (warning,) = app.warning
    assert "run of another table (small" in warning.value.replace("\\", "")
    assert "run" not in app.query_params


def test_map_says_where_the_sidebar_holds_another_plan(table: Path) -> None:
    def said(app: AppTest) -> bool:
        assert not app.exception
        return any("another plan than the one in the sidebar" in item.value for item in app.caption)

    app = open_file(table, run=keep_run(table, n_init=2), map="PCA", k="2", rate="40")
    assert not said(app)
    app.slider(key="rate").set_value(50).run()
    assert said(app)


@pytest.mark.parametrize(
    "plan",
    [
        {"k": 3, "rate": 0.6, "seed": 7, "n_init": 2, "moves": 1, "affine": True},
        {"k": 1, "method": "svd", "rate": 0.5},
        {"rate": None, "j": 2, "bits": 4, "basis_bits": 8, "loss": "huber"},
        {"allocation": "optimal", "weights": "en", "weight_power": 0.75, "weight_floor": 4.0},
        {"weights": "de"},
        {"method": "coded", "rate": None, "max_bytes": "20%", "weights": "en"},
    ],
    ids=str,
)
def test_sidebar_takes_over_the_settings_of_a_run(
    table: Path, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
) -> None:
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: torch.arange(ROWS).double())
    run = keep_run(table, **plan)
    app = open_file(table, run=run, map="PCA", k="4", rate="80")
    app.button(key="take-over").click().run()
    assert not app.exception
    assert not any("another plan than" in item.value for item in app.caption)
    next(button for button in app.sidebar.button if button.label == "Compress").click().run()
    assert not app.exception
    made = CompressionConfig(**RunStore().load(run).record.config)
    wanted = CompressionConfig(**queue.submitted[0][1]["config"])
    assert replace(wanted, neighbours=made.neighbours) == made


@pytest.mark.parametrize(
    "plan",
    [
        {"rate": None, "j": (2, 3), "k": None},
        {"rate": 0.42},
        {"n_init": 30},
        {"seed": 2**31},
        {"moves": 11},
        {"weight_power": 1.5},
        {"weight_floor": 300.0},
    ],
    ids=str,
)
def test_sidebar_does_not_offer_what_it_has_no_control_for(
    table: Path, plan: dict[str, Any]
) -> None:
    app = open_file(table, run=keep_run(table, **plan), map="PCA", k="4", rate="80")
    assert any("another plan than" in item.value for item in app.caption)
    assert not [button for button in app.button if button.key == "take-over"]


def test_settings_of_a_later_version_are_no_reason_to_fail(table: Path) -> None:
    run = RunStore().load(keep_run(table))
    record = run.folder / "run.json"
    text = record.read_text(encoding="utf-8").replace('"moves":', '"leaps": 3, "moves":', 1)
    assert "leaps" in text
    record.write_text(text, encoding="utf-8")
    app = open_file(table, run=run.id, map="PCA")
    assert not app.exception
    assert app.metric


def test_one_row_has_one_subspace(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, np.ones((1, 8), dtype=np.float32))
    app = open_file(path)
    assert not app.exception
    assert "k" not in {slider.key for slider in app.slider}
    assert any("nothing makes it smaller" in item.value for item in app.markdown)
    assert not any("press **Compress**" in item.value for item in app.markdown)
