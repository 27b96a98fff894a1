"""The Accuracy page as a script: its checks, what it asks of a job, what it finds again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.evaluation.checks import CHECKS
from engine.evaluation.glue import summary as glue_summary
from engine.evaluation.glue.summarizing import summarize_cells
from engine.evaluation.glue.summary import GlueSummary
from engine.evaluation.results import CheckResult
from engine.evaluation.scores import Interval
from engine.jobs.tasks import TASKS
from engine.progress import ignore_progress
from engine.recording import record_compression, record_evaluation
from pages.parts import jobs
from pages.parts.check_results import say_who_loses
from tests.engine.evaluation.glue_cells import make_run, save_run
from tests.engine.evaluation.small import make_model
from tests.pages.fake_queue import FakeQueue, make_status
from tests.pages.results import ACCURACY, PERPLEXITY

ACCURACY_PAGE = Path(__file__).resolve().parents[2] / "pages" / "accuracy.py"
PLEASANT = "love joy happy good great nice wonderful best beautiful kind sweet brave".split()
SENTENCES = b"".join(b"Sentence %d is here.\n" % number for number in range(20))
UNPLEASANT = "hate war sad bad evil cruel worst ugly kill pain fear angry".split()


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Rows of words whose first numbers say whether they are pleasant."""
    words = [*PLEASANT, *UNPLEASANT, *(f"w{row}" for row in range(96))]
    rows = np.random.default_rng(5).normal(size=(len(words), 16)).astype(np.float32)
    rows[: len(PLEASANT), :4] += 3
    rows[len(PLEASANT) : len(PLEASANT) + len(UNPLEASANT), :4] -= 3
    path = tmp_path / "words_*.npy"
    np.save(path, rows)
    path.with_suffix(".tokens.txt").write_text("\n".join(words), encoding="utf-8")
    return path


def compress(path: Path, k: int = 2) -> str:
    table, config = load_table(path), CompressionConfig(k=k, rate=0.4, n_init=1)
    run = RunStore().create(*record_compression(table, config, compress_table(table, config)))
    return run.id


def keep_checks(path: Path, run: str | None, *results: CheckResult) -> str:
    figures = {
        "name": "words",
        "variants": [{"name": score.variant} for score in results[0].scores],
        "results": [result.as_dict() for result in results],
        "seconds": 1.0,
        "notes": [],
    }
    record = record_evaluation(load_table(path), {"run": run}, figures)
    return RunStore().create(record, lambda _: None).id


