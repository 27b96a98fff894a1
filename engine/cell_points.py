"""The cells of a sweep as points of a frontier, each with the plan that makes it."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from engine.cells import Plan
from engine.curves import error_of
from engine.frequencies.row_use import NO_WEIGHTS
from engine.frontier import BytePoint, Family, SizeCurves
from engine.grid import (
    CODED,
    CODED_KS,
    PLAIN_BITS,
    ROUNDING,
    WEIGHTED_SVD,
    SweepCell,
    SweepConfig,
    SweepResult,
)

_DECIDE_TIMES = ("n_init", "seeding", "allocation", "affine", "loss", "moves", "weights")


def read_size_curves(sweep: SweepResult, *, weighted: bool = False) -> SizeCurves:
    """Gather the cells of a sweep by how the table is stored.

    Args:
        sweep: Of one table.
        weighted: Read the weighted error.

    Raises:
        ParameterError: If the weighted error is asked for and was not measured.
    """
    groups: dict[tuple[object, ...], list[SweepCell]] = {}
    for cell in sweep.cells:
        key = (cell.method, cell.k, cell.asked_rate, cell.bits, cell.group, cell.share)
        groups.setdefault(key, []).append(cell)
    fits = {_fit_of(cell): cell.wall_seconds for cell in sweep.cells if cell.bits == PLAIN_BITS}
    points = [_point(group, sweep, fits, weighted=weighted) for group in groups.values()]
    return SizeCurves(
        measure="squared error, weighted by use" if weighted else "relative squared error",
        points=tuple(sorted(points, key=lambda point: point.stored_bytes)),
        dense_bytes=4 * sweep.rows * sweep.columns,
        weighted=weighted,
    )


def expected_seconds(measured: SweepResult, config: SweepConfig) -> float | None:
    """About how long a grid takes, by what fits of the same table took.

    Args:
        measured: A sweep of that table.
        config: The grid.

    Returns:
        Seconds on the machine of that sweep; None where it fitted in another way, or has no fit of
        a k that the grid asks for.
    """
    if any(getattr(measured.config, name) != getattr(config, name) for name in _DECIDE_TIMES):
        return None
    times: dict[tuple[str, int, int], list[float]] = {}
    for cell in measured.cells:
        times.setdefault((cell.method, cell.k, cell.bits), []).append(cell.wall_seconds)
    rates, fits = len(config.rates), {("svd", 1): len(config.rates)}
    if config.weights != NO_WEIGHTS:
        fits[WEIGHTED_SVD, 1] = rates
    fits |= {("messi", k): rates * len(config.seeds) for k in config.ks if k > 1}
    stored = (PLAIN_BITS, *(coding.bits for coding in config.codings))
    wanted = {(*fit, bits): count for fit, count in fits.items() for bits in stored}
    if config.shares:
        wanted |= {(CODED, k, 0): len(config.shares) for k in CODED_KS}
    if not wanted.keys() <= times.keys():
        return None
    return sum(count * fmean(times[key]) for key, count in wanted.items())


def cell_plan(cell: SweepCell, config: SweepConfig) -> dict[str, Any] | None:
    """What makes a cell of a sweep anew, as keyword arguments of `engine.plans.CompressionConfig`.

    Args:
        cell: Of a sweep.
        config: Of that sweep.

    Returns:
        None of rounding, which is no fit.
    """
    if cell.method == ROUNDING:
        return None
    plan = Plan(cell.method, cell.k, cell.asked_rate, cell.seed, cell.share).arguments(config)
    if cell.method == CODED:
        plan["max_bytes"] = f"{100 * cell.share:g}%"
    elif plan.get("allocation") == "optimal":
        plan["rate"] = cell.asked_rate
    else:
        plan["j"] = cell.j
    if cell.bits not in (PLAIN_BITS, 0):
        plan |= {"bits": cell.bits, "basis_bits": cell.basis_bits}
    if config.weights != NO_WEIGHTS and cell.method != "svd":
        plan |= {
            "weights": config.weights,
            "weight_power": config.weight_power,
            "weight_floor": config.weight_floor,
        }
    return plan


def _fit_of(cell: SweepCell) -> tuple[object, ...]:
    """What cells in fewer bits share with the fit that they round."""
    return cell.method, cell.k, cell.asked_rate, cell.seed


def _point(
    group: list[SweepCell],
    sweep: SweepResult,
    fits: dict[tuple[object, ...], float],
    *,
    weighted: bool,
) -> BytePoint:
    errors = [error_of(one, weighted=weighted) for one in group]
    cell = group[errors.index(min(errors))]  # the seed that a plan is worth making by
    family: Family = "messi"
    line = f"k = {cell.k}"
    if cell.method == ROUNDING:
        family, line = "rounding", name_group(cell.group, sweep.columns)
    elif cell.method == CODED:
        family, line = "coded", f"coded, k = {cell.k}"
    elif cell.method in ("svd", WEIGHTED_SVD):
        family, line = "svd", "SVD" if cell.method == "svd" else "weighted SVD"
    return BytePoint(
        family=family,
        line=line,
        k=cell.k,
        bits=cell.bits,
        rate=cell.asked_rate,
        stored_bytes=round(fmean(one.stored_bytes for one in group)),
        value=fmean(errors),
        lowest=min(errors),
        highest=max(errors),
        plan=cell_plan(cell, sweep.config),
        seconds=_seconds(cell, fits),
    )


def _seconds(cell: SweepCell, fits: dict[tuple[object, ...], float]) -> float:
    """Time of the cell, and in fewer bits of the fit before it."""
    rounded = cell.bits != PLAIN_BITS and cell.method not in (CODED, ROUNDING)
    return cell.wall_seconds + (fits.get(_fit_of(cell), 0.0) if rounded else 0.0)


def name_group(group: int, columns: int) -> str:
    """Which numbers of a table share a step, in words: a row's, or ``group`` of them."""
    return "a step a row" if group >= columns else f"groups of {group}"
