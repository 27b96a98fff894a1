"""What a plan stores and loses, and which of two plans is closer to the table."""

from __future__ import annotations

from dataclasses import dataclass

from engine.budget import RIVAL_BASIS_BITS
from engine.coding.codes import Coding
from engine.coding.mixed import MixedCoding
from engine.factorization import Factorization
from engine.frequencies.row_use import RowUse
from engine.measures import (
    EXACT_ERROR,
    FrequencyBand,
    NeighbourOverlap,
    errors_by_frequency,
    relative_row_errors,
)
from engine.rows import RowMatrix
from engine.wording import name_range


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFigures:
    """What one plan stores and loses.

    Attributes:
        k: Number of subspaces.
        dimensions: j_1 … j_k (the rank of an SVD).
        bits: Of a coordinate, where they are 8 or 4 throughout; None for 32 and of a coded plan.
        parameters: Numbers stored, offsets included; None of a coded plan.
        stored_bytes: Bytes of everything stored, labels included.
        rate: 1 − parameters after / before; None of a coded plan.
        relative_error: ‖A − Â‖² / ‖A‖².
        weighted_error: Σ w·‖x − x̂‖² / Σ w·‖x‖², or None without weights.
        bands: What rare and frequent tokens lose, or None without weights.
        neighbours_kept: Share of nearest neighbours kept, or None when not measured.
    """

    k: int
    dimensions: tuple[int, ...]
    bits: int | None
    parameters: int | None
    stored_bytes: int
    rate: float | None
    relative_error: float
    weighted_error: float | None
    bands: tuple[FrequencyBand, ...] | None
    neighbours_kept: NeighbourOverlap | None

    @property
    def fitted_error(self) -> float:
        """The weighted error where there are weights, else the plain one."""
        return self.relative_error if self.weighted_error is None else self.weighted_error

    @property
    def coded(self) -> bool:
        """Whether its numbers have unlike bits, so that only bytes can be compared."""
        return self.parameters is None


def measure_plan(
    plan: Factorization,
    matrix: RowMatrix,
    use: RowUse | None,
    neighbours_kept: NeighbourOverlap | None,
) -> PlanFigures:
    """Figures of one plan.

    Args:
        plan: A factorization of the matrix.
        matrix: Shape (n, d).
        use: How often each row is used, where that counts.
        neighbours_kept: As measured before.

    Returns:
        Its figures.
    """
    weighted_error = bands = None
    if use is not None:
        weighted_error = plan.relative_error(matrix, use.weights)
        row_errors = relative_row_errors(plan.squared_residuals(matrix), matrix)
        bands = errors_by_frequency(row_errors, use.counts)
    return PlanFigures(
        k=plan.k,
        dimensions=plan.dimensions,
        bits=plan.coding.bits if isinstance(plan.coding, Coding) else None,
        parameters=plan.parameters,
        stored_bytes=plan.stored_bytes,
        rate=plan.rate,
        relative_error=plan.relative_error(matrix),
        weighted_error=weighted_error,
        bands=bands,
        neighbours_kept=neighbours_kept,
    )


def is_closer(ours: PlanFigures, svd: PlanFigures) -> bool:
    """Whether a plan loses less than an SVD by the error both were fitted for.

    Never so where the SVD is exact.
    """
    return ours.fitted_error < svd.fitted_error and svd.fitted_error > EXACT_ERROR


def compare_plans(
    ours: PlanFigures,
    svd: PlanFigures,
    *,
    affine: bool,
    loss: str,
    coding: Coding | MixedCoding | None = None,
) -> str:
    """A few sentences that say which is closer to the table, whichever it is.

    Args:
        ours: The plan.
        svd: The SVD of at least as many numbers, or bytes where the plan is coded; the weighted one
            where there are weights.
        affine: Whether the plan's subspaces have offsets.
        loss: What the plan was fitted by, as `engine.factorize` takes it.
        coding: The bits of the plan's numbers where they are not 32.
    """
    verdict = _compare(ours, svd, affine=affine, loss=loss, rounded=coding is not None)
    if coding is None:
        return verdict
    theirs = "numbers at 32" if svd.bits is None else f"at {svd.bits} and {RIVAL_BASIS_BITS}"
    return (
        f"{verdict} Coordinates are stored at {coding.named_bits} bits and bases at "
        f"{coding.named_basis_bits}, the SVD's {theirs}: {ours.stored_bytes:,} bytes against "
        f"{svd.stored_bytes:,}."
    )


