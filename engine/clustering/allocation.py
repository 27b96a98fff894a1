"""How many dimensions each subspace gets: given, or bought one by one from a parameter budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Dimensions for the subspaces of one refit.

    Attributes:
        dimensions: j_1 … j_k.
        price: μ, what one stored number must save in Σ w·φ; a row in subspace c is charged μ·j_c.
    """

    dimensions: tuple[int, ...]
    price: float


class Allocation(Protocol):
    """Chooses the dimensions at every refit.

    Attributes:
        k: Number of subspaces.
        priced: Whether the dimensions follow the rows, and rows are charged for them.
    """

    @property
    def k(self) -> int: ...  # noqa: D102 - see the class

    @property
    def priced(self) -> bool: ...  # noqa: D102

    def choose(self, energies: Tensor, counts: Tensor) -> Choice:
        """Dimensions from each cluster's spectrum (k, d), falling, and its rows (k,)."""
        ...

    def with_k(self, k: int) -> Allocation:
        """The same for fewer subspaces."""
        ...

    def evened(self, rows: float, width: int) -> GivenDimensions:
        """About the same size without prices, for a table of so many rows and columns."""
        ...


@dataclass(frozen=True, slots=True)
class GivenDimensions:
    """j_1 … j_k as the caller wants them."""

    dimensions: tuple[int, ...]

    @property
    def k(self) -> int:
        """Number of subspaces."""
        return len(self.dimensions)

    @property
    def priced(self) -> bool:
        """False: rows only look for the closest subspace."""
        return False

    def choose(self, energies: Tensor, counts: Tensor) -> Choice:
        """The given dimensions, at no price."""
        return Choice(dimensions=self.dimensions, price=0.0)

    def with_k(self, k: int) -> GivenDimensions:
        """The first k of them."""
        return GivenDimensions(self.dimensions[:k])

    def evened(self, rows: float, width: int) -> GivenDimensions:
        """Itself."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalDimensions:
    """The dimensions that lose least within a budget of stored numbers.

    One more dimension for cluster c stores n_c coordinates and d basis entries, and saves the
    cluster's next eigenvalue λ. Bought in the order of λ / (n_c + d), dimensions lose least for
    what they store (each spectrum falls, so the order is the solution of the relaxed knapsack);
    what the last whole purchase leaves over goes to the next ones that still fit.

    Attributes:
        k: Number of subspaces.
        budget: Numbers that coordinates and bases may store together; never exceeded.

    Raises:
        ParameterError: If the budget is below 1.

    Source: ``paper.md`` of this project calls it the rate–distortion trade; Source of the
    argument: Everett, *Generalized Lagrange multiplier method*, Operations Research 11 (1963).
    """

    k: int
    budget: int

    def __post_init__(self) -> None:
        """Check that there is something to spend."""
        if self.budget < 1:
            raise ParameterError(
                f"the budget leaves {self.budget:,} numbers for coordinates and bases; lower the "
                "rate or k"
            )

    @property
    def priced(self) -> bool:
        """True: a row goes where loss and storage together are least."""
        return True

    def choose(self, energies: Tensor, counts: Tensor) -> Choice:
        """Buy dimensions until the budget is spent.

        Args:
            energies: Shape (k, d), float64, each row falling.
            counts: Shape (k,), float64: rows of each cluster.

        Returns:
            The dimensions, 0 … d each, and the price of the last number bought.

        Cost: O(k·d·log(k·d)).
        """
        k, d = energies.shape
        costs = counts + d
        ratios, order = (energies / costs[:, None]).flatten().sort(descending=True, stable=True)
        clusters = order // d
        useful = int((ratios > 0).sum())
        spent = costs[clusters].cumsum(0)
        bought = min(int((spent <= self.budget).sum()), useful)
        dimensions = clusters[:bought].bincount(minlength=k)
        price = float(ratios[bought - 1]) if bought else float(ratios[0])
        left = self.budget - (float(spent[bought - 1]) if bought else 0.0)
        for cluster in clusters[bought:useful].tolist():
            if left < d:
                break
            # A subspace too dear for what is left stays so: its dimensions all cost the same.
            if float(costs[cluster]) <= left:
                dimensions[cluster] += 1
                left -= float(costs[cluster])
        return Choice(dimensions=tuple(dimensions.tolist()), price=price)

    def with_k(self, k: int) -> OptimalDimensions:
        """The whole budget for k subspaces."""
        return OptimalDimensions(k=k, budget=self.budget)

    def evened(self, rows: float, width: int) -> GivenDimensions:
        """One dimension for all that spends no more than the budget, at least 1."""
        dimension = int(self.budget / (rows + self.k * width))
        return spread_evenly(self.k, max(1, min(dimension, width)))


def spread_evenly(k: int, dimension: int) -> GivenDimensions:
    """The same dimension for every subspace, as in the paper."""
    return GivenDimensions((dimension,) * k)
