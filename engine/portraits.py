"""One row or one subspace of a factorization seen close up: what it is made of and what it lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.clustering.statistics import ScatterStatistics
from engine.coding.codes import decoded
from engine.differences import principal_angles
from engine.errors import ParameterError, ShapeError
from engine.factorization import Factorization
from engine.measures import EXACT_ERROR, most_aligned
from engine.rows import RowMatrix, read_rows

_ROW_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A row that points nearly the same way.

    Attributes:
        row: Its number.
        cosine: Of the angle between the two, −1 … 1.
    """

    row: int
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowPortrait:
    """One row, before and after.

    Attributes:
        row: Its number.
        label: Its subspace.
        length: ‖x‖.
        error: ‖x − x̂‖² / ‖x‖²; 0 for a row of zeros.
        coordinates: In the basis of its subspace, shape (j,), with what coding did to them.
        energy: Share of ‖x‖² held by its largest coordinate, by its two largest, … by all j. Where
            subspaces are affine, their offsets hold more.
        before: The rows nearest to it in direction, nearest first; none for a row of zeros.
        after: The same among the approximated rows, itself approximated.
        kept: Share of ``before`` that is in ``after``, 0 … 1; 1 where there was none to lose.
        residual: The rows that point most along x − x̂, what the subspace has no room for; none
            where that is nothing but rounding.
    """

    row: int
    label: int
    length: float
    error: float
    coordinates: Tensor
    energy: tuple[float, ...]
    before: tuple[Neighbour, ...]
    after: tuple[Neighbour, ...]
    kept: float
    residual: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Angles:
    """How another subspace lies to this one.

    Attributes:
        label: The other one's number.
        degrees: The principal angles between both, rising, one a dimension of the smaller: 0 is a
            direction that they share, 90 one at right angles to the whole of the other. Of affine
            subspaces, their directions' alone.
    """

    label: int
    degrees: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A direction inside a subspace along which its rows spread most.

    Attributes:
        share: Of its rows' energy that lies along it, 0 … 1.
        low: The rows furthest towards one end, each scaled to length 1, the furthest first.
        high: The rows at the other end; never one that is in ``low``.
    """

    share: float
    low: tuple[int, ...]
    high: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubspacePortrait:
    """One subspace and the rows that live in it.

    Attributes:
        label: Its number.
        rows: How many live in it.
        dimension: j.
        energy_kept: Share of its rows' Σ‖x‖² that is kept, 0 … 1; 0 of none.
        spectrum: Share of that energy along each principal direction of its rows, d numbers,
            falling: the part past j is what it loses at best. They add up to 1; where subspaces are
            affine, the directions are those about the mean, and the mean holds the rest.
        angles: To each other subspace, in label order.
        axes: The first principal directions inside the subspace, of largest share first.
    """

    label: int
    rows: int
    dimension: int
    energy_kept: float
    spectrum: tuple[float, ...]
    angles: tuple[Angles, ...]
    axes: tuple[Axis, ...]


def describe_row(
    factorization: Factorization, matrix: RowMatrix, row: int, *, count: int = 10
) -> RowPortrait:
    """What one row is made of, what it lost, and who its neighbours are before and after.

    Args:
        factorization: Of ``matrix``.
        matrix: Shape (n, d).
        row: Its number, 0 … n−1.
        count: Most neighbours of each kind, at least 1.

    Returns:
        Its portrait.

    Raises:
        ShapeError: If the matrix is not of the factorization's shape.
        ParameterError: If there is no such row, or ``count`` is below 1.

    Cost: one pass over the rows and one over the approximated ones; extra memory O(block·d).
    """
    _check(factorization, matrix, row=row)
    if count < 1:
        raise ParameterError(f"the number of neighbours must be at least 1, got {count}")
    own = torch.tensor([row])
    count = min(count, len(factorization.labels) - 1)
    exact, approximated = read_rows(matrix, own), factorization.reconstruct(own)
    residual = exact - approximated.to(exact.dtype)
    squared = float(exact.double().square().sum())
    error = float(residual.double().square().sum()) / squared if squared > 0 else 0.0
    label = int(factorization.labels[row])
    place = (factorization.labels[:row] == label).sum().reshape(1)
    coordinates = decoded(factorization.coordinates[label], place)[0]
    before, along_residual = _neighbours(matrix, torch.cat([exact, residual]), row, count)
    (after,) = _neighbours(factorization, approximated, row, count)
    return RowPortrait(
        row=row,
        label=label,
        length=squared**0.5,
        error=error,
        coordinates=coordinates,
        energy=_cumulative_energy(coordinates, squared),
        before=before,
        after=after,
        kept=_share_kept(before, after),
        residual=along_residual if error > EXACT_ERROR else (),
    )


def describe_subspace(
    factorization: Factorization, matrix: RowMatrix, label: int, *, axes: int = 3, ends: int = 8
) -> SubspacePortrait:
    """What one subspace holds, how it lies to the others, and what its own axes tell apart.

    Args:
        factorization: Of ``matrix``.
        matrix: Shape (n, d).
        label: Its number, 0 … k−1.
        axes: Most axes to describe; those without a share of the energy are left out.
        ends: Most rows to name at each end of an axis.

    Returns:
        Its portrait; that of an empty subspace has angles only.

    Raises:
        ShapeError: If the matrix is not of the factorization's shape.
        ParameterError: If there is no such subspace.

    Cost: 2·n_c·d·(d + j) flops, a d × d eigen-solve, k−1 singular values j × j; extra memory
    O(block·d + d² + k·j·d).
    """
    _check(factorization, matrix, label=label)
    scatter, energy, lost = _energies(factorization, matrix, label)
    spectrum = torch.linalg.eigvalsh(scatter).flip(0).clamp(min=0)
    if energy > 0:
        spectrum /= energy
    return SubspacePortrait(
        label=label,
        rows=factorization.sizes[label],
        dimension=factorization.dimensions[label],
        energy_kept=max(0.0, 1 - lost / energy) if energy > 0 else 0.0,
        spectrum=tuple(spectrum.tolist()),
        angles=_angles(factorization, label),
        axes=tuple(
            Axis(share=value / energy, low=low, high=high)
            for value, low, high in _axes(factorization, matrix, label, scatter, (axes, ends))
            if energy > 0 and value > EXACT_ERROR * energy
        ),
    )


def _check(
    factorization: Factorization, matrix: RowMatrix, *, row: int = 0, label: int = 0
) -> None:
    if tuple(matrix.shape) != factorization.shape:
        raise ShapeError(
            f"this is a factorization of a matrix {factorization.shape}, got {tuple(matrix.shape)}"
        )
    for what, number, count in (
        ("row", row, factorization.shape[0]),
        ("subspace", label, factorization.k),
    ):
        if not 0 <= number < count:
            raise ParameterError(f"the {what} must be between 0 and {count - 1:,}, got {number:,}")


def _neighbours(
    matrix: RowMatrix | Factorization, directions: Tensor, row: int, count: int
) -> list[tuple[Neighbour, ...]]:
    """The rows most along each direction; none along a direction of no length."""
    if count == 0:
        return [() for _ in directions]
    found, cosines = most_aligned(
        matrix, directions, leave_out=torch.full((len(directions),), row), count=count
    )
    return [
        tuple(
            Neighbour(row=other, cosine=cosine)
            for other, cosine in zip(rows, values, strict=True)
            if bool(direction.any())
        )
        for direction, rows, values in zip(
            directions, found.tolist(), cosines.clamp(-1, 1).tolist(), strict=True
        )
    ]


def _share_kept(before: tuple[Neighbour, ...], after: tuple[Neighbour, ...]) -> float:
    if not before:
        return 1.0
    return len({item.row for item in before} & {item.row for item in after}) / len(before)


def _cumulative_energy(coordinates: Tensor, squared: float) -> tuple[float, ...]:
    held = coordinates.double().square().sort(descending=True).values.cumsum(0)
    return tuple((held / squared if squared > 0 else held).tolist())


def _energies(
    factorization: Factorization, matrix: RowMatrix, label: int
) -> tuple[Tensor, float, float]:
    """Scatter (d, d) of a subspace's rows, about their mean if affine; Σ‖x‖² and Σ‖x − x̂‖²."""
    statistics = ScatterStatistics(1, factorization.shape[1])
    lost, read = 0.0, 0
    for _, points in _own_rows(factorization, matrix, label):
        statistics.update(points, torch.zeros(len(points), dtype=torch.int64))
        block = decoded(factorization.coordinates[label], slice(read, read + len(points)))
        difference = points - factorization.approximate(block, label)
        lost += float(difference.square_().sum(dtype=torch.float64))
        read += len(points)
    scatter = statistics.centred()[1] if factorization.affine else statistics.scatter
    return scatter[0], float(statistics.energies()[0]), lost


