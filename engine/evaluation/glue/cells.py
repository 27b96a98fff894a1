"""One measured cell of the protocol, and the folder of JSON files that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from engine.errors import FormatError
from engine.folders import write_file

Stage = Literal["tuned", "continued", "compressed", "retrained"]
CELLS_FOLDER = "cells"
RUN_FILE = "run.json"
DRAWS = 250
"""Bootstrap draws kept of each score: enough for a 95 % interval to a tenth of its width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """Which cell.

    Attributes:
        task: A name in `engine.evaluation.tasks.GLUE_TASKS`.
        seed: Of the training and the fits.
        stage: ``"tuned"``: the whole network after fine-tuning. ``"continued"``: that after the
            same further epochs that a compressed one gets. ``"compressed"``: the tuned one with its
            embedding made smaller, nothing trained since. ``"retrained"``: that after the further
            epochs.
        plan: How the embedding was made smaller, a name in `engine.evaluation.glue.plans`; empty
            for the whole network.
        rate: Share of the embedding that is gone: of its parameters, or of its bytes in float32
            where the plan is coded; 0 for the whole network.
    """

    task: str
    seed: int
    stage: Stage
    plan: str = ""
    rate: float = 0.0

    @property
    def file_name(self) -> str:
        """Of its JSON file."""
        parts = [self.task, f"seed{self.seed}", self.stage]
        if self.plan:
            parts += [self.plan, f"rate{self.rate!r}"]
        return "_".join(parts) + ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueCell:
    """What was measured of one network.

    Attributes:
        key: Which.
        k: Number of subspaces; 1 for an SVD, 0 for the whole network.
        score: The benchmark's score of the task on the dev split, in points of 100.
        metrics: Each metric of the task.
        train_score: The same score on training rows, by which the ensemble chooses its k.
        draws: The score of `DRAWS` resamples of the dev rows; those of all cells of a task draw the
            same rows, so that differences between cells are paired.
        dev_rows: Rows scored.
        notes: Of the splits: samples, not official, ….
        parameters: Numbers of the embedding; None of a coded plan.
        stored_bytes: Bytes of the embedding as it was measured; 4 a number for the whole network.
        relative_error: ‖A − Â‖² / ‖A‖² of the embedding when it was made smaller.
        seconds: Time of this cell: training, fit and measuring.
    """

    key: CellKey
    k: int
    score: float
    metrics: dict[str, float]
    train_score: float
    draws: tuple[float, ...]
    dev_rows: int
    notes: tuple[str, ...]
    parameters: int | None
    stored_bytes: int
    relative_error: float
    seconds: float

    def save(self, folder: Path) -> None:
        """Write it into the cells of a run's folder; it appears whole or not at all."""
        text = json.dumps(asdict(self), ensure_ascii=False, allow_nan=False) + "\n"
        path = folder / CELLS_FOLDER / self.key.file_name
        write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def has_cell(folder: Path, key: CellKey) -> bool:
    """Whether a cell is already there."""
    return (folder / CELLS_FOLDER / key.file_name).is_file()


def read_cells(folder: Path) -> Iterator[GlueCell]:
    """All cells of a run's folder, by file name; each once, since a file is named by its cell.

    Raises:
        FormatError: If a file is damaged, or holds another cell than its name says.
    """
    for path in sorted((folder / CELLS_FOLDER).glob("*.json")):
        yield read_cell(path)


def read_cell(path: Path) -> GlueCell:
    """Read one file.

    Raises:
        FormatError: If it is damaged, or holds another cell than its name says.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values |= {name: tuple(values[name]) for name in ("draws", "notes")}
        values["key"] = CellKey(**values["key"])
        cell, name = GlueCell(**values), values["key"].file_name
        numbers = (cell.score, cell.train_score, *cell.draws, *cell.metrics.values())
        if not all(map(isfinite, numbers)):
            raise ValueError("a score is no finite number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path} is damaged ({error}); delete it, and subspace-atlas glue measures it again"
        ) from error
    if path.name != name:
        there = path.with_name(name).is_file()
        what = ", which is there as well; delete this file" if there else "; rename it to that"
        raise FormatError(
            f"{path} holds the cell of {name}{what}, and subspace-atlas glue measures again what "
            "is missing"
        )
    return cell
