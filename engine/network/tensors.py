"""The tensors of a subspace embedding: empty, of a factorization, and checked against its shape."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.coding.codes import Stored, parts_of
from engine.coding.levels import MOST_BITS
from engine.coding.mixed import MixedCoding
from engine.coding.packing import bits_for, pack_integers, row_bytes
from engine.coding.trellis import LEAST_BYTES, WINDOW
from engine.errors import FormatError
from engine.factorization import Factorization
from engine.network.shape import LayerShape


def empty_tensors(shape: LayerShape) -> dict[str, Tensor | None]:
    """What a layer of this shape holds, by name; None for what it does not need.

    Floats are of torch's default dtype: transformers sets it to the one that a model is loaded in,
    and loads into the dtype it finds.
    """
    coding, total = shape.coding, sum(shape.dimensions)
    codes, halves = torch.uint8, torch.int16
    coordinates = bases = offsets = torch.get_default_dtype() if coding is None else halves
    mixed = isinstance(coding, MixedCoding)
    if coding is not None:
        coordinates = codes
        bases = codes if mixed or coding.basis_bits == 8 else halves
    wide = () if mixed else (shape.columns,)
    return {
        "weight": torch.empty(sum(shape.block_lengths), dtype=coordinates),
        "bases": torch.empty(sum(shape.basis_lengths), *wide, dtype=bases),
        "offsets": torch.empty(shape.k, shape.columns, dtype=offsets) if shape.affine else None,
        "steps": None if coding is None else torch.empty(total),
        "basis_steps": torch.empty(total, dtype=halves) if bases == codes else None,
        "bits": torch.empty(total, dtype=codes) if mixed else None,
        "basis_bits": torch.empty(total, dtype=codes) if mixed else None,
        "labels": torch.empty(shape.label_bytes, dtype=codes) if shape.k > 1 else None,
    }


_NAMES = {
    "weight": ("coordinates", ""),
    "steps": ("coordinates", ".steps"),
    "bits": ("coordinates", ".bits"),
    "bases": ("bases", ""),
    "basis_steps": ("bases", ".steps"),
    "basis_bits": ("bases", ".bits"),
}
"""Where each part of a layer is in a factorization, and under which key of `parts_of`."""


def tensors_of(factorization: Factorization) -> dict[str, Tensor]:
    """What a factorization comes to under the names of `SubspaceEmbedding`, all of it flat."""
    tensors: dict[str, Tensor] = {}
    for name, (where, key) in _NAMES.items():
        parts: tuple[Stored, ...] = getattr(factorization, where)
        found = [own[key] for own in map(parts_of, parts) if key in own]
        if found:
            tensors[name] = torch.cat([_bits_of_halves(part).reshape(-1) for part in found])
    if factorization.offsets is not None:
        tensors["offsets"] = torch.cat([_bits_of_halves(part) for part in factorization.offsets])
    if factorization.k > 1:
        tensors["labels"] = pack_integers(factorization.labels, bits_for(factorization.k))
    return tensors


def _bits_of_halves(part: Tensor) -> Tensor:
    # Only coded factorizations hold halves: as their bits, which no change of dtype touches.
    return part.view(torch.int16) if part.dtype == torch.float16 else part


def check_bits(shape: LayerShape, bits: Tensor, basis_bits: Tensor) -> None:
    """That the columns' bits are those of the codes; others would read past a row's end.

    Args:
        shape: Of a coded layer.
        bits: Of all columns of coordinates, shape (Σ j_c,).
        basis_bits: Of all basis vectors, likewise.

    Raises:
        FormatError: If not.
    """
    assert isinstance(shape.coding, MixedCoding)
    coding = shape.coding
    limits = [WINDOW if width >= LEAST_BYTES else MOST_BITS for width in coding.row_bytes]
    for own, expected, most in (
        (bits, coding.row_bytes, limits),
        (basis_bits, coding.basis_row_bytes, [MOST_BITS] * shape.k),
    ):
        parts = own.split(shape.dimensions)
        found = tuple(map(row_bytes, parts))
        within = [
            bool(((part > 0) & (part <= limit)).all())
            for part, limit in zip(parts, most, strict=True)
        ]
        if found != expected or not all(within):
            raise FormatError(
                f"the bits of the columns make rows of {found} bytes, and the codes have "
                f"{expected}, of 1 … {MOST_BITS} bits a column, of a trellis 1 … {WINDOW}; they "
                "are another layer's, or the file is damaged"
            )
