"""The ways an embedding is made smaller in the protocol, each under one name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import ParameterError

if TYPE_CHECKING:  # reading a name needs no torch
    from torch import Tensor

    from engine.factorization import Factorization

_NAME = re.compile(r"(svd|k(?P<k>[2-9]|[1-9]\d+)(?P<optimal>-optimal)?)(?P<weighted>-weighted)?")
_STEPS = 20  # of one start: the paper's own runs took 15 to 25


@dataclass(frozen=True, slots=True, kw_only=True)
class GluePlan:
    """One way, but for its rate.

    Attributes:
        k: Number of subspaces; 1 is the SVD.
        optimal: Whether each subspace gets the dimensions that lose least, instead of one for all.
        weighted: Whether rows weigh by how often the task's training text uses their token.
    """

    k: int
    optimal: bool = False
    weighted: bool = False

    @classmethod
    def parse(cls, name: str) -> GluePlan:
        """Read a name: ``svd``, ``svd-weighted``, ``k5``, ``k5-optimal-weighted``, ….

        Raises:
            ParameterError: If it is none.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ParameterError(
                "a plan is svd or k and a number, then -optimal (not for svd), then -weighted, as "
                f"in svd-weighted or k5-optimal-weighted; got {name!r}"
            )
        return cls(
            k=int(found["k"] or 1), optimal=bool(found["optimal"]), weighted=bool(found["weighted"])
        )

    @property
    def name(self) -> str:
        """As `parse` takes it and files are called."""
        parts = ["svd" if self.k == 1 else f"k{self.k}"]
        parts += ["optimal"] * self.optimal + ["weighted"] * self.weighted
        return "-".join(parts)

    @property
    def title(self) -> str:
        """As charts and tables call it."""
        if self.k == 1:
            return "SVD, token weights" if self.weighted else "SVD"
        parts = [f"k = {self.k}"]
        parts += ["best dimensions"] * self.optimal + ["token weights"] * self.weighted
        return ", ".join(parts)

    def fit(self, matrix: Tensor, *, rate: float, seed: int, weights: Tensor) -> Factorization:
        """Make a matrix smaller.

        Args:
            matrix: Shape (n, d).
            rate: Share of the parameters to remove.
            seed: Of the start.
            weights: Shape (n,); used where the plan is weighted.
        """
        from engine.methods import factorize

        options: dict[str, Any] = {"rate": rate, "seed": seed}
        if self.k == 1:
            options["method"] = "svd"
        else:
            options |= {"k": self.k, "n_init": 1, "max_iterations": _STEPS}
            options["allocation"] = "optimal" if self.optimal else "uniform"
        return factorize(matrix, **options, weights=weights if self.weighted else None)
