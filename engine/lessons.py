"""Small examples for teaching: rows that can be drawn, and every half-step of EM on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from engine.budget import budget_for_rate, check_k, dimension_for_rate, matching_rank
from engine.clustering.em import EMPlan, em_steps
from engine.clustering.refill import refill_empty
from engine.clustering.seeding import direction_kmeans, random_partition
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError
from engine.layout import pca_layout
from engine.methods import factorize
from engine.rows import RowMatrix, read_rows

_ANGLES = (12.0, 50.0, 95.0, 150.0)  # degrees; no two neighbours alike, so bad starts have names
_SPACE_LINES = ((1.0, 0.15, 0.1), (0.1, 1.0, 0.25), (0.2, 0.1, 1.0))  # far from any one plane

SAMPLE_ROWS = 8000  # enough for the bases of a few subspaces to pay; a step takes about 0.1 s
_SAMPLE_ROUNDS = 12  # by then a start on so many rows has gained most of what it will

Phase = Literal["start", "refit", "assign"]
Start = Literal["directions", "random"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HalfStep:
    """What one half of an EM step left.

    Attributes:
        phase: ``"start"``: rows parted, no subspaces yet; ``"refit"``: each subspace is the best of
            its rows (M-step); ``"assign"``: each row is at its closest subspace (E-step).
        round: 0 for the start, then 1, 2, … for each pair of refit and assign.
        labels: Shape (n,), int64: the subspace of every row.
        subspaces: The k subspaces; None at the start.
        cost: Σ dist² / Σ ‖x‖², each row measured against its own subspace; None at the start.
        moved: Rows whose subspace changed.
    """

    phase: Phase
    round: int
    labels: Tensor
    subspaces: SubspaceSet | None
    cost: float | None
    moved: int


def trace_em(
    points: Tensor, labels: Tensor, plan: EMPlan, *, max_rounds: int = 40
) -> tuple[HalfStep, ...]:
    """Run EM and keep every half-step.

    Args:
        points: Shape (n, d), float.
        labels: The first partition, shape (n,), int64.
        plan: What is fitted, with given dimensions and the squared loss.
        max_rounds: Most pairs of refit and assign.

    Returns:
        The start, then refit and assign in turn until an assignment moves no row. The cost never
        rises from one to the next.

    Raises:
        ParameterError: If the plan buys its dimensions or has another loss: the halves of such a
            step lower something else than the cost shown.

    Source: paper, section 2.
    """
    if plan.allocation.priced or not plan.loss.squared:
        raise ParameterError("half-steps are kept for given dimensions and the squared loss alone")
    rows = WeightedRows.of(points)
    history = [HalfStep(phase="start", round=0, labels=labels, subspaces=None, cost=None, moved=0)]
    for number, step in zip(range(1, max_rounds + 1), em_steps(rows, labels, plan), strict=False):
        distances = step.subspaces.squared_residuals(points, rows.squared_norms)
        own = float(distances.gather(1, labels[:, None]).sum(dtype=torch.float64)) / rows.energy
        moved = int((labels != step.labels).sum())
        refit = HalfStep(
            phase="refit",
            round=number,
            labels=labels,
            subspaces=step.subspaces,
            cost=own,
            moved=0,
        )
        assign = replace(refit, phase="assign", labels=step.labels, cost=step.cost, moved=moved)
        history += [refit, assign]
        if not moved and not step.refilled:
            break
        labels = step.labels
        if step.refilled:  # as EM itself does between two steps
            held = tuple(j + plan.affine for j in step.subspaces.dimensions)
            labels, _ = refill_empty(step.labels, step.residuals, rows, held)
    return tuple(history)


def trace_random_start(points: Tensor, plan: EMPlan, seed: int) -> tuple[HalfStep, ...]:
    """`trace_em` from the paper's start: every row in a part drawn at random."""
    return trace_em(points, random_partition(points, plan.k, seed), plan)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleTrace:
    """EM on a sample of a table's rows, beside the SVD of the same size.

    Attributes:
        rows: Row numbers of the sample, shape (m,), int64, rising.
        layout: Shape (m, 2), float32: its first two principal components.
        labels: Of every half-step, shape (s, m), int64.
        costs: Of every half-step; None at the start.
        phases: Of every half-step.
        j: Dimension of each subspace.
        rank: Of the SVD that stores at least as many numbers.
        svd_cost: What it loses.
    """

    rows: Tensor
    layout: Tensor
    labels: Tensor
    costs: tuple[float | None, ...]
    phases: tuple[Phase, ...]
    j: int
    rank: int
    svd_cost: float


def trace_sample(
    matrix: RowMatrix, *, k: int, rate: float, start: Start = "directions", seed: int = 0
) -> SampleTrace:
    """Take rows of a table at random and follow EM on them.

    Args:
        matrix: Shape (n, d), float.
        k: Number of subspaces.
        rate: Compression rate of the sample as a table of its own.
        start: ``"directions"``: k-means on the directions of the rows; ``"random"``: the paper's.
        seed: Draws the rows and the start.

    Raises:
        ParameterError: If k or the rate cannot be had with so many rows and columns.

    Cost: a step is 2·m·d² flops and k eigen-solves of size d; 12 steps at most.
    """
    n, d = matrix.shape
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(n, generator=generator)[:SAMPLE_ROWS].sort().values
    points = read_rows(matrix, rows)
    check_k(k, len(rows))
    j = dimension_for_rate(len(rows), d, k, rate)
    rank = matching_rank(len(rows), d, budget_for_rate(len(rows), d, rate))
    find = direction_kmeans if start == "directions" else random_partition
    steps = trace_em(points, find(points, k, seed), EMPlan.even(k, j), max_rounds=_SAMPLE_ROUNDS)
    svd = trace_random_start(points, EMPlan.even(1, rank), seed)
    assert svd[-1].cost is not None
    return SampleTrace(
        rows=rows,
        layout=pca_layout(points),
        labels=torch.stack([step.labels for step in steps]),
        costs=tuple(step.cost for step in steps),
        phases=tuple(step.phase for step in steps),
        j=j,
        rank=rank,
        svd_cost=svd[-1].cost,
    )


