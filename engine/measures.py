"""What a factorization keeps and loses: by row, by subspace, and among neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.errors import ParameterError
from engine.factorization import Factorization
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.rows import RowMatrix, each_block, read_rows

# Scatter matrices of float32 rows and their eigenvectors carry rounding of about 1e-7, which leaves
# up to 1e-8 of the energy even where a subspace could hold every row (measured on rows of falling
# spectrum). Below this, which of two errors is smaller means nothing.
EXACT_ERROR = 1e-6

# Names and upper ends, in occurrences per million tokens, of the bands that errors are shown by.
_BANDS = (("never", 0.0), ("rare", 1.0), ("medium", 100.0), ("frequent", float("inf")))

_ROW_BLOCK = 4096
_QUERY_BLOCK = 1024  # 1024 × 4096 scores at once: 17 MB in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class SubspaceSummary:
    """One subspace at a glance.

    Attributes:
        label: Its number, from 0.
        rows: Rows that live in it.
        dimension: j of this subspace.
        energy_kept: Share of its rows' Σ‖x‖² that the subspace holds, 0 … 1.
        error_share: Share of the whole squared error that its rows carry, 0 … 1.
        typical_rows: Row numbers closest to the mean direction of its rows, closest first.
    """

    label: int
    rows: int
    dimension: int
    energy_kept: float
    error_share: float
    typical_rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourOverlap:
    """How many of a row's nearest neighbours survive.

    Attributes:
        mean: Mean share of the nearest neighbours kept, 0 … 1.
        standard_error: Of that mean, from the sampled rows.
        count: Neighbours looked at for each row.
        queries: Rows sampled; their neighbours are sought among all rows.
        total_rows: All rows.
    """

    mean: float
    standard_error: float
    count: int
    queries: int
    total_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequencyBand:
    """The rows whose tokens occur about equally often, and what they lose.

    Attributes:
        name: ``"never"``, ``"rare"`` (up to 1 in a million), ``"medium"`` (up to 100) or
            ``"frequent"``.
        rows: Rows in it, at least 1.
        share_of_text: Share of all occurrences that are of these rows, 0 … 1.
        error: Mean over these rows of ‖x − x̂‖² / ‖x‖².
    """

    name: str
    rows: int
    share_of_text: float
    error: float


def row_norms(matrix: RowMatrix) -> Tensor:
    """‖x‖ of each row, shape (n,), float64."""
    norms = torch.empty(len(matrix), dtype=torch.float64)
    for rows, part in each_block(matrix, _ROW_BLOCK):
        norms[rows] = torch.linalg.vector_norm(part, dim=1).double()
    return norms


def relative_row_errors(residuals: Tensor, matrix: RowMatrix) -> Tensor:
    """Squared error of each row over its squared length.

    Args:
        residuals: Shape (n,), from `Factorization.squared_residuals`.
        matrix: Shape (n, d).

    Returns:
        Shape (n,), float64; 0 for a row of zeros.
    """
    norms = row_norms(matrix).square()
    return torch.where(norms > 0, residuals / norms.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def errors_by_frequency(row_errors: Tensor, counts: Tensor) -> tuple[FrequencyBand, ...]:
    """What frequent and rare tokens lose, each row's error relative to its own length.

    Args:
        row_errors: Shape (n,), from `relative_row_errors`.
        counts: Expected occurrences per million tokens, shape (n,), not all 0.

    Returns:
        The bands that hold a row, the rarest first.
    """
    bands: list[FrequencyBand] = []
    below = -1.0
    for name, upper in _BANDS:
        members = (counts > below) & (counts <= upper)
        below = upper
        if bool(members.any()):
            bands.append(
                FrequencyBand(
                    name=name,
                    rows=int(members.sum()),
                    share_of_text=float(counts[members].sum() / counts.sum()),
                    error=float(row_errors[members].mean()),
                )
            )
    return tuple(bands)


def summarise_subspaces(
    factorization: Factorization, matrix: RowMatrix, *, typical: int = 12
) -> tuple[SubspaceSummary, ...]:
    """A summary of each subspace, in label order.

    Args:
        factorization: Of ``matrix``.
        matrix: Shape (n, d).
        typical: How many typical rows to name.

    Returns:
        k summaries; an empty subspace keeps energy 0 and names no rows.

    Raises:
        ShapeError: If the matrix is not of the factorization's shape.

    Cost: four passes over the rows; extra memory O(n + k·d + block·d).
    """
    residuals = factorization.squared_residuals(matrix)
    norms = row_norms(matrix).square()
    closeness = _closeness_to_means(matrix, factorization.labels, factorization.k)
    error = max(float(residuals.sum()), torch.finfo(torch.float64).tiny)
    summaries: list[SubspaceSummary] = []
    for label, dimension in enumerate(factorization.dimensions):
        members = (factorization.labels == label).nonzero().squeeze(1)
        energy, lost = float(norms[members].sum()), float(residuals[members].sum())
        summaries.append(
            SubspaceSummary(
                label=label,
                rows=len(members),
                dimension=dimension,
                energy_kept=max(0.0, 1 - lost / energy) if energy > 0 else 0.0,
                error_share=lost / error,
                typical_rows=_typical_rows(closeness, members, typical),
            )
        )
    return tuple(summaries)


def sample_rows(n: int, count: int, seed: int) -> Tensor:
    """Row numbers drawn without repetition, ascending; all of them when ``count`` ≥ n."""
    generator = torch.Generator().manual_seed(seed % 2**63)  # what the generator can hold
    return torch.randperm(n, generator=generator)[:count].sort().values


def nearest_neighbours(
    matrix: RowMatrix | Factorization,
    queries: Tensor,
    *,
    count: int = 10,
    phase: str = "Comparing neighbours",
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """The rows of highest cosine similarity to each queried row, itself left out.

    Args:
        matrix: Shape (n, d), or a factorization: the rows are then those it approximates, made a
            block at a time.
        queries: Row numbers, shape (m,), int64.
        count: Neighbours for each, 1 … n−1.
        phase: What the progress reports are called.
        progress: Called after each block of rows.

    Returns:
        Shape (m, count), int64, most similar first.

    Raises:
        ParameterError: If ``count`` is out of range.

    Cost: 2·m·n·d flops, one pass over the rows; extra memory O(m·(d + count) + block²).
    """
    n = matrix.shape[0]
    if not 1 <= count < n:
        raise ParameterError(f"the number of neighbours must be between 1 and {n - 1}, got {count}")
    approximated = isinstance(matrix, Factorization)
    asked = matrix.reconstruct(queries) if approximated else read_rows(matrix, queries)
    return most_aligned(
        matrix, asked, leave_out=queries, count=count, phase=phase, progress=progress
    )[0]


def most_aligned(
    matrix: RowMatrix | Factorization,
    directions: Tensor,
    *,
    leave_out: Tensor,
    count: int,
    phase: str = "Comparing neighbours",
    progress: ProgressCallback = ignore_progress,
) -> tuple[Tensor, Tensor]:
    """The rows that point most along each direction.

    Args:
        matrix: As in `nearest_neighbours`.
        directions: Shape (m, d), of any length, in the dtype the rows are computed in.
        leave_out: A row for each direction that is not among its answers, shape (m,), int64.
        count: Rows for each, 1 … n−1.
        phase: What the progress reports are called.
        progress: Called after each block of rows.

    Returns:
        Row numbers, shape (m, count), int64, best first, and their cosines, the same shape.

    Cost: as `nearest_neighbours`.
    """
    n = matrix.shape[0]
    approximated = isinstance(matrix, Factorization)
    blocks = matrix.blocks(_ROW_BLOCK) if approximated else each_block(matrix, _ROW_BLOCK)
    asked = normalize(directions, dim=1)
    best = torch.full((len(asked), count), -torch.inf, dtype=asked.dtype)
    found = torch.zeros(len(asked), count, dtype=torch.int64)
    for rows, part in blocks:
        unit = normalize(part, dim=1)
        for start in range(0, len(asked), _QUERY_BLOCK):
            some = slice(start, start + _QUERY_BLOCK)
            scores = asked[some] @ unit.T
            _leave_out(scores, leave_out[some] - rows.start)
            _keep_best(best[some], found[some], scores, rows.start)
        progress(Progress(phase=phase, done=rows.stop, total=n))
    return found, best


def _leave_out(scores: Tensor, own: Tensor) -> None:
    """No row is its own neighbour: ``own`` is the column of each query, if it is in this block."""
    here = ((own >= 0) & (own < scores.shape[1])).nonzero().squeeze(1)
    scores[here, own[here]] = -torch.inf


def _keep_best(best: Tensor, found: Tensor, scores: Tensor, first_row: int) -> None:
    """Merge a block's scores into the best ones so far, in place."""
    count = best.shape[1]
    top = scores.topk(min(count, scores.shape[1]), dim=1)
    candidates = torch.cat([found, top.indices + first_row], dim=1)
    kept = torch.cat([best, top.values], dim=1).topk(count, dim=1)
    best.copy_(kept.values)
    found.copy_(candidates.gather(1, kept.indices))


