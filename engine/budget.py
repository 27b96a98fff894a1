"""How many numbers and bytes a plan stores, and which dimension a compression rate allows.

Symbols as in the paper: n rows, d columns, k subspaces of dimension j; rate = 1 − after / before.
Truncated SVD of rank r is the case k = 1, j = r.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from engine.coding.codes import Coding
from engine.coding.packing import bits_for, packed_bytes
from engine.errors import ParameterError

RIVAL_BASIS_BITS = 8  # of an SVD that is stored at 4 or 8 bits beside a coded plan
_BYTES = re.compile(r"(\d+(?:\.\d+)?) ?(%|b|kb|mb|gb|)", re.IGNORECASE)
_MOST_DIGITS = 24  # of a number of bytes: Decimal multiplies so many exactly
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSizes:
    """What a plan stores, part by part.

    Attributes:
        d: Columns.
        sizes: n_1 … n_k, rows of each subspace.
        dimensions: j_1 … j_k.
        affine: Whether each subspace stores an offset as well.

    Raises:
        ParameterError: If there is not one dimension a subspace.
    """

    d: int
    sizes: tuple[int, ...]
    dimensions: tuple[int, ...]
    affine: bool = False

    def __post_init__(self) -> None:
        """Check that sizes and dimensions belong together."""
        if len(self.sizes) != len(self.dimensions) or not self.sizes:
            raise ParameterError(
                f"each subspace needs a number of rows and a dimension, got {len(self.sizes)} and "
                f"{len(self.dimensions)}"
            )

    @property
    def k(self) -> int:
        """Number of subspaces."""
        return len(self.sizes)

    @property
    def n(self) -> int:
        """Rows of all subspaces."""
        return sum(self.sizes)

    @property
    def coordinates(self) -> tuple[int, ...]:
        """n_c·j_c of each subspace: numbers of its rows' own."""
        return tuple(n * j for n, j in zip(self.sizes, self.dimensions, strict=True))

    @property
    def bases(self) -> tuple[int, ...]:
        """j_c·d of each subspace: numbers that its rows share."""
        return tuple(j * self.d for j in self.dimensions)

    @property
    def offsets(self) -> int:
        """k·d when affine, else none."""
        return offset_parameters(self.d, self.k, affine=self.affine)

    @property
    def parameters_before(self) -> int:
        """n·d: numbers of the matrix that the plan stands for."""
        return self.n * self.d

    @property
    def parameters(self) -> int:
        """Numbers stored: Σ n_c·j_c + Σ j_c·d, and the offsets."""
        return sum(self.coordinates) + sum(self.bases) + self.offsets

    @property
    def rate(self) -> float:
        """Compression rate: 1 − parameters / (n·d); negative when larger than the matrix."""
        return 1 - self.parameters / self.parameters_before

    def stored_bytes(self, coding: Coding | None = None) -> int:
        """What `Factorization.stored_bytes` of a plan of these sizes counts, labels included.

        Args:
            coding: The bits of its numbers; float32 without.
        """
        labels = packed_bytes(self.n, bits_for(self.k))
        if coding is None:
            return 4 * self.parameters + labels
        blocks = zip(self.sizes, self.dimensions, strict=True)
        coordinates = sum(coding.coordinate_bytes(n, j) for n, j in blocks)
        bases = sum(coding.basis_bytes(j, self.d) for j in self.dimensions)
        return coordinates + bases + 2 * self.offsets + labels

    def only(self, labels: Sequence[int]) -> PlanSizes:
        """The same of some of the subspaces, at least one."""
        return PlanSizes(
            d=self.d,
            sizes=tuple(self.sizes[label] for label in labels),
            dimensions=tuple(self.dimensions[label] for label in labels),
            affine=self.affine,
        )


def parameters(n: int, d: int, k: int, j: int, *, affine: bool = False) -> int:
    """Numbers stored by k subspaces of dimension j: n·j coordinates and k·j·d basis entries.

    Affine subspaces store k·d more, one offset each.
    """
    return n * j + k * j * d + offset_parameters(d, k, affine=affine)


