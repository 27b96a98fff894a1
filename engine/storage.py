"""A factorization on disk: `factorization.safetensors` and `factorization.json` in one folder.

Tensors: ``coordinates.C`` (n_c, j_c) and ``basis.C`` (j_c, d) for C = 0 … k−1, ``offset.C`` (d,)
where subspaces are affine, and for k > 1 ``labels``, packed at ⌈log2 k⌉ bits
(`engine.coding.packing`). What is coded is there as its codes, with ``.steps`` beside it and, where
columns have bits of their own, ``.bits`` (`engine.coding`). Their bytes are the factorization's
`stored_bytes`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.clustering.search import StartReport
from engine.coding.codes import CodedMatrix, Coding, Stored, parts_of, read_coding
from engine.coding.mixed import MixedCoding, MixedMatrix
from engine.coding.packing import bits_for, pack_integers, unpack_integers
from engine.errors import EngineError, FormatError, ParameterError, ShapeError
from engine.factorization import Factorization, FitRecord
from engine.folders import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping

TENSOR_FILE = "factorization.safetensors"
RECORD_FILE = "factorization.json"
SCHEMA_VERSION = 5
_PLAIN_SCHEMA = 1
_OLD_SCHEMAS = (3, 4)  # coded subspaces as they were before any release, of other levels


def save_factorization(factorization: Factorization, folder: Path) -> None:
    """Write both files; each appears whole or not at all.

    Args:
        factorization: What to write.
        folder: Where; made when missing. Files of the same names are replaced.

    Raises:
        EngineError: If the disk refuses.
    """
    coding = factorization.coding
    header = {
        "schema": _schema_of(coding),
        "rows": factorization.shape[0],
        "columns": factorization.shape[1],
        "dimensions": list(factorization.dimensions),
        "record": asdict(factorization.record),
    }
    if coding is not None:
        header["coding"] = asdict(coding)
    tensors: dict[str, Tensor] = {}
    for name, parts in (("basis", factorization.bases), ("coordinates", factorization.coordinates)):
        for c, part in enumerate(parts):
            tensors |= {f"{name}.{c}{key}": own.contiguous() for key, own in parts_of(part).items()}
    if factorization.offsets is not None:
        tensors |= {f"offset.{c}": offset for c, offset in enumerate(factorization.offsets)}
    if factorization.k > 1:
        tensors["labels"] = pack_integers(factorization.labels, bits_for(factorization.k))
    text = json.dumps(header, indent=1, ensure_ascii=False)
    try:
        write_file(folder / TENSOR_FILE, lambda path: save_file(tensors, path))
        write_file(folder / RECORD_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:  # a full disk comes as either
        raise EngineError(
            f"could not write the factorization to {folder}: {error}; "
            "free some space or choose a folder you may write to"
        ) from error


def _schema_of(coding: Coding | MixedCoding | None) -> int:
    """The least that holds it, so that older versions read what they know."""
    if coding is None:
        return _PLAIN_SCHEMA
    return 2 if isinstance(coding, Coding) else SCHEMA_VERSION


def load_factorization(folder: Path) -> Factorization:
    """Read both files and check that they belong together.

    Raises:
        FormatError: If a file is missing, damaged, or from a version that this one cannot read.
    """
    header = _read_header(folder)
    try:
        tensors = load_file(folder / TENSOR_FILE)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{folder / TENSOR_FILE} cannot be read: {error}") from error
    try:
        dimensions = cast("list[int]", header["dimensions"])
        k, affine = len(dimensions), "offset.0" in tensors
        coding = read_coding(header["coding"]) if "coding" in header else None
        factorization = Factorization(
            labels=_labels(tensors, cast("int", header["rows"]), k),
            bases=tuple(_basis(tensors, c, coding) for c in range(k)),
            coordinates=tuple(_coordinates(tensors, c, coding) for c in range(k)),
            record=_record(cast("Mapping[str, object]", header["record"])),
            offsets=tuple(tensors[f"offset.{c}"] for c in range(k)) if affine else None,
        )
    except KeyError as error:
        raise FormatError(f"{folder} is damaged: {error} is missing") from error
    except (TypeError, IndexError, ParameterError, ShapeError) as error:
        raise FormatError(f"{folder} is damaged: {error}") from error
    stored = (*factorization.bases, *factorization.coordinates)
    expected = sum(len(parts_of(part)) for part in stored) + affine * k + (k > 1)
    declared = (dimensions, header["rows"], header["columns"], coding, header["schema"], expected)
    found = (list(factorization.dimensions), *factorization.shape, factorization.coding)
    if declared != (*found, _schema_of(coding), len(tensors)):
        raise FormatError(f"{folder} is damaged: {RECORD_FILE} and {TENSOR_FILE} disagree")
    return factorization


def _read_header(folder: Path) -> dict[str, object]:
    path = folder / RECORD_FILE
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{folder} holds no factorization ({RECORD_FILE} is missing); give the folder that "
            "`subspace-atlas compress -o` or Factorization.save wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    expected = {"schema", "rows", "columns", "dimensions", "record"}
    if not isinstance(header, dict) or "schema" not in header:
        raise FormatError(f"{path} is not a factorization of ours")
    header = cast("dict[str, object]", header)
    if header["schema"] not in range(_PLAIN_SCHEMA, SCHEMA_VERSION + 1):
        raise FormatError(
            f"{path} has schema {header['schema']}, this version reads up to {SCHEMA_VERSION}; "
            "update subspace-atlas"
        )
    if header["schema"] in _OLD_SCHEMAS:
        raise FormatError(
            f"{path} holds coded subspaces of a development version, whose levels this one does "
            "not know; compress again"
        )
    if header["schema"] != _PLAIN_SCHEMA:
        expected.add("coding")
    if set(header) != expected:
        raise FormatError(f"{path} should hold {sorted(expected)}, it holds {sorted(header)}")
    return header


def _labels(tensors: Mapping[str, Tensor], rows: int, k: int) -> Tensor:
    if k == 1:
        return torch.zeros(len(tensors["coordinates.0"]), dtype=torch.int64)
    return unpack_integers(tensors["labels"], bits_for(k), rows)


def _basis(
    tensors: Mapping[str, Tensor], cluster: int, coding: Coding | MixedCoding | None
) -> Stored:
    if isinstance(coding, MixedCoding):
        return _mixed(tensors, f"basis.{cluster}", turned=True)
    codes = tensors[f"basis.{cluster}"]
    if coding is None or coding.basis_bits == 16:
        return codes
    columns = codes.shape[-1]  # of 8 bits, a byte each
    return CodedMatrix(
        codes=codes,
        steps=tensors[f"basis.{cluster}.steps"],
        bits=coding.basis_bits,
        columns=columns,
        group=columns,
    )


def _coordinates(
    tensors: Mapping[str, Tensor], cluster: int, coding: Coding | MixedCoding | None
) -> Stored:
    if isinstance(coding, MixedCoding):
        return _mixed(tensors, f"coordinates.{cluster}")
    codes = tensors[f"coordinates.{cluster}"]
    if coding is None:
        return codes
    steps = tensors[f"coordinates.{cluster}.steps"]
    return CodedMatrix(codes=codes, steps=steps, bits=coding.bits, columns=steps.shape[-1], group=1)


def _mixed(tensors: Mapping[str, Tensor], name: str, *, turned: bool = False) -> MixedMatrix:
    return MixedMatrix(
        codes=tensors[name],
        steps=tensors[f"{name}.steps"],
        bits=tensors[f"{name}.bits"],
        turned=turned,
    )


def _record(values: Mapping[str, object]) -> FitRecord:
    known = {item.name for item in fields(FitRecord)}
    if set(values) != known:
        raise FormatError(f"the record should hold {sorted(known)}, it holds {sorted(values)}")
    starts = cast("list[dict[str, Any]]", values["starts"])
    return FitRecord(
        method=str(values["method"]),
        config=cast("dict[str, object]", values["config"]),
        source=str(values["source"]),
        versions=cast("dict[str, str]", values["versions"]),
        starts=tuple(_start(start) for start in starts),
        cost_history=tuple(cast("list[float]", values["cost_history"])),
        notes=tuple(cast("list[str]", values["notes"])),
    )


def _start(values: dict[str, Any]) -> StartReport:
    plain: dict[str, Any] = values | {"cost_history": tuple(values["cost_history"])}
    return StartReport(**plain)
