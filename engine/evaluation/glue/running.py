"""The protocol itself: fine-tune, make the embedding smaller, measure, fine-tune again, measure.

Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021,
section 4 and its appendix. Added to it: token weights made of the task's training text, dimensions
that differ, and figures before the second training.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from engine.errors import ModelError
from engine.evaluation.data import check_task
from engine.evaluation.glue.cells import CellKey, GlueCell, has_cell, read_cells
from engine.evaluation.glue.measuring import Bench
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.settings import (
    GlueGrid,
    GlueSettings,
    begin_run,
    check_run,
    writing_to,
)
from engine.evaluation.glue.training import check_device
from engine.evaluation.tasks import glue_task
from engine.export.models import open_model
from engine.progress import Progress, ProgressCallback, ignore_progress

CELLS_PHASE = "GLUE cells"
_Seconds = dict[tuple[str, str], list[float]]  # of cells, by their kind


def run_glue(
    folder: str | Path,
    settings: GlueSettings,
    grid: GlueGrid | None = None,
    *,
    data: str | Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> list[GlueCell]:
    """Measure every cell of a grid that a folder does not hold yet.

    Args:
        folder: Where cells are kept, one JSON file each, written as soon as it is measured: a run
            that was stopped or killed loses at most the cell in flight, and the same call goes on.
        settings: What decides the figures.
        grid: Which cells; all tasks, the default plans and rates and one seed when left out.
        data: As in `engine.evaluation.data.load_split`.
        progress: Called throughout; may raise to stop.

    Returns:
        All cells of the folder.

    Raises:
        ParameterError: If the folder holds cells of other settings, or something else.
        SourceError: If the model or the data cannot be read.
        ModelError: If the model cannot classify, or its embedding cannot be replaced.
        MissingDependencyError: If a package for training or for the data is missing.
    """
    folder, grid = Path(folder), grid or GlueGrid()
    stored = open_model(settings.model)
    if stored is None:
        raise ModelError(
            f"{settings.model} is a table and no model that transformers knows; GLUE needs a model"
        )
    check_device(settings)
    check_run(folder, settings)
    asked = list(grid.cells())
    todo = [[key for key in keys if not has_cell(folder, key)] for keys in asked]
    for name in dict.fromkeys(key.task for keys in todo for key in keys):
        check_task(glue_task(name), data)  # hours before its turn comes
    clock = _Clock(folder, [key for keys in todo for key in keys], sum(map(len, asked)), progress)
    for keys in filter(None, todo):
        bench = Bench.open(folder, settings, stored, keys[0], data, progress)
        with writing_to(folder):  # only now: data that cannot be read leave nothing behind
            begin_run(folder, settings, bench.task.name, bench.rows)
            for key in keys:
                clock.report()
                cell = bench.measure(key, _name(key))
                cell.save(folder)
                clock.done(cell)
    clock.report()
    return list(read_cells(folder))


def _name(key: CellKey) -> str:
    plan = f", {GluePlan.parse(key.plan).title}, rate {key.rate:g}" if key.plan else ""
    return f"{glue_task(key.task).title}, seed {key.seed}, {key.stage}{plan}"


class _Clock:
    """Tells where a run is and how long the rest will take, from cells that are measured.

    Those of this process count: the machine may be another one, or busier, than when it was
    stopped. Cells of a kind that it has not measured yet are judged by those that were there.
    """

    def __init__(
        self, folder: Path, todo: list[CellKey], total: int, progress: ProgressCallback
    ) -> None:
        self._todo = todo
        self._total = total
        self._progress = progress
        self._before: _Seconds = {}
        self._now: _Seconds = {}
        for cell in read_cells(folder):
            self._before.setdefault(_kind(cell.key), []).append(cell.seconds)

    def done(self, cell: GlueCell) -> None:
        """A cell is measured."""
        self._todo.remove(cell.key)
        self._now.setdefault(_kind(cell.key), []).append(cell.seconds)

    def report(self) -> None:
        """Say how many cells are done, and how long the rest takes if such were seen."""
        means = {kind: fmean(taken) for kind, taken in (self._before | self._now).items()}
        left = [means.get(_kind(key)) for key in self._todo]
        known = [seconds for seconds in left if seconds is not None]
        detail = ""
        if known:
            about = "about" if len(known) == len(left) else "over"
            detail = f"{about} {max(1, round(sum(known) / 60)):,} min left"
        done = self._total - len(self._todo)
        self._progress(Progress(phase=CELLS_PHASE, done=done, total=self._total, detail=detail))


def _kind(key: CellKey) -> tuple[str, str]:
    """Cells that take about as long: of one task, tuned, only measured, or trained further."""
    further = key.stage in ("continued", "retrained")
    return key.task, "further" if further else key.stage
