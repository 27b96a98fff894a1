"""The one result of every method: k subspaces, and every row's place in its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from engine.clustering.search import StartReport
from engine.coding.packing import bits_for, packed_bytes
from engine.errors import ParameterError, ShapeError

_CHUNK_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """How a factorization was made: enough to make it again from the same matrix.

    Row weights and a first partition are arrays of the caller's; the config says only that there
    were some.

    Attributes:
        method: ``"svd"`` or ``"messi"``.
        config: Arguments of `engine.factorize` as plain values, the seed among them.
        source: Content fingerprint of the matrix.
        versions: Versions of the packages that decide the numbers.
        starts: What became of each start, in the order they ran.
        cost_history: Cost of the kept start after each step, Σ w·dist² / Σ w·‖x‖².
        notes: What the user should know, each a full sentence.
    """

    method: str
    config: dict[str, object]
    source: str
    versions: dict[str, str]
    starts: tuple[StartReport, ...] = ()
    cost_history: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factorization:
    """A matrix as k subspaces and coordinates within them.

    Row i is approximated by ``coordinates[c][p] @ bases[c]`` where c is its label and p counts the
    rows of label c above it. A truncated SVD is the case k = 1.

    Attributes:
        labels: Shape (n,), int64, each in 0 … k−1.
        bases: k orthonormal bases, shapes (j_c, d).
        coordinates: k blocks, shapes (n_c, j_c), rows in the order of the matrix.
        record: How it was made.

    Raises:
        ShapeError: If the parts do not fit together.
    """

    labels: Tensor
    bases: tuple[Tensor, ...]
    coordinates: tuple[Tensor, ...]
    record: FitRecord = field(repr=False)

    def __post_init__(self) -> None:
        """Check that labels, bases and coordinates describe one matrix."""
        if len(self.bases) != len(self.coordinates) or not self.bases:
            raise ShapeError(
                f"one basis and one coordinate block a subspace are needed, got "
                f"{len(self.bases)} and {len(self.coordinates)}"
            )
        parts = (*self.bases, *self.coordinates)
        if any(part.ndim != 2 or part.dtype != parts[0].dtype for part in parts):
            raise ShapeError("bases and coordinates must be matrices of one dtype")
        out_of_range = self.labels.numel() and (
            int(self.labels.min()) < 0 or int(self.labels.max()) >= self.k
        )
        if self.labels.ndim != 1 or out_of_range:
            raise ShapeError(f"labels must be one number a row, each in 0 … {self.k - 1}")
        sizes = self.labels.bincount(minlength=self.k).tolist()
        for cluster, (basis, block) in enumerate(zip(self.bases, self.coordinates, strict=True)):
            if basis.shape[1] != self.bases[0].shape[1] or block.shape != (
                sizes[cluster],
                len(basis),
            ):
                raise ShapeError(
                    f"subspace {cluster}: {sizes[cluster]:,} rows need coordinates "
                    f"({sizes[cluster]}, {len(basis)}), got {tuple(block.shape)}, and a basis as "
                    f"wide as the others, got {tuple(basis.shape)}"
                )

    @property
    def k(self) -> int:
        """Number of subspaces."""
        return len(self.bases)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d) of the matrix it stands for."""
        return len(self.labels), self.bases[0].shape[1]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """j_1 … j_k."""
        return tuple(len(basis) for basis in self.bases)

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_1 … n_k: rows of each subspace."""
        return tuple(len(block) for block in self.coordinates)

    @property
    def parameters(self) -> int:
        """Numbers stored: Σ n_c·j_c + Σ j_c·d. Labels are counted in `stored_bytes`."""
        return sum(part.numel() for part in (*self.coordinates, *self.bases))

    @property
    def label_bytes(self) -> int:
        """Bytes of the labels, packed at ⌈log2 k⌉ bits a row."""
        return packed_bytes(len(self.labels), bits_for(self.k))

    @property
    def stored_bytes(self) -> int:
        """Bytes of everything stored: coordinates, bases and packed labels."""
        numbers = sum(
            part.numel() * part.element_size() for part in (*self.coordinates, *self.bases)
        )
        return numbers + self.label_bytes

    @property
    def rate(self) -> float:
        """Compression rate: 1 − parameters / (n·d); negative when it is larger than the matrix."""
        n, d = self.shape
        return 1 - self.parameters / (n * d)

    @property
    def cost_history(self) -> tuple[float, ...]:
        """Cost of the kept start after each step, Σ w·dist² / Σ w·‖x‖²; never rises."""
        return self.record.cost_history

    def reconstruct(self, rows: Tensor | None = None) -> Tensor:
        """The approximated rows.

        Args:
            rows: Row numbers, shape (m,), int64, each in 0 … n−1; all rows when left out.

        Returns:
            Shape (m, d) or (n, d), the dtype of the bases.

        Raises:
            ParameterError: If a row number is out of range.

        Cost: 2·m·j·d flops.
        """
        labels, places = self.labels, None
        if rows is not None:
            if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(labels)):
                raise ParameterError(f"row numbers must be in 0 … {len(labels) - 1}")
            places = self._places()[rows]
            labels = labels[rows]
        result = torch.empty(len(labels), self.shape[1], dtype=self.bases[0].dtype)
        for cluster, (basis, block) in enumerate(zip(self.bases, self.coordinates, strict=True)):
            members = (labels == cluster).nonzero().squeeze(1)
            own = block if places is None else block[places[members]]
            result[members] = own @ basis
        return result

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Row numbers and their approximation, a bounded block at a time, cluster by cluster."""
        for cluster, (basis, block) in enumerate(zip(self.bases, self.coordinates, strict=True)):
            members = (self.labels == cluster).nonzero().squeeze(1)
            for rows, own in zip(members.split(_CHUNK_ROWS), block.split(_CHUNK_ROWS), strict=True):
                yield rows, own @ basis

    def squared_residuals(self, matrix: Tensor) -> Tensor:
        """Squared distance of every row to its approximation.

        Args:
            matrix: What was factorized, shape (n, d).

        Returns:
            Shape (n,), float64, in squared units of the matrix.

        Raises:
            ShapeError: If the matrix has another shape.
        """
        if tuple(matrix.shape) != self.shape:
            raise ShapeError(
                f"this factorization is of a matrix {self.shape}, got {tuple(matrix.shape)}"
            )
        residuals = torch.empty(len(matrix), dtype=torch.float64)
        for rows, approximation in self.blocks():
            residuals[rows] = (matrix[rows] - approximation).square_().sum(dim=1).double()
        return residuals

    def relative_error(self, matrix: Tensor, weights: Tensor | None = None) -> float:
        """‖A − Â‖² / ‖A‖², rows weighted when weights are given.

        Args:
            matrix: What was factorized, shape (n, d).
            weights: Shape (n,), not negative.

        Returns:
            0 for an exact approximation; 0 as well for a matrix of zeros.

        Raises:
            ShapeError: If a shape differs.
        """
        residuals = self.squared_residuals(matrix)
        norms = torch.cat([part.double().square().sum(dim=1) for part in matrix.split(_CHUNK_ROWS)])
        if weights is not None:
            if weights.shape != residuals.shape:
                raise ShapeError(f"{len(residuals):,} rows need as many weights")
            residuals, norms = residuals * weights, norms * weights
        total = float(norms.sum())
        return float(residuals.sum()) / total if total > 0 else 0.0

    def save(self, path: str | Path) -> None:
        """Write to a folder: tensors as safetensors, the record as JSON. See `engine.storage`."""
        from engine.storage import save_factorization

        save_factorization(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Factorization:
        """Read what `save` wrote.

        Raises:
            FormatError: If a file is missing, damaged or from a newer version.
        """
        from engine.storage import load_factorization

        return load_factorization(Path(path))

    def _places(self) -> Tensor:
        """For each row, how many rows above it share its label."""
        places = torch.empty_like(self.labels)
        for cluster, size in enumerate(self.sizes):
            places[self.labels == cluster] = torch.arange(size)
        return places


def project_rows(
    matrix: Tensor, labels: Tensor, bases: tuple[Tensor, ...], record: FitRecord
) -> Factorization:
    """Coordinates of every row in its own subspace.

    Args:
        matrix: Shape (n, d).
        labels: Shape (n,), int64.
        bases: Orthonormal bases, shapes (j_c, d).
        record: How it was made.

    Returns:
        The factorization.

    Cost: 2·n·j·d flops; extra memory O(chunk·d) beside the result.
    """
    coordinates: list[Tensor] = []
    for cluster, basis in enumerate(bases):
        members = (labels == cluster).nonzero().squeeze(1)
        block = torch.empty(len(members), len(basis), dtype=basis.dtype)
        for start in range(0, len(members), _CHUNK_ROWS):
            rows = members[start : start + _CHUNK_ROWS]
            torch.mm(matrix[rows], basis.T, out=block[start : start + _CHUNK_ROWS])
        coordinates.append(block)
    own = tuple(basis.clone() for basis in bases)  # not views of whole frames
    return Factorization(labels=labels, bases=own, coordinates=tuple(coordinates), record=record)
