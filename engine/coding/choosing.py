"""Which k: EM for each of several, and only the cheapest is coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.clustering.weighted_rows import WeightedRows
from engine.coding.fitting import (
    CodedFit,
    CodedRequest,
    NoRoomError,
    Settled,
    encode,
    settle,
)
from engine.progress import Progress, ProgressCallback

CODED_KS = (1, 2, 4, 8)
"""What ``k="auto"`` chooses from: the counts whose labels fill their bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenFit:
    """A fit, and how its k was found.

    Attributes:
        fit: Of the k that was chosen, the same as if it had been asked for by itself.
        k: Which.
        costs: k → the share of the weighted energy that EM ended at, before anything was coded;
            of the candidates that the bytes have room for.
        notes: Why it was this k, a full sentence; none where there was no choice.
    """

    fit: CodedFit
    k: int
    costs: dict[int, float]
    notes: tuple[str, ...]


def fit_cheapest(
    rows: WeightedRows,
    requests: Sequence[CodedRequest],
    *,
    given: Tensor | None = None,
    progress: ProgressCallback,
) -> ChosenFit:
    """Fit the request that loses least under EM's own model; of equals the smallest k.

    Args:
        rows: All the rows; of one process.
        requests: At least one, alike but for their k, which rises.
        given: A first partition, shape (n,), int64, where there is but one request.
        progress: Called after every few rows; may raise to stop.

    Raises:
        NoRoomError: If none of them has room: what `fit_coded` says of the smallest k.
        ParameterError: As `fit_coded` does.

    Cost: EM of every request, and the codes of one.
    """
    if len(requests) == 1:
        return _fit_only(rows, requests[0], given, progress)
    best: tuple[int, Settled] | None = None
    costs: dict[int, float] = {}
    problems: dict[int, NoRoomError] = {}
    for number, request in enumerate(requests):
        tried = _as_part(progress, number, requests)
        try:
            settled = settle(rows, request, progress=tried)
        except NoRoomError as error:
            problems[request.k] = error
            continue
        costs[request.k] = settled.step.cost
        if best is None or settled.step.cost < costs[best[0]]:
            best = (request.k, settled)  # of the others nothing is kept
    if best is None:
        raise problems[requests[0].k]
    k, settled = best
    fit = encode(rows, settled, progress=progress)
    return ChosenFit(fit=fit, k=k, costs=costs, notes=(_reason(k, costs, tuple(problems)),))


def _fit_only(
    rows: WeightedRows, request: CodedRequest, given: Tensor | None, progress: ProgressCallback
) -> ChosenFit:
    settled = settle(rows, request, given=given, progress=progress)
    fit = encode(rows, settled, progress=progress)
    return ChosenFit(fit=fit, k=request.k, costs={request.k: settled.step.cost}, notes=())


def _as_part(
    progress: ProgressCallback, number: int, requests: Sequence[CodedRequest]
) -> ProgressCallback:
    """EM of one candidate as a part of the trial of all, which says which one it is."""
    request = requests[number]

    def report(step: Progress) -> None:
        detail = f"k = {request.k}" + (f", {step.detail}" if step.detail else "")
        done = number * request.max_iterations + step.done
        total = len(requests) * request.max_iterations
        progress(Progress(phase="Trying several k", done=done, total=total, detail=detail))

    return report


def _reason(k: int, costs: dict[int, float], skipped: tuple[int, ...]) -> str:
    others = ", ".join(f"{costs[other]:.2%} with k = {other}" for other in costs if other != k)
    left_out = ", ".join(map(str, skipped))
    return (
        f"k = {k} was chosen: before anything was coded it lost {costs[k]:.2%}"
        + (f", against {others}" if others else "")
        + (f"; the bytes have no room for k = {left_out}" if left_out else "")
        + "."
    )
