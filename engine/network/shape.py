"""The sizes of a subspace embedding: enough to build an empty one for a file to fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from typing import Any, cast

from engine.coding.codes import Coding, read_coding
from engine.coding.levels import MOST_BITS
from engine.coding.mixed import MixedCoding
from engine.coding.packing import bits_for, packed_bytes
from engine.errors import FormatError, ParameterError
from engine.factorization import Factorization


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """Sizes of k small layers.

    Attributes:
        rows: n.
        columns: d.
        sizes: n_1 … n_k, rows of each subspace.
        dimensions: j_1 … j_k.
        affine: Whether subspaces have offsets.
        coding: Bits of quantised factors, bytes of coded ones, or None for floats.

    Raises:
        FormatError: If the sizes do not fit together.
    """

    rows: int
    columns: int
    sizes: tuple[int, ...]
    dimensions: tuple[int, ...]
    affine: bool = False
    coding: Coding | MixedCoding | None = None

    def __post_init__(self) -> None:
        """Check that the parts describe one layer."""
        numbers = (self.rows, self.columns, *self.sizes, *self.dimensions)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if (
            not whole
            or not self.sizes
            or len(self.sizes) != len(self.dimensions)
            or sum(self.sizes) != self.rows
            or max(self.dimensions) > self.columns
            or not self._fits_coding()
        ):
            raise FormatError(
                f"{self.rows} × {self.columns} rows cannot lie in subspaces of {self.sizes} rows "
                f"and dimensions {self.dimensions}, stored as {self.coding}; the configuration is "
                "damaged"
            )

    def _fits_coding(self) -> bool:
        """Whether each subspace's rows have the bytes that its columns may take."""
        coding = self.coding
        if not isinstance(coding, MixedCoding):
            return True
        widths = (coding.row_bytes, coding.basis_row_bytes)
        return all(len(part) == len(self.dimensions) for part in widths) and all(
            packed_bytes(j, 1) <= width <= packed_bytes(j, MOST_BITS)
            for part in widths
            for j, width in zip(self.dimensions, part, strict=True)
        )

    @classmethod
    def of(cls, factorization: Factorization) -> LayerShape:
        """The sizes of a factorization."""
        n, d = factorization.shape
        return cls(
            rows=n,
            columns=d,
            sizes=factorization.sizes,
            dimensions=factorization.dimensions,
            affine=factorization.affine,
            coding=factorization.coding,
        )

    @property
    def k(self) -> int:
        """Number of subspaces."""
        return len(self.sizes)

    @property
    def widths(self) -> list[int]:
        """Entries of one row's coordinates, subspace by subspace: numbers, or bytes if coded."""
        if self.coding is None:
            return list(self.dimensions)
        return list(self.coding.row_bytes_of(self.dimensions))

    @property
    def block_lengths(self) -> list[int]:
        """Entries of each subspace's coordinates in the flat storage."""
        return [size * width for size, width in zip(self.sizes, self.widths, strict=True)]

    @property
    def basis_lengths(self) -> list[int]:
        """Length of each subspace's basis on the first axis of the storage of all."""
        if isinstance(self.coding, MixedCoding):
            return [self.columns * width for width in self.coding.basis_row_bytes]
        return list(self.dimensions)

    @property
    def label_bytes(self) -> int:
        """Bytes of the packed labels; 0 for one subspace."""
        return packed_bytes(self.rows, bits_for(self.k))

    @property
    def starts(self) -> list[int]:
        """Where each subspace's rows begin when all rows lie subspace by subspace, and the end."""
        return [0, *accumulate(self.sizes)]

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "sizes": list(self.sizes), "dimensions": list(self.dimensions)}

    @classmethod
    def from_dict(cls, values: object) -> LayerShape:
        """Undo `as_dict` after a trip through JSON.

        Raises:
            FormatError: If a key is missing or unknown, or a value makes no sense.
        """
        known = {item.name for item in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != known:
            raise FormatError(
                f"a layer's sizes need exactly {sorted(known)}, got {values}; the "
                "configuration is damaged or from a newer version of subspace-atlas"
            )
        values = cast("Mapping[str, Any]", values)
        try:
            coding = values["coding"]
            lists: dict[str, Any] = {
                "sizes": tuple(values["sizes"]),
                "dimensions": tuple(values["dimensions"]),
                "coding": None if coding is None else read_coding(coding),
            }
            return cls(**{**values, **lists})
        except (TypeError, ParameterError) as error:
            raise FormatError(f"a layer's sizes cannot be read: {error}") from error
