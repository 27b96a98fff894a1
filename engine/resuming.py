"""A fit that keeps every iteration on all rows, and goes on from one that was kept."""

from __future__ import annotations

from dataclasses import replace

from engine.checkpoint import Checkpoint, CheckpointFile
from engine.clustering.em import EMPlan, EMResult, EMStep, run_em
from engine.clustering.losses import parse_loss
from engine.clustering.search import REFINING, StartReport
from engine.clustering.weighted_rows import WeightedRows
from engine.fitting import Fit, fit_notes, fit_rows
from engine.progress import Progress, ProgressCallback
from engine.requests import FitRequest, plan_for

_SMALL = 16_384  # rows that every start may run on: there is no polishing to be gone on with


def fit_resumably(
    rows: WeightedRows,
    request: FitRequest,
    fingerprint: str,
    *,
    resume: Checkpoint | None = None,
    file: CheckpointFile | None = None,
    progress: ProgressCallback,
) -> Fit:
    """As `engine.fitting.fit_rows`, with every iteration on all rows kept.

    Args:
        rows: The rows, of this process.
        request: What to fit.
        fingerprint: Of it; see `fingerprint_fit`.
        resume: Where to go on; the same in every process.
        file: Where to keep the iterations; None for a process that does not write.
        progress: Called after every step; may raise to stop.

    Returns:
        The subspaces and this process's labels.

    Raises:
        ParameterError: If the request does not fit the rows.

    Cost: one pass over the rows more than `fit_rows`.
    """
    first: Fit | None = None
    if resume is None:
        first = fit_rows(rows, replace(request, max_iterations=1), progress=progress)
        d = rows.points.shape[1]
        alone = rows.group.size == 1 and first.plan.k > 1
        if alone and rows.table_rows <= max(_SMALL, 8 * first.plan.k * d):
            return fit_rows(rows, request, progress=progress)
        plan = first.plan
        resume = Checkpoint(
            fingerprint=fingerprint,
            k=plan.k,
            loss=str(plan.loss),
            starts=first.starts,
            cost_history=first.result.cost_history,
            subspaces=first.result.subspaces,
        )
        if file is not None:
            file.keep(resume)
    else:
        plan = replace(plan_for(rows, replace(request, k=resume.k)), loss=parse_loss(resume.loss))
    if first is not None and first.result.converged:
        return first
    after, history = _go_on(rows, request, plan, resume, file, progress)
    if first is not None and after.cost_history[-1] > resume.cost_history[-1]:
        # It was settled already, and rounding or the price of a budget lifted it.
        after, history = replace(first.result, converged=after.converged), resume.cost_history
    starts = _with_report(resume.starts, history, after)
    counts = after.labels.bincount(minlength=plan.k).double()
    rows.group.add_up((counts,))
    return Fit(
        result=replace(after, cost_history=history),
        plan=plan,
        starts=starts,
        notes=fit_notes(starts, counts, plan),
    )


def _go_on(
    rows: WeightedRows,
    request: FitRequest,
    plan: EMPlan,
    resume: Checkpoint,
    file: CheckpointFile | None,
    progress: ProgressCallback,
) -> tuple[EMResult, tuple[float, ...]]:
    """The iterations that are left, and the costs of all; one at least, which finds the labels."""
    costs: list[float] = []
    limit = max(1, request.max_iterations - resume.iteration)

    def joined() -> tuple[float, ...]:
        # The first step repeats the last one's state in other rounding: no cost may rise by that.
        return (*(cost for cost in resume.cost_history if cost >= costs[0]), *costs)

    def on_step(step: EMStep) -> None:
        costs.append(step.cost)
        if file is not None:
            file.keep(replace(resume, cost_history=joined(), subspaces=step.subspaces))
        progress(
            Progress(
                phase=REFINING,
                done=len(costs),
                total=limit,
                detail=f"error {step.cost:.4f}",
            )
        )

    result = run_em(
        rows,
        resume.subspaces,
        plan,
        max_iterations=limit,
        tolerance=request.tolerance,
        on_step=on_step,
    )
    return result, joined()


def _with_report(
    starts: tuple[StartReport, ...], history: tuple[float, ...], result: EMResult
) -> tuple[StartReport, ...]:
    """The reports, that of the start that went on brought up to its end."""
    ran = [place for place, start in enumerate(starts) if not start.sampled]
    best = min(ran, key=lambda place: starts[place].cost)
    report = replace(
        starts[best],
        cost=history[-1],
        cost_history=history,
        converged=result.converged,
        refilled=starts[best].refilled + result.refilled,
    )
    return (*starts[:best], report, *starts[best + 1 :])
