"""Accuracy drops of GLUE cells: paired by seed, and by bootstrap draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import FormatError
from engine.evaluation.glue.cells import CellKey, GlueCell, Stage
from engine.evaluation.scores import Interval

WHOLE_STAGES: dict[Stage, Stage] = {"compressed": "tuned", "retrained": "continued"}
"""Stage of a compressed network → that of the whole network it is compared with, as the paper
does: both had the same training."""
DIGITS = 4
"""Decimals kept of points of 100: a thousandth of what chance moves them."""

Drawn = NDArray[np.float64]
"""Shape (1 + draws,): a figure of the dev rows, then that of each resample of them."""


class PairedDrops:
    """The drops of all compressed cells of a run, whole network's score − compressed one's.

    Every resample draws the same dev rows for all cells of a task, so drops, means over seeds
    and differences between plans are taken resample by resample: what chance in the choice of rows
    does to both sides alike falls out.
    """

    def __init__(self, cells: Iterable[GlueCell]) -> None:
        """Take the cells of one run.

        Raises:
            FormatError: If a cell is there twice, or cells of a task were not measured on the same
                rows and resamples.
        """
        self._cells: dict[CellKey, GlueCell] = {}
        self._seeds: dict[tuple[str, Stage, str, float], set[int]] = {}
        rows: dict[str, int] = {}
        draws: int | None = None
        for cell in cells:
            key = cell.key
            if key in self._cells:
                raise FormatError(f"the cell of {key.file_name} is there twice; give it once")
            draws = len(cell.draws) if draws is None else draws
            _check_paired(cell, rows=rows.setdefault(key.task, cell.dev_rows), draws=draws)
            self._cells[key] = cell
        for key in self._cells:
            if key.stage in WHOLE_STAGES and _whole_key(key) in self._cells:
                self._seeds.setdefault((key.task, key.stage, *_pair(key)), set()).add(key.seed)

    def seeds(self, task: str, stage: Stage, plan: str, rate: float) -> frozenset[int]:
        """The seeds at which both sides of a drop were measured."""
        return frozenset(self._seeds.get((task, stage, plan, rate), ()))

    def pairs(self, stage: Stage) -> dict[tuple[str, float], set[str]]:
        """Plan and rate → the tasks with a drop, in any order."""
        found: dict[tuple[str, float], set[str]] = {}
        for task, own, plan, rate in self._seeds:
            if own == stage:
                found.setdefault((plan, rate), set()).add(task)
        return found

    def cell(self, key: CellKey) -> GlueCell:
        """One cell.

        Raises:
            KeyError: If it was not measured.
        """
        return self._cells[key]

    def drop(self, key: CellKey) -> Drawn:
        """The drop of one compressed network.

        Raises:
            KeyError: If it or the whole network was not measured.
        """
        return _drawn(self._cells[_whole_key(key)]) - _drawn(self._cells[key])


def read_interval(drawn: Drawn) -> Interval:
    """The figure, and where 95 % of its resamples are."""
    low, high = np.quantile(drawn[1:], (0.025, 0.975))
    return Interval(
        value=round(float(drawn[0]), DIGITS),
        low=round(float(low), DIGITS),
        high=round(float(high), DIGITS),
    )


def read_ratio(part: Drawn, whole: Drawn) -> Interval | None:
    """The interval of a ratio; None where a resample has nothing to divide by."""
    return read_interval(part / whole) if whole.min() > 0 else None


def complete_block(present: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """The part of a table with gaps that has none: the emptiest row or column leaves, in turn.

    Args:
        present: Shape (rows, columns): where something is.

    Returns:
        The rows and the columns left, both rising; of a row and a column as empty, the row leaves.
    """
    rows, columns = list(range(present.shape[0])), list(range(present.shape[1]))
    while rows and columns:
        gaps = ~present[np.ix_(rows, columns)]
        if not gaps.any():
            break
        by_row, by_column = gaps.mean(axis=1), gaps.mean(axis=0)
        if by_row.max() >= by_column.max():
            rows.pop(int(by_row.argmax()))
        else:
            columns.pop(int(by_column.argmax()))
    return (rows, columns) if rows and columns else ([], [])


def mean_drawn(figures: Sequence[Drawn]) -> Drawn:
    """Their mean, resample by resample."""
    return np.mean(figures, axis=0)


def _drawn(cell: GlueCell) -> Drawn:
    return np.array([cell.score, *cell.draws])


def _pair(key: CellKey) -> tuple[str, float]:
    return key.plan, key.rate


def _whole_key(key: CellKey) -> CellKey:
    return CellKey(task=key.task, seed=key.seed, stage=WHOLE_STAGES[key.stage])


def _check_paired(cell: GlueCell, *, rows: int, draws: int) -> None:
    if cell.dev_rows != rows:
        raise FormatError(
            f"the cells of {cell.key.task} were scored on {rows:,} dev rows, that of "
            f"{cell.key.file_name} on {cell.dev_rows:,}: they cannot be compared; delete those of "
            "another split, and subspace-atlas glue measures them again"
        )
    if len(cell.draws) != draws or not draws:
        raise FormatError(
            f"expected {draws or 'some'} bootstrap draws as in the cells before, got "
            f"{len(cell.draws)} in {cell.key.file_name}; delete it, and subspace-atlas glue "
            "measures it again"
        )
    if not np.isfinite([cell.score, cell.train_score, *cell.draws]).all():
        raise FormatError(
            f"{cell.key.file_name} holds a score that is no number; delete it, and the same "
            "command measures it again"
        )
