"""The facade: one function from a matrix to a factorization, whatever the method."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.clustering.search import StartReport
from engine.clustering.weighted_rows import WeightedRows
from engine.coding.choosing import fit_cheapest
from engine.coding.codes import Coding
from engine.errors import EngineError, ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.fitting import Fit, check_range, fit_rows
from engine.progress import ProgressCallback, ignore_progress
from engine.projection import project_rows
from engine.provenance import fingerprint_matrix, installed_versions
from engine.quantizing import quantize
from engine.requests import DEFAULT_STARTS, FitRequest, coded_requests
from engine.rows import RowMatrix, ShardedRows
from engine.table import check_finite


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitTask:
    """What `factorize` has checked and wants fitted.

    Attributes:
        points: Shape (n, d), all the rows.
        weights: Shape (n,), float64, the largest 1; None for all ones.
        labels: Shape (n,), int64: a first partition, or None.
        request: What to fit.
    """

    points: RowMatrix
    weights: Tensor | None
    labels: Tensor | None
    request: FitRequest


Fitter = Callable[[FitTask, ProgressCallback], Fit]
"""Fits a task and gives the labels of all its rows, however many processes it takes."""


def fit_alone(task: FitTask, progress: ProgressCallback) -> Fit:
    """Fit in this process."""
    rows = WeightedRows.of(task.points, task.weights)
    return fit_rows(rows, task.request, given=task.labels, progress=progress)


def factorize(  # noqa: PLR0913 - the facade gathers what the parts below take apart
    matrix: RowMatrix,
    *,
    method: str = "messi",
    k: int | str | Sequence[int] | None = None,
    j: int | Sequence[int] | None = None,
    rate: float | None = None,
    max_bytes: int | None = None,
    allocation: str = "uniform",
    affine: bool = False,
    loss: str = "squared",
    weights: Tensor | None = None,
    seed: int = 0,
    n_init: int = DEFAULT_STARTS,
    seeding: str | Mapping[str, int] = "auto",
    labels: Tensor | None = None,
    moves: int = 0,
    max_iterations: int = 50,
    tolerance: float = 1e-4,
    bits: int | None = None,
    basis_bits: int = 16,
    fitter: Fitter = fit_alone,
    workspace: Path | None = None,
    progress: ProgressCallback = ignore_progress,
) -> Factorization:
    """Approximate the rows of a matrix by k subspaces.

    Args:
        matrix: Shape (n, d), float; finite; in memory, mapped from a file, or in shards. Half
            precision is computed in float32, block by block.
        method: ``"messi"`` (k subspaces, EM), ``"svd"`` (the best single subspace) or ``"coded"``
            (k subspaces whose coordinates get the bits they earn; `engine.coding`).
        k: Number of subspaces, 1 … n; 5 when left out, 1 for the SVD, 4 for coded. ``"auto"`` or a
            list of candidates takes the k that loses least at the rate in a short trial fit; for
            coded, of 1, 2, 4 and 8 or of the list, the one whose EM ends lowest within the bytes.
        j: Dimension of each subspace (the rank of an SVD), 1 … d, or a list j_1 … j_k, where 0 is
            allowed. Give j or the rate.
        rate: Share of the parameters to remove, 0 … 1; j is the largest that fits.
        max_bytes: Size of ``"coded"``, in place of j or rate: most bytes of everything stored. Of
            the options below it takes affine, weights, labels, max_iterations and tolerance, and
            refuses what it has no use for. Nothing in it is drawn, so that every seed gives the
            same, and its few bytes stay in memory whatever the workspace.
        allocation: ``"uniform"`` for one dimension j, or ``"optimal"``: each subspace gets the
            dimensions that lose least within the parameters of the rate (or of one j).
        affine: Whether subspaces may miss zero; each then stores an offset of d numbers.
        loss: What a distance costs: ``"squared"``, ``"l1"``, any ``"l<q>"``, ``"huber"``,
            ``"cauchy"``, ``"geman-mcclure"``, ``"welsch"``, ``"tukey"``, ``"truncated"``, with a
            scale of your own as in ``"tukey:0.8"``; see `engine.clustering.losses`.
        weights: Shape (n,), not negative; a row of weight m counts as m copies of it in the loss
            (it is still stored once).
        seed: Decides every random choice; the same seed gives the same labels on one machine and
            thread count.
        n_init: Number of starts when ``seeding`` is one name or ``"auto"``. On tables of more
            than some 16,000 rows they race on a sample, and the best two go on to all rows.
            ``"coded"`` has one start: by how much there is to lose of a row.
        seeding: A name from `engine.clustering.seeding.SEEDINGS`, ``"auto"`` for a mix of them,
            or how many starts of each, as in ``{"directions": 3, "random": 10}``.
        labels: A first partition of your own, shape (n,); run as one more start, on all rows.
            With ``n_init=0``, and for ``"coded"``, it is the only one.
        moves: How many times to merge two subspaces and split another, kept where it pays.
        max_iterations: EM step limit of a start.
        tolerance: A start is settled when a step lowers its cost by no more than this share.
        bits: 8 or 4: store coordinates in so many bits instead of 32 (`Factorization.quantize`);
            the size j or the rate asks for is counted in numbers all the same.
        basis_bits: With ``bits``: 16 or 8 for each number of a basis.
        fitter: Who fits: this process, or several (`engine.cli.ranks`).
        workspace: A folder with room for the coordinates, n·j numbers: they are then kept in a
            file there that has no name and is gone with them, not in memory.
        progress: Called after every step; raises `engine.Cancelled` to stop.

    Returns:
        The cheapest start's factorization; ``record.starts`` reports all of them. A coded one has
            neither ``parameters`` nor ``rate``: only its bytes can be compared.

    Raises:
        ParameterError: If a parameter is out of range, k needs more memory than is free, or both
            or neither of j and rate are given; for ``"coded"``, if max_bytes leaves no room, an
            option is set that it does not take, or the numbers are too large or too small for
            the floats that it stores.
        ShapeError: If the matrix, the weights or the labels have the wrong shape.
        SourceError: If the matrix holds NaN or infinity.
        EngineError: If the workspace has no room.

    Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021.
    """
    coding = Coding.asked(bits, basis_bits)
    points = _check_matrix(matrix)
    request = FitRequest(
        method=method,
        k=k,
        j=j,
        rate=rate,
        max_bytes=max_bytes,
        allocation=allocation,
        affine=affine,
        loss=loss,
        seed=seed,
        n_init=n_init,
        seeding=seeding,
        moves=moves,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )
    task = FitTask(
        points=points,
        weights=None if weights is None else check_weights(weights, len(points)),
        labels=None if labels is None else _check_labels(labels, len(points)),
        request=request,
    )
    if method == "coded":
        return _code(task, coding, fitter, progress)
    fit = fitter(task, progress)
    try:
        found = _record(task, fit, workspace)
        return found if coding is None else quantize(found, coding, workspace)
    except OSError as error:
        raise EngineError(
            f"the coordinates could not be kept in {workspace}: {error.strerror or error}; free "
            "some space there or raise the rate"
        ) from error


def _code(
    task: FitTask, coding: Coding | None, fitter: Fitter, progress: ProgressCallback
) -> Factorization:
    """The method ``"coded"``: its codes are fitted with its subspaces, by this process alone."""
    if coding is not None or fitter is not fit_alone:
        raise ParameterError(
            "method='coded' chooses its bits itself, in one process; leave bits and other "
            "processes out"
        )
    started = time.perf_counter()
    requests = coded_requests(task.request, len(task.points))
    if task.labels is not None:
        if len(requests) > 1:
            raise ParameterError(
                f"labels are a first partition for one k, got {len(requests)} of them to choose "
                "from; give that k or leave labels out"
            )
        check_range(task.labels, requests[0].k)
    rows = WeightedRows.of(task.points, task.weights)
    found = fit_cheapest(rows, requests, given=task.labels, progress=progress)
    fit = found.fit
    start = StartReport(
        seeding="energies" if task.labels is None else "given",
        cost=fit.error,
        cost_history=fit.cost_history,
        converged=fit.converged,
        refilled=0,
        wall_seconds=time.perf_counter() - started,
    )
    return Factorization(
        labels=fit.labels,
        bases=fit.bases,
        coordinates=fit.coordinates,
        record=_fit_record(task, {"k": found.k}, (start,), fit.cost_history, found.notes),
        offsets=fit.offsets,
    )


def _record(task: FitTask, fit: Fit, workspace: Path | None) -> Factorization:
    """The fitted subspaces with every row in its place, and how they came to be."""
    chosen = {"k": fit.plan.k, "loss": str(fit.plan.loss)}
    record = _fit_record(task, chosen, fit.starts, fit.result.cost_history, fit.notes)
    subspaces = fit.result.subspaces
    offsets = None if subspaces.offsets is None else tuple(subspaces.offsets)
    return project_rows(
        task.points,
        fit.result.labels,
        subspaces.bases,
        record,
        offsets=offsets,
        workspace=workspace,
    )


def _fit_record(
    task: FitTask,
    chosen: Mapping[str, object],
    starts: tuple[StartReport, ...],
    cost_history: tuple[float, ...],
    notes: tuple[str, ...] = (),
) -> FitRecord:
    """How it came to be; what the fit chose itself in place of what was asked."""
    return FitRecord(
        method=task.request.method,
        config={**task.request.as_config(), **chosen, "weighted": task.weights is not None},
        source=fingerprint_matrix(task.points),
        versions=installed_versions(),
        starts=starts,
        cost_history=cost_history,
        notes=notes,
    )


def _check_matrix(matrix: RowMatrix) -> RowMatrix:
    if not isinstance(matrix, Tensor | ShardedRows):  # pyright: ignore[reportUnnecessaryIsInstance]
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
    check_finite(points, "the matrix")
    return points


def check_weights(weights: Tensor, n: int) -> Tensor:
    """Row weights as every fit takes them.

    Args:
        weights: Shape (n,), not negative.
        n: Number of rows.

    Returns:
        Shape (n,), float64, the largest 1: only ratios matter, and the rows' dtype must hold them.

    Raises:
        ShapeError: If there is not one weight a row.
        ParameterError: If one is negative or not finite, or all are zero.
    """
    if weights.shape != (n,):
        raise ShapeError(f"{n:,} rows need as many weights, got shape {tuple(weights.shape)}")
    doubled = weights.detach().double()
    if not bool(torch.isfinite(doubled).all()) or float(doubled.min()) < 0:
        raise ParameterError("weights must be finite and not negative")
    if float(doubled.sum()) <= 0:
        raise ParameterError("weights must not all be zero")
    return doubled / doubled.max()


def _check_labels(labels: Tensor, n: int) -> Tensor:
    if labels.shape != (n,) or labels.is_floating_point():
        raise ShapeError(
            f"labels must be {n:,} whole numbers, got {tuple(labels.shape)} of {labels.dtype}"
        )
    return labels.long()
