"""The protocol: what it measures, that it goes on after kills, that a broken layer shows."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import Cancelled, factorize
from engine.errors import EngineError, FormatError, ModelError, ParameterError, SourceError
from engine.evaluation.glue.cells import CellKey, GlueCell, read_cell, read_cells
from engine.evaluation.glue.measuring import Bench
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.running import CELLS_PHASE, run_glue
from engine.evaluation.glue.settings import GlueGrid, GlueSettings
from engine.evaluation.glue.training import EncodedSplit, Trainee, load_tuned
from engine.evaluation.scores import task_scores
from engine.export.models import open_model
from engine.folders import is_left_over
from engine.network.replacement import replace_embedding
from engine.progress import Progress, ignore_progress
from tests.engine.evaluation.glue.conftest import write_task

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")

GRID = GlueGrid(tasks=("cola", "stsb"), plans=("svd", "k2-optimal-weighted"), rates=(0.4,))
LARGER = replace(GRID, rates=(0.2, 0.4, 0.6))


def settings_of(bert: Path, **changes: float | str) -> GlueSettings:
    given: dict[str, Any] = {
        "model": str(bert), "epochs": 6, "further_epochs": 1, "learning_rate": 2e-2,
        "batch_rows": 8, "longest": 12, "measured_rows": 32, "device": "cpu",
    }  # fmt: skip
    return GlueSettings(**{**given, **changes})


@pytest.fixture(scope="module")
def measured(
    bert: Path, glue_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[GlueCell]]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, run_glue(folder, settings_of(bert), GRID, data=glue_data)


def by_key(cells: list[GlueCell]) -> dict[CellKey, GlueCell]:
    return {cell.key: cell for cell in cells}


def test_every_cell_of_the_grid_is_measured_once(measured: tuple[Path, list[GlueCell]]) -> None:
    _, cells = measured
    asked = [key for keys in GRID.cells() for key in keys]
    assert sorted(by_key(cells), key=str) == sorted(asked, key=str)
    assert len(asked) == len(cells) == 12


def test_networks_learn_what_words_give_away(measured: tuple[Path, list[GlueCell]]) -> None:
    cells = by_key(measured[1])
    for task in GRID.tasks:
        assert cells[CellKey(task=task, seed=0, stage="tuned")].score > 60  # chance scores 0


def test_sizes_and_errors_are_those_of_the_embedding(
    measured: tuple[Path, list[GlueCell]],
) -> None:
    for cell in measured[1]:
        whole = cell.key.plan == ""
        assert cell.k == {"": 0, "svd": 1}.get(cell.key.plan, 2)
        assert cell.parameters == 48 * 16 if whole else cell.parameters <= 0.6 * 48 * 16
        assert (cell.relative_error == 0) == whole
        assert cell.stored_bytes >= 4 * cell.parameters


def test_draws_are_paired_and_centre_on_the_score(measured: tuple[Path, list[GlueCell]]) -> None:
    for cell in measured[1]:
        assert min(cell.draws) <= cell.score <= max(cell.draws)
    twins = [cell for cell in measured[1] if cell.key.task == "cola" and cell.score == 100]
    assert all(set(cell.draws) == {100.0} for cell in twins)


def test_notes_say_that_the_splits_are_not_official(
    measured: tuple[Path, list[GlueCell]],
) -> None:
    cell = by_key(measured[1])[CellKey(task="cola", seed=0, stage="tuned")]
    assert cell.notes == (
        "train: not the official split: 32 rows, that has 8,551",
        "dev: not the official split: 24 rows, that has 1,043",
    )


def test_the_same_call_measures_nothing_again(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    folder, cells = measured
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert run_glue(folder, settings_of(bert), GRID, data=glue_data) == cells
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before


def test_a_folder_grows_and_a_lost_cell_comes_back_the_same(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    folder, cells = measured
    lost = CellKey(task="stsb", seed=0, stage="retrained", plan="svd", rate=0.4)
    (folder / "cells" / lost.file_name).unlink()
    again = by_key(run_glue(folder, settings_of(bert), GRID, data=glue_data))[lost]
    assert replace(again, seconds=0) == replace(by_key(cells)[lost], seconds=0)


def test_progress_counts_the_whole_grid_and_trusts_the_newest_times(
    tmp_path: Path, measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    folder = shutil.copytree(measured[0], tmp_path / "run")
    for cell in measured[1]:
        if cell.key.task == "stsb" and cell.key.stage == "retrained":
            (folder / "cells" / cell.key.file_name).unlink()
        else:  # as of a machine that takes an hour for each
            replace(cell, seconds=3600).save(folder)
    told: list[tuple[int, int, str]] = []

    def note(step: Progress) -> None:
        if step.phase == CELLS_PHASE:
            told.append((step.done, step.total, step.detail))

    run_glue(folder, settings_of(bert), GRID, data=glue_data, progress=note)
    assert told == [
        (10, 12, "about 120 min left"),  # by the whole network that was trained further
        (11, 12, "about 1 min left"),  # by the cell just measured, in seconds
        (12, 12, ""),
    ]


def test_cells_of_other_settings_are_not_mixed(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    with pytest.raises(ParameterError, match=r"epochs 6 instead of 3.*name another folder"):
        run_glue(measured[0], settings_of(bert, epochs=3), GRID, data=glue_data)


def test_a_folder_of_other_things_is_left_alone(
    tmp_path: Path, bert: Path, glue_data: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="not empty and holds no run"):
        run_glue(tmp_path, settings_of(bert), GRID, data=glue_data)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_data_is_told_before_anything_is_trained(tmp_path: Path, bert: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no .*cola/train\.tsv"):
        run_glue(tmp_path / "run", settings_of(bert), GRID, data=tmp_path)
    assert list(tmp_path.iterdir()) == [], "nor is a folder left"


def test_cells_of_other_rows_are_not_mixed(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path, tmp_path: Path
) -> None:
    """Else networks tuned on one set of rows would be compared with those of another."""
    folder = tmp_path / "run"
    shutil.copytree(measured[0], folder)
    other = tmp_path / "data"
    shutil.copytree(glue_data, other)
    train = next(other.rglob("cola/train.tsv"))
    lines = train.read_text(encoding="utf-8").splitlines(keepends=True)
    train.write_text("".join([lines[0], *reversed(lines[1:])]), encoding="utf-8")
    with pytest.raises(ParameterError, match=r"cells of cola in .* were measured on other rows"):
        run_glue(folder, settings_of(bert), LARGER, data=other)
    assert {path.name for path in (folder / "cells").iterdir()} == {
        path.name for path in (measured[0] / "cells").iterdir()
    }


def test_a_run_without_known_rows_takes_those_that_come_first(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(measured[0], folder)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    known = run.pop("data")
    assert set(known) == set(GRID.tasks)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "cells" / "cola_seed0_tuned.json").unlink()
    run_glue(folder, settings_of(bert), GRID, data=glue_data)
    found = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
    assert found == {"cola": known["cola"]}, "nothing of STS-B was left to measure"


def test_what_a_killed_start_left_is_no_other_things(
    bert: Path, glue_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process killed between writing run.json and renaming it."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _die)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # nor did it tidy up
        with pytest.raises(KeyboardInterrupt):
            run_glue(folder, settings_of(bert), GRID, data=glue_data)
    assert [path.name for path in folder.iterdir() if not is_left_over(path)] == []
    assert any(folder.iterdir())
    grid = GlueGrid(tasks=("cola",), plans=("svd",), rates=(0.4,), retrain=False)
    assert len(run_glue(folder, settings_of(bert), grid, data=glue_data)) == 2


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_network_that_diverged_has_no_score(
    measured: tuple[Path, list[GlueCell]],
    bert: Path,
    glue_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(measured[0], folder)
    (folder / "cells" / "cola_seed0_tuned.json").unlink()

    def diverged(_: object, __: object, rows: EncodedSplit, **___: object) -> np.ndarray:
        return np.full((len(rows.split), 2), np.nan)

    monkeypatch.setattr(Trainee, "predict", diverged)
    with pytest.raises(ModelError, match="training diverged; lower --learning-rate"):
        run_glue(folder, settings_of(bert), GRID, data=glue_data)
    assert not (folder / "cells" / "cola_seed0_tuned.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(bert: Path, glue_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="finds no GPU of NVIDIA's here"):
        run_glue(tmp_path / "run", settings_of(bert, device="cuda"), GRID, data=glue_data)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_told(
    bert: Path, glue_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(GlueCell, "save", full)
    grid = GlueGrid(tasks=("cola",), plans=("svd",), rates=(0.4,), retrain=False)
    with pytest.raises(EngineError, match="No space left on device; free some space"):
        run_glue(tmp_path / "run", settings_of(bert), grid, data=glue_data)


def test_data_that_a_later_task_lacks_are_told_first(tmp_path: Path, bert: Path) -> None:
    write_task(tmp_path / "data", "cola", pair=False)
    with pytest.raises(SourceError, match=r"there is no .*stsb/train\.tsv"):
        run_glue(tmp_path / "run", settings_of(bert), GRID, data=tmp_path / "data")
    assert not (tmp_path / "run").exists()


def test_data_that_are_damaged_leave_nothing(tmp_path: Path, bert: Path) -> None:
    write_task(tmp_path / "data", "cola", pair=False)
    (tmp_path / "data" / "cola" / "dev.tsv").write_text("")
    with pytest.raises(SourceError, match="an empty file"):
        run_glue(
            tmp_path / "run", settings_of(bert), replace(GRID, tasks=("cola",)),
            data=tmp_path / "data",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_table_is_no_model(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.eye(6, dtype=np.float32))
    with pytest.raises(ModelError, match="GLUE needs a model"):
        run_glue(tmp_path / "run", settings_of(tmp_path / "rows.npy"), GRID)


def test_a_cancel_ends_training_and_leaves_whole_cells(
    tmp_path: Path, bert: Path, glue_data: Path
) -> None:
    steps = 0

    def stop(progress: Progress) -> None:
        nonlocal steps
        steps += 1
        if steps == 60:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        run_glue(tmp_path / "run", settings_of(bert), GRID, data=glue_data, progress=stop)
    assert len(list(read_cells(tmp_path / "run"))) >= 1


@pytest.mark.slow
def test_ten_kills_lose_at_most_the_cell_in_flight(
    tmp_path: Path, bert: Path, glue_data: Path
) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable, "-m", "tests.engine.evaluation.glue.killed_run",
        str(folder), str(bert), str(glue_data), str(random.Random(5).randrange(1 << 30)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    kept: list[int] = json.loads(done.stdout)
    assert len(kept) == 10, "ten were killed"
    assert kept == sorted(kept), "no measured cell was lost"
    assert kept[-1] > 3, "some were measured between kills"
    before = {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}
    assert len(run_glue(folder, settings_of(bert), LARGER, data=glue_data)) == 28
    after = {path.name: path.read_bytes() for path in (folder / "cells").iterdir()}
    assert before.items() <= after.items(), "what was measured stayed as it was"


def bench_of(
    folder: Path, bert: Path, data: Path, task: str = "cola", **changes: float | str
) -> Bench:
    stored = open_model(bert)
    assert stored is not None
    key = CellKey(task=task, seed=0, stage="tuned")
    return Bench.open(folder, settings_of(bert, **changes), stored, key, data, ignore_progress)


def test_predictions_keep_the_order_of_the_rows(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    bench = bench_of(measured[0], bert, glue_data)
    network = load_tuned(measured[0] / "networks" / "cola_seed0")
    answers = bench.trainee.predict(network, bench.dev, name="")
    for row, alone in zip(bench.dev.rows, answers, strict=True):
        ids = torch.tensor([row["input_ids"]])
        with torch.inference_mode():
            logits = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        # the kernels of a padded batch and of one row round differently
        assert torch.allclose(torch.from_numpy(alone), logits, atol=1e-5)


def test_a_layer_with_shuffled_rows_loses_points(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    bench = bench_of(measured[0], bert, glue_data)
    network = load_tuned(measured[0] / "networks" / "cola_seed0")
    matrix = network.get_input_embeddings().weight.detach().clone()
    whole = bench.trainee.predict(network, bench.dev, name="").argmax(axis=1)
    rows = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(0))
    replace_embedding(network, factorize(matrix[rows], method="svd", j=16))
    guess = bench.trainee.predict(network, bench.dev, name="").argmax(axis=1)
    labels = bench.dev.split.labels
    drop = task_scores(bench.task, labels, whole)[0] - task_scores(bench.task, labels, guess)[0]
    assert drop > 20


def test_the_same_rows_are_drawn_whatever_a_network_answers(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    """Else drops would not be paired; and the draws are of the dev rows."""
    bench = bench_of(measured[0], bert, glue_data)
    network = load_tuned(measured[0] / "networks" / "cola_seed0")
    labels = bench.dev.split.labels
    guess = bench.trainee.predict(network, bench.dev, name="").argmax(axis=1)
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(labels), size=len(labels)) for _ in range(3)]
    wanted = [task_scores(bench.task, labels[drawn], guess[drawn])[0] for drawn in rows]
    cell = by_key(measured[1])[CellKey(task="cola", seed=0, stage="tuned")]
    assert cell.draws[:3] == pytest.approx(wanted, abs=1e-3)  # kept to three decimals


def test_the_training_score_is_of_training_rows(
    measured: tuple[Path, list[GlueCell]], bert: Path, glue_data: Path
) -> None:
    bench = bench_of(measured[0], bert, glue_data)
    network = load_tuned(measured[0] / "networks" / "cola_seed0")
    part = bench.train.sample(bench.settings.measured_rows)
    guess = bench.trainee.predict(network, part, name="").argmax(axis=1)
    cell = by_key(measured[1])[CellKey(task="cola", seed=0, stage="tuned")]
    assert cell.train_score == pytest.approx(task_scores(bench.task, part.split.labels, guess)[0])


def test_counts_are_of_the_training_text(bert: Path, glue_data: Path, tmp_path: Path) -> None:
    bench = bench_of(tmp_path, bert, glue_data)
    counts = bench.train.counts(48)
    assert counts.sum().item() == pytest.approx(1e6)
    ids = [token for row in bench.train.rows for token in row["input_ids"]]
    assert counts[7].item() == pytest.approx(1e6 * ids.count(7) / len(ids))


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cells" / "rte_seed0_tuned.json"
    path.parent.mkdir()
    path.write_text('{"key": 1')
    with pytest.raises(FormatError, match=r"rte_seed0_tuned\.json is damaged.*delete it"):
        read_cell(path)


@pytest.mark.parametrize(
    "name",
    [
        "svd",
        "svd-weighted",
        "k2",
        "k5-optimal",
        "k12-weighted",
        "k5-optimal-weighted",
        "k4-coded",
        "k16-coded-weighted",
    ],
)
def test_plans_read_their_own_names(name: str) -> None:
    assert GluePlan.parse(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "k1",
        "k0",
        "svd-optimal",
        "k5-weighted-optimal",
        "messi",
        "coded",
        "svd-coded",
        "k5-optimal-coded",
    ],
)
def test_other_names_are_no_plans(name: str) -> None:
    with pytest.raises(ParameterError, match="a plan is svd or k and a number"):
        GluePlan.parse(name)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rate": 2.0}, "learning rate must be between 0 and 1, got 2"),
        ({"distillation": 1.5}, "distillation is a share, 0 to 1, got 1.5"),
        ({"weight_floor": -1.0}, "weight_floor must be 0 or more, got -1"),
        ({"weight_power": float("nan")}, "weight_power must be 0 or more, got nan"),
        ({"device": "tpu"}, "device must be auto, cpu or cuda, got 'tpu'"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        GlueSettings(model="x", **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tasks": ("rte", "rte")}, "tasks must name each"),
        ({"tasks": ("ax",)}, "GLUE has the tasks cola, .*got 'ax'"),
        ({"plans": ()}, "plans must name each"),
        ({"rates": (1.0,)}, "a rate lies between 0 and 1, got 1"),
        ({"shares": (5.0,)}, "a share lies between 0 and 1, got 5"),
        ({"seeds": (-1,)}, r"a seed is at least 0 and below 2\^32, got -1"),
        ({"seeds": (2**33,)}, r"a seed is at least 0 and below 2\^32, got 8589934592"),
    ],
)
def test_grids_out_of_range_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        GlueGrid(**changes)
