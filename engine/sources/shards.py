"""One table split by rows over several files: ``table-00001-of-00004.npy`` or ``.safetensors``.

The shards of a model hold different tensors; those here hold the same-named one, some rows each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from engine.errors import ShapeError, SourceError
from engine.rows import RowMatrix, ShardedRows
from engine.sources.arrays import declared_npy, read_npy
from engine.sources.declared import Declared, choose_table
from engine.sources.tensors import declared_tensors, read_tensor

INDEX_SUFFIX = ".safetensors.index.json"
SHARD_SUFFIXES = (".npy", ".safetensors")
_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<total>\d+)(?P<suffix>\.\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One file's part of the table, from its header alone."""

    path: Path
    tensor: str | None
    declared: Declared

    def read(self) -> Tensor:
        """The rows, mapped where the file allows it."""
        if self.tensor is None:
            return read_npy(self.path, mapped=True)[0]
        return read_tensor(self.path, self.tensor, mapped=True)[0]


def shards_in_folder(folder: Path) -> list[Path]:
    """The shards that lie in a folder, in row order; none if no file has a shard's name.

    Raises:
        SourceError: If a shard is missing, or there are those of several tables.
    """
    names = sorted(path for path in folder.iterdir() if _matched(path))
    return _in_order(names, folder.name) if names else []


def shards_of_pattern(pattern: Path) -> list[Path]:
    """The files that a name with ``*`` stands for, in row order.

    Raises:
        SourceError: If there is none, one is of another kind, or a shard is missing.
    """
    found = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    if not found:
        raise SourceError(
            f"there is no file {str(pattern)!r}; check the path and what * stands for"
        )
    if any(path.suffix.lower() not in SHARD_SUFFIXES for path in found):
        raise SourceError(
            f"{pattern.name}: expected shards that end in {' or '.join(SHARD_SUFFIXES)}, got "
            f"{', '.join(path.name for path in found[:3])}; give a narrower pattern"
        )
    return _in_order(found, pattern.name) if any(map(_matched, found)) else found


def shards_of_index(path: Path) -> list[Path]:
    """The files that an index names, in the order of their names.

    Raises:
        SourceError: If the index is damaged, names files elsewhere, or one is missing.
    """
    try:
        content: Any = json.loads(path.read_bytes())["weight_map"]
        names: list[Any] = sorted(set(cast("dict[str, Any]", content).values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{path.name}: expected JSON that names each tensor's file under “weight_map”, but it "
            "cannot be read so; give the pattern of the files instead (“table-*.safetensors”)"
        ) from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        # a name with folders in it could point anywhere on the disk
        raise SourceError(f"{path.name} should name files of its own folder, got {names[:3]}")
    missing = [name for name in names if not path.with_name(name).is_file()]
    if missing:
        raise SourceError(f"{path.name} names the file {missing[0]}, but it is missing; copy it")
    return [path.with_name(name) for name in names]


def read_shards(
    paths: Sequence[Path], *, name: str, tensor: str | None, mapped: bool | None
) -> tuple[RowMatrix, str]:
    """Read a table from its shards.

    Args:
        paths: Existing ``.npy`` or ``.safetensors`` files, in row order.
        name: What messages call the table.
        tensor: Name of the tensor in ``.safetensors`` shards; None takes the only one with two
            axes of floats. Files without it are left out.
        mapped: Whether rows of 16 or 32 bits stay on disk; None decides by their size.

    Returns:
        The matrix, shape (n, d), float32 in memory or mapped `ShardedRows` in the stored dtype,
        and that dtype by name.

    Raises:
        SourceError: If a file is damaged, the shards differ in dtype, no tensor can be chosen, or
            the table neither stays on disk nor fits into memory.
        ShapeError: If the shards differ in width, or one has not two axes.
    """
    shards = _declared_shards(paths, name, tensor)
    first = shards[0].declared
    for shard in shards:
        declared = shard.declared
        declared.check_table()
        if declared.shape[1] != first.shape[1]:
            raise ShapeError(
                f"{declared.name}: expected {first.shape[1]:,} columns, as in {first.name}, got "
                f"{declared.shape[1]:,}; are these shards of one table?"
            )
        if declared.dtype != first.dtype:
            raise SourceError(
                f"{declared.name}: expected {first.dtype}, as in {first.name}, got "
                f"{declared.dtype}; save all shards in one dtype"
            )
    rows = sum(shard.declared.shape[0] for shard in shards)
    whole = Declared(name=name, shape=(rows, first.shape[1]), dtype=first.dtype)
    if whole.stays_on_disk(mapped):
        return ShardedRows([shard.read() for shard in shards]), whole.dtype
    whole.check_memory()
    matrix = torch.empty(whole.shape, dtype=torch.float32)
    start = 0
    for shard in shards:
        stop = start + shard.declared.shape[0]
        matrix[start:stop] = shard.read()
        start = stop
    return matrix, whole.dtype


def _declared_shards(paths: Sequence[Path], name: str, tensor: str | None) -> list[_Shard]:
    suffixes = {path.suffix.lower() for path in paths}
    if len(suffixes) > 1:
        raise SourceError(f"{name}: the shards end in {sorted(suffixes)}; give those of one kind")
    if suffixes == {".npy"}:
        if tensor is not None:
            raise SourceError(
                f"{name} holds one array without a name, but the name {tensor!r} was given; "
                "leave the name out"
            )
        return [_Shard(path=path, tensor=None, declared=declared_npy(path)) for path in paths]
    headers = {path: declared_tensors(path) for path in paths}
    every = {key: header for found in headers.values() for key, header in found.items()}
    chosen = choose_table(every, wanted=tensor, file_name=name, kind="tensor")
    return [
        _Shard(path=path, tensor=chosen, declared=found[chosen])
        for path, found in headers.items()
        if chosen in found
    ]


def _matched(path: Path) -> re.Match[str] | None:
    known = path.suffix.lower() in SHARD_SUFFIXES
    return _NAME.fullmatch(path.name) if known else None


def _in_order(paths: list[Path], name: str) -> list[Path]:
    """Shards by number, none missing, all of one table."""
    sets = {(m["stem"], m["total"], m["suffix"]) if (m := _matched(p)) else None for p in paths}
    if len(sets) > 1 or None in sets:
        raise SourceError(
            f"{name}: expected the shards of one table, found {paths[0].name} and {paths[-1].name};"
            f" name the right ones with a pattern, as in “{paths[0].parent / 'table-*.npy'}”"
        )
    by_number = {int(match["number"]): path for path in paths if (match := _matched(path))}
    (total,) = {int(match["total"]) for path in paths if (match := _matched(path))}
    first = 0 if 0 in by_number else 1
    ordered: list[Path] = []
    for number in range(first, first + total):
        if number not in by_number:
            raise SourceError(
                f"{name}: shard {number} of {total} is missing beside {paths[0].name}; "
                "copy or download it as well"
            )
        ordered.append(by_number[number])
    return ordered
