"""One of the k small layers of a subspace embedding, as views of what the whole holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from engine.coding.codes import unpack_levels
from engine.coding.mixed import unpack_columns
from engine.coding.trellis import LEAST_BYTES
from engine.rows import BLOCK_ROWS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmallLayer:
    """The rows of one subspace: ``coordinates @ basis (+ offset)``.

    Attributes:
        block: Coordinates as stored, a row each: shape (n_c, j_c) of floats, or their codes.
        basis: As stored, shape (j_c, d): floats, the bits of float16 as int16, or codes; where
            each vector has bits of its own, the codes of the transpose, d rows.
        offset: As stored, shape (d,), or None.
        bits: Of coded coordinates, one number or one of each column, shape (j_c,); None for floats.
        steps: Of coded coordinates, shape (j_c,); their dtype is the one to compute in.
        basis_bits: Of a basis, likewise; 16 for the bits of float16.
        basis_steps: Of a coded basis, shape (j_c,), the bits of float16.
    """

    block: Tensor
    basis: Tensor
    offset: Tensor | None
    bits: int | Tensor | None
    steps: Tensor | None
    basis_bits: int | Tensor | None
    basis_steps: Tensor | None

    def rows(self, places: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Rows of the table: places (m,) within this layer → (m, d), into ``out`` where given."""
        coordinates = self._decode(self.block.index_select(0, places))
        basis, offset = self.decode_basis(), self.decode_offset()
        if (
            basis.shape[0] < 2
        ):  # torch.compile cannot guess the strides of so thin a matrix's gradient
            rows = torch.sum(coordinates.unsqueeze(2) * basis, dim=1, out=out)
            return rows if offset is None else torch.add(rows, offset, out=out)
        if offset is None:
            return torch.mm(coordinates, basis, out=out)
        return torch.addmm(offset, coordinates, basis, out=out)

    def products(self, hidden: Tensor) -> list[Tensor]:
        """Products with all rows of this layer: hidden (…, d) → parts that join to (…, n_c)."""
        inner = linear(hidden, self.decode_basis())
        offset = self.decode_offset()
        shift = None if offset is None else linear(hidden, offset.unsqueeze(0))
        whole = max(1, self.block.shape[0])
        parts = self.block.split(whole if self.bits is None else BLOCK_ROWS)
        products = [linear(inner, self._decode(part)) for part in parts]
        return products if shift is None else [part + shift for part in products]

    def _decode(self, stored: Tensor) -> Tensor:
        if self.bits is None or self.steps is None:
            return stored
        if isinstance(self.bits, Tensor):
            levels = unpack_columns(stored, self.bits, trellis=stored.shape[1] >= LEAST_BYTES)
        else:
            levels = unpack_levels(stored, self.bits, self.steps.shape[0])
        return levels.to(self.steps.dtype).mul_(self.steps)

    def decode_basis(self) -> Tensor:
        """The basis as numbers to compute with, shape (j_c, d)."""
        if self.steps is None:
            return self.basis
        dtype = self.steps.dtype
        if self.basis_bits is None or self.basis_steps is None:  # floats, or their bits
            return widened(self.basis, dtype)
        if isinstance(self.basis_bits, Tensor):
            levels = unpack_columns(self.basis, self.basis_bits).T
        else:
            levels = unpack_levels(self.basis, self.basis_bits, self.basis.shape[1])
        return levels.to(dtype).mul_(widened(self.basis_steps, dtype).unsqueeze(1))

    def decode_offset(self) -> Tensor | None:
        """The offset likewise, shape (d,), or None."""
        if self.offset is None or self.steps is None:
            return self.offset
        return widened(self.offset, self.steps.dtype)


def widened(halves: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers kept as the bits of float16, in another dtype; for an export they are floats."""
    return (halves if halves.is_floating_point() else halves.view(torch.float16)).to(dtype)
