"""How two plans of one table differ: who moved, who gained, how far subspaces turned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.coding.codes import decoded
from engine.errors import ShapeError
from engine.factorization import Factorization
from engine.measures import EXACT_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class SubspacePair:
    """A subspace of the first plan and the one of the second that stands for it.

    Attributes:
        first: Its label in the first plan.
        second: Its label in the second plan.
        shared: Rows that live in both, at least 1.
        mean_angle: Mean of the min(j_first, j_second) principal angles between them, in degrees;
            None where one is a point.
        greatest_angle: The greatest of them, in degrees.
    """

    first: int
    second: int
    shared: int
    mean_angle: float | None
    greatest_angle: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanDifference:
    """Two plans of the same rows beside each other.

    A row's *number* is its label in the first plan. Subspaces of the second plan take the number of
    their partner in the first, so that the same number means the same group; those without a
    partner are numbered on from the first plan's k.

    Attributes:
        pairs: The subspaces that belong together, by their label in the first plan.
        numbers: Number of each of the second plan's subspaces, k of the second.
        counts: Rows in subspace a of the first and b of the second plan, shape (k_first, k_second).
        labels: Number of each row in the second plan, shape (n,), int64.
        moved: Whether a row's number changed, shape (n,), bool.
        gain: Relative squared error of each row in the first plan less that in the second, shape
            (n,), float64: positive where the second plan is closer.
        mean_errors: Mean relative squared error of the rows of each of the first plan's subspaces,
            in the first and in the second plan, shape (k_first, 2); 0 for an empty one.
        rand_index: Adjusted Rand index of the two partitions: 1 for the same, about 0 by chance.
    """

    pairs: tuple[SubspacePair, ...]
    numbers: tuple[int, ...]
    counts: Tensor
    labels: Tensor
    moved: Tensor
    gain: Tensor
    mean_errors: Tensor
    rand_index: float

    @property
    def share_moved(self) -> float:
        """Share of the rows whose number changed, 0 … 1."""
        return float(self.moved.double().mean())

    @property
    def closer_in_first(self) -> float:
        """Share of the rows with the lower error in the first plan; equal ones are in neither."""
        return float((self.gain < -EXACT_ERROR).double().mean())

    @property
    def closer_in_second(self) -> float:
        """Share of the rows with the lower error in the second plan."""
        return float((self.gain > EXACT_ERROR).double().mean())

    @property
    def alone_in_first(self) -> tuple[int, ...]:
        """Labels of the first plan's subspaces that have no partner in the second."""
        paired = {pair.first for pair in self.pairs}
        return tuple(label for label in range(len(self.counts)) if label not in paired)

    @property
    def alone_in_second(self) -> tuple[int, ...]:
        """Labels of the second plan's subspaces that have no partner in the first."""
        paired = {pair.second for pair in self.pairs}
        return tuple(label for label in range(self.counts.shape[1]) if label not in paired)


def compare_plans(
    first: Factorization, second: Factorization, *, errors: tuple[Tensor, Tensor]
) -> PlanDifference:
    """Match the subspaces of two plans by the rows they share, then see what differs.

    Args:
        first: A plan of n rows.
        second: A plan of the same rows.
        errors: Relative squared error of each row in either, shapes (n,), from
            `engine.measures.relative_row_errors`.

    Returns:
        What differs. Of all ways to pair subspaces it takes one that leaves the fewest rows moved.

    Raises:
        ShapeError: If the plans or the errors are not of the same rows.

    Cost: O(n) for the rows; for each pair of subspaces a few decompositions of j × d matrices.
    """
    from sklearn.metrics import adjusted_rand_score

    n = len(first.labels)
    if first.shape != second.shape or any(len(part) != n for part in errors):
        raise ShapeError(
            f"two plans of the same rows are needed, got {first.shape} with {len(errors[0])} "
            f"errors and {second.shape} with {len(errors[1])}; compare plans of one table"
        )
    flat = first.labels * second.k + second.labels
    counts = flat.bincount(minlength=first.k * second.k).reshape(first.k, second.k)
    partners = _match(counts)
    fresh = iter(range(first.k, first.k + second.k))
    by_second = {b: a for a, b in partners.items()}
    numbers = tuple(by_second[b] if b in by_second else next(fresh) for b in range(second.k))
    labels = torch.tensor(numbers)[second.labels]
    both = torch.stack([part.double() for part in errors], dim=1)
    sums = torch.zeros(first.k, 2, dtype=torch.float64).index_add_(0, first.labels, both)
    return PlanDifference(
        pairs=tuple(_pair(first, second, a, b, int(counts[a, b])) for a, b in partners.items()),
        numbers=numbers,
        counts=counts,
        labels=labels,
        moved=labels != first.labels,
        gain=both[:, 0] - both[:, 1],
        mean_errors=sums / counts.sum(dim=1, keepdim=True).clamp(min=1),
        rand_index=float(adjusted_rand_score(first.labels.numpy(), second.labels.numpy())),
    )


def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    """Principal angles between two subspaces, least first.

    Args:
        first: A basis of one, rows of full rank, shape (j, d).
        second: A basis of the other, shape (j', d).

    Returns:
        Shape (min(j, j'),), float64, in radians, 0 … π/2: right to rounding at both ends, since
        small angles are read from their sines and large ones from their cosines.

    Source: Björck and Golub, Numerical methods for computing angles between linear subspaces, 1973.
    """
    large, small = (
        torch.linalg.qr(basis.double().T).Q
        for basis in sorted((first, second), key=len, reverse=True)
    )
    shadows = large.T @ small
    cosines = torch.linalg.svdvals(shadows)  # greatest first: of the least angle
    sines = torch.linalg.svdvals(small - large @ shadows).flip(0)
    return torch.atan2(sines, cosines)


def _match(counts: Tensor) -> dict[int, int]:
    """First plan's label → its partner's: the pairing that shares the most rows."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return {
        int(a): int(b) for a, b in zip(rows, columns, strict=True) if counts[int(a), int(b)] > 0
    }


def _pair(first: Factorization, second: Factorization, a: int, b: int, shared: int) -> SubspacePair:
    bases = decoded(first.bases[a]), decoded(second.bases[b])
    mean = greatest = None
    if min(map(len, bases)):
        angles = principal_angles(*bases).rad2deg()
        mean, greatest = float(angles.mean()), float(angles.max())
    return SubspacePair(first=a, second=b, shared=shared, mean_angle=mean, greatest_angle=greatest)
