"""From what was asked for to fitted subspaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice

from torch import Tensor

from engine.clustering.allocation import GivenDimensions, OptimalDimensions
from engine.clustering.em import EMPlan, EMResult
from engine.clustering.search import SearchSettings, StartReport, search
from engine.clustering.seeding import SEEDINGS
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError
from engine.progress import ProgressCallback
from engine.requests import FitRequest, plan_for
from engine.trials import choose_k, scale_loss
from engine.wording import counted

# Measured on embeddings: splits end lowest, then directions; random is the paper's own start and
# the one that needs no structure in the rows. Norms know no seed, so they are tried once.
_AUTO_FIRST = ("splits", "directions", "norms", "random")
_AUTO_CYCLE = ("splits", "directions", "random")
_RACE_ROWS = 8192
_ROWS_A_DIMENSION = 12  # with 4, starts that fit the sample best were not the best on all rows
_RACE_SHARE = 0.4  # of all rows, at most: a race on more costs as much as it saves


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """Fitted subspaces.

    Attributes:
        result: Labels and subspaces of the cheapest start.
        plan: What was fitted, the scale of its loss known.
        starts: What became of each start.
        notes: What the user should know, each a full sentence.
    """

    result: EMResult
    plan: EMPlan
    starts: tuple[StartReport, ...]
    notes: tuple[str, ...]


def fit_rows(
    rows: WeightedRows,
    request: FitRequest,
    *,
    given: Tensor | SubspaceSet | None = None,
    progress: ProgressCallback,
) -> Fit:
    """Fit what was asked for.

    Args:
        rows: The rows, of this process.
        request: What to fit.
        given: A first partition of these rows, shape (n,), int64, or first subspaces.
        progress: Called after every step; may raise to stop.

    Returns:
        The subspaces and this process's labels.

    Raises:
        ParameterError: If the request does not fit the rows.
    """
    chosen = choose_k(rows, request, progress)
    plan = plan_for(rows, replace(request, k=chosen))
    if isinstance(given, Tensor):
        check_range(given, plan.k)
    settings = _settings(request, plan, given is not None, rows)
    plan = replace(plan, loss=scale_loss(rows, plan, request.seed))
    result, starts = search(rows, plan, settings, given=given, progress=progress)
    counts = result.labels.bincount(minlength=plan.k).double()
    rows.group.add_up((counts,))
    return Fit(result=result, plan=plan, starts=starts, notes=fit_notes(starts, counts, plan))


def _settings(request: FitRequest, plan: EMPlan, given: bool, rows: WeightedRows) -> SearchSettings:
    width, table_rows = rows.points.shape[1], rows.table_rows
    allocation = plan.allocation
    total = sum(allocation.dimensions) if isinstance(allocation, GivenDimensions) else 0
    if isinstance(allocation, OptimalDimensions):
        total = plan.k * width // 2  # unknown yet; half of all there are is a lot
    return SearchSettings(
        seedings=_plan_starts(request.seeding, request.n_init, plan.k, given),
        seed=request.seed,
        max_iterations=request.max_iterations,
        tolerance=request.tolerance,
        moves=request.moves,
        race_rows=max(_RACE_ROWS, min(_ROWS_A_DIMENSION * total, int(_RACE_SHARE * table_rows))),
    )


def _plan_starts(
    seeding: str | Mapping[str, int], n_init: int, k: int, given: bool
) -> tuple[str, ...]:
    starts = dict(seeding) if isinstance(seeding, Mapping) else {seeding: n_init}
    unknown = sorted(set(starts) - {*SEEDINGS, "auto"})
    if unknown:
        raise ParameterError(
            f"unknown seeding {', '.join(unknown)}; known are {', '.join(SEEDINGS)} and auto"
        )
    if any(count < 0 for count in starts.values()):
        raise ParameterError(
            f"the number of starts must not be negative, got {min(starts.values())}"
        )
    if k == 1:
        return () if given else ("random",)  # every partition into one part is the same
    plan = tuple(
        drawn for name, count in starts.items() for drawn in islice(_cycle_of(name), count)
    )
    if not plan and not given:
        raise ParameterError("at least one start is needed; raise n_init or give labels")
    return plan


def _cycle_of(name: str) -> Iterator[str]:
    """The seedings of as many starts as are wanted."""
    return chain(_AUTO_FIRST, cycle(_AUTO_CYCLE)) if name == "auto" else cycle((name,))


def check_range(labels: Tensor, k: int) -> None:
    """Refuse a first partition of more parts than are fitted.

    Args:
        labels: Shape (n,), int64.
        k: Number of subspaces.

    Raises:
        ParameterError: If a label is not in 0 … k − 1.
    """
    if not len(labels):  # a process that holds no rows
        return
    if int(labels.min()) < 0 or int(labels.max()) >= k:
        raise ParameterError(
            f"labels must be in 0 … {k - 1} for k = {k}, got {int(labels.min())} … "
            f"{int(labels.max())}"
        )


def fit_notes(starts: tuple[StartReport, ...], counts: Tensor, plan: EMPlan) -> tuple[str, ...]:
    """What the user should know of a fit, each a full sentence."""
    notes: list[str] = []
    refilled = sum(start.refilled for start in starts)
    if refilled:
        notes.append(
            f"An empty subspace was refilled {counted(refilled, 'time')} with the rows that were "
            "served worst."
        )
    empty = int((counts == 0).sum())
    if empty:
        verb = "holds" if empty == 1 else "hold"
        notes.append(f"{empty} of {plan.k} subspaces {verb} no row; a smaller k may do.")
    finished = [start for start in starts if not start.sampled]
    unsettled = sum(not start.converged for start in finished)
    if unsettled and unsettled == len(finished):
        notes.append(
            "No start settled before the step limit; raise max_iterations to let them finish."
        )
    return tuple(notes)