def _compare(ours: PlanFigures, svd: PlanFigures, *, affine: bool, loss: str, rounded: bool) -> str:
    rank, ours_lost, svd_lost = svd.dimensions[0], ours.fitted_error, svd.fitted_error
    weighted = ours.weighted_error is not None
    energy = "energy weighted by use" if weighted else "energy"
    if is_plain_svd(ours.k, affine=affine, loss=loss, coded=ours.coded):
        kind = "weighted" if weighted else "truncated"
        verdict = f"One subspace: this is the {kind} SVD of rank {ours.dimensions[0]}"
        if rounded:
            verdict += f", rounded: it loses {ours_lost:.2%} of the {energy}, {svd_lost:.2%} before"
        return f"{verdict}."
    if max(ours_lost, svd_lost) <= EXACT_ERROR:
        return (
            "Nothing is lost here by either: a single subspace already holds every row. Try "
            f"{_less(ours)}."
        )
    subject, verb = _subject(ours, affine=affine)
    if not is_closer(ours, svd) and svd.rate is not None and svd.rate <= 0 < (ours.rate or 0):
        return (
            f"{subject[:1].upper()}{subject[1:]} {verb} {ours_lost:.2%} of the {energy}. No SVD "
            f"that stores as much is smaller than the table: one of rank {rank} loses "
            f"{svd_lost:.2%}, in {svd.parameters:,} numbers."
        )
    if not is_closer(ours, svd):
        winner = "The weighted SVD" if weighted else "SVD"
        why = "Part of that is lost by rounding."
        if not rounded:
            why = _why(ours.k, affine=affine, loss=loss)
        return (
            f"{winner} wins here: one subspace of rank {rank} loses {svd_lost:.2%} of the "
            f"{energy}, {subject} {verb} {ours_lost:.2%}. {why}"
        )
    gain = 1 - ours_lost / svd_lost
    less = "under 1%" if gain < 0.01 else "over 99%" if gain > 0.99 else f"{gain:.0%}"
    against = f"one of rank {rank}" + (" fitted with the same weights" if weighted else "")
    return (
        f"{subject[:1].upper()}{subject[1:]} {verb} {less} less than {against}: {ours_lost:.2%} of "
        f"the {energy} against {svd_lost:.2%}, with no more "
        f"{'bytes' if ours.coded else 'parameters'}."
    )


def is_plain_svd(k: int, *, affine: bool, loss: str, coded: bool) -> bool:
    """Whether a plan is what an SVD, weighted or not, finds as well; a coded one never is."""
    return k == 1 and not affine and loss == "squared" and not coded


def name_method(k: int, *, affine: bool, loss: str, coded: bool) -> str:
    """What made a plan, by its name in the field."""
    if coded:
        return "adaptive transform coding (rate-aware EM, bits where they save most)"
    if is_plain_svd(k, affine=affine, loss=loss, coded=coded):
        return "truncated SVD"
    return "MESSI (projective clustering by EM)"


def _less(plan: PlanFigures) -> str:
    """What to ask for, for a smaller plan."""
    return "fewer bytes" if plan.coded else "a higher rate"


def _subject(plan: PlanFigures, *, affine: bool) -> tuple[str, str]:
    noun = "affine subspace" if affine else "subspace"
    if plan.k == 1:
        return f"one {noun} of dimension {plan.dimensions[0]}", "loses"
    one = "dimension" if min(plan.dimensions) == max(plan.dimensions) else "dimensions"
    return f"{plan.k} {noun}s of {one} {name_range(plan.dimensions)}", "lose"


def _why(k: int, *, affine: bool, loss: str) -> str:
    """Why the SVD may have won, and what to try."""
    if loss != "squared":
        return (
            f"The fit was after another loss ({loss}), which lets far rows go; squared distance "
            "may serve better."
        )
    if k == 1:
        return "The offset costs more than it saves."
    what = "bases and offsets" if affine else "bases"
    return f"Their {what} cost more than they save: try a smaller k or a higher rate."