def uniform_bytes(
    n: int, d: int, k: int, j: int, *, affine: bool = False, coding: Coding | None = None
) -> int:
    """Bytes stored by k subspaces of dimension j, labels included.

    Rows take whole bytes, so that it is the same however many of them a subspace holds.
    """
    sizes = (n, *(0 for _ in range(k - 1)))
    return PlanSizes(d=d, sizes=sizes, dimensions=(j,) * k, affine=affine).stored_bytes(coding)


def most_bytes(
    n: int, d: int, k: int, budget: int, *, affine: bool = False, coding: Coding | None = None
) -> int:
    """Most bytes that k subspaces of any dimensions within a budget store, labels included.

    Args:
        n: Rows.
        d: Columns.
        k: Subspaces.
        budget: Most numbers.
        affine: Whether offsets are among them.
        coding: The bits of the numbers; float32 without.
    """
    labels = packed_bytes(n, bits_for(k))
    if coding is None:
        return 4 * budget + labels
    # A number of a basis takes more bytes than one of a row's, so at most: all bases at full size.
    offsets = offset_parameters(d, k, affine=affine)
    vectors = min(k * d, max(0, budget - offsets) // d)
    own = max(0, budget - offsets - vectors * d)
    filled_up = packed_bytes(own, coding.bits) + (n + 1) // 2  # under a byte a row, for 4 bits half
    steps = coding.coordinate_bytes(0, vectors)
    return filled_up + steps + coding.basis_bytes(vectors, d) + 2 * offsets + labels


def offset_parameters(d: int, k: int, *, affine: bool) -> int:
    """Numbers stored by the offsets of k subspaces: k·d when affine, else none."""
    return k * d if affine else 0


def budget_for_rate(n: int, d: int, rate: float) -> int:
    """Most numbers a plan may store at a rate: ⌊(1−rate)·n·d⌋.

    Raises:
        ParameterError: If the rate is out of range.
    """
    check_rate(rate)
    # Rounded: 0.6·n·d must not fall under a whole number by a float's last digit.
    return math.floor(round((1 - rate) * n * d, 6))


def rate_for_dimension(n: int, d: int, k: int, j: int, *, affine: bool = False) -> float:
    """Compression rate of k subspaces of dimension j; negative when the plan is larger."""
    return 1 - parameters(n, d, k, j, affine=affine) / (n * d)


def dimension_for_rate(n: int, d: int, k: int, rate: float, *, affine: bool = False) -> int:
    """Largest j within a rate: ⌊(1−rate)·n·d / (n + k·d)⌋, after k·d offsets when affine.

    Args:
        n: Rows.
        d: Columns.
        k: Subspaces, 1 … n.
        rate: Share of the parameters to remove, 0 ≤ rate < 1.
        affine: Whether each subspace stores an offset as well.

    Returns:
        j, between 1 and d.

    Raises:
        ParameterError: If k or the rate is out of range, or not even j = 1 fits.
    """
    check_k(k, n)
    check_rate(rate)
    numbers = (1 - rate) * n * d - offset_parameters(d, k, affine=affine)
    j = math.floor(round(numbers / (n + k * d), 9))  # rounded as in budget_for_rate
    if j < 1:
        highest = rate_for_dimension(n, d, k, 1, affine=affine)
        advice = (
            f"the highest rate for k = {k} here is {math.floor(highest * 1000) / 1000:.3f}; "
            f"lower the rate{' or k' if k > 1 else ''}"
            if highest > 0
            else f"k = {k} subspaces of one dimension are already larger than the table; lower k"
            if k > 1
            else "that one is larger than the table already, which no plan makes smaller"
        )
        raise ParameterError(
            f"a rate of {rate:g} leaves no room for k = {k} subspace{'s' * (k > 1)} of even one "
            f"dimension in {n:,} × {d:,} rows; {advice}"
        )
    return min(j, d)


def matching_rank(n: int, d: int, budget: int) -> int:
    """Smallest SVD rank that stores at least ``budget`` numbers: a baseline never short-changed.

    Args:
        n: Rows.
        d: Columns.
        budget: Parameters of the plan to compare with.

    Returns:
        r, between 1 and min(n, d).
    """
    return max(1, min(math.ceil(budget / (n + d)), n, d))


def read_bytes(asked: int | str, dense_bytes: int) -> int:
    """A number of bytes as people give it.

    Args:
        asked: 750108, ``"750108"``, ``"1.1MB"`` (kB, MB and GB are powers of ten), or ``"3%"`` of
            the table in float32.
        dense_bytes: Of that table.

    Returns:
        Whole bytes, at least 1; what is left of a byte is cut off.

    Raises:
        ParameterError: If it is none of these, comes to less than a byte, or has more digits than
            any size of a table.
    """
    found = _BYTES.fullmatch(str(asked).strip())
    if found is None or len(found[1]) > _MOST_DIGITS:
        raise ParameterError(
            f"a number of bytes is written as 750108, 1.1MB or 3% of the table, got {asked!r}"
        )
    unit = found[2].lower()
    # Decimal: 1.1 MB are 1,100,000 bytes, with no last digit of a float to be rounded away.
    factor = Decimal(dense_bytes) / 100 if unit == "%" else Decimal(_UNITS[unit])
    size = int(Decimal(found[1]) * factor)
    if size < 1:
        raise ParameterError(
            f"a number of bytes, written as 750108, 1.1MB or 3% of the table, must come to at "
            f"least 1, got {asked!r}, which is {size}; give more"
        )
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class SvdSize:
    """Size of a truncated SVD.

    Attributes:
        rank: r, at least 1.
        coding: How its numbers are stored; None for 32 bits.
    """

    rank: int
    coding: Coding | None = None

    @classmethod
    def of(cls, rank: int, bits: int | None) -> SvdSize:
        """An SVD that stands beside a plan, by the bits of its coordinates; None for 32."""
        if bits is None:
            return cls(rank=rank)
        return cls(rank=rank, coding=Coding(bits=bits, basis_bits=RIVAL_BASIS_BITS))


def svd_beside(n: int, d: int, numbers: int | None, stored_bytes: int) -> SvdSize:
    """The SVD to set beside a plan, so that it is never short-changed.

    Beside a plan of so many numbers that is the smallest rank that stores as many. A coded plan has
    no number of them: beside it stands the SVD that takes as many bytes at 4 bits a number, which
    makes more of few bytes than 8 or 32; at those where no rank takes as many.

    Args:
        n: Rows.
        d: Columns.
        numbers: `Factorization.parameters`; None of a coded plan.
        stored_bytes: Of the plan.

    Returns:
        A rank between 1 and min(n, d).
    """
    if numbers is not None:
        return SvdSize(rank=matching_rank(n, d, numbers))
    for bits in (4, 8):
        sizes = [SvdSize.of(rank, bits) for rank in range(1, min(n, d) + 1)]
        place = bisect_left(sizes, stored_bytes, key=partial(_svd_bytes, n, d))
        if place < len(sizes):
            return sizes[place]
    return SvdSize(rank=matching_rank(n, d, -(-stored_bytes // 4)))


def _svd_bytes(n: int, d: int, size: SvdSize) -> int:
    return uniform_bytes(n, d, 1, size.rank, coding=size.coding)


def check_k(k: int, n: int) -> None:
    """Refuse a number of subspaces that the rows cannot fill.

    Raises:
        ParameterError: If k is not in 1 … n.
    """
    if n == 1 and k != 1:
        raise ParameterError(f"a table of 1 row has room for k = 1 only, got {k:,}")
    if not 1 <= k <= n:
        raise ParameterError(f"k must be between 1 and {n:,} (the number of rows), got {k:,}")


def check_dimension(j: int, d: int) -> None:
    """Refuse a dimension that the layer does not have.

    Raises:
        ParameterError: If j is not in 1 … d.
    """
    if not 1 <= j <= d:
        raise ParameterError(
            f"j must be between 1 and {d:,} (the width of this layer), got {j:,}; "
            "lower j or raise the rate"
        )


def check_rate(rate: float) -> None:
    """Refuse a rate that is not a share to remove.

    Raises:
        ParameterError: If the rate is not in 0 … 1, the 1 excluded.
    """
    if not 0 <= rate < 1:
        raise ParameterError(
            f"the rate is the share of parameters to remove, 0 to below 1, got {rate:g}; "
            "0.4 makes the layer 60 % of its size"
        )
