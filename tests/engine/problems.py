"""Rows to cluster: random ones of every awkward kind, and ones planted on known subspaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.tolerances import TOLERANCES, Tolerance

KINDS = ("gaussian", "duplicates", "low rank", "zero rows", "one giant row", "all zero")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """A fit to be made: rows, weights or none, a first partition, k and j."""

    points: Tensor
    weights: Tensor | None
    labels: Tensor
    k: int
    j: int

    @property
    def dimensions(self) -> tuple[int, ...]:
        return (self.j,) * self.k

    @property
    def tolerance(self) -> Tolerance:
        return TOLERANCES[self.points.dtype]


def make_rows(kind: str, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Rows of one kind, shape (n, d), float64."""
    points = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if kind == "duplicates":
        return points[torch.randint(max(1, n // 4), (n,), generator=generator)]
    if kind == "low rank":
        rank = max(1, d // 3)
        return points[:, :rank] @ torch.randn(rank, d, generator=generator, dtype=torch.float64)
    if kind == "zero rows":
        points[torch.rand(n, generator=generator) < 0.5] = 0
    if kind == "one giant row":
        points[n // 2] *= 1000
    if kind == "all zero":
        points.zero_()
    return points


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    kinds: tuple[str, ...] = KINDS,
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64),
    most_rows: int = 40,
    weighted: bool | None = None,
) -> Problem:
    """Small problems, n == k and partitions with empty parts among them."""
    n = draw(st.integers(1, most_rows))
    d = draw(st.integers(1, 8))
    k = draw(st.integers(1, min(5, n)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    points = make_rows(draw(st.sampled_from(kinds)), n, d, generator)
    used = draw(st.integers(1, k))  # parts beyond these start out empty
    weights = None
    if draw(st.booleans()) if weighted is None else weighted:
        weights = torch.randint(0, 4, (n,), generator=generator).double()
        weights[0] = 1  # never all zero
    return Problem(
        points=points.to(draw(st.sampled_from(dtypes))),
        weights=weights,
        labels=torch.randint(used, (n,), generator=generator),
        k=k,
        j=draw(st.integers(1, d)),
    )


def planted_rows(
    k: int, j: int, d: int, *, rows_each: int, noise: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows on k random j-dimensional subspaces of R^d, shuffled.

    Returns:
        Points (n, d), float64, and which subspace each came from (n,).
    """
    generator = torch.Generator().manual_seed(seed)
    bases = torch.linalg.qr(
        torch.randn(k, d, j, generator=generator, dtype=torch.float64)
    ).Q.transpose(1, 2)
    inner = torch.randn(k, rows_each, j, generator=generator, dtype=torch.float64)
    points = (inner @ bases).reshape(k * rows_each, d)
    points += noise * torch.randn(points.shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(points), generator=generator)
    return points[order], torch.arange(k).repeat_interleave(rows_each)[order]


def same_partition(one: Tensor, other: Tensor) -> bool:
    """Whether two labellings are one partition under different numbers."""
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


def distances_to_bases(points: Tensor, bases: tuple[Tensor, ...]) -> Tensor:
    """Squared distances straight from the definition ‖x − VᵀVx‖², shape (n, k), float64."""
    rows = points.double()
    return torch.stack(
        [(rows - rows @ basis.double().T @ basis.double()).square().sum(dim=1) for basis in bases],
        dim=1,
    )


def truncated_svd(points: Tensor, rank: int) -> Tensor:
    """The best approximation of a rank, by torch's own SVD in float64."""
    u, s, v = torch.linalg.svd(points.double(), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]
