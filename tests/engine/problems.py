"""Rows to cluster: random ones of every awkward kind, and ones planted on known subspaces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from engine.clustering import em, statistics, subspaces, weighted_rows
from engine.clustering.em import EMPlan
from engine.clustering.subspaces import SubspaceSet
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
    def plan(self) -> EMPlan:
        return EMPlan.even(self.k, self.j)

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


@contextmanager
def small_blocks(block_rows: int = 16, chunk_rows: int = 7) -> Iterator[None]:
    """Steps that read a few rows at a time, blocks that no chunk divides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighted_rows, "BLOCK_ROWS", block_rows)
        for module in (em, statistics, subspaces):
            patch.setattr(module, "CHUNK_ROWS", chunk_rows)
        yield


def same_partition(one: Tensor, other: Tensor) -> bool:
    """Whether two labellings are one partition under different numbers."""
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


def distances_to_bases(points: Tensor, bases: tuple[Tensor, ...]) -> Tensor:
    """Squared distances straight from the definition ‖x − VᵀVx‖², shape (n, k), float64."""
    return distances_to_flats(points, bases, torch.zeros(len(bases), points.shape[1]))


def distances_to_flats(
    points: Tensor, bases: tuple[Tensor, ...], offsets: Tensor | tuple[Tensor, ...]
) -> Tensor:
    """Squared distances from the definition ‖(x − o) − VᵀV(x − o)‖², shape (n, k), float64."""
    distances: list[Tensor] = []
    for basis, offset in zip(bases, offsets, strict=True):
        rows = points.double() - offset.double()
        distances.append((rows - rows @ basis.double().T @ basis.double()).square().sum(dim=1))
    return torch.stack(distances, dim=1)


def distances_to_subspaces(points: Tensor, found: SubspaceSet) -> Tensor:
    """The same to fitted subspaces, linear or affine."""
    if found.offsets is None:
        return distances_to_bases(points, found.bases)
    return distances_to_flats(points, found.bases, found.offsets)


def largest_angle(one: Tensor, other: Tensor) -> float:
    """The largest principal angle between the spans of two orthonormal bases, in radians."""
    rows = one.double()
    outside = rows - rows @ other.double().T @ other.double()
    return math.asin(min(1.0, float(torch.linalg.matrix_norm(outside, ord=2))))


def truncated_svd(points: Tensor, rank: int) -> Tensor:
    """The best approximation of a rank, by torch's own SVD in float64."""
    u, s, v = torch.linalg.svd(points.double(), full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]
