"""From a table and a plan to a factorization with the figures people decide by."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from engine.budget import svd_beside
from engine.factorization import Factorization
from engine.figures import (
    PlanFigures,
    compare_plans,
    is_closer,
    is_plain_svd,
    measure_plan,
)
from engine.frequencies.row_use import count_row_use
from engine.measures import (
    NeighbourOverlap,
    nearest_neighbours,
    neighbour_overlap,
    sample_rows,
)
from engine.methods import Fitter, fit_alone
from engine.plans import CompressionConfig, check_fit_memory, fit_plan, fit_svd
from engine.progress import ProgressCallback, ignore_progress
from engine.rows import RowMatrix
from engine.table import EmbeddingTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compression:
    """A factorization beside the SVDs that store at least as many numbers; bytes, if it is coded.

    Attributes:
        config: What was asked for.
        factorization: What came of it.
        figures: Its figures.
        svd: Figures of the SVD beside it, as `engine.budget.svd_beside` chooses it.
        weighted_svd: The same for the SVD fitted with the same weights; None without weights.
        rows: n.
        columns: d.
        dense_bytes: Bytes of the uncompressed matrix in float32.
        source_bytes: The same in the dtype it was stored in.
        wall_seconds: Time of the fit, the SVDs and the measuring.
    """

    config: CompressionConfig
    factorization: Factorization
    figures: PlanFigures
    svd: PlanFigures
    weighted_svd: PlanFigures | None
    rows: int
    columns: int
    dense_bytes: int
    source_bytes: int
    wall_seconds: float

    @property
    def _rival(self) -> PlanFigures:
        """The SVD that was fitted for the same error as the plan."""
        return self.svd if self.weighted_svd is None else self.weighted_svd

    @property
    def beats_svd(self) -> bool:
        """Whether it loses less than the SVD fitted with the same weights, by that error.

        Never so where that SVD is exact, or where the plan is such an SVD itself.
        """
        config, ours = self.config, self.figures
        return is_closer(ours, self._rival) and not is_plain_svd(
            ours.k, affine=config.affine, loss=config.loss, coded=ours.coded
        )

    @property
    def verdict(self) -> str:
        """What is closer to the table, whichever it is, in a sentence or two."""
        config = self.config
        verdict = compare_plans(
            self.figures,
            self._rival,
            affine=config.affine,
            loss=config.loss,
            coding=self.factorization.coding,
        )
        return f"{verdict}{self._but_unweighted}{self._but_neighbours}{self._but_larger}"

    @property
    def _but_larger(self) -> str:
        """A reservation, where more is stored than there was."""
        if self.figures.stored_bytes <= self.dense_bytes:
            return ""
        return (
            f" The result is larger than the table, though: {self.figures.stored_bytes:,} bytes "
            f"against {self.dense_bytes:,}; lower j{' or k' if self.figures.k > 1 else ''}."
        )

    @property
    def _but_unweighted(self) -> str:
        """A reservation, where only the weights make it the closer one."""
        ours, svd = self.figures.relative_error, self.svd.relative_error
        if not self.beats_svd or ours < svd:
            return ""
        return (
            f" With every row counted alike, the plain SVD is closer, though: {svd:.2%} lost "
            f"against {ours:.2%}."
        )

    @property
    def _but_neighbours(self) -> str:
        """A reservation, where less error keeps fewer neighbours, beyond the sample's chance."""
        ours, rival = self.figures.neighbours_kept, self._rival.neighbours_kept
        if not self.beats_svd or ours is None or rival is None:
            return ""
        noise = 2 * math.hypot(ours.standard_error, rival.standard_error)  # as if on other rows
        if rival.mean - ours.mean <= noise:
            return ""
        return f" It keeps fewer neighbours, though: {ours.mean:.1%} against {rival.mean:.1%}."

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the fit, each a full sentence."""
        notes = self.factorization.record.notes
        if self.config.k == "auto" and self.config.method != "coded":  # its own note says more
            chosen = (
                f"k = {self.figures.k} was chosen: it lost least in a short trial of several k."
            )
            return (chosen, *notes)
        return notes

    def as_dict(self) -> dict[str, object]:
        """Everything but the tensors, as plain values for JSON."""
        config, record = self.config, self.factorization.record
        use = {
            "source": config.weights,
            "power": config.weight_power,
            "floor": config.weight_floor,
        }
        return {
            "rows": self.rows,
            "columns": self.columns,
            "parameters_before": self.rows * self.columns,
            "dense_bytes": self.dense_bytes,
            "source_bytes": self.source_bytes,
            **asdict(self.figures),
            "svd": asdict(self.svd),
            "weighted_svd": None if self.weighted_svd is None else asdict(self.weighted_svd),
            "weights": None if self.weighted_svd is None else use,
            "beats_svd": self.beats_svd,
            "verdict": self.verdict,
            "starts": [asdict(start) for start in record.starts],
            "notes": list(self.notes),
            "wall_seconds": self.wall_seconds,
        }


def compress_table(
    table: EmbeddingTable,
    config: CompressionConfig,
    *,
    labels: Tensor | None = None,
    fitter: Fitter = fit_alone,
    progress: ProgressCallback = ignore_progress,
) -> Compression:
    """Fit the plan, fit the SVDs of the same size, and measure all.

    Args:
        table: What to compress.
        config: The plan.
        labels: A first partition to start from, shape (n,).
        fitter: Who fits; see `engine.methods.factorize`.
        progress: Called throughout; raises `engine.Cancelled` to stop.

    Returns:
        The factorization and its figures beside the SVD's, and beside those of the weighted SVD
        where tokens are weighted.

    Raises:
        ParameterError: If the plan does not fit the table.
        SourceError: If the tokens cannot be counted.
        MemoryShortageError: If it would need more memory than is free.
    """
    began = time.perf_counter()
    check_fit_memory(table, config)
    use = count_row_use(
        table, config.weights, config.weight_power, config.weight_floor, progress=progress
    )
    weights = None if use is None else use.weights
    factorization = fit_plan(table, config, use, labels=labels, fitter=fitter, progress=progress)
    n, d = table.matrix.shape
    size = svd_beside(n, d, factorization.parameters, factorization.stored_bytes)
    fit = partial(fit_svd, table, size, fitter=fitter, progress=progress)
    named = {"the plan": factorization, "the SVD": fit(None)}
    if weights is not None:
        name = "the weighted SVD"
        named[name] = fit(weights, name=name)
    overlaps = _compare_neighbours(table.matrix, config, named, progress)
    figures = {
        name: measure_plan(plan, table.matrix, use, overlaps.get(name))
        for name, plan in named.items()
    }
    return Compression(
        config=config,
        factorization=factorization,
        figures=figures["the plan"],
        svd=figures["the SVD"],
        weighted_svd=figures.get("the weighted SVD"),
        rows=n,
        columns=d,
        dense_bytes=table.dense_bytes,
        source_bytes=n * d * _bytes_of(table.source_dtype),
        wall_seconds=time.perf_counter() - began,
    )


def _compare_neighbours(
    matrix: RowMatrix,
    config: CompressionConfig,
    plans: Mapping[str, Factorization],
    progress: ProgressCallback,
) -> dict[str, NeighbourOverlap]:
    """Neighbours kept by each plan; nothing where none are to be compared."""
    count = min(config.neighbours, len(matrix) - 1)
    if count < 1:
        return {}
    queries = sample_rows(len(matrix), config.queries, config.seed)
    before = nearest_neighbours(
        matrix, queries, count=count, phase="Neighbours in the table", progress=progress
    )
    overlaps: dict[str, NeighbourOverlap] = {}
    for name, plan in plans.items():
        phase = f"Neighbours in {name}"
        after = nearest_neighbours(plan, queries, count=count, phase=phase, progress=progress)
        overlaps[name] = neighbour_overlap(before, after, len(matrix))
    return overlaps


def _bytes_of(dtype: str) -> int:
    return getattr(torch, dtype).itemsize
