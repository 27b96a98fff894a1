"""From a table and a plan to a factorization with the figures people decide by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from engine.budget import matching_rank
from engine.errors import ParameterError
from engine.factorization import Factorization
from engine.measures import (
    EXACT_ERROR,
    NeighbourOverlap,
    nearest_neighbours,
    neighbour_overlap,
    sample_rows,
)
from engine.methods import DEFAULT_STARTS, factorize
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.table import EmbeddingTable


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionConfig:
    """A plan: what to fit and what to measure.

    Attributes:
        method: ``"messi"`` or ``"svd"``.
        k: Number of subspaces; when left out 5, 1 for the SVD.
        j: Dimension of each subspace, or None when the rate decides.
        rate: Share of the parameters to remove, or None when j is given.
        seed: Decides every random choice.
        n_init: Number of starts.
        seeding: As in `engine.factorize`.
        neighbours: Nearest neighbours compared for each sampled row; 0 to leave that out.
        queries: Rows sampled for it.
    """

    method: str = "messi"
    k: int | None = None
    j: int | None = None
    rate: float | None = None
    seed: int = 0
    n_init: int = DEFAULT_STARTS
    seeding: str | Mapping[str, int] = "auto"
    neighbours: int = 10
    queries: int = 2000

    def __post_init__(self) -> None:
        """Check what is measured; `engine.factorize` checks the rest against the table.

        Raises:
            ParameterError: If ``neighbours`` is negative or ``queries`` below 1.
        """
        if self.neighbours < 0 or self.queries < 1:
            raise ParameterError(
                f"neighbours must be at least 0 and queries at least 1, got {self.neighbours} and "
                f"{self.queries}; neighbours=0 leaves the comparison out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFigures:
    """What one plan stores and loses.

    Attributes:
        k: Number of subspaces.
        dimensions: j_1 … j_k (the rank of an SVD).
        parameters: Numbers stored.
        stored_bytes: Bytes of everything stored, labels included.
        rate: 1 − parameters after / before.
        relative_error: ‖A − Â‖² / ‖A‖².
        neighbours_kept: Share of nearest neighbours kept, or None when not measured.
    """

    k: int
    dimensions: tuple[int, ...]
    parameters: int
    stored_bytes: int
    rate: float
    relative_error: float
    neighbours_kept: NeighbourOverlap | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compression:
    """A factorization beside the SVD that stores at least as many numbers.

    Attributes:
        factorization: What was asked for.
        figures: Its figures.
        svd: Figures of the SVD of the smallest rank with at least as many parameters.
        rows: n.
        columns: d.
        dense_bytes: Bytes of the uncompressed matrix in float32.
        source_bytes: The same in the dtype it was stored in.
        wall_seconds: Time of the fit, the SVD and the measuring.
    """

    factorization: Factorization
    figures: PlanFigures
    svd: PlanFigures
    rows: int
    columns: int
    dense_bytes: int
    source_bytes: int
    wall_seconds: float

    @property
    def beats_svd(self) -> bool:
        """Whether its error is below that of the SVD; never so where the SVD is exact."""
        ours, svd = self.figures.relative_error, self.svd.relative_error
        return ours < svd and svd > EXACT_ERROR

    @property
    def verdict(self) -> str:
        """One sentence that says which is closer to the table, whichever it is."""
        ours, svd = self.figures, self.svd
        rank = svd.dimensions[0]
        if ours.k == 1:
            return f"One subspace: this is the truncated SVD of rank {ours.dimensions[0]}."
        if max(ours.relative_error, svd.relative_error) <= EXACT_ERROR:
            return (
                f"Nothing is lost here by either: one subspace of rank {rank} already holds every "
                "row. Try a higher rate."
            )
        if not self.beats_svd:
            return (
                f"SVD wins here: one subspace of rank {rank} loses {svd.relative_error:.2%} of the "
                f"energy, {ours.k} subspaces of dimension {max(ours.dimensions)} lose "
                f"{ours.relative_error:.2%}. Their bases cost more than they save: try a smaller k "
                "or a higher rate."
            )
        gain = 1 - ours.relative_error / svd.relative_error
        less = "under 1%" if gain < 0.01 else "over 99%" if gain > 0.99 else f"{gain:.0%}"
        return (
            f"{ours.k} subspaces of dimension {max(ours.dimensions)} lose {less} less than one "
            f"of rank {rank}: {ours.relative_error:.2%} of the energy against "
            f"{svd.relative_error:.2%}, with no more parameters.{self._but_neighbours}"
        )

    @property
    def _but_neighbours(self) -> str:
        """A reservation, where less error has not kept more neighbours."""
        ours, svd = self.figures.neighbours_kept, self.svd.neighbours_kept
        if ours is None or svd is None or ours.mean >= svd.mean:
            return ""
        return f" It keeps fewer neighbours, though: {ours.mean:.1%} against {svd.mean:.1%}."

    def as_dict(self) -> dict[str, object]:
        """Everything but the tensors, as plain values for JSON."""
        record = self.factorization.record
        return {
            "rows": self.rows,
            "columns": self.columns,
            "parameters_before": self.rows * self.columns,
            "dense_bytes": self.dense_bytes,
            "source_bytes": self.source_bytes,
            **asdict(self.figures),
            "svd": asdict(self.svd),
            "beats_svd": self.beats_svd,
            "verdict": self.verdict,
            "starts": [asdict(start) for start in record.starts],
            "notes": list(record.notes),
            "wall_seconds": self.wall_seconds,
        }


def compress_table(
    table: EmbeddingTable,
    config: CompressionConfig,
    *,
    labels: Tensor | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Compression:
    """Fit the plan, fit the SVD of the same size, and measure both.

    Args:
        table: What to compress.
        config: The plan.
        labels: A first partition to start from, shape (n,).
        progress: Called throughout; raises `engine.Cancelled` to stop.

    Returns:
        The factorization and its figures beside the SVD's.

    Raises:
        ParameterError: If the plan does not fit the table.
    """
    began = time.perf_counter()
    factorization = factorize(
        table.matrix,
        method=config.method,
        k=config.k,
        j=config.j,
        rate=config.rate,
        seed=config.seed,
        n_init=config.n_init,
        seeding=config.seeding,
        labels=labels,
        progress=progress,
    )
    n, d = table.matrix.shape
    progress(Progress(phase="Fitting the SVD of the same size", done=0, total=1))
    baseline = factorize(
        table.matrix, method="svd", j=matching_rank(n, d, factorization.parameters)
    )
    progress(Progress(phase="Fitting the SVD of the same size", done=1, total=1))
    figures, svd = _measure(table.matrix, config, (factorization, baseline), progress)
    return Compression(
        factorization=factorization,
        figures=figures,
        svd=svd,
        rows=n,
        columns=d,
        dense_bytes=table.dense_bytes,
        source_bytes=n * d * _bytes_of(table.source_dtype),
        wall_seconds=time.perf_counter() - began,
    )


def _measure(
    matrix: Tensor,
    config: CompressionConfig,
    plans: tuple[Factorization, Factorization],
    progress: ProgressCallback,
) -> tuple[PlanFigures, PlanFigures]:
    count = min(config.neighbours, len(matrix) - 1)
    overlaps: list[NeighbourOverlap | None] = [None, None]
    if count > 0:
        queries = sample_rows(len(matrix), config.queries, config.seed)
        before = nearest_neighbours(
            matrix, queries, count=count, phase="Neighbours in the table", progress=progress
        )
        for index, (plan, name) in enumerate(zip(plans, ("the plan", "the SVD"), strict=True)):
            after = nearest_neighbours(
                plan.reconstruct(),
                queries,
                count=count,
                phase=f"Neighbours in {name}",
                progress=progress,
            )
            overlaps[index] = neighbour_overlap(before, after, len(matrix))
    ours, svd = (
        PlanFigures(
            k=plan.k,
            dimensions=plan.dimensions,
            parameters=plan.parameters,
            stored_bytes=plan.stored_bytes,
            rate=plan.rate,
            relative_error=plan.relative_error(matrix),
            neighbours_kept=overlap,
        )
        for plan, overlap in zip(plans, overlaps, strict=True)
    )
    return ours, svd


def _bytes_of(dtype: str) -> int:
    return getattr(torch, dtype).itemsize
