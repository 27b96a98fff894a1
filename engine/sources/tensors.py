"""Safetensors files: what they hold, and one tensor out of them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import SourceError
from engine.rows import map_rows
from engine.sources.declared import Declared, choose_table

_DTYPE_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_BLOCK_NUMBERS = 1 << 24  # numbers converted together: 64 MB of float32


def read_safetensors(
    path: Path, *, tensor: str | None, mapped: bool | None = None
) -> tuple[Tensor, str]:
    """Read an embedding matrix from a ``.safetensors`` file.

    A float32 tensor is mapped, not read. Changing it never changes the file.

    Args:
        path: An existing file.
        tensor: Name of the tensor; None takes the only one with two axes of floats.
        mapped: As for `read_tensor`.

    Returns:
        The matrix, shape (n, d), as `read_tensor` gives it, and the name of the dtype it is stored
        in.

    Raises:
        SourceError: If the file is damaged or no tensor can be chosen.
        ShapeError: If the chosen tensor has not two axes.
    """
    headers = declared_tensors(path)
    name = choose_table(headers, wanted=tensor, file_name=path.name, kind="tensor")
    return read_tensor(path, name, mapped=mapped)


def declared_tensors(path: Path) -> dict[str, Declared]:
    """Shape and dtype of every tensor in a file, from its header alone.

    Args:
        path: An existing ``.safetensors`` file.

    Returns:
        One header for each tensor, by name.

    Raises:
        SourceError: If the file is no safetensors file, or is damaged.
    """
    with _open(path) as file:
        return {name: _declared(file, path, name) for name in file.keys()}


def read_tensor(path: Path, name: str, *, mapped: bool | None = None) -> tuple[Tensor, str]:
    """Read one tensor as float32, or map it as it is stored.

    Args:
        path: An existing ``.safetensors`` file.
        name: A tensor it holds, with two axes of floats.
        mapped: Whether a tensor of float16 or bfloat16 is mapped; None decides by its size.
            float32 always is.

    Returns:
        The matrix, shape (n, d), float32 or mapped in its stored dtype, and that dtype by name.

    Raises:
        SourceError: If the file is damaged, or the matrix does not fit into memory.
        ShapeError: If the tensor has not two axes.
    """
    with _open(path) as file:
        declared = _declared(file, path, name)
        declared.check_table()
        rows, columns = declared.shape
        if declared.dtype == "float32" or declared.stays_on_disk(mapped):
            dtype: torch.dtype = getattr(torch, declared.dtype)
            offset = _data_offset(path, name)
            if offset % dtype.itemsize == 0:  # as the library writes it; others need not
                matrix = map_rows(path, dtype=dtype, offset=offset, shape=(rows, columns))
                return matrix, declared.dtype
        declared.check_memory()
        stored = file.get_slice(name)
        matrix = torch.empty(rows, columns, dtype=torch.float32)
        step = max(1, _BLOCK_NUMBERS // columns)
        for start in range(0, rows, step):
            matrix[start : start + step] = stored[start : start + step]
        return matrix, declared.dtype


def _data_offset(path: Path, name: str) -> int:
    """Where a tensor's bytes begin, in a file whose header the library has checked."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return 8 + length + int(header[name]["data_offsets"][0])


def _open(path: Path) -> Any:  # noqa: ANN401 - the class is compiled and carries no types
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise SourceError(
            f"{path.name}: expected a safetensors file, but it is empty, damaged or something else "
            f"({error}); save or download it again"
        ) from error


def _declared(file: Any, path: Path, name: str) -> Declared:  # noqa: ANN401 - see _open
    stored = file.get_slice(name)
    dtype: str = stored.get_dtype()
    return Declared(
        name=f"{path.name}, tensor {name!r}",
        shape=tuple(stored.get_shape()),
        dtype=_DTYPE_NAMES.get(dtype, dtype),
    )
