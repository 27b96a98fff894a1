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
from engine.rows import RowMatrix, compute_dtype, each_block, empty_rows, read_rows

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

    Row i is approximated by ``coordinates[c][p] @ bases[c]``, plus ``offsets[c]`` where subspaces
    are affine; c is its label and p counts the rows of label c above it. A truncated SVD is the
    case k = 1.

    Attributes:
        labels: Shape (n,), int64, each in 0 … k−1.
        bases: k orthonormal bases, shapes (j_c, d); j_c = 0 is a point.
        coordinates: k blocks, shapes (n_c, j_c), rows in the order of the matrix.
        record: How it was made.
        offsets: k vectors (d,), each orthogonal to its basis; None when all subspaces pass
            through zero.

    Raises:
        ShapeError: If the parts do not fit together.
    """

    labels: Tensor
    bases: tuple[Tensor, ...]
    coordinates: tuple[Tensor, ...]
    record: FitRecord = field(repr=False)
    offsets: tuple[Tensor, ...] | None = None

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
        if self.offsets is not None:
            width, dtype = self.bases[0].shape[1], self.bases[0].dtype
            shapes = [tuple(offset.shape) for offset in self.offsets]
            if shapes != [(width,)] * self.k or any(part.dtype != dtype for part in self.offsets):
                raise ShapeError(
                    f"affine subspaces need {self.k} offsets of shape ({width},) in {dtype}, got "
                    f"{shapes}"
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
        """Numbers stored: Σ n_c·j_c + Σ j_c·d, and k·d offsets. Labels count in `stored_bytes`."""
        return sum(part.numel() for part in self._numbers)

    @property
    def affine(self) -> bool:
        """Whether subspaces may miss zero."""
        return self.offsets is not None

    @property
    def _numbers(self) -> tuple[Tensor, ...]:
        return (*self.coordinates, *self.bases, *(self.offsets or ()))

    @property
    def label_bytes(self) -> int:
        """Bytes of the labels, packed at ⌈log2 k⌉ bits a row."""
        return packed_bytes(len(self.labels), bits_for(self.k))

    @property
    def stored_bytes(self) -> int:
        """Bytes of everything stored: coordinates, bases, offsets and packed labels."""
        return sum(part.numel() * part.element_size() for part in self._numbers) + self.label_bytes

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
        for cluster, block in enumerate(self.coordinates):
            members = (labels == cluster).nonzero().squeeze(1)
            own = block if places is None else block[places[members]]
            result[members] = self._approximate(own, cluster)
        return result

    def _approximate(self, coordinates: Tensor, cluster: int) -> Tensor:
        basis = self.bases[cluster]
        if self.offsets is None:
            return coordinates @ basis
        return torch.addmm(self.offsets[cluster], coordinates, basis)

    def blocks(self, block_rows: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, approximated, a bounded block at a time.

        Args:
            block_rows: Most rows in a block, at least 1; 8,192 when left out.

        Yields:
            The slice of rows, and their approximation, shape (m, d).
        """
        block_rows = block_rows or _CHUNK_ROWS
        read = [0] * self.k  # coordinates lie in the order of the rows: each block is read on
        for start in range(0, len(self.labels), block_rows):
            rows = slice(start, min(start + block_rows, len(self.labels)))
            order, counts = _group_by_label(self.labels[rows], self.k)
            pieces: list[Tensor] = []
            for cluster, count in enumerate(counts):
                own = self.coordinates[cluster][read[cluster] : read[cluster] + count]
                pieces.append(self._approximate(own, cluster))
                read[cluster] += count
            grouped = torch.cat(pieces)
            yield rows, torch.empty_like(grouped).index_copy_(0, order, grouped)

    def squared_residuals(self, matrix: RowMatrix) -> Tensor:
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
            difference = read_rows(matrix, rows) - approximation
            residuals[rows] = difference.square_().sum(dim=1).double()
        return residuals

    def relative_error(self, matrix: RowMatrix, weights: Tensor | None = None) -> float:
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
        norms = torch.empty_like(residuals)
        for rows, part in each_block(matrix, _CHUNK_ROWS):
            norms[rows] = part.double().square().sum(dim=1)
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
    matrix: RowMatrix,
    labels: Tensor,
    bases: tuple[Tensor, ...],
    record: FitRecord,
    *,
    offsets: tuple[Tensor, ...] | None = None,
    workspace: Path | None = None,
) -> Factorization:
    """Coordinates of every row in its own subspace.

    Args:
        matrix: Shape (n, d).
        labels: Shape (n,), int64.
        bases: Orthonormal bases, shapes (j_c, d).
        record: How it was made.
        offsets: One a subspace, shape (d,), orthogonal to its basis; so the coordinates of a row
            are its products with the basis, offset or not.
        workspace: A folder on a disk with room for the coordinates: they are then kept in a file
            there that has no name and is gone with them, not in memory.

    Returns:
        The factorization.

    Raises:
        OSError: If the disk of the workspace is full.

    Cost: 2·n·j·d flops, one pass over the rows; extra memory O(chunk·d) beside the result.
    """
    sizes = labels.bincount(minlength=len(bases)).tolist()
    dtype = compute_dtype(matrix)
    coordinates = tuple(
        empty_rows(size, len(basis), dtype, workspace)
        for size, basis in zip(sizes, bases, strict=True)
    )
    written = [0] * len(bases)
    for rows, part in each_block(matrix, _CHUNK_ROWS):
        order, counts = _group_by_label(labels[rows], len(bases))
        for cluster, own in enumerate(part[order].split(counts)):
            place = slice(written[cluster], written[cluster] + len(own))
            torch.mm(own, bases[cluster].T, out=coordinates[cluster][place])
            written[cluster] = place.stop
    return Factorization(
        labels=labels,
        bases=tuple(basis.clone() for basis in bases),  # not views of whole frames
        coordinates=coordinates,
        record=record,
        offsets=None if offsets is None else tuple(offset.clone() for offset in offsets),
    )


def _group_by_label(labels: Tensor, k: int) -> tuple[Tensor, list[int]]:
    """Row numbers label by label, each label's in order, and how many each label has."""
    return labels.argsort(stable=True), labels.bincount(minlength=k).tolist()
