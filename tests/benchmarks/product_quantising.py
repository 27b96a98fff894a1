"""Product quantisation of a table by nanopq: the usual way to code vectors in few bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CODEWORDS = 256
STEPS = 20  # of k-means in each part


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedRows:
    """Rows as they come back from a store of another library.

    Attributes:
        rows: As they are decoded, shape (n, d), float32.
        stored_bytes: Of all that it keeps.
    """

    rows: Tensor
    stored_bytes: int

    @property
    def shape(self) -> tuple[int, int]:
        """n, d."""
        n, d = self.rows.shape
        return n, d

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows at once."""
        yield slice(0, len(self.rows)), self.rows


def product_quantise(
    matrix: Tensor, *, parts: int, weights: Tensor | None = None, seed: int = 0
) -> DecodedRows:
    """Code a table.

    Args:
        matrix: Shape (n, d), float32; d a multiple of ``parts``.
        parts: Bytes a row.
        weights: Shape (n,): codewords are fitted to rows drawn by them; to all rows when left out.
        seed: Of the draw and of k-means.

    Returns:
        The decoded rows. Stored are a byte for each part of each row, and codewords in float16.

    Source: Jégou, Douze, Schmid, *Product quantization for nearest neighbor search*, 2011.
    """
    import nanopq

    points = matrix.numpy()
    training = points
    if weights is not None:
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(points), len(points), p=(weights / weights.sum()).numpy())
        training = points[drawn]
    quantiser = nanopq.PQ(M=parts, Ks=CODEWORDS, verbose=False)
    quantiser.fit(training, iter=STEPS, seed=seed)
    quantiser.codewords = quantiser.codewords.astype(np.float16).astype(np.float32)
    decoded = quantiser.decode(quantiser.encode(points))
    size = parts * len(points) + 2 * CODEWORDS * points.shape[1]
    return DecodedRows(rows=torch.from_numpy(decoded), stored_bytes=size)
