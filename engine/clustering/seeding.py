"""Where a start comes from: a first partition of the rows into k parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from engine.clustering.statistics import CHUNK_ROWS

Seeding = Callable[[Tensor, int, int], Tensor]
"""(points (n, d), k, seed) → labels (n,), int64, each in 0 … k−1."""

_SAMPLE_ROWS = 20_000  # k-means centres settle on far fewer rows; bounds its copy to sample · d
_KMEANS_STEPS = 20  # EM refines the partition anyway; later steps hardly move a start


def random_partition(points: Tensor, k: int, seed: int) -> Tensor:
    """Every row to a part drawn uniformly: the start of the paper."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(k, (len(points),), generator=generator)


def norm_quantiles(points: Tensor, k: int, seed: int) -> Tensor:
    """Parts of equal size by the length of the rows, shortest first; the seed is not used."""
    norms = torch.linalg.vector_norm(points, dim=1)
    labels = torch.empty(len(points), dtype=torch.int64)
    labels[norms.argsort(stable=True)] = torch.arange(len(points)) * k // len(points)
    return labels


def direction_kmeans(points: Tensor, k: int, seed: int) -> Tensor:
    """k-means on the directions of the centred rows.

    Embedding rows share a strong mean, so raw directions all look alike; after centring they
    separate, and EM from this start ends lower and sooner than from a random one.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    generator = torch.Generator().manual_seed(seed)
    mean = points.mean(dim=0)
    sample = torch.randperm(len(points), generator=generator)[: max(_SAMPLE_ROWS, k)].sort().values
    kmeans = KMeans(
        k,
        n_init=1,  # pyright: ignore[reportArgumentType] - its stub knows only "auto"
        max_iter=_KMEANS_STEPS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # Fewer distinct directions than k leaves empty parts, which EM repairs and reports.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(_directions(points[sample], mean).numpy())
    labels = torch.empty(len(points), dtype=torch.int64)
    for start in range(0, len(points), CHUNK_ROWS):
        chunk = _directions(points[start : start + CHUNK_ROWS], mean)
        labels[start : start + CHUNK_ROWS] = torch.from_numpy(kmeans.predict(chunk.numpy()))
    return labels


def _directions(points: Tensor, mean: Tensor) -> Tensor:
    return torch.nn.functional.normalize(points - mean, dim=1)


SEEDINGS: dict[str, Seeding] = {
    "directions": direction_kmeans,
    "norms": norm_quantiles,
    "random": random_partition,
}
