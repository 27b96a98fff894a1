"""What a factorization keeps and loses: by row, by subspace, and among neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.errors import ParameterError
from engine.factorization import Factorization
from engine.progress import Progress, ProgressCallback, ignore_progress

# Scatter matrices of float32 rows and their eigenvectors carry rounding of about 1e-7, which leaves
# up to 1e-8 of the energy even where a subspace could hold every row (measured on rows of falling
# spectrum). Below this, which of two errors is smaller means nothing.
EXACT_ERROR = 1e-6

_QUERY_BLOCK = 256  # 256 × n scores at once: 31 MB at 30,522 rows


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


def row_norms(matrix: Tensor) -> Tensor:
    """‖x‖ of each row, shape (n,), float64."""
    return torch.linalg.vector_norm(matrix, dim=1).double()


def relative_row_errors(residuals: Tensor, matrix: Tensor) -> Tensor:
    """Squared error of each row over its squared length.

    Args:
        residuals: Shape (n,), from `Factorization.squared_residuals`.
        matrix: Shape (n, d).

    Returns:
        Shape (n,), float64; 0 for a row of zeros.
    """
    norms = row_norms(matrix).square()
    return torch.where(norms > 0, residuals / norms.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def summarise_subspaces(
    factorization: Factorization, matrix: Tensor, *, typical: int = 12
) -> tuple[SubspaceSummary, ...]:
    """A summary of each subspace, in label order.

    Args:
        factorization: Of ``matrix``.
        matrix: Shape (n, d).
        typical: How many typical rows to name.

    Returns:
        k summaries; an empty subspace keeps energy 0 and names no rows.
    """
    residuals = factorization.squared_residuals(matrix)
    norms = row_norms(matrix).square()
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
                typical_rows=_typical_rows(matrix, members, typical),
            )
        )
    return tuple(summaries)


def sample_rows(n: int, count: int, seed: int) -> Tensor:
    """Row numbers drawn without repetition, ascending; all of them when ``count`` ≥ n."""
    generator = torch.Generator().manual_seed(seed % 2**63)  # what the generator can hold
    return torch.randperm(n, generator=generator)[:count].sort().values


def nearest_neighbours(
    matrix: Tensor,
    queries: Tensor,
    *,
    count: int = 10,
    phase: str = "Comparing neighbours",
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """The rows of highest cosine similarity to each queried row, itself left out.

    Args:
        matrix: Shape (n, d).
        queries: Row numbers, shape (m,), int64.
        count: Neighbours for each, 1 … n−1.
        phase: What the progress reports are called.
        progress: Called after each block of queries.

    Returns:
        Shape (m, count), int64, most similar first.

    Raises:
        ParameterError: If ``count`` is out of range.

    Cost: 2·m·n·d flops; extra memory O(n·d + block·n).
    """
    if not 1 <= count < len(matrix):
        raise ParameterError(
            f"the number of neighbours must be between 1 and {len(matrix) - 1}, got {count}"
        )
    unit = normalize(matrix, dim=1)
    found = torch.empty(len(queries), count, dtype=torch.int64)
    for start in range(0, len(queries), _QUERY_BLOCK):
        block = queries[start : start + _QUERY_BLOCK]
        scores = unit[block] @ unit.T
        scores[torch.arange(len(block)), block] = -torch.inf
        found[start : start + _QUERY_BLOCK] = scores.topk(count, dim=1).indices
        done = min(start + _QUERY_BLOCK, len(queries))
        progress(Progress(phase=phase, done=done, total=len(queries)))
    return found


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


def _typical_rows(matrix: Tensor, members: Tensor, count: int) -> tuple[int, ...]:
    if not len(members):
        return ()
    unit = normalize(matrix[members], dim=1)
    closeness = unit @ unit.mean(dim=0)
    order = closeness.argsort(descending=True, stable=True)[:count]
    return tuple(members[order].tolist())
