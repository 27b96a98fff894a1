"""Small embedding tables, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.table import EmbeddingTable
from tests.engine.problems import planted_rows


def make_table(matrix: Tensor, *, source_dtype: str = "float32") -> EmbeddingTable:
    return EmbeddingTable(
        name="tiny",
        spec="tiny.npy",
        tokens=[f"token {row}" for row in range(len(matrix))],
        matrix=matrix.float(),
        source_dtype=source_dtype,
    )


def gaussian(n: int, d: int, seed: int = 0) -> Tensor:
    """Rows without any structure, shape (n, d), float32."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def lines(seed: int = 0) -> Tensor:
    """180 rows close to three lines of R^8, float32: k = 3 of one dimension is right."""
    return planted_rows(3, 1, 8, rows_each=60, noise=0.02, seed=seed)[0].float()


def one_flat_shape(n: int = 300, d: int = 24) -> Tensor:
    """Gaussian rows of quickly falling variances, float32: many subspaces are wasted on them."""
    return gaussian(n, d) * 0.7 ** torch.arange(d)


def write_npy(path: Path, matrix: Tensor) -> Path:
    np.save(path, matrix.numpy())
    return path