def cost_by_angle(points: Tensor, degrees: Tensor) -> Tensor:
    """What a line through zero loses at each angle.

    Args:
        points: Shape (n, 2), float.
        degrees: Shape (m,), counter-clockwise from the first axis.

    Returns:
        Shape (m,): Σ dist² / Σ ‖x‖².
    """
    angles = degrees.deg2rad().to(points.dtype)
    across = torch.stack([-angles.sin(), angles.cos()])  # the unit normal of each line
    return (points @ across).square().sum(dim=0) / points.square().sum()


def best_line(points: Tensor, loss: str = "squared") -> Tensor:
    """Direction of the line through zero that loses least by a loss, as a unit vector, shape (d,).

    Args:
        points: Shape (n, d), float.
        loss: As `factorize` takes it.
    """
    (basis,) = factorize(points, method="messi", k=1, j=1, loss=loss).bases
    assert isinstance(basis, Tensor)  # nothing is coded unless asked for
    return basis[0]


def line_at(degrees: float) -> Tensor:
    """Direction of the line in the plane at an angle, shape (2,), float64."""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()])


def angle_of(direction: Tensor) -> float:
    """Angle of a line in the plane, in degrees from 0 up to 180, from its direction (2,)."""
    return float(torch.atan2(direction[1], direction[0]).rad2deg()) % 180


def lines_in_plane(rows: int = 24, *, noise: float = 0.05, seed: int = 0) -> Tensor:
    """Rows near four lines through zero in the plane.

    Args:
        rows: Of each line.
        noise: Standard deviation of what is added to each coordinate; rows reach to about 1.
        seed: Draws places and noise.

    Returns:
        Shape (4·rows, 2), float64, line after line.
    """
    directions = torch.stack([line_at(angle) for angle in _ANGLES])
    return _along(directions, rows, noise, seed)


def lines_in_space(rows: int = 40, *, noise: float = 0.02, seed: int = 0) -> Tensor:
    """Rows near three lines through zero in R^3: the paper's own picture of why k > 1.

    Returns:
        Shape (3·rows, 3), float64, line after line.

    Source: paper, figure 1.
    """
    directions = torch.tensor(_SPACE_LINES, dtype=torch.float64)
    return _along(directions / directions.norm(dim=1, keepdim=True), rows, noise, seed)


def cloud_in_plane(rows: int = 40, *, seed: int = 0) -> Tensor:
    """Rows in the plane that lie along one line more than across it.

    Returns:
        Shape (rows, 2), float64, centred on zero.
    """
    generator = torch.Generator().manual_seed(seed)
    cloud = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    cloud = cloud * torch.tensor([0.5, 0.16], dtype=torch.float64)
    cloud -= cloud.mean(dim=0)
    return cloud @ _turn(32.0)


def line_with_outliers(rows: int = 40, outliers: int = 5, *, seed: int = 0) -> Tensor:
    """Rows near one line through zero, and a few far from it, all on one side.

    Returns:
        Shape (rows + outliers, 2), float64; the outliers come last.
    """
    generator = torch.Generator().manual_seed(seed)
    place = 2 * torch.rand(rows, 1, generator=generator, dtype=torch.float64) - 1
    across = 0.04 * torch.randn(rows, 1, generator=generator, dtype=torch.float64)
    far = torch.tensor([[0.7, 1.1]], dtype=torch.float64)  # enough to turn the best line by 29°
    turns = 2 * torch.pi * torch.arange(outliers, dtype=torch.float64) / outliers
    ring = 0.15 * torch.stack([turns.cos(), turns.sin()], dim=1)  # so that each can be seen
    return torch.cat([torch.cat([place, across], dim=1), far + ring]) @ _turn(20.0)


def uneven_clusters(rows: int = 200, width: int = 12, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three clusters of one size whose energy needs 2, 5 and 10 directions.

    Returns:
        Points of shape (3·rows, width), float64, and labels of shape (3·rows,), int64.

    Raises:
        ParameterError: If the width is below 10.
    """
    if width < 10:
        raise ParameterError(f"the widest cluster needs 10 directions, got a width of {width}")
    generator = torch.Generator().manual_seed(seed)
    parts: list[Tensor] = []
    for directions, length in ((2, 1.0), (5, 0.8), (10, 0.9)):
        scales = torch.full((width,), 0.04, dtype=torch.float64)
        scales[:directions] = length * torch.linspace(1.0, 0.5, directions, dtype=torch.float64)
        noise = torch.randn(width, width, generator=generator, dtype=torch.float64)
        rotation, _ = torch.linalg.qr(noise)
        drawn = torch.randn(rows, width, generator=generator, dtype=torch.float64)
        parts.append((drawn * scales) @ rotation)
    return torch.cat(parts), torch.arange(3).repeat_interleave(rows)


def _along(directions: Tensor, rows: int, noise: float, seed: int) -> Tensor:
    """Rows spread over each direction from end to end, and noise."""
    generator = torch.Generator().manual_seed(seed)
    count = rows * len(directions)
    place = 2 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 1
    added = torch.randn(count, directions.shape[1], generator=generator, dtype=torch.float64)
    return place * directions.repeat_interleave(rows, dim=0) + noise * added


def _turn(degrees: float) -> Tensor:
    """Turns rows of the plane counter-clockwise, by multiplication from the right."""
    return torch.stack([line_at(degrees), line_at(degrees + 90)])
