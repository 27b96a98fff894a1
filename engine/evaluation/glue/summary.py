"""The cells of a GLUE run, read as accuracy drops: by task and on average, beside the SVDs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.errors import FormatError
from engine.evaluation.glue.cells import CellKey, GlueCell, Stage
from engine.evaluation.glue.ensembles import plan_order
from engine.evaluation.scores import Interval
from engine.folders import write_file
from engine.paths import assets_folder

AVERAGE = "average"
"""Stands where a task's name would for the mean over tasks."""
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much less a plan drops than an SVD at the same rate, over the same tasks and seeds.

    Attributes:
        baseline: ``"svd"`` or ``"svd-weighted"``.
        less: The SVD's drop − the plan's, in points: above 0 the plan keeps more.
        ratio: The plan's drop ÷ the SVD's; None where the SVD's is not above 0 in every resample.
        by_seed: ``less`` at each seed that all the tasks have.
    """

    baseline: str
    less: Interval
    ratio: Interval | None
    by_seed: tuple[float, ...]

    @property
    def of_one_seed(self) -> bool:
        """Whether what another seed of training would change is not known."""
        return len(self.by_seed) < 2

    @property
    def inside_noise(self) -> bool:
        """Whether the interval of the difference holds 0, or seeds disagree on who is ahead."""
        signs = {seed > 0 for seed in (self.less.value, *self.by_seed)}
        return self.less.low <= 0 <= self.less.high or len(signs) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GluePoint:
    """What a plan at a rate costs on a task, or on average over tasks.

    Attributes:
        task: A name in `engine.evaluation.tasks.GLUE_TASKS`, or `AVERAGE`.
        stage: ``"compressed"``: before further training, against the tuned network.
            ``"retrained"``: after it, against the whole network that was trained on as long.
        plan: A name in `engine.evaluation.glue.plans` or `engine.evaluation.glue.ensembles`.
        rate: Share of the embedding that is gone, as in `CellKey`.
        score: The compressed network's, in points, mean over seeds.
        drop: Whole network's score − the compressed one's, in points, mean over seeds.
        seeds: Those it is the mean of; of the average, those that every task has.
        by_seed: The drop at each of them; empty for an average of tasks without a seed in common.
        parameters: Numbers of the embedding, mean over seeds and tasks; None of coded plans.
        stored_bytes: Bytes of the embedding, likewise.
        gains: Beside each SVD of that rate.
    """

    task: str
    stage: Stage
    plan: str
    rate: float
    score: float
    drop: Interval
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    parameters: int | None
    stored_bytes: int
    gains: tuple[Gain, ...] = ()

    def gain(self, baseline: str = "svd") -> Gain | None:
        """Beside one of the SVDs, if it was measured where this was."""
        return next((gain for gain in self.gains if gain.baseline == baseline), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueSummary:
    """What a run of the protocol found.

    Attributes:
        model: Name of the model.
        settings: Of the run, as its runner wrote them; JSON values only.
        cells: Every measured cell, without its draws, figures rounded.
        points: Task by task in the order of the benchmark, the average last; each by stage, plan
            and rising rate.
        averaged: Stage → the tasks that its average is over: those at which every averaged plan
            and rate was measured.
        missing: What was not measured, in words; empty for a whole run.
    """

    model: str
    settings: dict[str, Any]
    cells: tuple[GlueCell, ...]
    points: tuple[GluePoint, ...]
    averaged: dict[Stage, tuple[str, ...]]
    missing: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those with a point, in the order of the benchmark; without the average."""
        return tuple(dict.fromkeys(p.task for p in self.points if p.task != AVERAGE))

    @property
    def plans(self) -> tuple[str, ...]:
        """Plans and ensembles with a point: the SVDs, then family by family."""
        return tuple(sorted({point.plan for point in self.points}, key=plan_order))

    @property
    def notes(self) -> dict[str, tuple[str, ...]]:
        """Task → what must be known of its splits; tasks without any left out."""
        found: dict[str, dict[str, None]] = {}
        for cell in self.cells:
            found.setdefault(cell.key.task, {}).update(dict.fromkeys(cell.notes))
        return {task: tuple(notes) for task, notes in found.items() if notes}

    def curve(self, task: str, stage: Stage, plan: str) -> tuple[GluePoint, ...]:
        """The points of a plan on a task, or on `AVERAGE`, by rising rate."""
        wanted = (task, stage, plan)
        found = (p for p in self.points if (p.task, p.stage, p.plan) == wanted)
        return tuple(sorted(found, key=lambda point: point.rate))

    def at(self, task: str, stage: Stage, rate: float) -> tuple[GluePoint, ...]:
        """The points of all plans at a rate, in the order of `plans`."""
        wanted = (task, stage, rate)
        return tuple(p for p in self.points if (p.task, p.stage, p.rate) == wanted)

    def rates(self, task: str, stage: Stage) -> tuple[float, ...]:
        """The rates with a point, rising."""
        return tuple(sorted({p.rate for p in self.points if (p.task, p.stage) == (task, stage)}))

    def whole_score(self, task: str, stage: Stage) -> float | None:
        """Mean score over seeds of the whole network at a stage of its own; None if unmeasured."""
        scores = [c.score for c in self.cells if c.key.task == task and c.key.stage == stage]
        return fmean(scores) if scores else None

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON; an interval as value, low, high, a cell as a row."""
        return {
            "model": self.model,
            "settings": self.settings,
            "averaged": self.averaged,
            "missing": self.missing,
            "points": [_point_values(point) for point in self.points],
            "cells": [_cell_values(cell) for cell in self.cells],
        }

    def save(self, path: Path) -> None:
        """Write it as JSON, a point and a cell a line; it appears whole or not at all."""
        text = ",\n".join(f'"{name}": {_dump(value)}' for name, value in self.as_dict().items())
        write_file(path, lambda file: file.write_text(f"{{\n{text}\n}}\n", encoding="utf-8"))

    @classmethod
    def load(cls, path: Path) -> GlueSummary:
        """Undo `save`.

        Raises:
            FormatError: If the file is missing or damaged.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                model=values.pop("model"),
                settings=values.pop("settings"),
                averaged={stage: tuple(v) for stage, v in values.pop("averaged").items()},
                missing=tuple(values.pop("missing")),
                points=tuple(map(_read_point, values.pop("points"))),
                cells=tuple(map(_read_cell, values.pop("cells"))),
                **values,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path} is damaged ({error}); make it again by glue-report from the run's folder"
            ) from error


