"""From the cells of a GLUE run to its summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from engine.errors import EngineError, FormatError
from engine.evaluation.glue.cells import (
    CELLS_FOLDER,
    RUN_FILE,
    CellKey,
    GlueCell,
    Stage,
    read_cells,
)
from engine.evaluation.glue.drops import (
    DIGITS,
    WHOLE_STAGES,
    Drawn,
    PairedDrops,
    complete_block,
    mean_drawn,
    read_interval,
    read_ratio,
)
from engine.evaluation.glue.ensembles import ensemble_cells, plan_order
from engine.evaluation.glue.missing import name_missing
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.summary import (
    AVERAGE,
    SUMMARY_FILE,
    Gain,
    GluePoint,
    GlueSummary,
)
from engine.evaluation.tasks import GLUE_TASKS

_BASELINES = ("svd", "svd-weighted")
_Pair = tuple[str, float]  # plan and rate
_Seeds = Mapping[str, Set[int]]  # of each task


def read_results(folder: Path) -> GlueSummary:
    """Summarize the run in a folder, or read its summary where the cells are no longer there.

    Args:
        folder: What `subspace-atlas glue` or `subspace-atlas glue-report` wrote.

    Raises:
        FormatError: If there is no such folder, neither is in it, or a file is damaged.
    """
    if not _is_folder(folder):
        raise FormatError(
            f"expected the folder that subspace-atlas glue measures into, found none at {folder}; "
            "check the path"
        )
    if (folder / CELLS_FOLDER).is_dir():
        cells = list(read_cells(folder))
        if cells:
            run = _read_run(folder / RUN_FILE)
            settings = run.get("settings", run)
            model = settings.get("model") if isinstance(settings, dict) else None
            return summarize_cells(cells, model=_name(model, folder), settings=run)
    if (folder / SUMMARY_FILE).is_file():
        return GlueSummary.load(folder / SUMMARY_FILE)
    raise FormatError(
        f"{folder} holds neither {CELLS_FOLDER}/*.json nor {SUMMARY_FILE}; name the folder that "
        "subspace-atlas glue measures into"
    )


def summarize_cells(
    cells: Sequence[GlueCell], *, model: str, settings: dict[str, Any] | None = None
) -> GlueSummary:
    """Drops by task and on average, ensembles among them, each beside the SVDs of its rate.

    A task's point is the mean over the seeds at which both networks were measured. The average is
    over the same tasks for every plan and rate of a stage; what only some tasks have is left out
    of it, tasks that lack most first.

    Args:
        cells: Of one run.
        model: Name of the model.
        settings: Of the run.

    Raises:
        FormatError: If cells cannot be paired, or one names no task or plan of ours.
    """
    _check_names(cells)
    board = _Board(PairedDrops([*cells, *ensemble_cells(cells)]))
    points: list[GluePoint] = []
    averages: list[GluePoint] = []
    averaged: dict[Stage, tuple[str, ...]] = {}
    for task in GLUE_TASKS:
        for stage in WHOLE_STAGES:
            points += [board.point((task,), stage, pair) for pair in board.pairs(stage, task)]
    for stage in WHOLE_STAGES:
        tasks, pairs = board.complete(stage)
        averaged[stage] = tasks
        averages += [board.point(tasks, stage, pair, name=AVERAGE) for pair in pairs]
    return GlueSummary(
        model=model,
        settings=settings or {},
        cells=tuple(_without_draws(cell) for cell in cells),
        points=(*points, *averages),
        averaged=averaged,
        missing=name_missing([cell.key for cell in cells]),
    )


class _Board:
    """Points made of drops."""

    def __init__(self, drops: PairedDrops) -> None:
        self._drops = drops

    def pairs(self, stage: Stage, task: str = "") -> list[_Pair]:
        """Plans and rates with a drop, at one task or at any."""
        found = self._drops.pairs(stage)
        kept = (pair for pair, tasks in found.items() if not task or task in tasks)
        return sorted(kept, key=lambda pair: (*plan_order(pair[0]), pair[1]))

    def complete(self, stage: Stage) -> tuple[tuple[str, ...], list[_Pair]]:
        """The tasks of a stage's average, and the plans with rates that each of them has."""
        pairs, found = self.pairs(stage), self._drops.pairs(stage)
        tasks = [task for task in GLUE_TASKS if any(task in there for there in found.values())]
        present = np.array([[task in found[pair] for pair in pairs] for task in tasks], dtype=bool)
        rows, columns = complete_block(present.reshape(len(tasks), len(pairs)))
        return tuple(tasks[row] for row in rows), [pairs[column] for column in columns]

    def point(
        self, tasks: Sequence[str], stage: Stage, pair: _Pair, *, name: str = ""
    ) -> GluePoint:
        """The drop of a plan at a rate: its mean over seeds, then over tasks."""
        plan, rate = pair
        seeds = {task: self._drops.seeds(task, stage, *pair) for task in tasks}
        keys = (key for task, own in seeds.items() for key in _keys(task, own, stage, pair))
        coded = any(self._drops.cell(key).parameters is None for key in keys)
        return GluePoint(
            task=name or tasks[0],
            stage=stage,
            plan=plan,
            rate=rate,
            score=round(self._mean("score", seeds, stage, pair), DIGITS),
            drop=read_interval(self._drop(seeds, stage, pair)),
            seeds=_common(seeds),
            by_seed=tuple(round(drop, DIGITS) for drop in self._by_seed(seeds, stage, pair)),
            parameters=None if coded else round(self._mean("parameters", seeds, stage, pair)),
            stored_bytes=round(self._mean("stored_bytes", seeds, stage, pair)),
            gains=tuple(self._gains(seeds, stage, pair)),
        )

    def _gains(self, seeds: _Seeds, stage: Stage, pair: _Pair) -> Iterator[Gain]:
        plan, rate = pair
        for baseline in _BASELINES:
            both = {
                task: own & self._drops.seeds(task, stage, baseline, rate)
                for task, own in seeds.items()
            }
            if baseline != plan and all(both.values()):
                ours = self._drop(both, stage, pair)
                svd = self._drop(both, stage, (baseline, rate))
                svds = self._by_seed(both, stage, (baseline, rate))
                ahead = zip(svds, self._by_seed(both, stage, pair), strict=True)
                yield Gain(
                    baseline=baseline,
                    less=read_interval(svd - ours),
                    ratio=read_ratio(ours, svd),
                    by_seed=tuple(round(theirs - own, DIGITS) for theirs, own in ahead),
                )

    def _by_seed(self, seeds: _Seeds, stage: Stage, pair: _Pair) -> list[float]:
        """The drop at each seed that all the tasks have."""
        ones = [dict.fromkeys(seeds, frozenset({seed})) for seed in _common(seeds)]
        return [float(self._drop(one, stage, pair)[0]) for one in ones]

    def _drop(self, seeds: _Seeds, stage: Stage, pair: _Pair) -> Drawn:
        return mean_drawn(
            [
                mean_drawn([self._drops.drop(key) for key in _keys(task, own, stage, pair)])
                for task, own in seeds.items()
            ]
        )

    def _mean(self, name: str, seeds: _Seeds, stage: Stage, pair: _Pair) -> float:
        """Of a field of the cells."""
        return fmean(
            fmean(getattr(self._drops.cell(key), name) for key in _keys(task, own, stage, pair))
            for task, own in seeds.items()
        )


