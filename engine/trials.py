"""Short fits that settle what a request leaves open: k, and the scale of a robust loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.clustering.coreset import uniform_sample
from engine.clustering.em import EMPlan, run_em
from engine.clustering.losses import Loss
from engine.clustering.seeding import SEEDINGS, direction_kmeans
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError
from engine.progress import Progress, ProgressCallback
from engine.requests import AUTO_KS, FitRequest, plan_for
from engine.rows import read_rows

_TRIAL_ROWS = 65_536
_TRIAL_STEPS = 12
_TRIAL_SEEDINGS = ("directions", "splits")
_PILOT_ROWS = 8192  # of the least-distance fit that gives a robust loss its scale
_PILOT_STEPS = 12


def choose_k(rows: WeightedRows, request: FitRequest, progress: ProgressCallback) -> int | None:
    """One k: the given one, or the one of a set whose trial fit loses least.

    A trial is the better of two starts of a few steps on at most `_TRIAL_ROWS` rows. All trials
    minimise one objective: a robust loss gets its scale once.

    Args:
        rows: The rows.
        request: Its k is one number, None, a list, or ``"auto"`` for `AUTO_KS`.
        progress: Called before each trial; may raise to stop.

    Returns:
        The k, or None where the method's own is meant.

    Raises:
        ParameterError: If there is nothing to choose from, or no candidate fits the rows.
    """
    if request.k is None or isinstance(request.k, int):
        return request.k
    n = round(rows.table_rows)
    if isinstance(request.k, str):
        if request.k != "auto":
            raise ParameterError(
                f"k must be a whole number, a list of them or 'auto', got {request.k!r}"
            )
        candidates = [k for k in AUTO_KS if k <= n]
    else:
        candidates = sorted(set(request.k))
    if not candidates or isinstance(request.j, Sequence):
        raise ParameterError(
            "a k to be chosen needs at least one candidate and a rate or one j, not a list of j"
        )
    field = uniform_sample(rows, _TRIAL_ROWS, request.seed)
    loss: Loss | None = None
    costs: dict[int, float] = {}
    problems: list[str] = []
    for done, k in enumerate(candidates):
        progress(Progress(phase=f"Trying k = {k}", done=done, total=len(candidates)))
        try:
            # Against the size of the table, not of the sample: it is the table that is stored.
            plan = plan_for(field, replace(request, k=k))
        except ParameterError as error:
            problems.append(str(error))
            continue
        loss = loss or scale_loss(field, plan, request.seed)
        plan = replace(plan, loss=loss)
        costs[k] = min(_trial_cost(field, plan, name, request) for name in _TRIAL_SEEDINGS)
    if not costs:
        raise ParameterError(f"no k of {candidates} is possible: {problems[-1]}")
    return min(costs, key=lambda k: costs[k])


def _trial_cost(rows: WeightedRows, plan: EMPlan, seeding: str, request: FitRequest) -> float:
    labels = SEEDINGS[seeding](rows, plan, request.seed)
    steps = _TRIAL_STEPS if plan.k > 1 else 1
    trial = run_em(rows, labels, plan, max_iterations=steps, tolerance=request.tolerance)
    return trial.cost_history[-1]


def scale_loss(rows: WeightedRows, plan: EMPlan, seed: int) -> Loss:
    """The plan's loss with its scale, found by a short least-distance fit where it needs one.

    That fit has subspaces of one dimension, whatever the plan's: where dimensions are bought for
    the rows that matter, the distances of the others are not noise that a scale could be read off.
    """
    if not plan.loss.needs_scale:
        return plan.loss
    sample = uniform_sample(rows, _PILOT_ROWS, seed)
    mean = sample.energy / max(_total_weight(sample), 1e-300)
    if not plan.loss.robust:
        return plan.loss.scaled_by(mean, 0.0)
    least = Loss(name="l1", power=1.0).scaled_by(mean, 0.0)
    even = plan.allocation.evened(rows.table_rows, rows.points.shape[1])
    pilot_plan = replace(plan, loss=least, allocation=even)
    points = read_rows(sample.points, slice(None))
    labels = torch.zeros(len(points), dtype=torch.int64)
    if plan.k > 1:
        labels = direction_kmeans(points, plan.k, seed)
    pilot = run_em(sample, labels, pilot_plan, max_iterations=_PILOT_STEPS, tolerance=1e-3)
    _, residuals = pilot.subspaces.assign(points, sample.squared_norms)
    return plan.loss.scaled_by(mean, _weighted_median(residuals, sample.weights) ** 0.5)


def _weighted_median(values: Tensor, weights: Tensor | None) -> float:
    """The lower median, a value of weight m counting as m copies of it."""
    if weights is None:
        return float(values.median())
    order = values.argsort(stable=True)
    totals = weights[order].cumsum(0)
    return float(values[order][int((totals < totals[-1] / 2).sum())])


def _total_weight(rows: WeightedRows) -> float:
    return float(len(rows.points)) if rows.weights is None else float(rows.weights.sum())
