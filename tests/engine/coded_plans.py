"""Coded plans of random numbers: every column of coordinates and every basis vector has its bits.

Not fitted: what holds, stores and looks a plan up does not ask where its numbers come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.coding.mixed import MixedMatrix
from engine.coding.packing import pack_codes
from engine.factorization import Factorization, FitRecord
from engine.table import EmbeddingTable

RECORD = FitRecord(method="coded", config={"k": 4}, source="", versions={})


def coded_plan(
    rows: int,
    width: int,
    dimensions: Sequence[int],
    *,
    affine: bool = False,
    sizes: Sequence[int] | None = None,
    most_bits: int = 5,
    seed: int = 0,
) -> Factorization:
    """A coded plan, its rows about as long as those of a normal table.

    Args:
        rows: n.
        width: d.
        dimensions: j_1 … j_k; 0 is a point.
        affine: Whether subspaces have offsets.
        sizes: n_1 … n_k; drawn where left out.
        most_bits: Of a coordinate.
        seed: Of all that is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    k = len(dimensions)
    labels = torch.randint(k, (rows,), generator=generator)
    if sizes is not None:
        every = torch.arange(k).repeat_interleave(torch.tensor(sizes))
        labels = every[torch.randperm(rows, generator=generator)]
    counts = labels.bincount(minlength=k).tolist()
    bases = [random_mixed(width, j, 8, generator, turned=True) for j in dimensions]
    blocks = [
        random_mixed(count, j, most_bits, generator)
        for count, j in zip(counts, dimensions, strict=True)
    ]
    offsets = [torch.randn(width, generator=generator).half() for _ in dimensions]
    return Factorization(
        labels=labels,
        bases=tuple(bases),
        coordinates=tuple(blocks),
        record=RECORD,
        offsets=tuple(offsets) if affine else None,
    )


def random_mixed(
    rows: int,
    columns: int,
    most_bits: int,
    generator: torch.Generator,
    *,
    turned: bool = False,
) -> MixedMatrix:
    """Random codes of random bits; all columns spread about as far, whatever their bits."""
    bits = torch.randint(1, most_bits + 1, (columns,), generator=generator).to(torch.uint8)
    steps = 0.2 * (torch.rand(columns, generator=generator) + 0.5)
    return MixedMatrix(
        codes=pack_codes(random_codes(rows, bits, generator), bits),
        steps=steps.half() if turned else steps,
        bits=bits,
        turned=turned,
    )


def random_codes(rows: int, bits: Tensor, generator: torch.Generator) -> Tensor:
    """Codes of columns of these bits, each as likely: shape (rows, columns)."""
    return (torch.rand(rows, len(bits), generator=generator) * torch.exp2(bits.float())).int()


def fit_coded(table: EmbeddingTable, *_: object, **__: object) -> Factorization:
    """In the place of `engine.plans.fit_plan`: a coded plan of the table's size."""
    return coded_plan(*table.matrix.shape, (5, 0, 2), seed=1)
