"""A matrix in which every column has bits of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.coding.levels import (
    LEVELS,
    MOST_BITS,
    levels_of,
    look_up,
    nearest_codes,
    nearest_levels,
)
from engine.coding.packing import WINDOW_BITS, pack_codes, row_bytes, windows_of
from engine.coding.trellis import LEAST_BYTES, STATES, TRELLIS_LEVELS, WINDOW
from engine.errors import ParameterError, ShapeError
from engine.rows import row_slices
from engine.wording import name_range

_AHEAD = 2  # bytes that hold a trellis's window
_ROUNDED_ROWS = 512  # at once: what is made of them on the way stays in the cache


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MixedMatrix:
    """Numbers of few bits, column by column: each is its level times its column's step.

    A number of b bits has the 2**b levels of `engine.coding.levels`. In rows of `LEAST_BYTES` and
    more, which are *of a trellis* unless turned, it has the level that `engine.coding.trellis`
    gives to its bits and those before it in its row, the row's last bits standing before its first.

    Attributes:
        codes: Shape (m, ⌈Σ bits / 8⌉), uint8: a row's numbers one after the other, the most
            significant bits first; every row starts with a whole byte, so that rows can be
            gathered.
        steps: Shape (columns,), float32 or float16: what one of a level stands for, about the
            spread of the column's numbers; finite, not negative.
        bits: Shape (columns,), uint8, each 1 … `MOST_BITS`, of a trellis 1 … `WINDOW`.
        turned: Whether it stands for its transpose, as a basis does: a basis vector is a column
            here, and a row to who reads it.

    Raises:
        ParameterError: If bits or a step is out of range.
        ShapeError: If codes, steps or bits have another shape or dtype.
    """

    codes: Tensor
    steps: Tensor
    bits: Tensor
    turned: bool = False

    def __post_init__(self) -> None:
        """Check that the parts describe one matrix."""
        columns = self.bits.numel()
        kinds = (self.codes.dtype, self.bits.dtype) == (torch.uint8, torch.uint8)
        floats = self.steps.dtype in (torch.float32, torch.float16)
        if not kinds or not floats or self.bits.ndim != 1 or self.steps.shape != (columns,):
            raise ShapeError(
                "codes and bits must be uint8, and one step a column float32 or float16; got "
                f"{self.codes.dtype}, {self.bits.dtype} of shape {tuple(self.bits.shape)} and "
                f"{self.steps.dtype} of shape {tuple(self.steps.shape)}"
            )
        width = row_bytes(self.bits)
        most = WINDOW if width >= LEAST_BYTES and not self.turned else MOST_BITS
        if columns and not (int(self.bits.min()) >= 1 and int(self.bits.max()) <= most):
            raise ParameterError(
                f"each column must have 1 … {most} bits, got {int(self.bits.min())} … "
                f"{int(self.bits.max())}"
            )
        if self.codes.ndim != 2 or self.codes.shape[1] != width:
            raise ShapeError(
                f"{columns} columns of {int(self.bits.sum())} bits in all need codes (rows, "
                f"{width}), got {tuple(self.codes.shape)}"
            )
        if not bool(torch.isfinite(self.steps).all()) or bool((self.steps < 0).any()):
            raise ParameterError("steps must be finite and not negative")

    @property
    def trellis(self) -> bool:
        """Whether levels hang on the bits before a number too."""
        return not self.turned and self.codes.shape[1] >= LEAST_BYTES

    @property
    def shape(self) -> tuple[int, int]:
        """(m, d), as whoever reads it sees it."""
        rows, columns = len(self.codes), self.bits.numel()
        return (columns, rows) if self.turned else (rows, columns)

    @property
    def stored_bytes(self) -> int:
        """Bytes of codes, steps and bits."""
        steps = self.steps.numel() * self.steps.element_size()
        return self.codes.numel() + steps + self.bits.numel()

    def __len__(self) -> int:
        """Number of rows, as whoever reads it sees it."""
        return self.shape[0]

    def numel(self) -> int:
        """Number of entries, m · d."""
        return len(self.codes) * self.bits.numel()

    def decode(self, rows: Tensor | slice | None = None) -> Tensor:
        """The numbers that are stored.

        Args:
            rows: Row numbers, shape (m,), int64, or a slice; all rows when left out.

        Returns:
            Shape (m, d), float32, new memory.
        """
        codes = self.codes if rows is None or self.turned else self.codes[rows]
        numbers = unpack_columns(codes, self.bits, trellis=self.trellis).mul_(self.steps.float())
        if not self.turned:
            return numbers
        return numbers.T if rows is None else numbers.T[rows]

    def blocks(self, block_rows: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order, decoded, a bounded block at a time.

        Args:
            block_rows: Most rows in a block, at least 1; as `engine.rows` has it when left out.

        Yields:
            The slice of rows, and those rows, shape (m, d), float32.
        """
        for rows in row_slices(len(self), block_rows):
            yield rows, self.decode(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedCoding:
    """How a coded plan is stored: every column of coordinates and basis vector has its own bits.

    The bits themselves are numbers of the plan, one of each column; this is what can be said of
    the plan without them, and what `Coding` is for plans of the same bits throughout.

    Attributes:
        row_bytes: Of one row's coordinates, subspace by subspace.
        basis_row_bytes: Of one row of each turned basis, which has d of them.
        bits: The least and the most of a coordinate; 0 and 0 where there are none.
        basis_bits: The same of a number of a basis.

    Raises:
        ParameterError: If there are not as many numbers as subspaces, or one is out of range.
    """

    row_bytes: tuple[int, ...]
    basis_row_bytes: tuple[int, ...]
    bits: tuple[int, int]
    basis_bits: tuple[int, int]

    def __post_init__(self) -> None:
        """Check all."""
        sizes = (*self.row_bytes, *self.basis_row_bytes, *self.bits, *self.basis_bits)
        if (
            any(type(size) is not int or size < 0 for size in sizes)
            or len(self.row_bytes) != len(self.basis_row_bytes)
            or (len(self.bits), len(self.basis_bits)) != (2, 2)
        ):
            raise ParameterError(
                "each subspace needs the bytes of a row of its coordinates and of its basis, and "
                f"each kind of number its least and most bits, got {self}"
            )

    @classmethod
    def of(cls, coordinates: Sequence[MixedMatrix], bases: Sequence[MixedMatrix]) -> MixedCoding:
        """How the parts of a plan are stored."""
        return cls(
            row_bytes=tuple(block.codes.shape[1] for block in coordinates),
            basis_row_bytes=tuple(basis.codes.shape[1] for basis in bases),
            bits=_least_and_most(coordinates),
            basis_bits=_least_and_most(bases),
        )

    @property
    def named_bits(self) -> str:
        """Bits of a coordinate, as a person says them: "1 to 4"."""
        return name_range(self.bits)

    @property
    def named_basis_bits(self) -> str:
        """Bits of a number of a basis, as a person says them."""
        return name_range(self.basis_bits)

    def row_bytes_of(self, dimensions: Sequence[int]) -> tuple[int, ...]:
        """Bytes of one row's coordinates, subspace by subspace."""
        return self.row_bytes


def round_columns(numbers: Tensor, steps: Tensor, bits: Tensor) -> Tensor:
    """The nearest level of each number; any of them where the step is 0.

    Args:
        numbers: Shape (m, d), float32.
        steps: Shape (d,), float32, not negative.
        bits: Shape (d,), whole numbers.

    Returns:
        Shape (m, d), float32: levels.
    """
    least = steps.clamp(min=torch.finfo(torch.float32).tiny)
    found = torch.empty_like(numbers)
    for rows in row_slices(len(numbers), _ROUNDED_ROWS):
        found[rows] = nearest_levels(numbers[rows] / least, bits)
    return found


def unpack_columns(codes: Tensor, bits: Tensor, *, trellis: bool = False) -> Tensor:
    """The levels that codes stand for; fit for any device, torch.compile and torch.export.

    Args:
        codes: Shape (m, ⌈Σ bits / 8⌉), uint8; see `MixedMatrix`.
        bits: Shape (d,), uint8.
        trellis: As in `MixedMatrix`.

    Returns:
        Shape (m, d), float32.
    """
    # Turned: whole columns are then gathered and shifted, 20 times as fast as numbers in rows.
    if not trellis:
        byte, shift, mask = windows_of(bits)
        windows = _read_windows(pad(codes.T, (0, 0, 0, 2)), byte, shift).bitwise_and_(mask)
        return look_up(LEVELS, windows.add_(mask - 1)).T  # those of fewer bits come first
    # Windows of one width, which begin before their numbers; before the first, the row's last.
    end = bits.cumsum(0, dtype=torch.int32) + 8 * _AHEAD
    byte = (end - WINDOW) >> 3
    shift = (WINDOW_BITS + 8 * byte - end).unsqueeze(1)
    columns = pad(codes.T, (0, 0, 0, 2))
    three = byte[-1] - _AHEAD + torch.arange(3, dtype=byte.dtype, device=byte.device)
    last = _read_windows(columns.index_select(0, three), byte[-1:] * 0, shift[-1:])
    edge = last.bitwise_and_(STATES - 1)
    ahead = torch.cat([edge.bitwise_right_shift(8), edge & 255]).to(torch.uint8)
    windows = _read_windows(torch.cat([ahead, columns]), byte, shift).bitwise_and_(STATES - 1)
    return look_up(TRELLIS_LEVELS.view(-1), windows.add_((bits.int() - 1).unsqueeze(1) * STATES)).T


def _read_windows(columns: Tensor, byte: Tensor, shift: Tensor) -> Tensor:
    """Three bytes of each row, so that the wanted bits are the last.

    Args:
        columns: Shape (bytes of a row, m), uint8.
        byte: Shape (d,): the first of the three.
        shift: Shape (d, 1): how many bits come after the wanted ones.
    """
    bytes_ = columns.int()
    words = bytes_[:-2] << 16 | bytes_[1:-1] << 8 | bytes_[2:]
    # In place: new memory costs more than the arithmetic. And by its long name, as are the shifts
    # by tensors: under the short one ONNX does not know it.
    return words.index_select(0, byte).bitwise_right_shift_(shift)


def pack_columns(levels: Tensor, bits: Tensor) -> Tensor:
    """Undo `unpack_columns` of single numbers' levels, exactly.

    Args:
        levels: Shape (m, d), float32, each one of those of its column's bits.
        bits: Shape (d,), uint8.

    Returns:
        Shape (m, ⌈Σ bits / 8⌉), uint8; bits that no number needs are 0.

    Raises:
        ParameterError: If a level is none of those.
    """
    packed = torch.empty(len(levels), row_bytes(bits), dtype=torch.uint8)
    for rows in row_slices(len(levels)):
        numbers = nearest_codes(levels[rows], bits)
        if not torch.equal(levels_of(numbers, bits), levels[rows]):
            raise ParameterError("a level does not fit the bits of its column")
        packed[rows] = pack_codes(numbers, bits)
    return packed


def _least_and_most(matrices: Sequence[MixedMatrix]) -> tuple[int, int]:
    """Bits of any column; 0 and 0 where there is none."""
    bits = torch.cat([matrix.bits for matrix in matrices])
    return (int(bits.min()), int(bits.max())) if len(bits) else (0, 0)
