"""A matrix stored as whole numbers of few bits and the steps between their levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.coding.mixed import MixedCoding, MixedMatrix
from engine.coding.packing import pack_codes, packed_bytes
from engine.coding.trellis import LEAST_BYTES
from engine.errors import ParameterError, ShapeError
from engine.residuals import energy_lost, squared_residuals
from engine.rows import RowMatrix, compute_dtype, row_slices

CODE_BITS = (2, 3, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How a factorization's numbers are stored when not as they were computed.

    Attributes:
        bits: Of each coordinate: 8 or 4, with a step for each column of a subspace.
        basis_bits: Of each number of a basis: 16 is float16; 8 has a step for each basis vector.
            Offsets are float16 either way.

    Raises:
        ParameterError: If either is another number.
    """

    bits: int
    basis_bits: int = 16

    def __post_init__(self) -> None:
        """Check both."""
        for name, known in (("bits", (8, 4)), ("basis_bits", (16, 8))):
            value = getattr(self, name)
            if value not in known:
                raise ParameterError(
                    f"{name} must be {known[0]} or {known[1]}, got {value!r}; leave bits out to "
                    "store every number as it was computed"
                )

    @classmethod
    def asked(cls, bits: int | None, basis_bits: int) -> Coding | None:
        """What two options of a caller mean: nothing is coded unless bits are given.

        Raises:
            ParameterError: If a number is refused, or ``basis_bits`` comes without ``bits``.
        """
        coding = cls(bits=8 if bits is None else bits, basis_bits=basis_bits)
        if bits is not None:
            return coding
        if basis_bits != 16:
            raise ParameterError(
                f"basis_bits={basis_bits} stores bases smaller beside coded coordinates; give bits "
                "(8 or 4) as well"
            )
        return None

    @property
    def named_bits(self) -> str:
        """Bits of a coordinate, as a person says them."""
        return f"{self.bits}"

    @property
    def named_basis_bits(self) -> str:
        """Bits of a number of a basis, as a person says them."""
        return f"{self.basis_bits}"

    def row_bytes_of(self, dimensions: Sequence[int]) -> tuple[int, ...]:
        """Bytes of one row's coordinates in subspaces of these dimensions."""
        return tuple(packed_bytes(dimension, self.bits) for dimension in dimensions)

    def coordinate_bytes(self, rows: int, dimension: int) -> int:
        """Bytes of a coded block (rows, dimension): whole bytes a row, a float32 step a column."""
        return rows * packed_bytes(dimension, self.bits) + 4 * dimension

    def basis_bytes(self, dimension: int, columns: int) -> int:
        """Bytes of a stored basis (dimension, columns): float16, or coded with a float16 step."""
        return dimension * (2 * columns if self.basis_bits == 16 else columns + 2)


