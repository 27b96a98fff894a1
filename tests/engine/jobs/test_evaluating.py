"""Checks as a background task: the run it leaves, what it refuses, and that it can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import Cancelled, ParameterError
from engine.evaluation.results import CheckResult
from engine.jobs import tasks
from engine.jobs.protocol import JsonObject
from engine.progress import Progress, ignore_progress
from engine.runs import RunStore
from tests.engine.evaluation.small import make_model, make_texts
from tests.engine.jobs.test_tasks import run

PLAN = {"k": 2, "j": 4, "n_init": 1, "neighbours": 0}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JsonObject:
    """A model on the disk with a plan in the store."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_texts(30)) + "\n")
    model = make_model(tmp_path / "model")
    source = {"spec": str(model), "tensor": None, "tokens": None}
    made, _ = run("compress", {"source": source, "config": PLAN})
    return {
        "source": source,
        "run": made["run"],
        "checks": ["valence", "fidelity"],
        "options": {"text": str(text)},
    }


def test_it_leaves_a_run_of_its_own_kind(params: JsonObject) -> None:
    value, phases = run("evaluate", params)
    assert value["unfinished"] == []
    record = RunStore().load(value["run"]).record
    assert (record.kind, record.name) == ("evaluate", "model, k = 2: valence, fidelity")
    assert record.config["run"] == params["run"]
    results = [CheckResult.from_dict(result) for result in record.figures["results"]]
    assert [result.check for result in results] == ["valence", "fidelity"]
    assert [score.variant for score in results[0].scores] == ["original", "k = 2", "SVD"]
    assert phases[0] == "Reading the table"
    assert phases[-2:] == ["Sentence fidelity", "Sentence fidelity: intervals"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"task": "rte"}}, "options takes data, probe_task, seed, text, got task"),
        ({"checks": ["xyz"]}, "the checks are valence"),
        ({"checks": ["words"]}, "the check words cannot be run"),
        ({"run": None}, "no plan ships for model"),
    ],
)
def test_bad_parameters_are_the_users_to_mend(
    changes: JsonObject, message: str, params: JsonObject
) -> None:
    with pytest.raises(ParameterError, match=message):
        run("evaluate", {**params, **changes})


def test_rows_named_by_their_tensor_have_no_model(params: JsonObject) -> None:
    source = {**params["source"], "tensor": "bert.embeddings.word_embeddings.weight"}
    with pytest.raises(ParameterError, match="fidelity cannot be run"):
        run("evaluate", {**params, "source": source})


@pytest.mark.parametrize("phase", ["preparing", "original", "k = 2", "intervals"])
def test_a_cancel_is_heard_in_every_phase(phase: str, params: JsonObject) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase.endswith(phase) or progress.detail == phase:
            raise Cancelled("enough")

    before = len(RunStore().list().runs)
    with pytest.raises(Cancelled, match="enough"):
        tasks.TASKS["evaluate"](params, cancel)
    assert len(RunStore().list().runs) == before
    tasks.TASKS["evaluate"]({**params, "checks": ["valence"]}, ignore_progress)
