"""Error against compression rate: a grid of k and rates beside the SVD."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.budget import (
    budget_for_rate,
    check_k,
    dimension_for_rate,
    matching_rank,
    offset_parameters,
)
from engine.clustering.allocation import OptimalDimensions
from engine.errors import FormatError, ParameterError
from engine.frequencies.row_use import NO_WEIGHTS, count_row_use
from engine.grid import (
    SCHEMA_VERSION,
    WEIGHTED_SVD,
    SweepCell,
    SweepConfig,
    SweepResult,
    check_sweep_target,
    read_cell,
)
from engine.journal import Journal
from engine.methods import factorize
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.rows import RowMatrix
from engine.table import EmbeddingTable

__all__ = ["SweepCell", "SweepConfig", "SweepResult", "check_sweep_target", "run_sweep"]


def run_sweep(
    table: EmbeddingTable,
    config: SweepConfig | None = None,
    *,
    journal: Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> SweepResult:
    """Fit every cell of the grid.

    Args:
        table: What to compress.
        config: The grid; the default one when left out.
        journal: A file that keeps each finished cell. A later run of the same grid on the same
            table takes them over; delete it when the result is saved.
        progress: Called after every cell; raises `engine.Cancelled` to stop.

    Returns:
        The SVD at every rate, of the smallest rank that uses up the budget, so that no k has more
        numbers to spend than the SVD beside it; the same by weights where there are some; then
        every k at every rate for every seed. A cell with no room for one dimension is left out
        and noted.

    Raises:
        ParameterError: If a k does not fit the table, no cell does, or the journal is of another
            table or grid.
        FormatError: If the journal is damaged.
        SourceError: If the tokens cannot be counted.
    """
    config = config or SweepConfig()
    cells: list[SweepCell] = []
    notes: dict[str, None] = {}  # a set that keeps its order
    plans = _plans(config, len(table.matrix))
    kept = None if journal is None else Journal(journal, _journal_header(table, config))
    finished = {} if kept is None else _cells_of(kept)
    use = count_row_use(
        table, config.weights, config.weight_power, config.weight_floor, progress=progress
    )
    weights = None if use is None else use.weights
    taken = f", {len(finished):,} cells taken over" if finished else ""
    for done, plan in enumerate(plans):
        detail = f"{plan.caption}{taken}"
        report = Progress(phase="Sweeping", done=done, total=len(plans), detail=detail)
        progress(report)
        if plan in finished:
            cells.append(finished[plan])
            continue
        try:
            size = _size(table.matrix, plan, config)
        except ParameterError as error:
            notes[f"Left out: {error}."] = None
            continue
        # Every EM step reports the same cell again, so that a cancel is heard within it.
        arguments: dict[str, Any] = {
            **plan.arguments(config),
            **size,
            "weights": None if plan.method == "svd" else weights,
            "progress": _repeat(report, progress),
        }
        cells.append(_fit(table.matrix, plan, arguments, weights))
        if kept is not None:
            kept.append(asdict(cells[-1]))
    progress(Progress(phase="Sweeping", done=len(plans), total=len(plans)))
    if not cells:
        raise ParameterError(f"no cell of the sweep is possible. {' '.join(notes)}")
    return SweepResult(
        name=table.name,
        source=table.fingerprint,
        rows=table.matrix.shape[0],
        columns=table.matrix.shape[1],
        config=config,
        cells=tuple(cells),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    method: str
    k: int
    rate: float
    seed: int

    @property
    def caption(self) -> str:
        names = {"svd": "SVD", WEIGHTED_SVD: "weighted SVD"}
        name = names.get(self.method, f"k = {self.k}")
        return f"{name}, rate {self.rate:g}, seed {self.seed}"

    def arguments(self, config: SweepConfig) -> dict[str, Any]:
        """For `engine.factorize`, but the size and the weights."""
        if self.method != "messi":
            return {"method": "svd", "seed": self.seed}
        return {
            "k": self.k,
            "seed": self.seed,
            "n_init": config.n_init,
            "seeding": config.seeding,
            "allocation": config.allocation,
            "affine": config.affine,
            "loss": config.loss,
            "moves": config.moves,
        }


def _plans(config: SweepConfig, n: int) -> list[_Plan]:
    """Every cell in order; k = 1 is the SVD and has no chance in it."""
    ks = sorted({k for k in config.ks if k != 1})
    for k in ks:
        check_k(k, n)
    baselines = ("svd",) if config.weights == NO_WEIGHTS else ("svd", WEIGHTED_SVD)
    svd = [_Plan(name, 1, rate, config.seeds[0]) for name in baselines for rate in config.rates]
    return svd + [
        _Plan("messi", k, rate, seed) for k in ks for rate in config.rates for seed in config.seeds
    ]


def _repeat(report: Progress, progress: ProgressCallback) -> ProgressCallback:
    return lambda _: progress(report)


def _journal_header(table: EmbeddingTable, config: SweepConfig) -> dict[str, object]:
    return {"sweep": SCHEMA_VERSION, "source": table.fingerprint, "config": asdict(config)}


def _cells_of(journal: Journal) -> dict[_Plan, SweepCell]:
    """Finished cells by the plan they are of."""
    try:
        cells = [read_cell(part) for part in journal.parts]
    except TypeError as error:
        raise FormatError(
            f"{journal.path} is damaged ({error}); delete it to start anew"
        ) from error
    return {_Plan(cell.method, cell.k, cell.asked_rate, cell.seed): cell for cell in cells}


def _size(matrix: RowMatrix, plan: _Plan, config: SweepConfig) -> dict[str, Any]:
    """Rank of an SVD, rounded up in its favour; what k subspaces get, rounded down.

    Raises:
        ParameterError: If there is no room.
    """
    n, d = matrix.shape
    if plan.method != "messi":
        dimension_for_rate(n, d, 1, plan.rate)  # as the others: none at all where none fits
        return {"j": matching_rank(n, d, ceil((1 - plan.rate) * n * d))}
    if config.allocation == "optimal":
        budget = budget_for_rate(n, d, plan.rate)
        OptimalDimensions(
            k=plan.k, budget=budget - offset_parameters(d, plan.k, affine=config.affine)
        )
        return {"rate": plan.rate}
    return {"j": dimension_for_rate(n, d, plan.k, plan.rate, affine=config.affine)}


def _fit(
    matrix: RowMatrix, plan: _Plan, arguments: dict[str, Any], weights: Tensor | None
) -> SweepCell:
    began = time.perf_counter()
    factorization = factorize(matrix, **arguments)
    wall_seconds = time.perf_counter() - began
    return SweepCell(
        method=plan.method,
        k=plan.k,
        j=max(factorization.dimensions),
        asked_rate=plan.rate,
        rate=factorization.rate,
        parameters=factorization.parameters,
        stored_bytes=factorization.stored_bytes,
        seed=plan.seed,
        relative_error=factorization.relative_error(matrix),
        steps=len(factorization.cost_history),
        wall_seconds=wall_seconds,
        least_j=min(factorization.dimensions),
        weighted_error=None if weights is None else factorization.relative_error(matrix, weights),
    )