def read_coding(values: object) -> Coding | MixedCoding:
    """A coding that was written as plain values, by ``dataclasses.asdict`` and JSON.

    Raises:
        TypeError: If it is no mapping, or a value is missing or unknown.
        ParameterError: If one is out of range.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"a coding must be a mapping, got {values!r}")
    parts = dict(cast("Mapping[str, Any]", values))
    if "row_bytes" not in parts:
        return Coding(**parts)
    said = parts.pop("trellis", None)  # as was written for a while
    coding = MixedCoding(**{name: tuple(part) for name, part in parts.items()})
    if said not in (None, any(width >= LEAST_BYTES for width in coding.row_bytes)):
        raise ParameterError(f"trellis must say whether any row is of one, got {said!r}")
    return coding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodedMatrix:
    """Numbers of few bits: each is its level, −(2**bits − 1)/2 … (2**bits − 1)/2, times its step.

    Attributes:
        codes: Shape (m, ⌈columns·bits / 8⌉), uint8: every row starts with a whole byte, so that
            rows can be gathered; see `unpack_levels`.
        steps: Shape (m or 1, ⌈columns / group⌉), float32 or float16: the distance between
            neighbouring levels; finite, 0 where all numbers are.
        bits: 2, 3, 4 or 8.
        columns: d.
        group: How many columns, one after the other, share a step.

    Raises:
        ParameterError: If bits, columns, group or a step is out of range.
        ShapeError: If codes or steps have another shape or dtype.
    """

    codes: Tensor
    steps: Tensor
    bits: int
    columns: int
    group: int

    def __post_init__(self) -> None:
        """Check that the parts describe one matrix."""
        if self.bits not in CODE_BITS or self.columns < 0 or self.group < 1:
            raise ParameterError(
                f"bits must be one of {CODE_BITS}, columns at least 0 and group at least 1, got "
                f"{self.bits}, {self.columns} and {self.group}"
            )
        width = packed_bytes(self.columns, self.bits)
        if self.codes.ndim != 2 or self.codes.shape[1] != width or self.codes.dtype != torch.uint8:
            raise ShapeError(
                f"{self.columns} columns of {self.bits} bits need codes (rows, {width}) in uint8, "
                f"got {tuple(self.codes.shape)} in {self.codes.dtype}"
            )
        rows, groups = len(self.codes), -(-self.columns // self.group)
        shapes = ((rows, groups), (1, groups))
        floats = (torch.float32, torch.float16)
        if tuple(self.steps.shape) not in shapes or self.steps.dtype not in floats:
            raise ShapeError(
                f"{self.columns} columns in groups of {self.group} need steps {shapes[0]} or "
                f"{shapes[1]} in float32 or float16, got {tuple(self.steps.shape)} in "
                f"{self.steps.dtype}"
            )
        if not bool(torch.isfinite(self.steps).all()) or bool((self.steps < 0).any()):
            raise ParameterError("steps must be finite and not negative")

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d)."""
        return len(self), self.columns

    @property
    def stored_bytes(self) -> int:
        """Bytes of codes and steps."""
        return self.codes.numel() + self.steps.numel() * self.steps.element_size()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.codes)

    def numel(self) -> int:
        """Number of entries, m · d."""
        return len(self) * self.columns

    def decode(self, rows: Tensor | slice | None = None) -> Tensor:
        """The numbers that are stored.

        Args:
            rows: Row numbers, shape (m,), int64, or a slice; all rows when left out.

        Returns:
            Shape (m, d), float32, new memory.
        """
        codes, steps = self.codes, self.steps
        if rows is not None:
            codes = codes[rows]
            steps = steps if len(steps) == 1 else steps[rows]
        levels = unpack_levels(codes, self.bits, self.columns)
        return levels * spread_steps(steps.float(), self.group, self.columns)

    def blocks(self, block_rows: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, decoded, a bounded block at a time.

        Args:
            block_rows: Most rows in a block, at least 1; as `engine.rows` has it when left out.

        Yields:
            The slice of rows, and those rows, shape (m, d), float32.
        """
        for rows in row_slices(len(self), block_rows):
            yield rows, self.decode(rows)

    def relative_error(self, matrix: RowMatrix, weights: Tensor | None = None) -> float:
        """‖A − Â‖² / ‖A‖² for A what was coded; see `engine.residuals.energy_lost`.

        Raises:
            ShapeError: If a shape differs.
        """
        return energy_lost(squared_residuals(self, matrix), matrix, weights)


Stored = Tensor | CodedMatrix | MixedMatrix
"""A matrix as it is stored."""


def decoded(matrix: Stored, rows: Tensor | slice | None = None) -> Tensor:
    """Rows of a stored matrix, ready to compute with.

    Args:
        matrix: Shape (m, d).
        rows: Row numbers or a slice; all rows when left out.

    Returns:
        Shape (m, d), float32 for what is coded or 16-bit; a float32 or float64 tensor may be given
        back as it is, so not to be written to.
    """
    if not isinstance(matrix, Tensor):
        return matrix.decode(rows)
    part = matrix if rows is None else matrix[rows]
    return part.to(compute_dtype(part))


def bytes_of(matrix: Stored) -> int:
    """Bytes of a stored matrix."""
    if not isinstance(matrix, Tensor):
        return matrix.stored_bytes
    return matrix.numel() * matrix.element_size()


def parts_of(matrix: Stored) -> dict[str, Tensor]:
    """The tensors of a stored matrix, by what follows its name in a file.

    Returns:
        Under ``""`` its numbers, or its codes; under ``".steps"`` and ``".bits"`` what else there
        is of it.
    """
    if isinstance(matrix, Tensor):
        return {"": matrix}
    bits = {".bits": matrix.bits} if isinstance(matrix, MixedMatrix) else {}
    return {"": matrix.codes, ".steps": matrix.steps, **bits}


def spread_steps(steps: Tensor, group: int, columns: int) -> Tensor:
    """Steps (m, ⌈columns / group⌉) as they multiply levels: (m, columns), or (m, 1) for all."""
    if group == 1 or group >= columns:
        return steps
    return steps.repeat_interleave(group, dim=1)[:, :columns]


def unpack_levels(codes: Tensor, bits: int, columns: int) -> Tensor:
    """The levels that codes stand for; fit for any device, torch.compile and torch.export.

    A code c is the level c − (2**bits − 1)/2, halfway between whole numbers: all 2**bits levels
    are used and lie evenly about zero. The most significant bits of a row come first.

    Args:
        codes: Shape (m, ⌈columns·bits / 8⌉), uint8.
        bits: 2, 3, 4 or 8.
        columns: d.

    Returns:
        Shape (m, d), float32.
    """
    if bits == 8:
        return codes.float() - 127.5
    # ONNX mixes up the signs of bytes and of Python's numbers.
    words = codes.int() if torch.compiler.is_exporting() else codes
    if bits == 3:  # three bytes hold eight numbers; the others divide a byte
        high, middle, low = (
            pad(codes, (0, -codes.shape[1] % 3)).int().unflatten(1, (-1, 3)).unbind(2)
        )
        words = high << 16 | middle << 8 | low
    mask = (1 << bits) - 1
    numbers = torch.stack([words >> place & mask for place in _places(bits)], dim=2)
    return numbers.flatten(1)[:, :columns].float() - mask / 2


def pack_levels(levels: Tensor, bits: int) -> Tensor:
    """Undo `unpack_levels`, exactly.

    Args:
        levels: Shape (m, d), float, each c − (2**bits − 1)/2 for a c in 0 … 2**bits − 1.
        bits: 2, 3, 4 or 8.

    Returns:
        Shape (m, ⌈d·bits / 8⌉), uint8; bits that no number needs are 0.

    Raises:
        ParameterError: If a level is out of range.
    """
    highest = (1 << bits) - 1
    numbers = levels + highest / 2
    if numbers.numel() and not (float(numbers.min()) >= 0 and float(numbers.max()) <= highest):
        raise ParameterError(
            f"levels {float(levels.min()):g} … {float(levels.max()):g} do not fit {bits} bits; "
            f"they end at ±{highest / 2:g}"
        )
    return pack_codes(numbers, torch.full((levels.shape[1],), bits, dtype=torch.uint8))


def _places(bits: int) -> list[int]:
    """Where the numbers of a word start, counted from its lowest bit; the first one's first."""
    return list(range((24 if bits == 3 else 8) - bits, -1, -bits))
