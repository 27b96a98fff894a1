"""The Runs page as a script: its list, the card of a run, two side by side, and what is asked."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.exchange import export_runs
from engine.jobs.tasks import TASKS
from engine.library import MeasuredPart, keep_measured_part
from engine.progress import ignore_progress
from engine.recording import record_compression, record_evaluation, record_sweep
from engine.runs import Run, RunLabel
from engine.sweep import SweepConfig, run_sweep
from pages.parts import hosting, run_words
from tests.pages.fake_queue import FakeQueue, make_status
from tests.pages.results import ACCURACY, make_score

pytestmark = pytest.mark.usefixtures("queue")

PAGE = Path(__file__).resolve().parents[2] / "pages" / "runs.py"
GRID = SweepConfig(rates=(0.3, 0.6), ks=(2,), seeds=(0,), bits=(32,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small_*table.npy"
    np.save(path, np.random.default_rng(2).normal(size=(60, 8)).astype(np.float32))
    return path


def compress(path: Path, **changes: Any) -> Run:  # noqa: ANN401 - fields of the config
    table = load_table(path)
    config = CompressionConfig(**{"k": 2, "j": 2, "n_init": 1, "neighbours": 3} | changes)
    return RunStore().create(*record_compression(table, config, compress_table(table, config)))


def sweep(path: Path, **changes: Any) -> Run:  # noqa: ANN401 - fields of the config
    table = load_table(path)
    return RunStore().create(*record_sweep(table, run_sweep(table, replace(GRID, **changes))))


def open_page(*runs: Run | str, **query: str) -> AppTest:
    """The page with these runs chosen."""
    app = AppTest.from_file(str(PAGE), default_timeout=60)
    app.session_state["app-is-set-up"] = True  # as app.py says
    ids = [run if isinstance(run, str) else run.id for run in runs]
    for name, value in {**({"runs": ",".join(ids)} if ids else {}), **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    (button,) = [button for button in app.button if button.label == label]
    button.click().run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    found = (*app.markdown, *app.caption, *app.subheader, *app.info, *app.warning, *app.success)
    return "\n".join(item.value for item in (*found, *app.error)).replace("\\", "")


def column(app: AppTest, name: str, *, table: int = 0) -> list[Any]:
    return list(app.dataframe[table].value[name])


def check(path: Path, **failures: str) -> Run:
    figures = {
        "variants": [{"name": score.variant} for score in ACCURACY.scores],
        "results": [ACCURACY.as_dict()],
        "seconds": 1.0,
        "failures": failures,
    }
    record = record_evaluation(load_table(path), {"run": None, "checks": ["valence"]}, figures)
    return RunStore().create(record, lambda _: None)


def test_list_says_what_checks_found_of_a_plan(path: Path) -> None:
    plan, other = compress(path), compress(path, k=3)
    for drop in (0.1, 0.4):  # the later one counts
        scores = (ACCURACY.scores[0], make_score("k = 2", "compressed", 600, drop, 0.5))
        figures = {
            "variants": [{"name": score.variant} for score in scores],
            "results": [replace(ACCURACY, scores=scores).as_dict()],
            "seconds": 1.0,
        }
        config = {"run": plan.id, "checks": ["valence"]}
        record = record_evaluation(load_table(path), config, figures)
        last = RunStore().create(record, lambda _: None)
    app = open_page()
    found = list(zip(column(app, "Run"), column(app, "Checks"), strict=True))
    for run in (plan, last):
        assert (run_words.describe(run), "Word valence 79.60, drop 0.40") in found
    assert not isinstance(dict(found)[run_words.describe(other)], str)


def test_an_empty_store_explains_itself() -> None:
    app = open_page()
    assert "There is no run yet" in texts(app)
    assert not app.dataframe


def test_a_run_of_checks_shows_what_they_found(path: Path) -> None:
    app = open_page(check(path, stsb="there is no data"))
    assert "**k = 5** shows no drop that chance could not explain" in texts(app)
    assert "(STS-B)** could not be finished: there is no data" in texts(app)
    (found,) = [frame.value for frame in app.dataframe if "Variant" in frame.value]
    assert found["Variant"].tolist() == ["original", "k = 5", "SVD"]
    assert found["Drop"].tolist()[2].startswith("2.00")


def test_runs_of_all_tables_are_listed_newest_first(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32))
    first = compress(path)
    RunStore().label(first.id, RunLabel(name="*mine*", note="one\ntwo"))
    sweep(path)
    compress(other, method="svd", k=1)
    app = open_page()
    assert column(app, "Model or table") == ["other", "small_*table", "small_*table"]
    assert column(app, "Kind") == ["Plan", "Sweep", "Plan"]
    assert column(app, "Run") == ["SVD, j = 2", "4 fits", "k = 2, j = 2"]
    assert column(app, "Name")[2] == "*mine*"
    assert column(app, "Note")[2] == "one"
    assert column(app, "Error")[2] == pytest.approx(first.record.figures["relative_error"])
    app.selectbox(key="runs-model").set_value("other").run()
    assert column(app, "Model or table") == ["other"]
    app.selectbox(key="runs-model").set_value("All").run()
    app.segmented_control(key="runs-kind").set_value("Sweep").run()
    assert column(app, "Kind") == ["Sweep"]


def test_a_run_is_shown_with_what_makes_it_again(path: Path) -> None:
    run = compress(path, seed=3)
    app = open_page(run)
    assert app.subheader[0].value == "k = 2, j = 2"
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Numbers stored"] == f"{run.record.figures['parameters']:,}"
    assert shown["Error"] == f"{run.record.figures['relative_error']:.2%}"
    command, snippet = (block.value for block in app.code[:2])
    assert command.startswith("subspace-atlas compress '")
    assert "--seed=3" in command
    assert f"engine.load_table({str(path)!r})" in snippet
    settings = dict(
        zip(column(app, "Setting", table=1), column(app, "Value", table=1), strict=True)
    )
    assert settings["Subspaces (k)"] == "2"
    assert settings["Seed"] == "3"


def test_a_name_and_a_note_are_saved(path: Path) -> None:
    run = compress(path)
    app = open_page(run)
    app.text_input(key=f"name-{run.id}").set_value(" the *good* one ")
    app.text_area(key=f"note-{run.id}").set_value("for the talk")
    press(app, "Save")
    assert [toast.value for toast in app.toast] == ["Name and note are saved."]
    kept = RunStore().load(run.id)
    assert kept.label == RunLabel(name="the *good* one", note="for the talk")
    assert kept.record == run.record
    assert column(app, "Name") == ["the *good* one"]
    assert app.subheader[0].value == r"the \*good\* one"


def test_two_runs_are_set_side_by_side(path: Path) -> None:
    first, second = compress(path), compress(path, k=3, seed=1)
    app = open_page(second, first)  # whatever their order in the link, the older is A
    assert column(app, "Figure", table=1)[0] == "Numbers stored"
    assert column(app, "A", table=1)[0] == f"{first.record.figures['parameters']:,}"
    assert column(app, "Better", table=1)[0] == "A"
    assert column(app, "Name", table=2) == ["Subspaces (k)", "Seed"]
    app.toggle(key="diff-all").set_value(True).run()
    assert "Loss" in column(app, "Name", table=2)
    assert any(button.label == "See both maps" for button in app.button)


def test_sweeps_are_set_side_by_side_by_their_errors(path: Path) -> None:
    first, second = sweep(path), sweep(path, n_init=3)
    app = open_page(first, second)
    assert "k = 2 at rate 0.3" in column(app, "Figure", table=1)
    assert column(app, "Name", table=2) == ["Starts"]
    assert not any(button.label == "See both maps" for button in app.button)
    app = open_page(first)
    assert list(app.dataframe[2].value.columns) == ["SVD", "k = 2"]


def finish(queue: FakeQueue, kind: str, params: dict[str, Any]) -> str:
    """Do what the worker would; the id of the run it made."""
    made = TASKS[kind](params, ignore_progress)
    queue.known = [make_status("done", kind=kind, result=made)]
    return str(made["run"])


@pytest.mark.parametrize("make", [compress, sweep])
def test_a_run_is_made_again_and_set_beside_the_first(
    path: Path, queue: FakeQueue, make: Callable[..., Run]
) -> None:
    run = make(path)
    app = press(open_page(run), "Run again")
    ((kind, params),) = queue.submitted
    assert kind == run.record.kind
    assert params["source"]["spec"] == str(path)
    assert next(b for b in app.button if b.label == "Run again").disabled
    second = finish(queue, kind, params)
    app.run()
    assert not app.exception
    assert "every figure is the same" in texts(app)
    assert app.query_params["runs"] == f"{second},{run.id}"
    assert "Where the two differ" in texts(app)
    assert "given the same settings, on the same table" in texts(app)


def test_other_figures_and_another_table_are_told(path: Path, queue: FakeQueue) -> None:
    run = sweep(path)
    app = press(open_page(run), "Run again")
    finish(queue, "sweep", {**queue.submitted[0][1], "config": {**run.record.config, "seeds": [5]}})
    app.run()
    assert "Some figures differ" in texts(app)
    queue.known.clear()
    app = press(open_page(run), "Run again")
    np.save(path, np.ones((60, 8), dtype=np.float32))
    finish(queue, *queue.submitted[-1])
    app.run()
    assert "holds other rows than it did" in texts(app)


def test_a_job_that_failed_says_why(path: Path, queue: FakeQueue) -> None:
    app = press(open_page(compress(path)), "Run again")
    queue.known = [make_status("failed", error="there is no file *x*; check the path")]
    app.run()
    assert "there is no file *x*; check the path" in texts(app)
    assert not next(b for b in app.button if b.label == "Run again").disabled


def test_another_job_of_the_kind_is_not_taken_for_the_repeated_one(
    path: Path, queue: FakeQueue
) -> None:
    run, other = compress(path), compress(path, seed=5)
    app = press(open_page(run), "Run again")
    queue.known = [make_status("done", job_id="2-cd", result={"run": other.id})]
    app.session_state["job.compress"] = "2-cd"  # as Explore does, for another plan
    app.run()
    assert not app.exception
    assert "Some figures differ" not in texts(app)
    assert app.query_params["runs"] == run.id
    assert app.session_state["job.compress"] == "2-cd", "left to the page that started it"


def test_what_another_page_started_is_left_to_it(path: Path, queue: FakeQueue) -> None:
    run = compress(path)
    queue.known = [make_status("done", result={"run": run.id})]
    app = open_page(job_compress="1-ab")
    assert not app.success
    assert app.query_params["job_compress"] == "1-ab"


def test_deletion_asks_first(path: Path) -> None:
    run, other = compress(path), compress(path, seed=1)
    app = open_page(run)
    assert RunStore().load(run.id)
    press(app, "Yes, delete")
    assert [kept.id for kept in RunStore().list().runs] == [other.id]
    assert "runs" not in app.query_params
    assert not app.warning


def test_a_run_deleted_elsewhere_is_told(path: Path) -> None:
    run, other = compress(path), compress(path, seed=1)
    app = open_page(run, other)
    RunStore().delete(run.id)
    press(app, "Yes, delete")
    assert "is not there any more" in texts(app)
    assert [kept.id for kept in RunStore().list().runs] == [other.id]
    assert app.query_params["runs"] == other.id
    assert "is not there any more" in texts(open_page("20200101-000000-000000-abcdef"))


def test_several_runs_can_be_deleted_at_once(path: Path) -> None:
    app = open_page(*(compress(path, seed=seed) for seed in range(3)))
    assert "**3 runs** are ticked" in texts(app)
    press(app, "Yes, delete")
    assert RunStore().list().runs == ()


def test_a_run_that_is_not_whole_is_not_offered_as_a_file(path: Path) -> None:
    run = compress(path)
    (button,) = open_page(run).get("download_button")
    assert not button.proto.disabled
    (run.folder / "factorization.json").unlink()
    (button,) = open_page(run).get("download_button")
    assert button.proto.disabled
    assert "lacks factorization.json" in button.proto.help.replace("\\", "")


def test_what_is_gone_already_does_not_stop_a_deletion(path: Path) -> None:
    runs = [compress(path, seed=seed) for seed in range(3)]
    part = MeasuredPart(tensors={"kept": torch.ones(2)}, values={})
    kept = keep_measured_part("any", f"plan-{runs[2].id}", part)
    app = open_page(*runs)
    first = RunStore.delete

    def delete(self: RunStore, run_id: str) -> None:
        if run_id == runs[0].id:
            first(self, run_id)  # another tab is faster
        first(self, run_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "delete", delete)
        press(app, "Yes, delete")
    assert not app.error
    assert not RunStore().list().runs
    assert not kept.exists(), "what was measured of a run goes with it"


def test_what_the_filter_hides_stays_chosen(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32))
    first, _, _ = compress(path), compress(path, seed=5), compress(other)
    app = open_page(first)
    app.selectbox(key="runs-model").set_value("other").run()
    assert app.query_params["runs"] == first.id
    assert "1 more ticked, hidden by the filter" in texts(app)
    packed = io.BytesIO()
    export_runs(RunStore(), [first.id], packed)
    press(app, "Yes, delete")
    app.selectbox(key="runs-model").set_value("other").run()
    upload(app, packed.getvalue())
    assert app.query_params["runs"] == first.id
    assert column(app, "Model or table") == ["other", *["small_*table"] * 2], "no filter hides it"


def test_another_sweep_under_the_same_id_is_read_anew(path: Path) -> None:
    run, other = sweep(path), sweep(path, ks=(3,))
    app = open_page(run)
    assert "k = 2" in app.dataframe[-1].value.columns
    RunStore().delete(run.id)
    other.folder.rename(run.folder)
    app = open_page(run)
    assert "k = 3" in app.dataframe[-1].value.columns


def test_damaged_runs_are_listed_with_the_reason_and_can_be_deleted(path: Path) -> None:
    compress(path)
    broken = RunStore().root / "br*ken"
    broken.mkdir()
    app = open_page()
    assert "br*ken" in texts(app)
    assert "is not a run: it holds no run.json" in texts(app)
    press(app, "Yes, delete")
    assert not broken.exists()
    assert len(RunStore().list().runs) == 1


def test_a_damaged_label_does_not_hide_the_run(path: Path) -> None:
    run = compress(path)
    (run.folder / "label.json").write_text("{", encoding="utf-8")
    app = open_page(run)
    assert "label.json is damaged" in texts(app)
    app.text_input(key=f"name-{run.id}").set_value("anew")
    press(app, "Save")
    assert "is damaged" not in texts(app)


def test_a_run_of_another_version_is_shown_without_a_recipe(path: Path) -> None:
    run = compress(path)
    record = replace(run.record, config={**run.record.config, "future": [1, 2]})
    (run.folder / "run.json").write_text(record.to_json(), encoding="utf-8")
    app = open_page(run)
    assert "settings that this version cannot repeat" in texts(app)
    assert not app.code
    assert "settings that this version cannot repeat" in texts(press(app, "Run again"))


def upload(app: AppTest, content: bytes) -> AppTest:
    app.file_uploader[0].upload("runs.zip", content, "application/zip").run()
    return press(app, "Import its runs")


def test_runs_of_a_file_are_imported(path: Path) -> None:
    run = compress(path)
    RunStore().label(run.id, RunLabel(name="from there"))
    packed = io.BytesIO()
    export_runs(RunStore(), [run.id], packed)
    app = upload(open_page(), packed.getvalue())
    assert "Nothing new: 1 was here already" in texts(app)
    RunStore().delete(run.id)
    app = upload(open_page(), packed.getvalue())
    assert "1 run imported." in texts(app)
    assert column(app, "Name") == ["from there"]
    assert "from there" in app.subheader[0].value


def test_a_file_that_is_no_runs_is_told(path: Path) -> None:
    app = upload(open_page(compress(path)), b"PK nothing")
    assert "this is no zip file" in texts(app)
    assert len(RunStore().list().runs) == 1


def test_a_file_larger_than_the_server_takes_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    run = compress(path)
    export_runs(RunStore(), [run.id], packed)
    RunStore().delete(run.id)
    monkeypatch.setattr(hosting, "_MEGABYTE", 1)
    app = upload(open_page(), packed.getvalue())
    assert "this server takes uploads of at most" in texts(app)
    assert not RunStore().list().runs


@pytest.mark.parametrize(
    ("name", "value", "shown", "difference"),
    [
        ("relative_error", 0.13412, "13.41%", "+13.41 points"),
        ("relative_error", 0.000123, "0.012%", "+0.012 points"),
        ("relative_error", 9.5e-7, "<0.001%", "+<0.001 points"),
        ("neighbours_kept", 0.0, "0.00%", "same"),
        ("stored_bytes", 28_000_000, "28.0 MB", "+28.0 MB"),
        ("parameters", 7_007_472, "7,007,472", "+7,007,472"),
        ("wall_seconds", 2.04, "2.0 s", "+2.0 s"),
        ("k = 5 at rate 0.4", -0.02, "-2.00%", "−2.00 points"),
        ("weighted_error", None, "–", "–"),
    ],
)
def test_figures_have_their_units(
    name: str, value: float | None, shown: str, difference: str
) -> None:
    assert run_words.figure(name, value) == shown
    assert run_words.figure(name, value, signed=True) == difference


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        ([1, 2], "1, 2"),
        ({"a": 1}, "a = 1"),
        (30522, "30,522"),
        (0.4, "0.4"),
    ],
)
def test_settings_are_words(value: object, shown: str) -> None:
    assert run_words.setting(value) == shown
