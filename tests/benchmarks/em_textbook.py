"""EM for k subspaces as a textbook writes it, in NumPy: what the engine is timed against.

Straight from the definition, as the authors of the method published it: the distance to a subspace
is the length within its null space, and a part's subspace is the leading rows of its own SVD.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
from numpy.typing import NDArray


def textbook_steps(
    points: NDArray[np.float32], labels: NDArray[np.int64], k: int, j: int
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """EM without an end: one M-step and the E-step after it an item.

    Args:
        points: Shape (n, d).
        labels: The first partition, shape (n,), each in 0 … k−1, no part empty.
        k: Number of subspaces.
        j: Their dimension.

    Yields:
        The new labels and Σ dist² / Σ ‖x‖².
    """
    bases: dict[int, NDArray[np.float32]] = {}
    energy = float(np.sum(points**2, dtype=np.float64))
    while True:
        for cluster in range(k):
            part = points[labels == cluster]
            if len(part) > 0:  # an emptied part keeps its subspace
                bases[cluster] = np.linalg.svd(part, full_matrices=False)[2][:j]
        distances = np.stack(
            [
                np.linalg.norm(points @ scipy.linalg.null_space(bases[cluster]), axis=1) ** 2
                for cluster in range(k)
            ],
            axis=1,
        )
        labels = distances.argmin(axis=1)
        yield labels, float(distances.min(axis=1).sum(dtype=np.float64)) / energy