def _common(seeds: _Seeds) -> tuple[int, ...]:
    return tuple(sorted(frozenset.intersection(*map(frozenset, seeds.values()))))


def _keys(task: str, seeds: Set[int], stage: Stage, pair: _Pair) -> list[CellKey]:
    plan, rate = pair
    return [
        CellKey(task=task, seed=seed, stage=stage, plan=plan, rate=rate) for seed in sorted(seeds)
    ]


def _check_names(cells: Sequence[GlueCell]) -> None:
    for cell in cells:
        key, known = cell.key, (*WHOLE_STAGES, *WHOLE_STAGES.values())
        try:
            if key.plan:
                GluePlan.parse(key.plan)
            named = key.task in GLUE_TASKS and key.stage in known
        except EngineError:
            named = False
        if not named or bool(key.plan) != (key.stage in WHOLE_STAGES):
            raise FormatError(
                f"{key.file_name} names no task, stage or plan that is known here; delete it, or "
                "update subspace-atlas where a newer version measured it"
            )


def _without_draws(cell: GlueCell) -> GlueCell:
    """And without the digits that nobody reads: thousands of cells are kept in one file."""
    return replace(
        cell,
        draws=(),
        score=round(cell.score, DIGITS),
        metrics={name: round(value, DIGITS) for name, value in cell.metrics.items()},
        train_score=round(cell.train_score, DIGITS),
        relative_error=round(cell.relative_error, 6),
        seconds=round(cell.seconds, 2),
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, or below a folder that may not be entered
        return False


def _name(model: object, folder: Path) -> str:
    """The model as its source calls it; the run's folder where that is a path of some machine."""
    if isinstance(model, str) and model.count("/") <= 1 and not model.startswith("."):
        return model
    return folder.resolve().name


def _read_run(path: Path) -> dict[str, Any]:
    """What a run says of itself, without this machine's paths; nothing where it is silent."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged ({error}); put it back or delete it") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path} must hold a JSON object, got {type(values).__name__}")
    return _without_paths(values)


def _without_paths(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