def stored_glue() -> list[GlueSummary]:
    """The results that come with us, by the names of their folders.

    Of a second run of the same model the folder's name stands in place of the model's.

    Raises:
        FormatError: If one is damaged.
    """
    found: dict[str, GlueSummary] = {}
    for path in sorted((assets_folder() / "results" / "glue").glob(f"*/{SUMMARY_FILE}")):
        summary = GlueSummary.load(path)
        name = path.parent.name if summary.model in found else summary.model
        found[name] = replace(summary, model=name)
    return list(found.values())


_KEY_FIELDS = tuple(field.name for field in fields(CellKey))
_CELL_FIELDS = tuple(f.name for f in fields(GlueCell) if f.name not in ("key", "draws"))


def _dump(value: object) -> str:
    """Lists with an entry a line."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(_dump_line, value)) + "\n]"
    return _dump_line(value)


def _dump_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _numbers(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _interval(numbers: Sequence[float]) -> Interval:
    value, low, high = numbers
    return Interval(value=value, low=low, high=high)


def _point_values(point: GluePoint) -> dict[str, Any]:
    """Intervals as three numbers: value, low, high."""
    gains = [
        [g.baseline, _numbers(g.less), g.ratio and _numbers(g.ratio), g.by_seed]
        for g in point.gains
    ]
    return {**asdict(replace(point, gains=())), "drop": _numbers(point.drop), "gains": gains}


def _read_point(values: dict[str, Any]) -> GluePoint:
    gains = (
        Gain(
            baseline=baseline,
            less=_interval(less),
            ratio=ratio and _interval(ratio),
            by_seed=tuple(by_seed),
        )
        for baseline, less, ratio, by_seed in values["gains"]
    )
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    values |= {"drop": _interval(values["drop"]), "gains": tuple(gains)}
    return GluePoint(**values)


def _cell_values(cell: GlueCell) -> list[Any]:
    """A row without names: the fields of its key, then its own but for the draws."""
    key = [getattr(cell.key, name) for name in _KEY_FIELDS]
    return [*key, *(getattr(cell, name) for name in _CELL_FIELDS)]


def _read_cell(row: list[Any]) -> GlueCell:
    split = len(_KEY_FIELDS)
    values = dict(zip(_CELL_FIELDS, row[split:], strict=True))
    values |= {"notes": tuple(values["notes"]), "draws": ()}
    return GlueCell(key=CellKey(**dict(zip(_KEY_FIELDS, row[:split], strict=True))), **values)
