"""Cells as a run of the protocol leaves them, made of simulated predictions.

Each network is right or wrong on every dev row; scores and draws are counted from that, and the
draws of all cells of a task resample the same rows, as those of the runner do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.glue.cells import CellKey, GlueCell
from engine.evaluation.glue.ensembles import family_of
from engine.evaluation.glue.plans import GluePlan

PLANS = ("svd", "svd-weighted", "k2", "k3", "k5", "k5-optimal-weighted")
RATES = (0.2, 0.4, 0.6, 0.8)
ROWS = 400
NUMBERS = 30522 * 128


def make_cell(
    key: CellKey,
    score: float,
    draws: Sequence[float] = (),
    *,
    train_score: float = 90.0,
    notes: tuple[str, ...] = (),
) -> GlueCell:
    """A cell with these scores; all else is as it would be."""
    k = GluePlan.parse(key.plan).k if key.plan else 0
    kept = round(NUMBERS * (1 - key.rate))
    return GlueCell(
        key=key,
        k=k,
        score=score,
        metrics={"accuracy": score},
        train_score=train_score,
        draws=tuple(draws) or (score, score),
        dev_rows=ROWS,
        notes=notes,
        parameters=None if family_of(key.plan).coded else kept,
        stored_bytes=4 * kept,
        relative_error=key.rate**2 / max(k, 1),
        seconds=1.5,
    )


def make_run(
    *,
    tasks: Sequence[str] = ("cola", "mrpc", "rte"),
    seeds: Sequence[int] = (0, 1, 2),
    plans: Sequence[str] = PLANS,
    rates: Sequence[float] = RATES,
    draws: int = 250,
) -> list[GlueCell]:
    """A whole run in which plans differ as they do: more k, weights and further training help."""
    cells: list[GlueCell] = []
    for number, task in enumerate(tasks):
        rng = np.random.default_rng(100 + number)
        rows = rng.integers(ROWS, size=(draws, ROWS))
        difficulty = rng.random(ROWS)  # of a row: networks are wrong on the same ones
        for seed in seeds:
            for whole, stage, eased in (
                ("tuned", "compressed", 1.0),
                ("continued", "retrained", 0.15),
            ):
                start = 0.86 - 0.04 * number + 0.01 * rng.random()
                grid = [(CellKey(task=task, seed=seed, stage=whole), 0.0)]
                grid += [
                    (
                        CellKey(task=task, seed=seed, stage=stage, plan=plan, rate=rate),
                        eased * _loss(GluePlan.parse(plan), rate),
                    )
                    for plan in plans
                    for rate in rates
                ]
                for key, loss in grid:
                    noise = rng.normal(0, 0.03, size=ROWS)
                    right = difficulty + noise < start - loss
                    notes = ("not the official split: 400 rows",) if task == "qqp" else ()
                    train = 100 * (start - loss) + 5 + rng.normal(0, 0.3)
                    cells.append(_counted(key, right, rows, train, notes))
    return cells


def save_run(folder: Path, cells: Iterable[GlueCell], run: object = None) -> Path:
    """A run's folder, as `subspace-atlas glue` leaves it."""
    for cell in cells:
        cell.save(folder)
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return folder


def _loss(plan: GluePlan, rate: float) -> float:
    """Share of right answers that a plan costs."""
    return (
        0.35
        * rate**2
        * (0.4 if plan.weighted else 1)
        * (0.5 if plan.optimal else 1)
        * (0.1 if plan.coded else 1)
        / (1 if plan.k == 1 else 1 + 0.3 * plan.k * rate)
    )


def _counted(
    key: CellKey,
    right: NDArray[np.bool_],
    rows: NDArray[np.int64],
    train_score: float,
    notes: tuple[str, ...],
) -> GlueCell:
    drawn = 100 * right[rows].mean(axis=1)
    score = 100 * float(right.mean())
    return make_cell(key, score, drawn.tolist(), train_score=train_score, notes=notes)
