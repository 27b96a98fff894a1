"""The real tasks, on a tiny table: what they leave in the store, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import load_table
from engine.errors import Cancelled, ParameterError, SourceError
from engine.export.keeping import find_kept_model
from engine.factorization import Factorization
from engine.jobs import tasks
from engine.jobs.protocol import JsonObject
from engine.layout import UmapSettings
from engine.library import find_umap_layout
from engine.progress import Progress, ignore_progress
from engine.recording import SWEEP_FILE
from engine.row_measures import find_row_measures
from engine.runs import RunStore
from engine.sweep import SweepResult
from tests.engine.export.conftest import make_model
from tests.engine.tables import gaussian, write_npy

PLAN = {"k": 3, "j": 2, "n_init": 1, "neighbours": 4}
GRID = {"rates": [0.3, 0.5], "ks": [2], "seeds": [0, 1]}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JsonObject:
    """A table on the disk; runs and layouts go into a temporary folder."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    path = write_npy(tmp_path / "tiny.npy", gaussian(40, 6))
    return {"spec": str(path), "tensor": None, "tokens": None}


def run(task: str, params: JsonObject) -> tuple[JsonObject, list[str]]:
    """The task's result after a trip through JSON, both ways, and the phases it went through."""
    seen: list[Progress] = []
    value = tasks.TASKS[task](json.loads(json.dumps(params)), seen.append)
    return json.loads(json.dumps(value)), list(dict.fromkeys(step.phase for step in seen))


def test_compress_leaves_a_run(source: JsonObject) -> None:
    value, phases = run("compress", {"source": source, "config": PLAN})
    opened = RunStore().load(value["run"])
    assert opened.record.kind == "compress"
    assert opened.record.source["fingerprint"] == load_table(source["spec"]).fingerprint
    assert Factorization.load(opened.folder).dimensions == (2, 2, 2)
    assert phases == [
        "Reading the table",
        "Start 1 of 1",
        "Fitting the SVD of the same size",
        "Neighbours in the table",
        "Neighbours in the plan",
        "Neighbours in the SVD",
    ]


def test_sweep_leaves_a_run_with_every_setting_heard(source: JsonObject) -> None:
    grid = {**GRID, "n_init": 2, "seeding": "norms", "bits": [4]}
    value, phases = run("sweep", {"source": source, "config": grid})
    result = SweepResult.load(RunStore().load(value["run"]).folder / SWEEP_FILE)
    assert (result.fits, len(result.cells)) == (6, 6 * 2 + 4)  # four ways to round
    assert result.config.bits == (4,)
    assert (result.config.rates, result.config.seeds) == ((0.3, 0.5), (0, 1))
    assert (result.config.n_init, result.config.seeding) == (2, "norms")
    assert phases == ["Reading the table", "Sweeping"]


def test_layout_is_kept(source: JsonObject, monkeypatch: pytest.MonkeyPatch) -> None:
    made = gaussian(40, 2)

    def lay_out(
        matrix: torch.Tensor, settings: UmapSettings | None = None, *, progress: object
    ) -> torch.Tensor:
        assert torch.equal(matrix, gaussian(40, 6))
        assert progress is ignore_progress
        return made

    monkeypatch.setattr(tasks, "umap_layout", lay_out)  # UMAP itself: tests/engine/test_layout.py
    value = tasks.layout({"source": source}, ignore_progress)
    found = find_umap_layout(value["fingerprint"])
    assert found is not None
    assert torch.equal(found, made)


def test_rows_are_measured_with_a_run_and_without(source: JsonObject) -> None:
    made, _ = run("compress", {"source": source, "config": PLAN})
    for run_id in (made["run"], None):
        value, phases = run("measure", {"source": source, "run": run_id, "layout": "PCA"})
        found = find_row_measures(value["fingerprint"], run_id, "PCA")
        assert found is not None
        assert found.false is not None
        assert (found.kept is None) == (run_id is None)  # no plan ships for these rows
        assert phases[0] == "Reading the table"
    assert "Neighbours in the table" not in phases  # the second time, they are there


def test_model_is_kept_with_the_plan_of_a_run(tmp_path: Path, source: JsonObject) -> None:
    model = {"spec": str(make_model(tmp_path / "bert", "BertForMaskedLM"))}
    made, _ = run("compress", {"source": model, "config": PLAN})
    value, phases = run("model", {"source": model, "run": made["run"]})
    kept = find_kept_model(load_table(model["spec"]), made["run"])
    assert kept is not None
    assert value == {"path": str(kept.path)}
    assert phases == [
        "Reading the table",
        "Loading the model",
        "Timing the model",
        "Writing the model",
        "Packing",
    ]
    again, phases = run("model", {"source": model, "run": made["run"]})
    assert (again, phases) == (value, ["Reading the table"]), "what is there is not made twice"


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        (
            "compress",
            {**PLAN, "kk": 3},
            r"config takes affine, allocation, basis_bits, bits, j, k, loss, .*, got kk as well",
        ),
        (
            "sweep",
            {**GRID, "rate": 0.4},
            r"config takes affine, allocation, basis_bits, bits, ks, .*, got rate as well",
        ),
        ("compress", {**PLAN, "k": 41}, "k must be between 1 and 40"),
        ("compress", {**PLAN, "queries": 0}, "queries at least 1"),
        ("sweep", {**GRID, "ks": []}, "at least one rate, one k and one seed"),
        ("sweep", {**GRID, "ks": [41]}, "k must be between 1 and 40"),
    ],
)
def test_bad_parameters_are_the_users_to_mend(
    task: str, config: dict[str, Any], message: str, source: JsonObject
) -> None:
    with pytest.raises(ParameterError, match=message):
        run(task, {"source": source, "config": config})
    assert RunStore().list().runs == ()


def test_bad_sources_are_the_users_to_mend(source: JsonObject, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="source takes spec, tensor, tokens, got path as well"):
        run("layout", {"source": {**source, "path": "x"}})
    with pytest.raises(SourceError, match=r"there is no file .*none\.npy"):
        run("compress", {"source": {"spec": str(tmp_path / "none.npy")}, "config": PLAN})


@pytest.mark.parametrize(("task", "config"), [("compress", PLAN), ("sweep", GRID)])
def test_cancelled_tasks_leave_nothing(
    task: str, config: dict[str, Any], source: JsonObject, tmp_path: Path
) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase != "Reading the table":
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        tasks.TASKS[task]({"source": source, "config": config}, cancel)
    assert not (tmp_path / "home").exists()
