"""Rows of a matrix that may be larger than memory: read a block at a time, computed in float32.

A matrix is one tensor, in memory or mapped from a file, or several mapped files as one. Whatever
touches all rows goes through `read_rows` or `each_block`, so that it never holds a second copy.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import ShapeError

BLOCK_ROWS = 8192  # read at once, where nobody asks for less
HALVES = (torch.float16, torch.bfloat16)  # stored so to save space; nothing is computed in them
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # Python's mmap has no name for it


class ShardedRows:
    """Several tensors of one width and dtype, one below the other, as one matrix.

    Args:
        parts: At least one tensor, shapes (n_p, d), of one float dtype; usually memory-mapped.

    Raises:
        ShapeError: If there is no part, or they differ in width or dtype.
    """

    ndim = 2

    def __init__(self, parts: Sequence[Tensor]) -> None:
        if not parts:
            raise ShapeError("rows in shards need at least one shard, got none")
        first = parts[0]
        for number, part in enumerate(parts):
            if part.ndim != 2 or part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise ShapeError(
                    f"all shards need the same width and dtype: the first is {tuple(first.shape)} "
                    f"in {first.dtype}, number {number} is {tuple(part.shape)} in {part.dtype}"
                )
        self.parts = tuple(parts)
        # Where each part ends: row r lies in the first part whose end is greater.
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    @property
    def shape(self) -> torch.Size:
        """(n, d)."""
        return torch.Size((len(self), self.parts[0].shape[1]))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the rows are stored in."""
        return self.parts[0].dtype

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.parts[0].device

    def __len__(self) -> int:
        """Number of rows, n."""
        return int(self._ends[-1])

    def numel(self) -> int:
        """Number of entries, n · d."""
        return len(self) * self.parts[0].shape[1]

    def is_floating_point(self) -> bool:
        """Whether the entries are floating-point numbers."""
        return self.parts[0].is_floating_point()

    def detach(self) -> ShardedRows:
        """Itself: mapped files carry no gradients."""
        return self

    def clone(self) -> ShardedRows:
        """A copy in memory."""
        return ShardedRows([part.clone() for part in self.parts])

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Rows in their stored dtype.

        Args:
            rows: A slice of step 1, or row numbers, shape (m,), int64, each in −n … n−1.

        Returns:
            Shape (m, d); a view where a slice lies in one part.

        Raises:
            IndexError: If a row number is out of range.
            ValueError: If the slice has a step.
        """
        return self._slice(rows) if isinstance(rows, slice) else self._take(rows)

    def _slice(self, rows: slice) -> Tensor:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows in shards are read in order, got a slice of step {step}")
        pieces: list[Tensor] = []
        for part, end in zip(self.parts, self._ends.tolist(), strict=True):
            begin = end - len(part)
            if start < end and begin < stop:
                pieces.append(part[max(start - begin, 0) : stop - begin])
        if not pieces:
            return self.parts[0][:0]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _take(self, rows: Tensor) -> Tensor:
        n = len(self)
        if rows.numel() and not -n <= int(rows.min()) <= int(rows.max()) < n:
            raise IndexError(f"row numbers must be in {-n} … {n - 1}")
        rows = torch.where(rows < 0, rows + n, rows)
        owners = torch.bucketize(rows, self._ends, right=True)
        taken = torch.empty(len(rows), self.shape[1], dtype=self.dtype, device=self.device)
        for owner in owners.unique().tolist():
            own = (owners == owner).nonzero().squeeze(1)
            part = self.parts[owner]
            taken[own] = part[rows[own] - (int(self._ends[owner]) - len(part))]
        return taken


RowMatrix = Tensor | ShardedRows


def compute_dtype(matrix: RowMatrix) -> torch.dtype:
    """The dtype that rows are computed in: float32 for 16-bit floats, else their own."""
    return torch.float32 if matrix.dtype in HALVES else matrix.dtype


def read_rows(matrix: RowMatrix, rows: slice | Tensor) -> Tensor:
    """Some rows, ready to compute with.

    Args:
        matrix: Shape (n, d), float.
        rows: A slice, or row numbers, shape (m,), int64.

    Returns:
        Shape (m, d) in `compute_dtype`: a view of a float32 or float64 tensor for a slice, so
        not to be written to; a copy for row numbers and for 16-bit floats.
    """
    return matrix[rows].to(compute_dtype(matrix))


def row_slices(n: int, block_rows: int | None = None) -> Iterator[slice]:
    """Slices that cut n rows into blocks, in order.

    Args:
        n: Number of rows.
        block_rows: Most rows in a block, at least 1; `BLOCK_ROWS` when left out.
    """
    block_rows = block_rows or BLOCK_ROWS
    for start in range(0, n, block_rows):
        yield slice(start, min(start + block_rows, n))


def each_block(matrix: RowMatrix, block_rows: int | None = None) -> Iterator[tuple[slice, Tensor]]:
    """All rows in order, some at a time.

    Write what comes of a block into a tensor made before the first: small results kept in a list,
    each beside its block on the heap, stop the allocator from using the blocks' room again.

    Args:
        matrix: Shape (n, d), float.
        block_rows: Most rows in a block, at least 1; `BLOCK_ROWS` when left out.

    Yields:
        The slice of rows, and those rows as `read_rows` gives them.
    """
    for rows in row_slices(len(matrix), block_rows):
        yield rows, read_rows(matrix, rows)


def group_by_label(labels: Tensor, k: int) -> tuple[Tensor, list[int]]:
    """Row numbers label by label, each label's in order, and how many each of k labels has."""
    return labels.argsort(stable=True), labels.bincount(minlength=k).tolist()


