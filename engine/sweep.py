"""A grid of k and rates beside the SVD, in 32 and fewer bits, coded subspaces, plain rounding."""

from __future__ import annotations

from dataclasses import asdict
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
from engine.cells import Plan, coded_cell, fit_cells, rounding_cells, rounding_groups
from engine.clustering.allocation import OptimalDimensions
from engine.coding.fitting import NoRoomError
from engine.errors import FormatError, ParameterError
from engine.frequencies.row_use import NO_WEIGHTS, count_row_use
from engine.grid import (
    CODED,
    CODED_KS,
    PLAIN_BITS,
    ROUNDING,
    SCHEMA_VERSION,
    WEIGHTED_SVD,
    SweepCell,
    SweepConfig,
    SweepResult,
    check_sweep_target,
    read_cell,
)
from engine.journal import Journal
from engine.memory import FLOAT_BYTES, check_memory, coded_fit_bytes, fit_bytes
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.rows import RowMatrix
from engine.table import EmbeddingTable
from engine.wording import counted

__all__ = ["SweepCell", "SweepConfig", "SweepResult", "check_sweep_target", "run_sweep"]

_STORED = ("bits", "basis_bits", "shares")  # settings that say how a fit is stored, not what it is


def run_sweep(
    table: EmbeddingTable,
    config: SweepConfig | None = None,
    *,
    journal: Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> SweepResult:
    """Fit every cell of the grid, and measure each fit in every number of bits.

    Args:
        table: What to compress.
        config: The grid; the default one when left out.
        journal: A file that keeps each finished cell. A later run of the same grid on the same
            table takes them over; delete it when the result is saved.
        progress: Called after every cell; raises `engine.Cancelled` to stop.

    Returns:
        The SVD at every rate, of the smallest rank that uses up the budget, so that no k has more
        numbers to spend than the SVD beside it; the same by weights where there are some; then
        every k at every rate for every seed; after each of them itself in fewer bits; then coded
        subspaces in every share of the bytes, and after all the table rounded to 8, 4, 3 and 2
        bits. A cell with no room for one dimension is left out and noted.

    Raises:
        ParameterError: If a k does not fit the table, no cell does, or the journal is of another
            table or grid.
        FormatError: If the journal is damaged.
        SourceError: If the tokens cannot be counted.
        MemoryShortageError: If it would need more memory than is free.
    """
    config = config or SweepConfig()
    _check_memory(table, config)
    cells: list[SweepCell] = []
    notes: dict[str, None] = {}  # a set that keeps its order
    plans = _plans(config, len(table.matrix))
    kept = None if journal is None else Journal(journal, _journal_header(table, config))
    finished = {} if kept is None else _finished(kept, config, table.matrix.shape[1])
    use = count_row_use(
        table, config.weights, config.weight_power, config.weight_floor, progress=progress
    )
    weights = None if use is None else use.weights
    taken = f", {counted(len(finished), 'fit')} taken over" if finished else ""
    for done, plan in enumerate(plans):
        detail = f"{plan.caption}{taken}"
        report = Progress(phase="Sweeping", done=done, total=len(plans), detail=detail)
        progress(report)
        if plan in finished:
            cells += finished[plan]
            continue
        if plan.method == ROUNDING and not cells:
            break
        # Every EM step and every coding reports the same plan again, so that a cancel is heard
        # within it.
        beat = _repeat(report, progress)
        try:
            made = _make(table.matrix, plan, config, weights, beat)
        except _LeftOut as error:
            notes[f"Left out: {error}."] = None
            continue
        cells += made
        if kept is not None:
            kept.append(*map(asdict, made))
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


def _check_memory(table: EmbeddingTable, config: SweepConfig) -> None:
    n, d = table.matrix.shape
    advice = "leave out the lowest rates, keep fewer rows, or close other programs"
    j = (1 - min(config.rates)) * d
    needed = fit_bytes(n, d, k=max(config.ks, default=1), j=j, plans=2)  # one, and in fewer bits
    if config.shares:
        needed = max(needed, coded_fit_bytes(n, d, k=max(CODED_KS)))
    check_memory(f"A sweep of {n:,} × {d:,} numbers", needed, advice)


class _LeftOut(Exception):
    """A cell with no room for what was asked; the text says why."""


def _make(
    matrix: RowMatrix,
    plan: Plan,
    config: SweepConfig,
    weights: Tensor | None,
    progress: ProgressCallback,
) -> list[SweepCell]:
    """Fit a plan, or round the table, and measure it."""
    if plan.method == ROUNDING:
        return rounding_cells(matrix, config, weights, progress)
    arguments = plan.arguments(config) | {"weights": None if plan.method == "svd" else weights}
    try:
        arguments |= _size(matrix, plan, config)
    except ParameterError as error:
        raise _LeftOut(str(error)) from error
    if plan.method == CODED:
        try:
            return [coded_cell(matrix, plan, arguments, weights, progress)]
        except NoRoomError as error:
            # One note, however many sizes.
            raise _LeftOut("coded subspaces of sizes with no room for a basis vector") from error
    return fit_cells(matrix, plan, arguments, config.codings, weights, progress)


def _plans(config: SweepConfig, n: int) -> list[Plan]:
    """Every fit in order, and rounding; k = 1 is the SVD and has no chance in it."""
    ks = sorted({k for k in config.ks if k != 1})
    for k in ks:
        check_k(k, n)
    baselines = ("svd",) if config.weights == NO_WEIGHTS else ("svd", WEIGHTED_SVD)
    svd = [Plan(name, 1, rate, config.seeds[0]) for name in baselines for rate in config.rates]
    ours = [
        Plan("messi", k, rate, seed) for k in ks for rate in config.rates for seed in config.seeds
    ]
    coded = [
        Plan(CODED, k, 0.0, config.seeds[0], share)
        for k in CODED_KS
        if k <= n
        for share in config.shares
    ]
    return svd + ours + coded + ([_rounding(config)] if config.codings else [])


def _rounding(config: SweepConfig) -> Plan:
    return Plan(ROUNDING, 0, 0.0, config.seeds[0])


def _repeat(report: Progress, progress: ProgressCallback) -> ProgressCallback:
    return lambda _: progress(report)


def _journal_header(table: EmbeddingTable, config: SweepConfig) -> dict[str, object]:
    """What decides a fit. How it is stored each cell says itself: journals are good for others."""
    fits = {name: value for name, value in asdict(config).items() if name not in _STORED}
    return {"sweep": SCHEMA_VERSION, "source": table.fingerprint, "config": fits}


def _finished(journal: Journal, config: SweepConfig, columns: int) -> dict[Plan, list[SweepCell]]:
    """Plans of which every cell is there; one stopped within is done anew."""
    try:
        cells = [read_cell(part) for part in journal.parts]
    except TypeError as error:
        raise FormatError(
            f"{journal.path} is damaged ({error}); delete it to start anew"
        ) from error
    found: dict[Plan, dict[tuple[int, int, int], SweepCell]] = {}
    for cell in cells:
        plan = Plan(cell.method, cell.k, cell.asked_rate, cell.seed, cell.share)
        found.setdefault(plan, {})[cell.bits, cell.basis_bits, cell.group] = cell
    fitted = [(PLAIN_BITS, PLAIN_BITS, 0), *((c.bits, c.basis_bits, 0) for c in config.codings)]
    rounded = [(bits, 0, group) for bits, group in rounding_groups(columns)]
    own = {ROUNDING: rounded, CODED: [(0, 0, 0)]}
    wanted = {plan: own.get(plan.method, fitted) for plan in found}
    return {
        plan: [found[plan][key] for key in keys]
        for plan, keys in wanted.items()
        if found[plan].keys() >= set(keys)
    }


def _size(matrix: RowMatrix, plan: Plan, config: SweepConfig) -> dict[str, Any]:
    """Rank of an SVD, rounded up in its favour; what k subspaces get, rounded down; or bytes.

    Raises:
        ParameterError: If there is no room.
    """
    n, d = matrix.shape
    if plan.method == CODED:
        return {"max_bytes": int(plan.share * FLOAT_BYTES * n * d)}
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