def open_page(path: Path | None, **query: str) -> AppTest:
    app = AppTest.from_file(str(ACCURACY_PAGE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    if path is not None:
        query = {"source": "File or folder", "spec": str(path), **query}
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def texts(app: AppTest) -> str:
    """All that the page says, as it is read."""
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(item.value for kind in kinds for item in kind).replace("\\", "")


def run_button(app: AppTest) -> Any:  # noqa: ANN401 - streamlit's own element
    return next(button for button in app.button if button.label.startswith("Run "))


def test_a_table_without_a_plan_leads_to_explore(path: Path) -> None:
    assert "has no plan yet" in texts(open_page(path))


def test_every_check_says_what_it_tells_and_why_it_cannot_be_run(path: Path) -> None:
    app = open_page(path, run=compress(path))
    said = texts(app)
    for check in CHECKS.values():
        assert check.tells in said
        assert check.blind in said
    boxes = {box.label.strip("*").replace("\\", ""): box for box in app.checkbox}
    assert set(boxes) == {check.title for check in CHECKS.values()}
    can = boxes.pop("Word valence")
    assert (can.disabled, can.value) == (False, True)
    assert all(box.disabled and not box.value for box in boxes.values())
    assert said.count("Cannot be run:") == len(boxes)
    assert "without a model around it" in said


def test_what_could_not_be_finished_is_told_beside_what_was(path: Path) -> None:
    run = compress(path)
    keep_checks(path, run, ACCURACY)
    assert "could not be finished" not in texts(open_page(path, run=run))
    newest = RunStore().list().runs[0].record
    figures = {**newest.figures, "failures": {"fidelity": "The *text* is gone."}}
    later = replace(newest, figures=figures, created="2999-01-01T00:00:00+00:00")
    RunStore().create(later, lambda _: None)
    said = texts(open_page(path, run=run))
    assert "Sentence fidelity could not be finished. The *text* is gone." in said
    assert "SVD" in said


def test_the_plan_is_named(path: Path) -> None:
    said = texts(open_page(path, run=compress(path, k=3)))
    assert "words_*** with your plan, **k = 3**" in said


def test_run_asks_for_the_picked_checks_of_the_plan(path: Path, queue: FakeQueue) -> None:
    run = compress(path)
    app = open_page(path, run=run)
    assert run_button(app).label == "Run 1 check"
    run_button(app).click().run()
    assert not app.exception
    ((kind, params),) = queue.submitted
    assert (kind, params["run"], params["checks"]) == ("evaluate", run, ["valence"])
    assert run_button(app).disabled, "it is busy"
    # What the page asks for is what the task takes.
    found = TASKS[kind](params, ignore_progress)
    queue.known = [make_status("done", kind=kind, result=found)]
    app.run()
    assert not app.exception
    assert "Against the original, **k = 2** " in texts(app)
    assert [toast.value for toast in app.toast] == ["The checks are done."]


def test_checks_that_failed_are_not_said_to_be_done(path: Path, queue: FakeQueue) -> None:
    app = open_page(path, run=compress(path))
    run_button(app).click().run()
    found = TASKS["evaluate"](queue.submitted[0][1], ignore_progress)
    newest = RunStore().load(found["run"]).record
    figures = {**newest.figures, "failures": {"fidelity": "The text is gone."}}
    made = RunStore().create(replace(newest, figures=figures), lambda _: None)
    queue.known = [make_status("done", kind="evaluate", result={"run": made.id})]
    app.run()
    assert [toast.value for toast in app.toast] == ["1 check could not be finished."]
    assert "Sentence fidelity could not be finished. The text is gone." in texts(app)


def test_checks_without_data_and_hub_cannot_be_ticked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    model = make_model(tmp_path / "model")
    app = open_page(model, run=compress(model))
    for name, task in (("stsb", "STS-B"), ("probe", "SST-2")):
        assert app.checkbox(key=f"cannot-{name}").disabled
        assert f"Cannot be run: the texts of {task} are not here" in texts(app).replace("*", "")


def test_no_picked_check_is_no_run(path: Path) -> None:
    app = open_page(path, run=compress(path))
    app.checkbox(key="accuracy-valence").set_value(False).run()
    assert run_button(app).label == "Run 0 checks"
    assert run_button(app).disabled


def test_the_link_keeps_what_was_picked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = replace(CHECKS["probe"], unavailable=lambda _: None)
    monkeypatch.setitem(CHECKS, "probe", probe)
    run = compress(path)
    app = open_page(path, run=run)
    picked = {"accuracy-valence": False, "accuracy-probe": True}
    for key, value in picked.items():
        app.checkbox(key=key).set_value(value)
    app.run()
    (rte,) = [o for o in app.selectbox(key="accuracy-probe-task").options if o.startswith("RTE")]
    query = {"accuracy-valence": "false", "accuracy-probe": "true", "accuracy-probe-task": rte}
    again = open_page(path, run=run, **query)
    assert {key: again.checkbox(key=key).value for key in picked} == picked
    assert run_button(again).label == "Run 1 check"
    assert again.selectbox(key="accuracy-probe-task").value == "rte"


def test_own_sentences_go_with_the_checks_that_read_them(
    path: Path, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fidelity = replace(CHECKS["fidelity"], unavailable=lambda _: None)
    monkeypatch.setitem(CHECKS, "fidelity", fidelity)
    app = open_page(path, run=compress(path))
    app.file_uploader(key="sentences-upload").upload("mine.txt", SENTENCES, "text/plain")
    app.run()
    assert not app.exception
    run_button(app).click().run()
    text = queue.submitted[0][1]["options"]["text"]
    assert Path(text).read_bytes() == SENTENCES
    queue.known = []
    back = next(button for button in app.button if button.label.startswith("Back to"))
    back.click().run()
    run_button(app).click().run()
    assert queue.submitted[1][1]["options"]["text"] is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no line of text, and at least 20 are needed"),
        (b"Only one.\n", "holds 1 line of text, and at least 20 are needed"),
        (b"\x89PNG\r\n\x1a\n\0\0", "expected UTF-8 text, got the byte 0x89"),
        ("Ça va.\n".encode("latin-1") * 30, "expected UTF-8 text, got the byte 0xc7"),
        (b"a\0b\n" * 30, "expected text, got zero bytes"),
        (b"\x1f\x8b broken", "its gzip data is damaged or cut short"),
    ],
)
def test_a_text_that_cannot_be_read_is_told_at_upload(
    path: Path,
    queue: FakeQueue,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    told: str,
) -> None:
    fidelity = replace(CHECKS["fidelity"], unavailable=lambda _: None)
    monkeypatch.setitem(CHECKS, "fidelity", fidelity)
    app = open_page(path, run=compress(path))
    app.file_uploader(key="sentences-upload").upload("mine.txt", content, "text/plain")
    app.run()
    assert not app.exception
    (error,) = app.error
    said = error.value.replace("\\", "")
    assert told in said
    assert said.endswith(". Until then the built-in sentences are read.")
    run_button(app).click().run()
    assert queue.submitted[0][1]["options"]["text"] is None


def figures(app: AppTest) -> list[tuple[str, ...]]:
    frame = app.dataframe[0].value
    return [tuple(row) for row in frame[["Check", "Variant", "Drop", "Beyond chance"]].to_numpy()]


def test_earlier_checks_of_the_plan_are_found_again(path: Path) -> None:
    run, other = compress(path), compress(path, k=3)
    keep_checks(path, run, replace(ACCURACY, n=7), PERPLEXITY)
    keep_checks(path, run, ACCURACY)  # newer: stands for the first
    keep_checks(path, other, replace(ACCURACY, n=9))
    app = open_page(path, run=run)
    assert figures(app) == [
        ("Word valence", "original", "", ""),
        ("Word valence", "k = 5", "0.40 [−0.10, 0.90]", "no"),
        ("Word valence", "SVD", "2.00 [1.50, 2.50]", "yes"),
        ("Language model", "original", "", ""),
        ("Language model", "k = 5", "3.00 [2.50, 3.50]", "yes"),
        ("Language model", "SVD", "−1.00 [−1.50, −0.50]", "yes"),
    ]
    assert set(app.dataframe[0].value["n"]) == {1849}
    said = texts(app)
    assert "Word valence: Half of *all* words." in said
    assert "k = 5: no clear drop, 0.40 [−0.10, 0.90]" in said
    assert "SVD: **drop 2.00** [1.50, 2.50]" in said
    assert "SVD: **better by 1.00** [0.50, 1.50]" in said
    assert list(app.dataframe[1].value["Figure"]) == ["F1"]
    assert not open_page(path, run=compress(path, k=4)).dataframe


def test_findings_of_another_version_are_passed_over(path: Path) -> None:
    run = compress(path)
    keep_checks(path, run, ACCURACY)
    store = RunStore()
    newest = store.list().runs[0].record
    hollow = {**ACCURACY.as_dict(), "scores": []}
    broken = {**newest.figures, "results": [{"check": "valence"}, {}, hollow]}
    store.create(
        replace(newest, figures=broken, created="2999-01-01T00:00:00+00:00"), lambda _: None
    )
    assert len(figures(open_page(path, run=run))) == 3


def say(*results: CheckResult) -> str:
    return say_who_loses(results).replace("\\", "")


def test_who_loses_is_said_in_words() -> None:
    assert say(ACCURACY, PERPLEXITY) == (
        "Against the original, **k = 5** is clearly worse in *Language model*; "
        "**SVD** is clearly worse in *Word valence*. "
        "Beside the SVD of its size the plan is better in 1 of 2, worse in none, beyond chance."
    )
    assert "**SVD** is clearly worse in *Word valence* and *Word similarity*. Beside" in say(
        ACCURACY, replace(ACCURACY, check="words"), PERPLEXITY
    )
    alone = replace(ACCURACY, scores=ACCURACY.scores[:2])
    assert "Beside" not in say(alone)


def test_agreement_with_the_original_is_no_finding_against_it() -> None:
    own = replace(ACCURACY, check="fidelity", agreement=True)
    assert say(ACCURACY, own).startswith(
        "Against the original, **k = 5** shows no drop that chance could not explain; **SVD** is "
        "clearly worse. *Sentence fidelity* only says how far each moves from it. Beside"
    )
    assert say(own).startswith("*Sentence fidelity* only says how far each moves from it. Beside")


def test_none_and_all_are_words_too() -> None:
    assert say(ACCURACY) == (
        "Against the original, **k = 5** shows no drop that chance could not explain; **SVD** is "
        "clearly worse. Beside the SVD of its size the plan is better, beyond chance."
    )
    assert "**SVD** is clearly worse in all 2 checks." in say(ACCURACY, ACCURACY)


def test_noise_is_not_called_better() -> None:
    """By its figure ours is ahead of the SVD, but the interval holds zero."""
    svd = replace(ACCURACY.scores[2], behind=Interval(value=1.6, low=-0.1, high=3.3))
    noisy = replace(ACCURACY, scores=(*ACCURACY.scores[:2], svd))
    assert say(noisy).endswith("the plan is neither better nor worse, beyond chance.")


def stored(monkeypatch: pytest.MonkeyPatch, *summaries: GlueSummary) -> None:
    monkeypatch.setattr(glue_summary, "stored_glue", lambda: list(summaries))


def summary(model: str, tasks: Sequence[str] = ("cola", "qqp")) -> GlueSummary:
    return summarize_cells(make_run(tasks=tasks), model=model, settings={})


GLUE = {"accuracy-evidence": "GLUE results"}


def test_glue_without_stored_results_says_how_to_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stored(monkeypatch)
    assert "subspace-atlas glue" in texts(open_page(None, **GLUE))


def test_glue_opens_on_the_average_before_fine_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    found = summary("tiny")
    stored(monkeypatch, found)
    app = open_page(None, **GLUE)
    frame = app.dataframe[0].value
    assert set(frame["Plan"]) >= {"SVD", "SVD, token weights", "k = 5"}
    point = found.curve("average", "compressed", "svd")[1]
    row = frame[(frame["Plan"] == "SVD") & (frame["Rate"] == 0.4)].iloc[0]
    assert row["Drop"].startswith(f"{point.drop.value:.2f} [")
    said = texts(app)
    assert f"Of tiny, at 40% fewer numbers: the **SVD** drops {point.drop.value:.2f} points" in said
    assert "the **SVD, token weights** drops" in said
    assert "less than the SVD, " in said
    assert "less than the SVD, token weights, " in said
    assert "The mean over CoLA, QQP." in said
    assert "QQP: not the official split: 400 rows." in said


def test_links_lead_to_a_model_a_task_and_after_fine_tuning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = summary("other", tasks=("mrpc", "rte"))
    stored(monkeypatch, summary("tiny"), other)
    app = open_page(
        None,
        **GLUE,
        **{"accuracy-model": "other", "accuracy-task": "RTE", "accuracy-stage": "After"},
    )
    assert app.selectbox(key="accuracy-model").value == "other"
    assert app.selectbox(key="accuracy-task").value == "RTE"
    frame = app.dataframe[0].value
    point = other.curve("rte", "retrained", "k2")[0]
    row = frame[(frame["Plan"] == "k = 2") & (frame["Rate"] == 0.2)].iloc[0]
    assert row["Score"] == point.score
    assert "not the official split" not in texts(app)


def test_a_task_that_another_model_lacks_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stored(monkeypatch, summary("tiny"), summary("other", tasks=("mrpc", "rte")))
    app = open_page(None, **GLUE)
    app.selectbox(key="accuracy-task").set_value("CoLA").run()
    app.selectbox(key="accuracy-model").set_value("other").run()
    assert not app.exception
    task = app.selectbox(key="accuracy-task")
    assert (task.options, task.value) == (["Average", "MRPC", "RTE"], "Average")


OWN = "accuracy-own-run"


def test_a_run_of_ones_own_is_opened_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(monkeypatch, summary("tiny"))
    folder = tmp_path / "*my* run"
    cells = make_run(tasks=("mrpc", "rte"))
    save_run(folder, cells, {"settings": {"model": "mine/bert"}})
    app = open_page(None, **GLUE)
    app.text_input(key=OWN).set_value(f" {folder} ").run()
    assert not app.exception
    assert f"**mine/bert**, {len(cells)} networks measured so far." in texts(app)
    assert app.selectbox(key="accuracy-task").options == ["Average", "MRPC", "RTE"]
    assert any(app.dataframe[0].value["Plan"] == "SVD")
    by_link = open_page(None, **GLUE, **{OWN: str(folder), "accuracy-task": "RTE"})
    assert "**mine/bert**" in texts(by_link)
    assert by_link.selectbox(key="accuracy-task").value == "RTE"
    by_link.text_input(key=OWN).set_value("").run()
    assert by_link.selectbox(key="accuracy-model").value == "tiny"


def test_cells_that_have_come_are_seen(tmp_path: Path) -> None:
    cells = make_run(tasks=("rte",), seeds=(0,))
    whole = [cell for cell in cells if not cell.key.plan]
    save_run(tmp_path / "run", whole[:1])
    app = open_page(None, **GLUE, **{OWN: str(tmp_path / "run")})
    assert "1 network measured so far." in texts(app)
    assert "there is nothing to compare yet" in texts(app)
    assert not app.dataframe
    save_run(tmp_path / "run", cells)
    app.run()
    assert not app.exception
    assert len(app.dataframe) == 1


@pytest.mark.parametrize("plans", [("svd",), ("svd-weighted",), ("k3",)])
def test_a_run_of_one_plan_has_a_headline(tmp_path: Path, plans: tuple[str, ...]) -> None:
    folder = save_run(tmp_path / "run", make_run(tasks=("rte",), seeds=(0,), plans=plans))
    app = open_page(None, **GLUE, **{OWN: str(folder)})
    (said,) = [item.value for item in app.markdown if "fewer numbers" in item.value]
    assert " points " in said


def no_folder(folder: Path) -> None:
    pass


def no_cells(folder: Path) -> None:
    (folder / "cells").mkdir(parents=True)


def cut_short(folder: Path) -> None:
    save_run(folder, make_run(tasks=("rte",), seeds=(0,)))
    path = next((folder / "cells").glob("*.json"))
    path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")


def without_score(folder: Path) -> None:
    save_run(folder, make_run(tasks=("rte",), seeds=(0,)))
    path = next((folder / "cells").glob("*.json"))
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "score": None}), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (no_folder, "found none at"),
        (no_cells, "holds neither cells/*.json nor summary.json"),
        (cut_short, ".json is damaged"),
        (without_score, ".json is damaged"),
    ],
)
def test_a_folder_that_is_no_run_is_told(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    folder = tmp_path / "run"
    spoil(folder)
    app = open_page(None, **GLUE, **{OWN: str(folder)})
    (error,) = app.error
    said = error.value.replace("\\", "")
    assert told in said
    assert str(folder) in said
    assert not app.dataframe


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~nobody-here/run", "~"])
def test_a_path_that_cannot_be_is_told(path: str) -> None:
    app = open_page(None, **GLUE)
    app.text_input(key=OWN).set_value(path).run()
    assert not app.exception
    assert len(app.error) == 1
