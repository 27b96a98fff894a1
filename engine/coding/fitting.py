"""A matrix as coded subspaces within a number of bytes: partition, bits, then codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.clustering.seeding import norm_quantiles
from engine.clustering.weighted_rows import WeightedRows, weighted_sum
from engine.coding.allocation import VECTOR_BYTES
from engine.coding.encoding import EncodedRows, encode_rows
from engine.coding.halves import in_half
from engine.coding.mixed import MixedMatrix
from engine.coding.packing import bits_for, packed_bytes
from engine.coding.rate_em import RateStep, rate_steps
from engine.errors import ParameterError
from engine.progress import Progress, ProgressCallback
from engine.rows import read_rows, row_slices

ENCODING_ROUNDS = 3  # the next gains a tenth of what the first did, and costs as much
_NOTHING = 1e-12  # of the energy: what float32 rows lose when they are all alike
_LEAST_ENERGY, _LONGEST_ROW = 1e-20, 1e30  # squared: their products stay well within float32
_READ_ROWS = 8192  # of the rows of a subspace, copied
_PATIENCE = 3  # steps that may pass without a better state: the price moves between them


class NoRoomError(ParameterError):
    """So few bytes that they hold no basis vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedRequest:
    """What to fit.

    Attributes:
        k: Number of subspaces.
        max_bytes: Most bytes of everything stored.
        affine: Whether subspaces may miss zero.
        max_iterations: Step limit of the rate-aware EM.
        tolerance: A step that lowers the cost by no more than this share counts as none.
    """

    k: int
    max_bytes: int
    affine: bool
    max_iterations: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """A partition, its subspaces and their bits, before anything is coded.

    Attributes:
        step: The best state that EM found.
        history: Cost of the best state so far, falling; the last is that of ``step``.
        converged: Whether EM settled before the step limit.
    """

    step: RateStep
    history: tuple[float, ...]
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedFit:
    """Fitted and coded subspaces.

    Attributes:
        labels: Shape (n,), int64.
        bases: k of them, shapes (j_c, d), turned.
        coordinates: k of them, shapes (n_c, j_c).
        offsets: k vectors (d,) in float16, or None.
        error: Σ w·dist² / Σ w·‖x‖² of the coded rows.
        cost_history: The same of the best state so far after each step of EM, under its model,
            before its codes were refitted; then the error, which is lower but for what the model
            leaves out: whole float16 numbers of offsets, quantisers of rows that are not normal.
        converged: Whether EM settled before the step limit.
    """

    labels: Tensor
    bases: tuple[MixedMatrix, ...]
    coordinates: tuple[MixedMatrix, ...]
    offsets: tuple[Tensor, ...] | None
    error: float
    cost_history: tuple[float, ...]
    converged: bool


def fit_coded(
    rows: WeightedRows,
    request: CodedRequest,
    *,
    given: Tensor | None = None,
    progress: ProgressCallback,
) -> CodedFit:
    """Fit subspaces whose bits are spent where rows need them.

    Args:
        rows: All the rows; of one process.
        request: What to fit.
        given: A first partition, shape (n,), int64; by weighted length when left out.
        progress: Called after every few rows; may raise to stop.

    Raises:
        NoRoomError: If there is something to explain and the bytes leave no room for a single
            basis vector.
        ParameterError: If the numbers are too large or too small for what computes or stores them.
    """
    return encode(rows, settle(rows, request, given=given, progress=progress), progress=progress)


def settle(
    rows: WeightedRows,
    request: CodedRequest,
    *,
    given: Tensor | None = None,
    progress: ProgressCallback,
) -> Settled:
    """Run EM until nothing better is found for a while, and code nothing.

    Args:
        rows: All the rows; of one process.
        request: What to fit.
        given: As in `fit_coded`.
        progress: Called after every few rows; may raise to stop.

    Raises:
        ParameterError: As `fit_coded` does, but for offsets that leave float16.
    """
    _check_scale(rows, affine=request.affine)
    n, d = rows.points.shape
    check_room(n, d, request, empty=_weighted_energy(rows) == 0)
    budget = request.max_bytes - _shared_bytes(n, d, request)
    labels = _energy_classes(rows, request.k) if given is None else given
    settled = _run_em(rows, labels, request, budget, progress)
    step = settled.step
    if step.cost > _NOTHING and not any(len(one.basis) for one in step.subspaces):
        raise _too_few(n, d, request)
    return settled


def check_room(n: int, d: int, request: CodedRequest, *, empty: bool = False) -> None:
    """Refuse a number of bytes that cannot do, whatever the rows are.

    Args:
        n: Rows.
        d: Columns.
        request: What to fit.
        empty: Whether all rows are zero, so that labels are all there is to store.

    Raises:
        ParameterError: If so.
    """
    budget = request.max_bytes - _shared_bytes(n, d, request)
    room = budget >= d + VECTOR_BYTES  # a bit of each number of a basis vector
    # Offsets may explain everything, which is known only when they are fitted.
    if budget < 0 or not (room or request.affine or empty):
        raise _too_few(n, d, request)


