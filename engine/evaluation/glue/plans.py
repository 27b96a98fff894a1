"""The ways an embedding is made smaller in the protocol, each under one name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import ParameterError

if TYPE_CHECKING:  # reading a name needs no torch
    from torch import Tensor

    from engine.factorization import Factorization

_NAME = re.compile(
    r"(svd|k(?P<k>[2-9]|[1-9]\d+)((?P<optimal>-optimal)|(?P<coded>-coded))?)(?P<weighted>-weighted)?"
)
_STEPS = 20  # of one start: the paper's own runs took 15 to 25


def complement(share: float) -> float:
    """What is left of 1: of a rate the share that is kept, and back, both in few digits."""
    return round(1 - share, 12)  # 1 − 0.9 would end in …98


class PlanFamily(NamedTuple):
    """What plans of several k have in common; see `GluePlan`. Coded ones are sorted last."""

    coded: bool = False
    optimal: bool = False
    weighted: bool = False

    @property
    def title(self) -> str:
        """In words."""
        sizes = "best dimensions for each" if self.optimal else "one dimension for all"
        return ", ".join(["coded" if self.coded else sizes] + ["token weights"] * self.weighted)


@dataclass(frozen=True, slots=True, kw_only=True)
class GluePlan:
    """One way, but for its rate.

    Attributes:
        k: Number of subspaces; 1 is the SVD.
        optimal: Whether each subspace gets the dimensions that lose least, instead of one for all.
        coded: Whether coordinates and bases get bits of their own (`engine.coding`). The rate is
            then the share of bytes that is gone, beside the table in float32.
        weighted: Whether rows weigh by how often the task's training text uses their token.
    """

    k: int
    optimal: bool = False
    coded: bool = False
    weighted: bool = False

    @classmethod
    def parse(cls, name: str) -> GluePlan:
        """Read a name: ``svd``, ``svd-weighted``, ``k5``, ``k5-optimal-weighted``, ``k4-coded``, ….

        Raises:
            ParameterError: If it is none.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ParameterError(
                "a plan is svd or k and a number, then -optimal or -coded (not for svd), then "
                "-weighted, as in svd-weighted, k5-optimal-weighted or k4-coded-weighted; got "
                f"{name!r}"
            )
        kinds = {kind: bool(found[kind]) for kind in PlanFamily._fields}
        return cls(k=int(found["k"] or 1), **kinds)

    @property
    def name(self) -> str:
        """As `parse` takes it and files are called."""
        parts = ["svd" if self.k == 1 else f"k{self.k}"]
        parts += [kind for kind in ("optimal", "coded", "weighted") if getattr(self, kind)]
        return "-".join(parts)

    @property
    def family(self) -> PlanFamily:
        """All of it but k."""
        return PlanFamily(coded=self.coded, optimal=self.optimal, weighted=self.weighted)

    @property
    def title(self) -> str:
        """As charts and tables call it."""
        if self.k == 1:
            return "SVD, token weights" if self.weighted else "SVD"
        parts = [f"k = {self.k}"]
        parts += ["best dimensions"] * self.optimal + ["coded"] * self.coded
        return ", ".join(parts + ["token weights"] * self.weighted)

    def fit(self, matrix: Tensor, *, rate: float, seed: int, weights: Tensor) -> Factorization:
        """Make a matrix smaller.

        Args:
            matrix: Shape (n, d).
            rate: Share of the parameters to remove; of the bytes where the plan is coded.
            seed: Of the start.
            weights: Shape (n,); used where the plan is weighted.
        """
        from engine.memory import FLOAT_BYTES
        from engine.methods import factorize

        options: dict[str, Any] = {"seed": seed}
        if self.coded:
            most = int(complement(rate) * FLOAT_BYTES * matrix.numel())
            options |= {"method": "coded", "k": self.k, "max_bytes": most}
        elif self.k == 1:
            options |= {"method": "svd", "rate": rate}
        else:
            options |= {"k": self.k, "rate": rate, "n_init": 1, "max_iterations": _STEPS}
            options["allocation"] = "optimal" if self.optimal else "uniform"
        return factorize(matrix, **options, weights=weights if self.weighted else None)
