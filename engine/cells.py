"""What a sweep measures of one plan: a fit as computed and in fewer bits, coded, or rounding."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from engine.coding.codes import CODE_BITS, Coding
from engine.coding.rounding import round_to_nearest
from engine.grid import CODED, ROUNDING, WEIGHTED_SVD, SweepCell, SweepConfig
from engine.methods import factorize
from engine.progress import Progress, ProgressCallback
from engine.quantizing import quantize
from engine.residuals import Approximation, energy_lost, squared_residuals
from engine.rows import RowMatrix

_GROUP = 32  # columns that share a step, where they are not a whole row


@dataclass(frozen=True, slots=True)
class Plan:
    """A line of work of a sweep: one fit, or the rounding of the whole table."""

    method: str
    k: int
    rate: float
    seed: int
    share: float = 0.0

    @property
    def caption(self) -> str:
        """What the progress calls it."""
        if self.method == ROUNDING:
            return "plain rounding"
        if self.method == CODED:
            return f"coded, k = {self.k}, {self.share:.3g} of the bytes"
        names = {"svd": "SVD", WEIGHTED_SVD: "weighted SVD"}
        name = names.get(self.method, f"k = {self.k}")
        return f"{name}, rate {self.rate:g}, seed {self.seed}"

    def arguments(self, config: SweepConfig) -> dict[str, Any]:
        """For `engine.factorize`, but the size and the weights."""
        if self.method == CODED:
            return {"method": CODED, "k": self.k, "affine": config.affine}
        if self.method != "messi":
            return {"method": "svd", "seed": self.seed}
        return {
            "k": self.k,
            "seed": self.seed,
            "n_init": config.n_init,
            "seeding": config.seeding,
            "allocation": config.allocation,
            "affine": config.affine,
            "loss": config.loss,
            "moves": config.moves,
        }


def fit_cells(
    matrix: RowMatrix,
    plan: Plan,
    arguments: dict[str, Any],
    codings: tuple[Coding, ...],
    weights: Tensor | None,
    progress: ProgressCallback,
) -> list[SweepCell]:
    """Make a fit and measure it as computed, then in each coding.

    Args:
        matrix: Shape (n, d).
        plan: Which fit it is.
        arguments: Of `engine.factorize`.
        codings: To store it in, beside as computed.
        weights: Shape (n,), for the weighted errors, or None.
        progress: Called after every EM step and before every coding.

    Returns:
        The cell of 32 bits, then one a coding.

    Cost: a fit, and a second or so for each coding of 12 million numbers.
    """
    began = time.perf_counter()
    factorization = factorize(matrix, **arguments, progress=progress)
    wall_seconds = time.perf_counter() - began
    rate, numbers = factorization.rate, factorization.parameters
    assert rate is not None
    assert numbers is not None  # the fits of a grid are stored as computed
    computed = SweepCell(
        method=plan.method,
        k=plan.k,
        j=max(factorization.dimensions),
        asked_rate=plan.rate,
        rate=rate,
        parameters=numbers,
        stored_bytes=factorization.stored_bytes,
        seed=plan.seed,
        steps=len(factorization.cost_history),
        wall_seconds=wall_seconds,
        least_j=min(factorization.dimensions),
        **_errors(factorization, matrix, weights),
    )
    cells = [computed]
    for done, coding in enumerate(codings):
        progress(Progress(phase="Coding", done=done, total=len(codings)))
        began = time.perf_counter()
        coded = quantize(factorization, coding)
        cells.append(
            replace(
                computed,
                bits=coding.bits,
                basis_bits=coding.basis_bits,
                stored_bytes=coded.stored_bytes,
                wall_seconds=time.perf_counter() - began,
                **_errors(coded, matrix, weights),
            )
        )
    return cells


def coded_cell(
    matrix: RowMatrix,
    plan: Plan,
    arguments: dict[str, Any],
    weights: Tensor | None,
    progress: ProgressCallback,
) -> SweepCell:
    """Fit coded subspaces and measure them; as `fit_cells`, but for codings."""
    began = time.perf_counter()
    coded = factorize(matrix, **arguments, progress=progress)
    return SweepCell(
        method=CODED,
        k=plan.k,
        j=max(coded.dimensions),
        asked_rate=0.0,
        rate=0.0,
        parameters=0,
        stored_bytes=coded.stored_bytes,
        seed=plan.seed,
        steps=len(coded.cost_history),
        wall_seconds=time.perf_counter() - began,
        least_j=min(coded.dimensions),
        bits=0,
        basis_bits=0,
        share=plan.share,
        **_errors(coded, matrix, weights),
    )


def rounding_groups(columns: int) -> list[tuple[int, int]]:
    """Bits and columns with one step of each way to round: by the row, and by 32 columns."""
    groups = (columns, _GROUP) if columns > _GROUP else (columns,)
    return [(bits, group) for bits in sorted(CODE_BITS, reverse=True) for group in groups]


def rounding_cells(
    matrix: RowMatrix, config: SweepConfig, weights: Tensor | None, progress: ProgressCallback
) -> list[SweepCell]:
    """Round the table itself in every way of `rounding_groups`.

    Args:
        matrix: Shape (n, d).
        config: The grid that the cells belong to.
        weights: Shape (n,), for the weighted errors, or None.
        progress: Called before each.
    """
    n, columns = matrix.shape
    cells: list[SweepCell] = []
    groups = rounding_groups(columns)
    for done, (bits, group) in enumerate(groups):
        progress(Progress(phase="Rounding", done=done, total=len(groups)))
        began = time.perf_counter()
        coded = round_to_nearest(matrix, bits=bits, group=group)
        cells.append(
            SweepCell(
                method=ROUNDING,
                k=0,
                j=0,
                asked_rate=0.0,
                rate=0.0,
                parameters=n * columns,
                stored_bytes=coded.stored_bytes,
                seed=config.seeds[0],
                steps=0,
                wall_seconds=time.perf_counter() - began,
                least_j=0,
                bits=bits,
                basis_bits=0,
                group=group,
                **_errors(coded, matrix, weights),
            )
        )
    return cells


def _errors(
    approximation: Approximation, matrix: RowMatrix, weights: Tensor | None
) -> dict[str, Any]:
    """Both errors of a cell, from one pass over the approximation."""
    residuals = squared_residuals(approximation, matrix)
    weighted = None if weights is None else energy_lost(residuals, matrix, weights)
    return {"relative_error": energy_lost(residuals, matrix), "weighted_error": weighted}
