"""What was asked for, checked, and the plan it means for given rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.budget import (
    budget_for_rate,
    check_dimension,
    check_k,
    dimension_for_rate,
    offset_parameters,
    parameters,
)
from engine.clustering.allocation import Allocation, GivenDimensions, OptimalDimensions
from engine.clustering.em import EMPlan
from engine.clustering.losses import parse_loss
from engine.clustering.weighted_rows import WeightedRows
from engine.coding.choosing import CODED_KS
from engine.coding.fitting import CodedRequest
from engine.errors import ParameterError
from engine.memory import SUBSPACE_NUMBER_BYTES, free_bytes

METHODS = ("messi", "svd", "coded")
ALLOCATIONS = ("uniform", "optimal")
DEFAULT_K = 5
DEFAULT_CODED_K = 4
DEFAULT_STARTS = 10
AUTO_KS = (1, 2, 3, 5, 8, 12, 16, 20)


class SizeError(ParameterError):
    """Of several ways to give a plan's size none was given, or more than one, or another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What to fit, as `engine.factorize` takes it; see there for each field."""

    method: str = "messi"
    k: int | str | Sequence[int] | None = None
    j: int | Sequence[int] | None = None
    rate: float | None = None
    max_bytes: int | None = None
    allocation: str = "uniform"
    affine: bool = False
    loss: str = "squared"
    seed: int = 0
    n_init: int = DEFAULT_STARTS
    seeding: str | Mapping[str, int] = "auto"
    moves: int = 0
    max_iterations: int = 50
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Check what needs no rows to be checked.

        Raises:
            ParameterError: If a value is out of range or two contradict each other.
            SizeError: If nothing else is wrong, and the size is not given, or not once.
        """
        if self.method not in METHODS:
            raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        self._check_counts()
        if self.allocation not in ALLOCATIONS:
            raise ParameterError(
                f"allocation must be one of {', '.join(ALLOCATIONS)}, got {self.allocation!r}"
            )
        if self.method == "coded":
            self._check_coded()
        if self.allocation == "optimal" and isinstance(self.j, Sequence):
            raise ParameterError(
                "allocation='optimal' chooses the dimensions itself; give a rate or one j whose "
                "size is the budget, or leave the allocation at 'uniform'"
            )
        if self.max_iterations < 1:
            raise ParameterError(f"max_iterations must be at least 1, got {self.max_iterations}")
        if not 0 <= self.tolerance < 1:
            raise ParameterError(f"tolerance must be 0 to below 1, got {self.tolerance:g}")
        if self.seed < 0:
            raise ParameterError(f"seed must not be negative, got {self.seed}")
        if self.moves < 0:
            raise ParameterError(f"moves must not be negative, got {self.moves}")
        parse_loss(self.loss)
        self._check_size()

    def _check_size(self) -> None:
        given = [name for name in ("j", "rate") if getattr(self, name) is not None]
        if self.method == "coded":
            self.coded()
            if given:
                raise SizeError(
                    f"method='coded' has its size from max_bytes and takes no {given[0]}; leave "
                    f"{given[0]} out"
                )
        elif self.max_bytes is not None:
            raise SizeError(
                f"max_bytes is the size of method='coded'; give method={self.method!r} a rate or j"
            )
        elif not given:
            raise SizeError(
                "no size is given; give j (the dimension), rate (the share to remove), or with "
                "method='coded' max_bytes"
            )
        elif len(given) > 1:
            raise SizeError(
                f"j = {self.j} and rate = {self.rate} are both given, and each is a size; give one "
                "of them"
            )

    def coded(self) -> tuple[CodedRequest, ...]:
        """What it asks of the method ``"coded"``: a request for each k to choose from, rising.

        Raises:
            SizeError: If there is no ``max_bytes``.
            ParameterError: If it or k is none of that method's.
        """
        if self.max_bytes is None:
            raise SizeError(
                "method='coded' needs max_bytes, the most bytes it may store, and that is not given"
            )
        if type(self.max_bytes) is not int or self.max_bytes < 1:
            raise ParameterError(
                "method='coded' needs max_bytes, the most bytes it may store, a whole number of at "
                f"least 1; got {self.max_bytes!r}"
            )
        return tuple(
            CodedRequest(
                k=k,
                max_bytes=self.max_bytes,
                affine=self.affine,
                max_iterations=self.max_iterations,
                tolerance=self.tolerance,
            )
            for k in self._coded_ks()
        )

    def _coded_ks(self) -> tuple[int, ...]:
        if self.k is None:
            return (DEFAULT_CODED_K,)
        if isinstance(self.k, int):
            return (self.k,)
        if isinstance(self.k, str) and self.k != "auto":
            raise ParameterError(
                f"k must be a whole number, a list of them or 'auto', got {self.k!r}"
            )
        candidates = CODED_KS if isinstance(self.k, str) else tuple(sorted(set(self.k)))
        if not candidates:
            raise ParameterError("a k to be chosen needs at least one candidate, got none")
        return candidates

    def _check_coded(self) -> None:
        self._coded_ks()
        for name in ("allocation", "loss", "seeding", "moves"):
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                raise ParameterError(
                    f"method='coded' spends max_bytes where they save most, squared distances "
                    f"weighted, and takes no {name}; leave {name} out"
                )
        if self.n_init not in (0, 1, DEFAULT_STARTS):
            raise ParameterError(
                f"method='coded' has one start, got n_init = {self.n_init}; leave n_init out"
            )

    def _check_counts(self) -> None:
        k = None if isinstance(self.k, str) else self.k  # "auto", seen to where k is chosen
        for name, value in (("k", k), ("j", self.j)):
            if value is not None and not _are_whole(value):
                raise ParameterError(f"{name} must be a whole number or a list, got {value!r}")
        if isinstance(k, int) and k < 1:
            raise ParameterError(f"k must be 1 or more (the number of subspaces), got {k:,}")
        if self.method != "svd":
            return
        if self.k not in (None, 1):
            raise ParameterError(
                f"an SVD has one subspace, got k = {self.k}; leave k out or use messi"
            )
        if isinstance(self.j, Sequence) and len(self.j) != 1:
            raise ParameterError(f"an SVD has one subspace, got j = {self.j}; use messi")

    def as_config(self) -> dict[str, object]:
        """As plain values that JSON gives back unchanged."""
        plain: dict[str, object] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, Mapping):
                value = dict(value)  # pyright: ignore[reportUnknownArgumentType]
            elif isinstance(value, Sequence) and not isinstance(value, str):
                value = list(value)  # pyright: ignore[reportUnknownArgumentType]
            plain[name] = value
        return plain


def _are_whole(value: int | Sequence[int]) -> bool:
    """Whether it is what its type says: a notebook may pass 2.0."""
    numbers = value if isinstance(value, Sequence) else (value,)
    return all(type(number) is int for number in numbers)


def coded_requests(request: FitRequest, n: int) -> list[CodedRequest]:
    """The requests of the method ``"coded"`` that a table of n rows allows: one for each k.

    Raises:
        ParameterError: If the smallest k does not fit the rows.
    """
    found = request.coded()
    check_k(min(one.k for one in found), n)
    return [one for one in found if one.k <= n]


def plan_for(rows: WeightedRows, request: FitRequest) -> EMPlan:
    """The plan for these rows, k being one number or left out.

    Raises:
        ParameterError: If k, j or the rate does not fit the rows, or k needs too much memory.
    """
    n, d = round(rows.table_rows), rows.points.shape[1]
    default = 1 if request.method == "svd" else DEFAULT_K
    dimensions = tuple(request.j) if isinstance(request.j, Sequence) else None
    k = request.k
    if k is None:
        k = default if dimensions is None else len(dimensions)
    if not isinstance(k, int):
        raise ParameterError(f"k must be a whole number here, got {k!r}")
    check_k(k, n)
    if dimensions is not None:
        if len(dimensions) != k:
            raise ParameterError(f"k = {k} subspaces need as many dimensions, got {dimensions}")
        for dimension in dimensions:
            if dimension != 0:
                check_dimension(dimension, d)
        allocation: Allocation = GivenDimensions(dimensions)
    elif request.allocation == "optimal":
        allocation = OptimalDimensions(k=k, budget=_budget(n, d, k, request))
    else:
        allocation = GivenDimensions((_even_dimension(n, d, k, request),) * k)
    _check_memory(k, d)
    return EMPlan(allocation=allocation, affine=request.affine, loss=parse_loss(request.loss))


def _even_dimension(n: int, d: int, k: int, request: FitRequest) -> int:
    if request.rate is not None:
        return dimension_for_rate(n, d, k, request.rate, affine=request.affine)
    assert isinstance(request.j, int)
    check_dimension(request.j, d)
    return request.j


def _budget(n: int, d: int, k: int, request: FitRequest) -> int:
    """Numbers for coordinates and bases; offsets are paid for beforehand."""
    offsets = offset_parameters(d, k, affine=request.affine)
    if request.rate is not None:
        return budget_for_rate(n, d, request.rate) - offsets
    assert isinstance(request.j, int)
    check_dimension(request.j, d)
    return parameters(n, d, k, request.j)


def _check_memory(k: int, d: int) -> None:
    """Refuse a k whose d × d statistics do not fit: float64 sums and float32 frames of each."""
    needed, free = k * d * d * SUBSPACE_NUMBER_BYTES, free_bytes()
    if needed > free:
        raise ParameterError(
            f"k = {k:,} subspaces of a table {d:,} wide need {needed / 1e9:.1f} GB to fit, "
            f"{free / 1e9:.1f} GB are free; lower k"
        )