def _check_scale(rows: WeightedRows, *, affine: bool) -> None:
    """Refuse numbers whose squares, weighted, leave float32, in which they are coded."""
    energy, longest = _weighted_energy(rows), float(rows.squared_norms.max())
    if (energy and energy < _LEAST_ENERGY) or longest > _LONGEST_ROW:
        raise ParameterError(
            f"the squared lengths of the rows, weights included, sum to {energy:.3g}, the longest "
            f"is {longest:.3g}; coded subspaces need a sum of {_LEAST_ENERGY:g} or more and none "
            f"over {_LONGEST_ROW:g}; scale the matrix"
        )
    smallest = torch.finfo(torch.float16).tiny
    felt = _row_energies(rows) > _NOTHING * energy  # a longer row of no weight has no say
    longest = float(torch.where(felt, rows.squared_norms, 0).max())
    if affine and 0 < longest < smallest**2:
        raise ParameterError(
            f"no row that carries weight is longer than {longest**0.5:.3g}, and offsets are "
            f"stored in float16, whose numbers begin at {smallest:.2g}; scale the matrix up or "
            "leave affine out"
        )


def _weighted_energy(rows: WeightedRows) -> float:
    return weighted_sum(rows.squared_norms, rows.weights)


def _row_energies(rows: WeightedRows) -> Tensor:
    """w·‖x‖² of each row, shape (n,), float64."""
    energies = rows.squared_norms.double()
    return energies if rows.weights is None else energies * rows.weights


def _shared_bytes(n: int, d: int, request: CodedRequest) -> int:
    """Bytes of labels and offsets, which no bits are chosen for."""
    return packed_bytes(n, bits_for(request.k)) + (2 * request.k * d if request.affine else 0)


def _too_few(n: int, d: int, request: CodedRequest) -> NoRoomError:
    return NoRoomError(
        f"max_bytes = {request.max_bytes:,} leaves no room for a single basis vector of k = "
        f"{request.k} coded subspaces of {n:,} × {d:,} numbers, whose labels"
        + (" and offsets" if request.affine else "")
        + f" take {_shared_bytes(n, d, request):,} bytes; give more bytes"
        + (" or lower k" if request.k > 1 else "")
    )


def _energy_classes(rows: WeightedRows, k: int) -> Tensor:
    """Parts of equal size by w·‖x‖²: by how much there is to lose of a row."""
    return norm_quantiles(_row_energies(rows).sqrt().unsqueeze(1), k, seed=0)


def _run_em(
    rows: WeightedRows,
    labels: Tensor,
    request: CodedRequest,
    budget: int,
    progress: ProgressCallback,
) -> Settled:
    done, failed, best = 0, 0, math.inf

    def report() -> None:
        detail = "" if best == math.inf else f"error {best:.4f}"
        total = request.max_iterations
        progress(Progress(phase="Fitting coded subspaces", done=done, total=total, detail=detail))

    steps = rate_steps(rows, labels, request.k, budget, affine=request.affine, on_block=report)
    kept = step = next(steps)
    history: list[float] = []
    while True:
        failed = 0 if step.cost < best * (1 - request.tolerance) else failed + 1
        if step.cost < best:
            kept, best = step, step.cost
            history.append(best)
        done += 1
        report()
        converged = step.moved == 0 or failed >= _PATIENCE
        if converged or done == request.max_iterations:
            return Settled(step=kept, history=tuple(history), converged=converged)
        step = next(steps)


def encode(rows: WeightedRows, settled: Settled, *, progress: ProgressCallback) -> CodedFit:
    """Code all rows, and fit the bases to their codes.

    Args:
        rows: What was settled.
        settled: From `settle`.
        progress: Called after every few rows; may raise to stop.

    Raises:
        ParameterError: If offsets leave float16.
    """
    step = settled.step
    found = [
        _encode_subspace(rows, step, cluster, progress) for cluster in range(len(step.subspaces))
    ]
    offsets = tuple(offset for _, offset in found if offset is not None)
    error = sum(coded.lost for coded, _ in found) / rows.energy
    return CodedFit(
        labels=step.labels,
        bases=tuple(coded.basis for coded, _ in found),
        coordinates=tuple(coded.coordinates for coded, _ in found),
        offsets=offsets or None,
        error=error,
        cost_history=(*settled.history, error),
        converged=settled.converged,
    )


def _encode_subspace(
    rows: WeightedRows, step: RateStep, cluster: int, progress: ProgressCallback
) -> tuple[EncodedRows, Tensor | None]:
    """The rows of one subspace as codes, and its offset as it is stored."""
    rounds = ENCODING_ROUNDS + 1  # and the start
    before, n = rounds * int((step.labels < cluster).sum()), len(step.labels)

    def report(done: int) -> None:
        progress(Progress(phase="Coding rows", done=before + done, total=rounds * n))

    subspace = step.subspaces[cluster]
    offset = None if subspace.offset is None else in_half(subspace.offset, "offsets")
    members = (step.labels == cluster).nonzero().squeeze(1)
    points = torch.empty(len(members), rows.points.shape[1])
    for some in row_slices(len(members), _READ_ROWS):
        points[some] = read_rows(rows.points, members[some])
        if offset is not None:
            points[some] -= offset.float()
        report(0)
    weights = torch.ones(len(members)) if rows.weights is None else rows.weights[members].float()
    coded = encode_rows(
        points,
        weights,
        subspace.basis,
        (subspace.bits, subspace.basis_bits),
        rounds=ENCODING_ROUNDS,
        on_block=report,
    )
    report(rounds * len(members))
    return coded, offset
