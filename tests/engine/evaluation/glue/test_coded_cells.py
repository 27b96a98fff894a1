"""Coded plans in the protocol: their size is bytes, and their bases are trained further."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.evaluation.glue.cells import CellKey, GlueCell, Stage, read_cell
from engine.evaluation.glue.plans import GluePlan, complement
from engine.evaluation.glue.running import run_glue
from engine.evaluation.glue.settings import GlueGrid
from engine.evaluation.glue.summarizing import read_results
from engine.evaluation.glue.summary import GlueSummary
from engine.evaluation.glue.training import Network, Trainee
from tests.engine.evaluation.glue.test_running import bench_of, by_key, settings_of
from tests.engine.tables import gaussian

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")

PLAN = "k2-coded-weighted"
GRID = GlueGrid(tasks=("cola",), plans=("svd", PLAN), rates=(0.4,), shares=(0.5, 0.6))
WHOLE_BYTES = 4 * 48 * 16


@pytest.fixture(scope="module")
def measured(
    bert: Path, glue_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[CellKey, GlueCell]]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, by_key(run_glue(folder, settings_of(bert), GRID, data=glue_data))


def key_of(stage: Stage, rate: float = 0.5) -> CellKey:
    return CellKey(task="cola", seed=0, stage=stage, plan=PLAN, rate=rate)


def test_rates_are_of_other_plans_and_shares_of_coded_ones() -> None:
    asked = {(key.plan, key.rate) for keys in GRID.cells() for key in keys if key.plan}
    assert asked == {("svd", 0.4), (PLAN, 0.5), (PLAN, 0.4)}
    shares = GlueGrid(plans=(PLAN,), shares=(0.05, 0.1))
    assert {key.rate for keys in shares.cells() for key in keys} == {0.0, 0.95, 0.9}


@pytest.mark.parametrize("share", [0.016, 0.024, 0.031, 0.05, 0.1, 0.7])
def test_a_share_is_named_in_few_digits_and_comes_back(share: float) -> None:
    assert len(repr(complement(share))) <= len("0.984")
    assert complement(complement(share)) == share


@pytest.mark.parametrize("stage", ["compressed", "retrained"])
@pytest.mark.parametrize("share", [0.5, 0.6])
def test_bytes_are_those_of_a_file_and_within_the_share(
    measured: tuple[Path, dict[CellKey, GlueCell]], stage: Stage, share: float
) -> None:
    cell = measured[1][key_of(stage, complement(share))]
    assert 0.8 * share * WHOLE_BYTES < cell.stored_bytes <= share * WHOLE_BYTES
    assert (cell.k, cell.parameters) == (2, None)
    assert 0 < cell.relative_error < 0.5
    other = measured[1][key_of("compressed", complement(share))]
    assert cell.stored_bytes == other.stored_bytes, "training adds none"


def test_weights_are_heard_and_the_size_is_bytes() -> None:
    matrix = gaussian(40, 8)
    weights = torch.linspace(1, 9, 40)
    plans = [
        GluePlan.parse(name).fit(matrix, rate=0.5, seed=0, weights=weights)
        for name in ("k2-coded", PLAN)
    ]
    assert all(plan.stored_bytes <= 0.5 * matrix.nbytes for plan in plans)
    plain, weighted = (plan.relative_error(matrix, weights) for plan in plans)
    assert weighted < plain


def test_bases_are_trained_and_coordinates_are_not(
    measured: tuple[Path, dict[CellKey, GlueCell]],
    bert: Path,
    glue_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
    train = Trainee.train

    def spy(self: Trainee, network: Network, rows: list[dict[str, Any]], **given: Any) -> None:  # noqa: ANN401
        layer = network.get_input_embeddings()
        before = {name: part.clone() for name, part in layer.state_dict().items()}
        train(self, network, rows, **given)
        seen.append((before, layer.state_dict()))

    monkeypatch.setattr(Trainee, "train", spy)
    cell = bench_of(measured[0], bert, glue_data).measure(key_of("retrained"), "")
    assert replace(cell, seconds=0) == replace(measured[1][cell.key], seconds=0)
    ((before, after),) = seen
    moved = {name for name, part in before.items() if not torch.equal(part, after[name])}
    assert moved == {"bases", "basis_steps"}


def test_a_lost_cell_comes_back_the_same(
    measured: tuple[Path, dict[CellKey, GlueCell]], bert: Path, glue_data: Path
) -> None:
    folder, cells = measured
    lost = key_of("retrained")
    path = folder / "cells" / lost.file_name
    assert path.name == "cola_seed0_retrained_k2-coded-weighted_rate0.5.json"
    path.unlink()
    again = by_key(run_glue(folder, settings_of(bert), GRID, data=glue_data))[lost]
    assert replace(again, seconds=0) == replace(cells[lost], seconds=0)
    assert read_cell(path) == again
    assert json.loads(path.read_text(encoding="utf-8"))["parameters"] is None


def test_a_run_with_both_kinds_is_summarized(
    measured: tuple[Path, dict[CellKey, GlueCell]],
) -> None:
    folder, cells = measured
    summary = read_results(folder)
    assert [(plan, len(summary.curve("cola", "retrained", plan))) for plan in summary.plans] == [
        ("svd", 1),
        (PLAN, 2),
    ]
    point = summary.at("cola", "retrained", 0.5)[0]
    cell = cells[key_of("retrained")]
    assert (point.parameters, point.stored_bytes) == (None, cell.stored_bytes)
    whole = cells[CellKey(task="cola", seed=0, stage="continued")]
    assert point.drop.value == pytest.approx(whole.score - cell.score, abs=1e-3)
    summary.save(folder / "summary.json")
    assert GlueSummary.load(folder / "summary.json") == summary
