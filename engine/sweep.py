"""Error against compression rate: a grid of k and rates beside the SVD."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from engine.budget import check_k, check_rate, dimension_for_rate, matching_rank
from engine.errors import EngineError, FormatError, ParameterError
from engine.folders import write_file
from engine.methods import factorize
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.table import EmbeddingTable

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """The grid.

    Attributes:
        rates: Compression rates, each 0 … 1.
        ks: Numbers of subspaces; 1 is the SVD, which is always measured.
        seeds: One fit for each; the SVD has no chance in it and is fitted once.
        n_init: Starts of each fit.
        seeding: As in `engine.factorize`.
    """

    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    ks: tuple[int, ...] = (2, 3, 5, 10)
    seeds: tuple[int, ...] = (0, 1, 2)
    n_init: int = 1
    seeding: str = "auto"

    def __post_init__(self) -> None:
        """Check that the grid has cells.

        Raises:
            ParameterError: If a list is empty, or a rate, a seed or the starts are out of range.
        """
        if not (self.rates and self.ks and self.seeds):
            raise ParameterError("a sweep needs at least one rate, one k and one seed")
        # Here, since a fit would refuse them only after the cells before it.
        if min(self.seeds) < 0 or self.n_init < 1:
            raise ParameterError(
                f"a sweep needs seeds of at least 0 and at least 1 start, got "
                f"{min(self.seeds)} and {self.n_init}"
            )
        for rate in self.rates:
            check_rate(rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One fit.

    Attributes:
        method: ``"svd"`` or ``"messi"``.
        k: Number of subspaces.
        j: Their dimension.
        asked_rate: The rate of the grid.
        rate: The rate reached: for k > 1 never below the one asked for, for the SVD never above.
        parameters: Numbers stored.
        stored_bytes: Bytes of everything stored.
        seed: Seed of the fit.
        relative_error: ‖A − Â‖² / ‖A‖².
        steps: EM steps of the kept start.
        wall_seconds: Time of the fit.
    """

    method: str
    k: int
    j: int
    asked_rate: float
    rate: float
    parameters: int
    stored_bytes: int
    seed: int
    relative_error: float
    steps: int
    wall_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A finished grid.

    Attributes:
        name: Of the table.
        source: Content fingerprint of the matrix.
        rows: n.
        columns: d.
        config: The grid.
        cells: Every fit, the SVD's first.
        notes: Cells that could not be, each a full sentence.
    """

    name: str
    source: str
    rows: int
    columns: int
    config: SweepConfig
    cells: tuple[SweepCell, ...]
    notes: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """One line a cell, with a header line."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [item.name for item in fields(SweepCell)])
        writer.writeheader()
        writer.writerows(asdict(cell) for cell in self.cells)
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write CSV when the name ends in ``.csv``, all of it when in ``.json``.

        Raises:
            ParameterError: If the name ends otherwise or the folder does not exist.
            EngineError: If the disk refuses; the file is as it was then.
        """
        path = Path(path)
        check_sweep_target(path)
        if path.suffix == ".csv":
            text = self.to_csv()
        else:
            text = json.dumps({"schema": SCHEMA_VERSION, **asdict(self)}, allow_nan=False)
        try:
            write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise EngineError(
                f"could not write {path}: {error.strerror}; free some space or choose a folder "
                "you may write to"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Read the JSON that `save` wrote.

        Raises:
            FormatError: If the file is missing, damaged or from a newer version.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("schema") != SCHEMA_VERSION:
                raise FormatError(f"{path} is of another schema version; update subspace-atlas")
            return cls.from_dict(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path} is not a sweep of ours: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepResult:
        """Undo `dataclasses.asdict` after a trip through JSON.

        Raises:
            KeyError: If a key is missing.
            TypeError: If a key is unknown, or a cell holds a value of the wrong type.
        """
        config = cast("dict[str, Any]", values["config"])
        cells = cast("list[dict[str, Any]]", values["cells"])
        grid: dict[str, Any] = {
            **config,
            **{name: tuple(config[name]) for name in ("rates", "ks", "seeds")},
        }
        whole: dict[str, Any] = {
            "config": SweepConfig(**grid),
            "cells": tuple(_read_cell(cell) for cell in cells),
            "notes": tuple(values["notes"]),
        }
        return cls(**{**values, **whole})


def _read_cell(values: dict[str, Any]) -> SweepCell:
    cell = SweepCell(**values)
    for item in fields(SweepCell):
        value = getattr(cell, item.name)
        kinds = {"str": str, "int": int, "float": int | float}[str(item.type)]
        if not isinstance(value, kinds) or value != value:  # NaN alone differs from itself
            raise TypeError(f"{item.name} must be a {item.type}, got {value!r}")
    return cell


def check_sweep_target(path: Path) -> None:
    """Refuse a file that a sweep cannot be written to; call it before long work.

    Raises:
        ParameterError: If the name ends in neither ``.csv`` nor ``.json``, or its folder is not
            there or cannot be written to.
    """
    if path.suffix not in (".csv", ".json"):
        raise ParameterError(f"a sweep is written to a .csv or .json file, got {path.name!r}")
    if not path.parent.is_dir():
        raise ParameterError(f"{path.parent} is not a folder; make it first")
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise ParameterError(f"{path} cannot be written to; choose another place")


def run_sweep(
    table: EmbeddingTable,
    config: SweepConfig | None = None,
    *,
    progress: ProgressCallback = ignore_progress,
) -> SweepResult:
    """Fit every cell of the grid.

    Args:
        table: What to compress.
        config: The grid; the default one when left out.
        progress: Called after every cell; raises `engine.Cancelled` to stop.

    Returns:
        The SVD at every rate, of the smallest rank that uses up the budget, so that no k has more
        numbers to spend than the SVD beside it; then every k at every rate for every seed. A cell
        with no room for one dimension is left out and noted.

    Raises:
        ParameterError: If a k does not fit the table, or no cell does.
    """
    config = config or SweepConfig()
    n, d = table.matrix.shape
    cells: list[SweepCell] = []
    notes: dict[str, None] = {}  # a set that keeps its order
    plans = _plans(config, n)
    for done, plan in enumerate(plans):
        report = Progress(phase="Sweeping", done=done, total=len(plans), detail=plan.caption)
        progress(report)
        try:
            j = _dimension(n, d, plan)
        except ParameterError as error:
            notes[f"Left out: {error}."] = None
            continue
        # Every EM step reports the same cell again, so that a cancel is heard within it.
        cells.append(_fit(table.matrix, plan, j, config, lambda _, report=report: progress(report)))
    progress(Progress(phase="Sweeping", done=len(plans), total=len(plans)))
    if not cells:
        raise ParameterError(f"no cell of the sweep is possible. {' '.join(notes)}")
    return SweepResult(
        name=table.name,
        source=table.fingerprint,
        rows=n,
        columns=d,
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
        name = "SVD" if self.method == "svd" else f"k = {self.k}"
        return f"{name}, rate {self.rate:g}, seed {self.seed}"


def _plans(config: SweepConfig, n: int) -> list[_Plan]:
    """Every cell in order; k = 1 is the SVD and has no chance in it."""
    ks = sorted({k for k in config.ks if k != 1})
    for k in ks:
        check_k(k, n)
    svd = [_Plan("svd", 1, rate, config.seeds[0]) for rate in config.rates]
    return svd + [
        _Plan("messi", k, rate, seed) for k in ks for rate in config.rates for seed in config.seeds
    ]


def _dimension(n: int, d: int, plan: _Plan) -> int:
    """Rank of the SVD, rounded up in its favour; dimension of k subspaces, rounded down."""
    within = dimension_for_rate(n, d, plan.k, plan.rate)
    return matching_rank(n, d, ceil((1 - plan.rate) * n * d)) if plan.method == "svd" else within


def _fit(
    matrix: Tensor, plan: _Plan, j: int, config: SweepConfig, progress: ProgressCallback
) -> SweepCell:
    began = time.perf_counter()
    factorization = factorize(
        matrix,
        method=plan.method,
        k=plan.k,
        j=j,
        seed=plan.seed,
        n_init=config.n_init,
        seeding=config.seeding,
        progress=progress,
    )
    wall_seconds = time.perf_counter() - began
    return SweepCell(
        method=plan.method,
        k=plan.k,
        j=j,
        asked_rate=plan.rate,
        rate=factorization.rate,
        parameters=factorization.parameters,
        stored_bytes=factorization.stored_bytes,
        seed=plan.seed,
        relative_error=factorization.relative_error(matrix),
        steps=len(factorization.cost_history),
        wall_seconds=wall_seconds,
    )