def neighbour_overlap(before: Tensor, after: Tensor, total_rows: int) -> NeighbourOverlap:
    """Share of the neighbours in ``before`` that are in ``after`` as well.

    Args:
        before: Shape (m, count), from `nearest_neighbours` on the original rows.
        after: The same rows' neighbours in the approximation.
        total_rows: Rows the neighbours were sought among.

    Returns:
        The mean share and its standard error.
    """
    kept = (before[:, :, None] == after[:, None, :]).any(dim=2).double().mean(dim=1)
    spread = float(kept.std()) if len(kept) > 1 else 0.0
    return NeighbourOverlap(
        mean=float(kept.mean()),
        standard_error=spread / len(kept) ** 0.5,
        count=before.shape[1],
        queries=len(kept),
        total_rows=total_rows,
    )


def _closeness_to_means(matrix: RowMatrix, labels: Tensor, k: int) -> Tensor:
    """Each row's cosine with the mean direction of its label's rows, times that mean's length."""
    sums = torch.zeros(k, matrix.shape[1], dtype=torch.float64)
    for rows, unit in _unit_rows(matrix):
        sums.index_add_(0, labels[rows], unit)
    means = sums / labels.bincount(minlength=k).clamp(min=1)[:, None]
    closeness = torch.empty(len(matrix), dtype=torch.float64)
    for rows, unit in _unit_rows(matrix):
        closeness[rows] = (unit * means[labels[rows]]).sum(dim=1)
    return closeness


def _unit_rows(matrix: RowMatrix) -> Iterator[tuple[slice, Tensor]]:
    return (
        (rows, normalize(part.double(), dim=1)) for rows, part in each_block(matrix, _ROW_BLOCK)
    )


def _typical_rows(closeness: Tensor, members: Tensor, count: int) -> tuple[int, ...]:
    order = closeness[members].argsort(descending=True, stable=True)[:count]
    return tuple(members[order].tolist())
