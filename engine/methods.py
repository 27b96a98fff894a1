"""The facade: one function from a matrix to a factorization, whatever the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import cycle, islice

import psutil
import torch
from torch import Tensor

from engine.budget import check_dimension, check_k, dimension_for_rate
from engine.clustering.em import WeightedRows
from engine.clustering.search import SearchSettings, StartReport, search
from engine.clustering.seeding import SEEDINGS
from engine.errors import ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord, project_rows
from engine.progress import ProgressCallback, ignore_progress
from engine.provenance import fingerprint_matrix, installed_versions
from engine.table import check_finite

METHODS = ("messi", "svd")
DEFAULT_K = 5
DEFAULT_STARTS = 3
# Measured on embeddings: directions ends lowest, norms next; random is the paper's own start and
# the one that needs no structure in the rows, so every third start is one.
_AUTO_CYCLE = ("directions", "norms", "random", "directions", "directions", "random")


def factorize(  # noqa: PLR0913 - the facade gathers what the parts below take apart
    matrix: Tensor,
    *,
    method: str = "messi",
    k: int | None = None,
    j: int | None = None,
    rate: float | None = None,
    weights: Tensor | None = None,
    seed: int = 0,
    n_init: int = DEFAULT_STARTS,
    seeding: str | Mapping[str, int] = "auto",
    labels: Tensor | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-4,
    progress: ProgressCallback = ignore_progress,
) -> Factorization:
    """Approximate the rows of a matrix by k subspaces.

    Args:
        matrix: Shape (n, d), float; finite. Half precision is computed in float32.
        method: ``"messi"`` (k subspaces, EM) or ``"svd"`` (the best single subspace).
        k: Number of subspaces, 1 … n; 5 when left out, 1 for the SVD.
        j: Dimension of each subspace (the rank of an SVD), 1 … d. Give j or the rate.
        rate: Share of the parameters to remove, 0 … 1; j is the largest that fits.
        weights: Shape (n,), not negative; a row of weight m counts as m copies of it.
        seed: Decides every random choice; the same seed gives the same labels on one machine and
            thread count.
        n_init: Number of starts when ``seeding`` is one name or ``"auto"``.
        seeding: A name from `engine.clustering.seeding.SEEDINGS`, ``"auto"`` for a mix of them,
            or how many starts of each, as in ``{"directions": 3, "random": 10}``.
        labels: A first partition of your own, shape (n,); run as one more start. With
            ``n_init=0`` it is the only one.
        max_iterations: EM step limit of a start.
        tolerance: A start is settled when a step lowers its cost by no more than this share.
        progress: Called after every step; raises `engine.Cancelled` to stop.

    Returns:
        The cheapest start's factorization; ``record.starts`` reports all of them.

    Raises:
        ParameterError: If a parameter is out of range, k needs more memory than is free, or both
            or neither of j and rate are given.
        ShapeError: If the matrix, the weights or the labels have the wrong shape.
        SourceError: If the matrix holds NaN or infinity.

    Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021.
    """
    points = _check_matrix(matrix)
    k, j = _resolve_plan(points, method, k, j, rate)
    row_weights = None if weights is None else _check_weights(weights, len(points))
    given = None if labels is None else _check_labels(labels, len(points), k)
    seedings = _plan_starts(seeding, n_init, k, given is not None)
    settings = SearchSettings(
        seedings=seedings, seed=seed, max_iterations=max_iterations, tolerance=tolerance
    )
    _check_limits(settings)
    rows = WeightedRows.of(points, row_weights)
    best, starts = search(rows, (j,) * k, settings, given=given, progress=progress)
    record = FitRecord(
        method=method,
        config={
            "k": k,
            "j": j,
            "weighted": weights is not None,
            **asdict(settings),
            "seedings": list(seedings),  # as JSON reads it back
        },
        source=fingerprint_matrix(matrix),
        versions=installed_versions(),
        starts=starts,
        cost_history=best.cost_history,
        notes=_notes(starts, best.labels.bincount(minlength=k).tolist()),
    )
    return project_rows(points, best.labels, best.subspaces.bases, record)


def _check_matrix(matrix: Tensor) -> Tensor:
    if not isinstance(matrix, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ParameterError(
            f"the matrix must be a torch tensor, got {type(matrix).__name__}; "
            "pass a NumPy array through torch.from_numpy"
        )
    if matrix.ndim != 2 or min(matrix.shape) < 1:
        raise ShapeError(
            f"the matrix must have shape (rows, columns), both at least 1, got "
            f"{tuple(matrix.shape)}"
        )
    if not matrix.is_floating_point():
        raise ParameterError(f"the matrix must hold floats, got {matrix.dtype}; convert it first")
    points = matrix.detach()
    if points.dtype not in (torch.float32, torch.float64):
        points = points.float()
    check_finite(points, "the matrix")
    return points


def _resolve_plan(
    points: Tensor, method: str, k: int | None, j: int | None, rate: float | None
) -> tuple[int, int]:
    n, d = points.shape
    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "svd" and k not in (None, 1):
        raise ParameterError(f"an SVD has one subspace, got k = {k}; leave k out or use messi")
    k = (1 if method == "svd" else DEFAULT_K) if k is None else k
    check_k(k, n)
    if (j is None) == (rate is None):
        raise ParameterError("give either j (the dimension) or rate (the share to remove)")
    if j is None:
        assert rate is not None
        j = dimension_for_rate(n, d, k, rate)
    check_dimension(j, d)
    _check_memory(k, d)
    return k, j


def _check_memory(k: int, d: int) -> None:
    """Refuse a k whose d × d statistics do not fit: float64 sums and float32 frames of each."""
    needed, free = k * d * d * (8 + 8 + 4), psutil.virtual_memory().available
    if needed > free:
        raise ParameterError(
            f"k = {k:,} subspaces of a table {d:,} wide need {needed / 1e9:.1f} GB to fit, "
            f"{free / 1e9:.1f} GB are free; lower k"
        )


def _check_weights(weights: Tensor, n: int) -> Tensor:
    if weights.shape != (n,):
        raise ShapeError(f"{n:,} rows need as many weights, got shape {tuple(weights.shape)}")
    doubled = weights.detach().double()
    if not bool(torch.isfinite(doubled).all()) or float(doubled.min()) < 0:
        raise ParameterError("weights must be finite and not negative")
    if float(doubled.sum()) <= 0:
        raise ParameterError("weights must not all be zero")
    # Only their ratios matter, and the dtype of the rows must be able to hold them.
    return doubled / doubled.max()


def _check_labels(labels: Tensor, n: int, k: int) -> Tensor:
    if labels.shape != (n,) or labels.is_floating_point():
        raise ShapeError(
            f"labels must be {n:,} whole numbers, got {tuple(labels.shape)} of {labels.dtype}"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= k:
        raise ParameterError(
            f"labels must be in 0 … {k - 1} for k = {k}, got {int(labels.min())} … "
            f"{int(labels.max())}"
        )
    return labels.long()


def _plan_starts(
    seeding: str | Mapping[str, int], n_init: int, k: int, given: bool
) -> tuple[str, ...]:
    starts = dict(seeding) if isinstance(seeding, Mapping) else {seeding: n_init}
    unknown = sorted(set(starts) - {*SEEDINGS, "auto"})
    if unknown:
        raise ParameterError(
            f"unknown seeding {', '.join(unknown)}; known are {', '.join(SEEDINGS)} and auto"
        )
    if any(count < 0 for count in starts.values()):
        raise ParameterError(
            f"the number of starts must not be negative, got {min(starts.values())}"
        )
    if k == 1:
        return () if given else ("random",)  # every partition into one part is the same
    plan = tuple(
        drawn
        for name, count in starts.items()
        for drawn in islice(cycle(_AUTO_CYCLE if name == "auto" else (name,)), count)
    )
    if not plan and not given:
        raise ParameterError("at least one start is needed; raise n_init or give labels")
    return plan


def _check_limits(settings: SearchSettings) -> None:
    if settings.max_iterations < 1:
        raise ParameterError(f"max_iterations must be at least 1, got {settings.max_iterations}")
    if not 0 <= settings.tolerance < 1:
        raise ParameterError(f"tolerance must be 0 to below 1, got {settings.tolerance:g}")
    if settings.seed < 0:
        raise ParameterError(f"seed must not be negative, got {settings.seed}")


def _notes(starts: tuple[StartReport, ...], sizes: list[int]) -> tuple[str, ...]:
    notes: list[str] = []
    refilled = sum(start.refilled for start in starts)
    if refilled:
        notes.append(
            f"An empty subspace was refilled {refilled} times with the rows that were served worst."
        )
    empty = sizes.count(0)
    if empty:
        notes.append(f"{empty} of {len(sizes)} subspaces hold no row; a smaller k may do.")
    unsettled = sum(not start.converged for start in starts)
    if unsettled:
        notes.append(
            f"{unsettled} of {len(starts)} starts reached the step limit before settling; "
            "raise max_iterations to let them finish."
        )
    return tuple(notes)