def _own_rows(
    factorization: Factorization, matrix: RowMatrix, label: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of a subspace in order, some at a time: their numbers, and themselves."""
    members = (factorization.labels == label).nonzero().squeeze(1)
    for rows in members.split(_ROW_BLOCK):
        if len(rows):
            yield rows, read_rows(matrix, rows)


def _frame(factorization: Factorization, label: int) -> Tensor:
    """An orthonormal basis (d, j), float64: stored ones are so up to their rounding or coding."""
    return torch.linalg.qr(decoded(factorization.bases[label]).double().T).Q


def _angles(factorization: Factorization, label: int) -> tuple[Angles, ...]:
    own = decoded(factorization.bases[label])
    found: list[Angles] = []
    for other in range(factorization.k):
        if other != label:
            degrees = principal_angles(own, decoded(factorization.bases[other])).rad2deg()
            found.append(Angles(label=other, degrees=tuple(degrees.tolist())))
    return tuple(found)


def _axes(
    factorization: Factorization,
    matrix: RowMatrix,
    label: int,
    scatter: Tensor,
    most: tuple[int, int],
) -> Iterator[tuple[float, tuple[int, ...], tuple[int, ...]]]:
    """Energy, low end and high end of the first axes; ``most`` is how many, and rows at an end."""
    frame = _frame(factorization, label)
    values, vectors = torch.linalg.eigh(frame.T @ scatter @ frame)
    directions = (frame @ vectors).flip(1)[:, : most[0]]
    rows = factorization.sizes[label]
    places = torch.empty(rows, directions.shape[1], dtype=torch.float64)
    numbers = torch.empty(rows, dtype=torch.int64)
    read = 0
    for members, points in _own_rows(factorization, matrix, label):
        numbers[read : read + len(members)] = members
        places[read : read + len(members)] = normalize(points.double(), dim=1) @ directions
        read += len(members)
    for value, column in zip(values.flip(0).tolist(), places.T, strict=False):
        order = column.argsort(stable=True)
        if rows and abs(column[order[0]]) > abs(column[order[-1]]):
            order = order.flip(0)  # an axis has no sign of its own: the far end is the high one
        high = order.flip(0)[: min(most[1], (rows + 1) // 2)]
        low = order[: min(most[1], rows // 2)]
        yield value, tuple(numbers[low].tolist()), tuple(numbers[high].tolist())
