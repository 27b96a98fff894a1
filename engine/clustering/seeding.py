"""Where a start comes from: a first partition of the rows into k parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.clustering.em import EMPlan, run_em
from engine.clustering.statistics import CHUNK_ROWS
from engine.clustering.weighted_rows import WeightedRows
from engine.rows import read_rows

Listener = Callable[[int], None]
"""Told how many parts there are by now; may raise to stop."""


class Seeding(Protocol):
    """Makes a first partition."""

    def __call__(
        self, rows: WeightedRows, plan: EMPlan, seed: int, on_part: Listener = ..., /
    ) -> Tensor:
        """(rows in memory, plan, seed) → labels (n,), int64, each in 0 … k−1."""
        ...


def _unheard(parts: int) -> None:
    """Take how many parts there are and do nothing with it."""


_GROWING_STEPS = 3  # between two splits: enough to see which subspace is worst off
_GROWING_ROWS = 4096  # or a third: fewer would leave late subspaces a few dozen rows to lie along
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
        random_state=seed % 2**32,  # what scikit-learn takes
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


def grow_by_splits(
    rows: WeightedRows, plan: EMPlan, seed: int, on_part: Listener = _unheard, /
) -> Tensor:
    """One subspace, split in two where most is lost, settled for a few steps, and so on to k.

    Each split sees what the subspaces before it could not hold, the loss, the weights and the
    price of dimensions included; the others see only where rows lie. On many rows it grows on some
    of them, drawn by the seed, and only the last split is made on all.
    """
    some = _thin(rows, seed)
    points = read_rows(some.points, slice(None))
    labels = torch.zeros(len(points), dtype=torch.int64)
    for k in range(1, plan.k):
        on_part(k)
        smaller = plan.with_k(k)
        found = run_em(some, labels, smaller, max_iterations=_GROWING_STEPS, tolerance=1e-3)
        if k == plan.k - 1 and some is not rows:
            points = read_rows(rows.points, slice(None))
            found = run_em(rows, found.subspaces, smaller, max_iterations=1, tolerance=1e-3)
        labels = split_worst(points, found.labels, found.subspaces.lost_energies(), k, seed + k)
    return labels


def _thin(rows: WeightedRows, seed: int) -> WeightedRows:
    """Every row where they are few, else a third of them or ``_GROWING_ROWS``."""
    size = max(_GROWING_ROWS, len(rows.points) // 3)
    if size >= len(rows.points):
        return rows
    generator = torch.Generator().manual_seed(seed)
    return rows.select(torch.randperm(len(rows.points), generator=generator)[:size].sort().values)


def split_worst(points: Tensor, labels: Tensor, lost: Tensor, freed: int, seed: int) -> Tensor:
    """Give half of the cluster that loses most, by direction, to a cluster without rows.

    Args:
        points: Shape (n, d).
        labels: Shape (n,), int64.
        lost: What each cluster loses, shape (k,).
        freed: The cluster that takes the half.
        seed: Decides the halves.

    Returns:
        New labels, shape (n,); unchanged where no cluster has two rows.
    """
    sizes = labels.bincount(minlength=len(lost))
    worst = int(torch.where(sizes[: len(lost)] > 1, lost, -torch.inf).argmax())
    members = (labels == worst).nonzero().squeeze(1)
    if len(members) < 2:
        return labels
    halves = direction_kmeans(points[members], 2, seed)
    labels = labels.clone()
    labels[members[halves == 1]] = freed
    return labels


def _by_place(find: Callable[[Tensor, int, int], Tensor]) -> Seeding:
    """A seeding that only looks at where the rows lie."""

    def seed_labels(
        rows: WeightedRows, plan: EMPlan, seed: int, on_part: Listener = _unheard, /
    ) -> Tensor:
        return find(read_rows(rows.points, slice(None)), plan.k, seed)

    return seed_labels


SEEDINGS: dict[str, Seeding] = {
    "splits": grow_by_splits,
    "directions": _by_place(direction_kmeans),
    "norms": _by_place(norm_quantiles),
    "random": _by_place(random_partition),
}