def row_range(n: int, rank: int, size: int) -> slice:
    """Which of n rows one of several processes works on: ranges as even as can be, in order.

    Args:
        n: Number of rows.
        rank: Number of the process, 0 … size − 1.
        size: How many processes there are; with more of them than rows some get none.
    """
    return slice(rank * n // size, (rank + 1) * n // size)


def cut_rows(matrix: RowMatrix, rows: slice) -> RowMatrix:
    """Some rows one after the other as a matrix of their own, still where they were.

    Args:
        matrix: Shape (n, d).
        rows: A slice of step 1.

    Returns:
        Shape (m, d): views of the same memory or files, never a copy.
    """
    if isinstance(matrix, Tensor):
        return matrix[rows]
    start, stop, _ = rows.indices(len(matrix))
    pieces: list[Tensor] = []
    end = 0
    for part in matrix.parts:
        begin, end = end, end + len(part)
        if start < end and begin < stop:
            pieces.append(part[max(start - begin, 0) : stop - begin])
    return ShardedRows(pieces or [matrix.parts[0][:0]])


def empty_rows(n: int, d: int, dtype: torch.dtype, workspace: Path | None = None) -> Tensor:
    """Room for rows, in memory or on disk.

    Args:
        n: Rows.
        d: Columns.
        dtype: float32, float64 or uint8.
        workspace: A folder: the rows then lie in a mapped file in it, which the system may write
            out at any time. The file has no name, so that even a killed process leaves none.

    Returns:
        Shape (n, d), its content undefined.

    Raises:
        OSError: If the disk has no room for them.
    """
    if workspace is None or not n * d:
        return torch.empty(n, d, dtype=dtype)
    with tempfile.TemporaryFile(dir=workspace) as file:
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later kills the process
            os.posix_fallocate(file.fileno(), 0, n * d * dtype.itemsize)
        numbers = {torch.float64: np.float64, torch.float32: np.float32, torch.uint8: np.uint8}
        # The mapping keeps the file alive after it is closed.
        return torch.from_numpy(np.memmap(file, dtype=numbers[dtype], mode="w+", shape=(n, d)))


def map_rows(path: Path, *, dtype: torch.dtype, offset: int, shape: tuple[int, int]) -> Tensor:
    """Rows of a file, read from the disk when they are used; the file may be larger than memory.

    Changing the tensor never changes the file.

    Args:
        path: A file that stays in place and unchanged while the tensor is in use.
        dtype: Of the entries, in the byte order of this machine.
        offset: Bytes before the first entry, a multiple of the dtype's size.
        shape: (n, d), row after row.

    Returns:
        Shape (n, d).

    Raises:
        OSError: If the system cannot map the file.
    """
    count = shape[0] * shape[1]
    length = offset + count * dtype.itemsize
    with path.open("rb") as file:
        if os.name == "posix":
            # Private, so that changes stay here; and without a claim on memory for pages that
            # might be changed, for which Linux refuses a file larger than its memory.
            mapped = mmap.mmap(
                file.fileno(),
                length,
                flags=mmap.MAP_PRIVATE | _NO_RESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        else:
            mapped = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY)
    return torch.frombuffer(mapped, dtype=dtype, count=count, offset=offset).view(shape)
