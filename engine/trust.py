"""How far a map of the rows can be trusted, and whose neighbours a plan keeps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from engine.errors import EngineError, ParameterError, ShapeError
from engine.factorization import Factorization
from engine.measures import nearest_neighbours, sample_rows
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.rows import RowMatrix, each_block, read_rows, row_slices

MOST_ROWS = 50_000  # whose nearest are all sought: n² work, half a minute on 2 cores

_QUERY_ROWS = 1024
_DISTANCES = 1 << 22  # held at once: 17 MB in float32, and soon enough done to hear a cancel


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTrust:
    """How well neighbourhoods on a map are those of the rows' directions (Venna & Kaski).

    Attributes:
        trustworthiness: 1 where no row has false neighbours on the map; lower, the further away
            they truly are. About 0.5 for a map drawn at random.
        continuity: 1 where no true neighbour was torn away; lower, the further away it is drawn.
        neighbours: How many nearest were looked at.
        queries: Rows sampled, among all of which their neighbours are sought.
        total_rows: All rows.
    """

    trustworthiness: float
    continuity: float
    neighbours: int
    queries: int
    total_rows: int


def map_trust(
    matrix: RowMatrix,
    layout: Tensor,
    *,
    neighbours: int = 15,
    queries: int = 2000,
    seed: int = 0,
    progress: ProgressCallback = ignore_progress,
) -> MapTrust:
    """Trustworthiness and continuity of a map, from a sample of its rows.

    Rows are near by cosine, as everywhere here; by distance a few short rows would be the nearest
    of nearly all others in real tables, and the map's own neighbours would look as if at random.

    Args:
        matrix: Shape (n, d).
        layout: Where each row is drawn, shape (n, 2) or any width.
        neighbours: K, at least 1 and below n / 2.
        queries: Most rows to sample.
        seed: Decides which.
        progress: Called after each few rows; may raise `engine.errors.Cancelled`.

    Returns:
        Both figures. Rows that are equally far count as nearer, in favour of the map.

    Raises:
        ShapeError: If the layout has another number of rows.
        ParameterError: If K is out of range.

    Source: Venna, Kaski, *Neighborhood preservation in nonlinear projection methods*, 2001; as
        `sklearn.manifold.trustworthiness` of all rows, each scaled to length 1.
    Cost: 2·m·n·d flops for m sampled rows, and 2·m·n·log2 K comparisons.
    """
    n = len(matrix)
    if len(layout) != n:
        raise ShapeError(f"{n:,} rows need as many places on the map, got {len(layout):,}")
    if not (neighbours >= 1 and 2 * neighbours < n):
        raise ParameterError(
            f"neighbours must be at least 1 and below half of the {n:,} rows, got {neighbours}"
        )
    asked = sample_rows(n, queries, seed)
    false, torn = 0, 0
    done = 0
    for some in asked.split(max(16, _DISTANCES // n)):
        progress(Progress(phase="Testing the map", done=done, total=len(asked)))
        true, drawn = _angular_distances(matrix, some), _map_distances(layout, some)
        false += _intruders(true, drawn, neighbours)
        torn += _intruders(drawn, true, neighbours)
        done += len(some)
    progress(Progress(phase="Testing the map", done=done, total=len(asked)))
    worst = len(asked) * neighbours * (2 * n - 3 * neighbours - 1) / 2
    return MapTrust(
        trustworthiness=1 - false / worst,
        continuity=1 - torn / worst,
        neighbours=neighbours,
        queries=len(asked),
        total_rows=n,
    )


def neighbour_table(
    matrix: RowMatrix | Factorization,
    *,
    count: int = 15,
    phase: str = "Neighbours in the table",
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """The nearest rows of every row by cosine, itself left out; exact.

    Args:
        matrix: Shape (n, d), at most `MOST_ROWS` rows, or a factorization for the rows that it
            approximates.
        count: Neighbours of each; n − 1 where there are fewer.
        phase: What the progress reports are called.
        progress: Called after each few rows; may raise `engine.errors.Cancelled`.

    Returns:
        Shape (n, count), int32, nearest first.

    Raises:
        EngineError: If there are more rows.
        ParameterError: If ``count`` is below 1, or there is but one row.

    Cost: 2·n²·d flops.
    """
    n = matrix.shape[0]
    if n > MOST_ROWS:
        raise EngineError(
            f"the neighbours of every row are sought in tables of up to {MOST_ROWS:,} rows, this "
            f"one has {n:,}; ask for those of a sample or of one row"
        )
    table = torch.empty(n, min(count, n - 1), dtype=torch.int32)
    for some in torch.arange(n).split(_QUERY_ROWS):

        def report(step: Progress, some: Tensor = some) -> None:
            done = int(some[0]) + len(some) * step.done // step.total
            progress(Progress(phase=phase, done=done, total=n))

        table[some] = nearest_neighbours(
            matrix, some, count=min(count, n - 1), progress=report
        ).int()
    return table


def false_neighbours(table_neighbours: Tensor, layout: Tensor) -> Tensor:
    """Share of each row's nearest on a map that are not among its true nearest.

    Args:
        table_neighbours: Shape (n, count), from `neighbour_table`.
        layout: Where each row is drawn, shape (n, 2).

    Returns:
        Shape (n,), float32, 0 … 1.

    Raises:
        ShapeError: If the layout has another number of rows.
    """
    from scipy.spatial import KDTree

    n, count = table_neighbours.shape
    if len(layout) != n:
        raise ShapeError(f"{n:,} rows need as many places on the map, got {len(layout):,}")
    places = layout.double().numpy()
    _, found = KDTree(places).query(places, k=count + 1)
    drawn = torch.from_numpy(found)
    own = drawn == torch.arange(n)[:, None]
    # Among many rows in one place the row itself may not be found: the furthest goes then.
    own[:, -1] |= ~own.any(dim=1)
    return 1 - _shares(drawn[~own].view(n, count), table_neighbours)


def kept_neighbours(
    table_neighbours: Tensor,
    factorization: Factorization,
    *,
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """Share of each row's true nearest that are so among the approximated rows as well.

    Args:
        table_neighbours: Shape (n, count), from `neighbour_table` of what was factorized.
        factorization: Of the same rows.
        progress: Called after each few rows; may raise `engine.errors.Cancelled`.

    Returns:
        Shape (n,), float32, 0 … 1.

    Raises:
        ShapeError: If the factorization has another number of rows.
    """
    n, count = table_neighbours.shape
    if factorization.shape[0] != n:
        raise ShapeError(f"{n:,} rows with neighbours, but {factorization.shape[0]:,} approximated")
    after = neighbour_table(
        factorization, count=count, phase="Neighbours in the plan", progress=progress
    )
    return _shares(table_neighbours, after)


def _shares(asked: Tensor, among: Tensor) -> Tensor:
    """Of each row of ``asked``, the share that is in the same row of ``among``; (n,), float32."""
    shares = torch.empty(len(asked), dtype=torch.float32)
    for rows in row_slices(len(asked)):
        found = asked[rows, :, None] == among[rows, None, :]
        shares[rows] = found.any(dim=2).float().mean(dim=1)
    return shares


def _angular_distances(matrix: RowMatrix, rows: Tensor) -> Tensor:
    """−cosine of some rows to every row, (m, n): ordered as angles; to itself: inf."""
    asked = normalize(read_rows(matrix, rows), dim=1)
    found = torch.empty(len(rows), len(matrix), dtype=asked.dtype)
    for others, part in each_block(matrix):
        torch.mm(-asked, normalize(part, dim=1).T, out=found[:, others])
    found[torch.arange(len(rows)), rows] = torch.inf
    return found


def _map_distances(layout: Tensor, rows: Tensor) -> Tensor:
    """‖y − x‖² on the map from some rows x to every row y, (m, n), float64; to itself: inf."""
    found = torch.zeros(len(rows), len(layout), dtype=torch.float64)
    for column in layout.double().T:
        found += (column[rows, None] - column).square_()
    found[torch.arange(len(rows)), rows] = torch.inf
    return found


def _intruders(true: Tensor, drawn: Tensor, neighbours: int) -> int:
    """How many ranks too far the nearest by ``drawn`` are by ``true``, all together."""
    nearest = drawn.topk(neighbours, dim=1, largest=False).indices
    limits = true.gather(1, nearest).sort(dim=1).values
    # How many of the limits each row is past, counted: one look at each distance for all of them.
    past = torch.searchsorted(limits, true, right=True)
    past += (torch.arange(len(past)) * (neighbours + 1))[:, None]
    bins = past.flatten().bincount(minlength=len(past) * (neighbours + 1))
    nearer = bins.view(len(past), neighbours + 1).cumsum(dim=1)[:, :neighbours]
    return int((1 + nearer - neighbours).clamp(min=0).sum())
