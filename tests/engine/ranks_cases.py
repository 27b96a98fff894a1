"""Fits to be made by one process and by several; as a program, what each process of several does.

Started by torchrun, the processes fit every case on their own rows, rank 0 fits it alone as well,
and writes down both.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.clustering.distributed import TorchGroup, join_group
from engine.clustering.weighted_rows import WeightedRows
from engine.fitting import Fit, fit_rows
from engine.progress import ignore_progress
from engine.requests import FitRequest
from engine.rows import row_range
from tests.engine.problems import planted_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One fit.

    Attributes:
        request: What to fit.
        points: Shape (n, d).
        weights: Shape (n,), or None.
        labels: A first partition, or None for starts drawn from a sample.
        first_share: Share of the rows that rank 0 has; None for even ranges.
    """

    request: FitRequest
    points: Tensor
    weights: Tensor | None = None
    labels: Tensor | None = None
    first_share: float | None = None


def make_cases() -> dict[str, Case]:
    """Every case by name; the same in every process."""
    points, planted = planted_rows(4, 2, 8, rows_each=101, noise=0.05)
    points = points[:-1]  # 403 rows: no even halves
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (len(points),), generator=generator)
    near = torch.where(torch.rand(len(points), generator=generator) < 0.7, planted[:-1], labels)
    base = Case(request=FitRequest(k=4, j=2, n_init=0), points=points, labels=near)
    outliers = points.clone()
    outliers[::10] = 20 * torch.randn(len(outliers[::10]), 8, generator=generator).double()
    weights = torch.randint(0, 4, (len(points),), generator=generator).double() / 3
    large, _ = planted_rows(5, 2, 8, rows_each=4001, noise=0.05, seed=3)
    requests = {
        "uniform": base.request,
        "given dimensions": replace(base.request, j=[1, 2, 2, 3]),
        "optimal": replace(base.request, allocation="optimal"),
        "affine": replace(base.request, affine=True),
        "float32": base.request,
    }
    cases = {name: replace(base, request=request) for name, request in requests.items()}
    cases["float32"] = replace(base, points=points.float())
    cases["half precision"] = replace(base, points=points.half())
    for loss in ("l1", "l3", "tukey", "huber:0.3"):
        request = replace(base.request, loss=loss)
        cases[loss] = replace(base, request=request, points=outliers)
    cases["weighted"] = replace(base, weights=weights)
    cases["weighted, optimal, affine, l1"] = replace(
        base,
        weights=weights,
        request=replace(base.request, allocation="optimal", affine=True, loss="l1"),
    )
    # An empty cluster's first subspace lies along the last axes, where no row is.
    flat = torch.cat(
        [planted_rows(4, 2, 6, rows_each=101, noise=0.05)[0], points.new_zeros(404, 2)], 1
    )
    cases["an empty cluster to refill"] = Case(
        request=base.request, points=flat, labels=torch.arange(404) % 3
    )
    cases["few rows on rank 0"] = replace(base, first_share=0.01)
    cases["no rows on rank 0"] = replace(base, first_share=0.0)
    cases["one subspace"] = Case(request=FitRequest(method="svd", j=3), points=points)
    cases["a race of starts on a sample"] = Case(
        request=FitRequest(k=5, j=2, n_init=4), points=large.float()
    )
    cases["k chosen"] = Case(
        request=FitRequest(k=[2, 5], rate=0.6, n_init=2, moves=1), points=large.float()
    )
    return cases


def fit_part(case: Case, group: TorchGroup) -> tuple[Fit, Tensor | None]:
    """The fit with this process's rows, and on rank 0 the labels of all."""
    own = row_range(len(case.points), group.rank, group.size)
    if case.first_share is not None:
        cut = int(case.first_share * len(case.points))
        own = slice(0, cut) if group.rank == 0 else slice(cut, len(case.points))
    weights = None if case.weights is None else case.weights[own]
    rows = WeightedRows.of(case.points[own], weights, group=group)
    given = None if case.labels is None else case.labels[own]
    fit = fit_rows(rows, case.request, given=given, progress=ignore_progress)
    return fit, group.collect(fit.result.labels)


def describe(fit: Fit, labels: Tensor) -> dict[str, object]:
    """What must come out alike, as plain values."""
    offsets = fit.result.subspaces.offsets
    return {
        "cost": fit.result.cost_history[-1],
        "history": list(fit.result.cost_history),
        "labels": labels.tolist(),
        "dimensions": list(fit.result.subspaces.dimensions),
        "loss": str(fit.plan.loss),
        "refilled": fit.result.refilled,
        "notes": list(fit.notes),
        "offsets": None if offsets is None else offsets.tolist(),
    }


def main(place: Path) -> None:
    """What one process of the job does."""
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    with join_group() as group:
        for name, case in make_cases().items():
            fit, labels = fit_part(case, group)
            if labels is not None:
                rows = WeightedRows.of(case.points, case.weights)
                alone = fit_rows(rows, case.request, given=case.labels, progress=ignore_progress)
                found[name] = {
                    "together": describe(fit, labels),
                    "alone": describe(alone, alone.result.labels),
                }
        told = group.announce(b"the end" if group.rank == 0 else b"")
        ragged = [part.tolist() for part in group.gather(torch.arange(3 * group.rank))]
        own = torch.zeros(group.rank + 1, 2)
        group.hand_out(torch.arange(6.0).view(3, 2), own)
        handed = group.collect(own)
    if group.rank == 0:
        assert handed is not None
        found["messages"] = [told.decode(), ragged, handed.tolist()]
        place.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
