"""NumPy files: ``.npy``, mapped where it is float32 or large, and ``.npz``."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy_format
from torch import Tensor

from engine.errors import SourceError
from engine.rows import map_rows
from engine.sources.declared import Declared, choose_table

_BLOCK_BYTES = 1 << 26  # 64 MB at a time: conversion never holds a second copy of the table
_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _NpyHeader:
    declared: Declared
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def data_bytes(self) -> int:
        size = self.dtype.itemsize
        for length in self.declared.shape:
            size *= length
        return size

    @property
    def can_be_mapped(self) -> bool:
        """Whether torch can use the bytes as they lie: row after row, in our byte order."""
        rows, columns = self.declared.shape
        in_rows = not self.fortran_order or 1 in (rows, columns)
        aligned = self.offset % self.dtype.itemsize == 0
        known = self.declared.dtype in ("float16", "float32")
        return in_rows and aligned and known and self.dtype.isnative


def declared_npy(path: Path) -> Declared:
    """Shape and dtype of a ``.npy`` file, from its header alone.

    Raises:
        SourceError: If it is no such file, is cut short or holds Python objects.
    """
    return _checked_header(path).declared


def read_npy(path: Path, *, mapped: bool | None = None) -> tuple[Tensor, str]:
    """Read an embedding matrix from a ``.npy`` file.

    A float32 file in row order is mapped, not read: rows come from disk when they are used.
    Changing the tensor never changes the file.

    Args:
        path: An existing file.
        mapped: Whether a float16 file in row order is mapped as well; None decides by its size.

    Returns:
        The matrix, shape (n, d), float32 or mapped float16, and the name of the dtype it is
        stored in.

    Raises:
        SourceError: If it is no such file, is cut short, holds Python objects or no floats.
        ShapeError: If the array has not two axes.
    """
    header = _checked_header(path)
    declared = header.declared
    if header.can_be_mapped and (declared.dtype == "float32" or declared.stays_on_disk(mapped)):
        rows, columns = declared.shape
        dtype = getattr(torch, declared.dtype)
        matrix = map_rows(path, dtype=dtype, offset=header.offset, shape=(rows, columns))
        return matrix, declared.dtype
    declared.check_memory()
    stored = np.memmap(
        path,
        dtype=header.dtype,
        mode="r",
        offset=header.offset,
        shape=declared.shape,
        order="F" if header.fortran_order else "C",
    )
    converted = np.empty(declared.shape, dtype=np.float32)
    for start, stop in _row_blocks(header):
        _convert_rows(stored[start:stop], converted[start:stop])
    return torch.from_numpy(converted), declared.dtype


def _checked_header(path: Path) -> _NpyHeader:
    with path.open("rb") as stream:
        header = _read_header(stream, path.name)
    header.declared.check_table()
    _check_length(header, path.stat().st_size)
    return header


def read_npz(path: Path, *, tensor: str | None) -> tuple[Tensor, str]:
    """Read an embedding matrix from a ``.npz`` archive.

    Args:
        path: An existing file.
        tensor: Name of the array; None takes the only one with two axes of floats.

    Returns:
        The matrix, shape (n, d), float32, and the name of the dtype it is stored in.

    Raises:
        SourceError: If the archive is damaged, a declared size is wrong, or no array can be chosen.
        ShapeError: If the chosen array has not two axes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            headers: dict[str, _NpyHeader] = {}
            for member in archive.namelist():
                if member.endswith(".npy"):
                    name = member.removesuffix(".npy")
                    with archive.open(member) as stream:
                        headers[name] = _read_header(stream, f"{path.name}, array {name!r}")
            choices = {name: header.declared for name, header in headers.items()}
            name = choose_table(choices, wanted=tensor, file_name=path.name, kind="array")
            header = headers[name]
            _check_length(header, archive.getinfo(f"{name}.npy").file_size)
            header.declared.check_memory()
            with archive.open(f"{name}.npy") as stream:
                return _read_member(stream, header), header.declared.dtype
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path.name}: expected a .npz archive, but it is damaged or something else ({error}); "
            "save it again with numpy.savez"
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        # zipfile's words for an unknown compression and for a password
        raise SourceError(
            f"{path.name}: expected a plain .npz archive, and cannot read this one ({error}); "
            "save it again with numpy.savez"
        ) from error


def _read_header(stream: IO[bytes], name: str) -> _NpyHeader:
    try:
        version = npy_format.read_magic(stream)
        if version not in _HEADER_READERS:
            # 3.0 exists for named fields in Unicode only, which an embedding table has not
            raise ValueError(f"format version {version}")
        shape, fortran_order, dtype = _HEADER_READERS[version](stream)
    except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        # NumPy parses the header as Python text, so a damaged one fails as Python text does
        raise SourceError(
            f"{name}: expected a NumPy array, but the file is empty, damaged or something else; "
            "save it again with numpy.save"
        ) from error
    if dtype.hasobject:
        raise SourceError(
            f"{name} holds Python objects, stored as pickle, which can run code when it is read; "
            "save it again as a float32 array: numpy.save(path, array.astype('float32'))"
        )
    return _NpyHeader(
        declared=Declared(name=name, shape=tuple(map(int, shape)), dtype=dtype.name),
        dtype=dtype,
        fortran_order=fortran_order,
        offset=stream.tell(),
    )


def _check_length(header: _NpyHeader, file_bytes: int) -> None:
    found = file_bytes - header.offset
    if found != header.data_bytes:
        raise SourceError(
            f"{header.declared.name}: its header declares {header.declared.describe()}, "
            f"{header.data_bytes:,} bytes, but {found:,} bytes follow; "
            "the file was cut short or altered, save it again"
        )


def _row_blocks(header: _NpyHeader) -> list[tuple[int, int]]:
    rows, columns = header.declared.shape
    step = max(1, _BLOCK_BYTES // (columns * header.dtype.itemsize))
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def _read_member(stream: IO[bytes], header: _NpyHeader) -> Tensor:
    stream.read(header.offset)
    rows, columns = header.declared.shape
    matrix = np.empty((rows, columns), dtype=np.float32)
    if header.fortran_order:  # columns lie together: one column at a time, still no second copy
        for column in range(columns):
            _convert_rows(_read_numbers(stream, header, rows), matrix[:, column])
        return torch.from_numpy(matrix)
    for start, stop in _row_blocks(header):
        block = _read_numbers(stream, header, (stop - start) * columns)
        _convert_rows(block.reshape(-1, columns), matrix[start:stop])
    return torch.from_numpy(matrix)


def _read_numbers(stream: IO[bytes], header: _NpyHeader, count: int) -> np.ndarray[Any, Any]:
    data = stream.read(count * header.dtype.itemsize)
    if len(data) != count * header.dtype.itemsize:
        raise EOFError(f"{header.declared.name} ends early")
    return np.frombuffer(data, dtype=header.dtype)


def _convert_rows(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> None:
    # float64 beyond float32's range becomes infinity, which the table then refuses by row
    with np.errstate(over="ignore"):
        target[...] = source
