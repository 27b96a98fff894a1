"""The one result of every method: k subspaces, and every row's place in its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from engine import residuals
from engine.clustering.search import StartReport
from engine.coding.codes import CodedMatrix, Coding, Stored, bytes_of, decoded
from engine.coding.mixed import MixedCoding, MixedMatrix
from engine.coding.packing import bits_for, packed_bytes
from engine.errors import ParameterError, ShapeError
from engine.rows import RowMatrix, compute_dtype, group_by_label, row_slices
from engine.wording import counted, name_range


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """How a factorization was made: enough to make it again from the same matrix.

    Row weights and a first partition are arrays of the caller's; the config says only that there
    were some.

    Attributes:
        method: ``"messi"``, ``"svd"`` or ``"coded"``.
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Factorization:
    """A matrix as k subspaces and coordinates within them.

    Row i is approximated by ``coordinates[c][p] @ bases[c]``, plus ``offsets[c]`` where subspaces
    are affine; c is its label and p counts the rows of label c above it. A truncated SVD is the
    case k = 1. `quantize` gives one that is stored in fewer bits; in a *coded* plan every column
    of coordinates and every basis vector has bits of its own.

    Attributes:
        labels: Shape (n,), int64, each in 0 … k−1.
        bases: k orthonormal bases, shapes (j_c, d); j_c = 0 is a point. Where coordinates are
            coded: float16, or coded with a step for each basis vector; in a coded plan all are
            `MixedMatrix`, turned.
        coordinates: k blocks, shapes (n_c, j_c), rows in the order of the matrix; tensors, or all
            coded with a step for each column, or all `MixedMatrix`.
        record: How it was made.
        offsets: k vectors (d,), each orthogonal to its basis; None when all subspaces pass
            through zero. float16 where coordinates are coded.

    Raises:
        ShapeError: If the parts do not fit together.
        ParameterError: If an offset is not finite.
    """

    labels: Tensor
    bases: tuple[Stored, ...]
    coordinates: tuple[Stored, ...]
    record: FitRecord
    offsets: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        """Check that labels, bases and coordinates describe one matrix."""
        if len(self.bases) != len(self.coordinates) or not self.bases:
            raise ShapeError(
                f"one basis and one coordinate block a subspace are needed, got "
                f"{len(self.bases)} and {len(self.coordinates)}"
            )
        _check_storage(self)
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

    def __repr__(self) -> str:
        """Its size on one line, in place of its numbers."""
        numbers = "" if self.parameters is None else f"{counted(self.parameters, 'number')}, "
        return (
            f"<Factorization of {self.shape[0]:,} × {self.shape[1]:,}: k = {self.k}, "
            f"j = {name_range(self.dimensions)}, {numbers}{self.stored_bytes:,} bytes>"
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
    def parameters(self) -> int | None:
        """Numbers stored: Σ n_c·j_c + Σ j_c·d, and k·d offsets. Labels count in `stored_bytes`.

        None for a coded plan, of which it would say nothing: its numbers have unlike bits.
        """
        return None if self.coded else sum(part.numel() for part in self._numbers)

    @property
    def coded(self) -> bool:
        """Whether its numbers have unlike bits, as ``method="coded"`` gives them."""
        return isinstance(self.coordinates[0], MixedMatrix)

    @property
    def affine(self) -> bool:
        """Whether subspaces may miss zero."""
        return self.offsets is not None

    @property
    def coding(self) -> Coding | MixedCoding | None:
        """How coordinates and bases are coded; None when they are stored as computed."""
        block, basis = self.coordinates[0], self.bases[0]
        if isinstance(block, Tensor):
            return None
        if isinstance(block, MixedMatrix):
            return MixedCoding.of(
                cast("tuple[MixedMatrix, ...]", self.coordinates),
                cast("tuple[MixedMatrix, ...]", self.bases),
            )
        return Coding(
            bits=block.bits, basis_bits=basis.bits if isinstance(basis, CodedMatrix) else 16
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the approximated rows: float32 for coded ones."""
        basis = self.bases[0]
        return compute_dtype(basis) if isinstance(basis, Tensor) else torch.float32

    @property
    def _numbers(self) -> tuple[Stored, ...]:
        return (*self.coordinates, *self.bases, *(self.offsets or ()))

    @property
    def label_bytes(self) -> int:
        """Bytes of the labels, packed at ⌈log2 k⌉ bits a row."""
        return packed_bytes(len(self.labels), bits_for(self.k))

    @property
    def stored_bytes(self) -> int:
        """Bytes of everything stored: coordinates, bases, their steps, offsets, packed labels."""
        return sum(bytes_of(part) for part in self._numbers) + self.label_bytes

    @property
    def rate(self) -> float | None:
        """Compression rate: 1 − parameters / (n·d); negative when it is larger than the matrix.

        None for a coded plan, as `parameters` is: there only bytes can be compared.
        """
        n, d = self.shape
        return None if self.parameters is None else 1 - self.parameters / (n * d)

    @property
    def cost_history(self) -> tuple[float, ...]:
        """Cost of the kept start after each step, Σ w·dist² / Σ w·‖x‖²; never rises.

        Of a coded plan: of the best state so far, by the model its bits are chosen by, and at the
        end the error of its codes, which is mostly lower.
        """
        return self.record.cost_history

    def reconstruct(self, rows: Tensor | None = None) -> Tensor:
        """The approximated rows.

        Args:
            rows: Row numbers, shape (m,), int64, each in 0 … n−1; all rows when left out.

        Returns:
            Shape (m, d) or (n, d), in `dtype`.

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
        result = torch.empty(len(labels), self.shape[1], dtype=self.dtype)
        for cluster, block in enumerate(self.coordinates):
            members = (labels == cluster).nonzero().squeeze(1)
            own = decoded(block, None if places is None else places[members])
            result[members] = self.approximate(own, cluster)
        return result

    def approximate(self, coordinates: Tensor, cluster: int) -> Tensor:
        """The rows that some coordinates of a subspace stand for.

        Args:
            coordinates: Shape (m, j), in `dtype`.
            cluster: Number of the subspace.

        Returns:
            Shape (m, d), in `dtype`.
        """
        basis = decoded(self.bases[cluster])
        if self.offsets is None:
            return coordinates @ basis
        return torch.addmm(decoded(self.offsets[cluster]), coordinates, basis)

    def blocks(self, block_rows: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, approximated, a bounded block at a time.

        Args:
            block_rows: Most rows in a block, at least 1; as `engine.rows` has it when left out.

        Yields:
            The slice of rows, and their approximation, shape (m, d).
        """
        read = [0] * self.k  # coordinates lie in the order of the rows: each block is read on
        for rows in row_slices(len(self.labels), block_rows):
            order, counts = group_by_label(self.labels[rows], self.k)
            pieces: list[Tensor] = []
            for cluster, count in enumerate(counts):
                own = slice(read[cluster], read[cluster] + count)
                pieces.append(self.approximate(decoded(self.coordinates[cluster], own), cluster))
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
        return residuals.squared_residuals(self, matrix)

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
        return residuals.energy_lost(self.squared_residuals(matrix), matrix, weights)

    def quantize(
        self, *, bits: int, basis_bits: int = 16, workspace: Path | None = None
    ) -> Factorization:
        """The same subspaces stored in fewer bits. See `engine.quantizing`.

        Args:
            bits: Of a coordinate: 8 or 4.
            basis_bits: Of a number of a basis: 16 or 8.
            workspace: A folder on a disk with room for the coordinates, as `engine.factorize`
                takes it.

        Raises:
            ParameterError: If it is quantised already, or the bits are others.
            OSError: If the disk of the workspace is full.
        """
        from engine.quantizing import quantize

        return quantize(self, Coding(bits=bits, basis_bits=basis_bits), workspace)

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


def _check_storage(plan: Factorization) -> None:
    """Bases, coordinates and offsets are stored in one of the ways there are.

    Raises:
        ShapeError: If they are not.
        ParameterError: If an offset is not finite.
    """
    if not _fit_together(plan):
        bases, blocks = (
            ", ".join(sorted({_storage(part) for part in parts}))
            for parts in (plan.bases, plan.coordinates)
        )
        raise ShapeError(
            "bases and coordinates must be matrices of one dtype, float32 or float64, or coded as "
            "Factorization.quantize does, or all MixedMatrix, the bases turned; got bases: "
            f"{bases}; coordinates: {blocks}"
        )
    if plan.offsets is not None:
        width, dtype = plan.shape[1], plan.dtype if plan.coding is None else torch.float16
        shapes = [tuple(offset.shape) for offset in plan.offsets]
        if shapes != [(width,)] * plan.k or any(part.dtype != dtype for part in plan.offsets):
            raise ShapeError(
                f"affine subspaces need {plan.k} offsets of shape ({width},) in {dtype}, got "
                f"{shapes}"
            )
        if not all(bool(torch.isfinite(offset).all()) for offset in plan.offsets):
            raise ParameterError("offsets must be finite")


def _fit_together(plan: Factorization) -> bool:
    if any(isinstance(part, MixedMatrix) for part in (*plan.coordinates, *plan.bases)):
        bases = all(_is_mixed(part, torch.float16, turned=True) for part in plan.bases)
        coordinates = all(_is_mixed(part, torch.float32) for part in plan.coordinates)
        return bases and coordinates
    coding = cast("Coding | None", plan.coding)
    if coding is None:
        return all(_is_plain(part, plan.dtype) for part in (*plan.bases, *plan.coordinates))
    coded = [_is_coded(block, coding.bits, a_step_a="column") for block in plan.coordinates]
    return all(coded) and all(
        _is_plain(basis, torch.float16)
        if coding.basis_bits == 16
        else _is_coded(basis, coding.basis_bits, a_step_a="row")
        for basis in plan.bases
    )


def _is_plain(part: Stored, dtype: torch.dtype) -> bool:
    return isinstance(part, Tensor) and part.ndim == 2 and part.dtype == dtype


def _is_coded(part: Stored, bits: int, *, a_step_a: str) -> bool:
    if not isinstance(part, CodedMatrix) or part.bits != bits:
        return False
    group, steps = (1, 1) if a_step_a == "column" else (part.columns, len(part))
    return (part.group, len(part.steps)) == (group, steps)


def _is_mixed(part: Stored, dtype: torch.dtype, *, turned: bool = False) -> bool:
    kind = (dtype, turned)
    return isinstance(part, MixedMatrix) and (part.steps.dtype, part.turned) == kind


def _storage(part: Stored) -> str:
    if isinstance(part, Tensor):
        return f"{part.dtype} of {part.ndim} dimensions"
    if isinstance(part, MixedMatrix):
        turned = "turned, " if part.turned else ""
        return f"columns of their own bits, {turned}with steps in {part.steps.dtype}"
    return f"{part.bits} bits in groups of {part.group}, {len(part.steps)} rows of steps"
