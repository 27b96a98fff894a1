"""Rows of one subspace as codes: bases and codes fitted to each other in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from engine.coding.mixed import (
    MixedMatrix,
    pack_columns,
    round_columns,
)
from engine.coding.packing import pack_codes, row_bytes
from engine.coding.trellis import LEAST_BYTES, find_paths
from engine.rows import row_slices

_BLOCK_ROWS = 2048  # of sums over rows: what they take beside the rows is bounded
_CUTS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.45)  # times the spread, which suits normal numbers
_RIDGE = 1e-6  # of the mean energy of a code column: columns may be alike where rows are few


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedRows:
    """Rows of one subspace as they are stored.

    Attributes:
        coordinates: Shape (m, j).
        basis: Shape (j, d), turned.
        lost: Σ w·dist² to the rows.
    """

    coordinates: MixedMatrix
    basis: MixedMatrix
    lost: float


def encode_rows(
    points: Tensor,
    weights: Tensor,
    basis: Tensor,
    bits: tuple[Tensor, Tensor],
    *,
    rounds: int,
    on_block: Callable[[int], None] = lambda _: None,
) -> EncodedRows:
    """Code a basis and the rows' coordinates, each refitted to the other's codes.

    A round solves for the basis that the codes as they are explain the rows best with, codes it
    anew, and codes the rows along it. Rounding thus makes good elsewhere what it lost here.

    Args:
        points: Shape (m, d), float32, less the offset.
        weights: Shape (m,), float32, not negative.
        basis: Orthonormal rows, shape (j, d), float32.
        bits: Of each coordinate and of each basis vector's numbers, shape (j,), uint8.
        rounds: Most rounds; they end with one that gains nothing.
        on_block: Called with how many rows were coded, in all rounds together, after every few;
            may raise to stop.

    Returns:
        The best state.

    Cost: 2·m·j·(j + 3·d) + 3,000·m·j flops a round and as many again for its start; extra memory
    m·j numbers, 256 MB and O(block·d).
    """
    best: EncodedRows | None = None
    for number in range(1 + rounds if len(basis) else 1):
        task = _Task(
            points=points,
            weights=weights,
            bits=bits[0],
            on_block=partial(_add, on_block, number * len(points)),
        )
        found, levels = _encode_along(task, _code_basis(basis, bits[1]))
        if best is not None and not found.lost < best.lost:
            break
        best = found
        if len(basis) and number < rounds:
            refitted = _refit_basis(task, levels, found.coordinates.steps)
            del levels  # before the next are made
            lengths = torch.linalg.vector_norm(refitted, dim=1)
            basis = refitted / torch.where(lengths > 0, lengths, 1.0).unsqueeze(1)
    assert best is not None
    return best


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Task:
    """What stays as it is while rows are coded: see `encode_rows`."""

    points: Tensor
    weights: Tensor
    bits: Tensor
    on_block: Callable[[int], None]

    def coded_blocks(self) -> Iterator[slice]:
        """All rows once they are coded, a few at a time; told of after each."""
        for rows in row_slices(len(self.points), _BLOCK_ROWS):
            yield rows
            self.on_block(len(self.points))


def _add(on_block: Callable[[int], None], before: int, done: int) -> None:
    on_block(before + done)


def _encode_along(task: _Task, basis: MixedMatrix) -> tuple[EncodedRows, Tensor]:
    """All rows along a basis as it was rounded, and the levels of their coordinates."""
    decoded = basis.decode()
    inner = (decoded @ decoded.T).double()
    dual = (torch.linalg.pinv(inner, hermitian=True) @ decoded.double()).T.float()
    told = partial(task.on_block, 0)
    levels = torch.empty(len(task.points), len(decoded))
    for rows in row_slices(len(levels), _BLOCK_ROWS):
        torch.mm(task.points[rows], dual, out=levels[rows])
        told()
    steps = _best_steps(levels, task.weights, task.bits, told)
    width = row_bytes(task.bits)
    codes = torch.empty(len(levels), width, dtype=torch.uint8)
    products = torch.zeros(2, len(steps), dtype=torch.float64)
    for rows in row_slices(len(levels), _BLOCK_ROWS):
        numbers = levels[rows]
        if width >= LEAST_BYTES:
            done = partial(_add, task.on_block, rows.start)
            paths, found = find_paths(numbers, steps, task.bits, on_block=done)
            codes[rows] = pack_codes(paths, task.bits)
        else:
            found = round_columns(numbers, steps, task.bits)
            codes[rows] = pack_columns(found, task.bits)
        weights = task.weights[rows]
        products[0] += (weights @ (found * numbers)).double()
        products[1] += (weights @ found.square()).double()
        levels[rows] = found
    fitted = (products[0] / products[1]).clamp(min=0).float()
    steps = torch.where(products[1] > 0, fitted, steps)
    lost = 0.0
    for rows in task.coded_blocks():
        left = torch.addmm(task.points[rows], levels[rows] * steps, decoded, alpha=-1)
        lost += float(left.square_().sum(dim=1).double() @ task.weights[rows].double())
    coordinates = MixedMatrix(codes=codes, steps=steps, bits=task.bits)
    return EncodedRows(coordinates=coordinates, basis=basis, lost=lost), levels


def _code_basis(basis: Tensor, bits: Tensor) -> MixedMatrix:
    """A basis of about unit rows, a float16 step each."""
    turned = basis.T.contiguous()
    steps = _best_steps(turned, torch.ones(len(turned)), bits).half()
    levels = round_columns(turned, steps.float(), bits)
    return MixedMatrix(codes=pack_columns(levels, bits), steps=steps, bits=bits, turned=True)


def _best_steps(
    numbers: Tensor,
    weights: Tensor,
    bits: Tensor,
    on_block: Callable[[], None] = lambda: None,
) -> Tensor:
    """The step of each column, out of a few about the normal one, that loses least.

    Args:
        numbers: Shape (m, j), float32.
        weights: Shape (m,), float32.
        bits: Shape (j,).
        on_block: Called after every few rows.
    """
    blocks = list(row_slices(len(numbers), _BLOCK_ROWS))
    total = weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
    energies = torch.zeros(numbers.shape[1])
    for rows in blocks:
        energies += weights[rows] @ numbers[rows].square()
    normal = (energies / total).sqrt()
    losses = torch.zeros(len(_CUTS), numbers.shape[1])
    for rows in blocks:
        for cut, loss in zip(_CUTS, losses, strict=True):
            loss += _rounding_loss(numbers[rows], weights[rows], normal * cut, bits)
        on_block()
    return normal * torch.tensor(_CUTS)[losses.argmin(dim=0)]


def _rounding_loss(numbers: Tensor, weights: Tensor, steps: Tensor, bits: Tensor) -> Tensor:
    left = round_columns(numbers, steps, bits).mul_(steps).sub_(numbers)
    return weights @ left.square_()


def _refit_basis(task: _Task, levels: Tensor, steps: Tensor) -> Tensor:
    """The basis that explains the rows best with these coordinates: weighted least squares."""
    (j, d) = len(steps), task.points.shape[1]
    inner = torch.zeros(j, j, dtype=torch.float64)
    cross = torch.zeros(j, d, dtype=torch.float64)
    for rows in task.coded_blocks():
        coordinates = levels[rows] * steps
        weighted = coordinates * task.weights[rows].unsqueeze(1)
        inner += weighted.T @ coordinates
        cross += weighted.T @ task.points[rows]
    mean = float(inner.diagonal().mean())
    inner.diagonal().add_(_RIDGE * mean if mean > 0 else 1.0)  # of no energy: nothing to solve
    return torch.linalg.solve(inner, cross).float()
