"""Many starts: the cheapest wins, each is reported, progress is honest and can stop the search."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from engine.clustering.em import EMResult, WeightedRows, run_em
from engine.clustering.search import SearchSettings, StartReport, search
from engine.errors import Cancelled
from engine.progress import Progress, ignore_progress
from tests.engine.problems import planted_rows, same_partition

PLAN = ("random", "norms", "directions", "random", "random")


def rows_of(seed: int = 0) -> WeightedRows:
    points, _ = planted_rows(3, 2, 6, rows_each=40, noise=0.2, seed=seed)
    return WeightedRows.of(points)


def found(
    rows: WeightedRows,
    seed: int = 0,
    plan: tuple[str, ...] = PLAN,
    given: torch.Tensor | None = None,
    max_iterations: int = 15,
) -> tuple[EMResult, tuple[StartReport, ...]]:
    settings = SearchSettings(
        seedings=plan, seed=seed, max_iterations=max_iterations, tolerance=1e-4
    )
    return search(rows, (2, 2, 2), settings, given=given, progress=ignore_progress)


def test_the_cheapest_start_is_kept_and_every_one_reported() -> None:
    best, reports = found(rows_of())
    assert [report.seeding for report in reports] == list(PLAN)
    costs = [report.cost for report in reports]
    assert best.cost_history[-1] == min(costs)
    assert len(set(costs)) > 1  # otherwise nothing was chosen
    for report in reports:
        assert report.cost == report.cost_history[-1]
        assert all(after <= before for before, after in pairwise(report.cost_history))
        assert report.converged or len(report.cost_history) == 15
        assert report.wall_seconds > 0
    assert best.cost_history in {report.cost_history for report in reports}


def test_same_seed_same_labels_and_another_seed_other_starts() -> None:
    rows = rows_of()
    (one, first), (same, again), (_, other) = found(rows, 3), found(rows, 3), found(rows, 4)
    assert torch.equal(one.labels, same.labels)
    assert [r.cost_history for r in first] == [r.cost_history for r in again]
    assert [r.cost_history for r in first] != [r.cost_history for r in other]


def test_starts_of_one_name_differ_and_do_not_depend_on_how_many_there_are() -> None:
    _, five = found(rows_of(), plan=("random",) * 5)
    _, two = found(rows_of(), plan=("random",) * 2)
    assert len({report.cost_history for report in five}) > 1
    assert [r.cost_history for r in two] == [r.cost_history for r in five[:2]]


def test_a_given_partition_runs_first_and_beside_the_others() -> None:
    points, truth = planted_rows(3, 2, 6, rows_each=40, noise=0.01, seed=7)
    rows = WeightedRows.of(points)
    best, reports = found(rows, given=truth, plan=("random", "norms"))
    assert [report.seeding for report in reports] == ["given", "random", "norms"]
    assert same_partition(best.labels, truth)
    only, alone = found(rows, given=truth, plan=())
    assert len(alone) == 1
    expected = run_em(rows, truth, (2, 2, 2), max_iterations=15, tolerance=1e-4)
    assert torch.equal(only.labels, expected.labels)


@pytest.mark.parametrize(
    ("k", "j", "d", "noise"), [(3, 1, 3, 0.0), (3, 3, 10, 1e-3), (4, 2, 8, 1e-3)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_planted_subspaces_are_recovered(
    k: int, j: int, d: int, noise: float, weighted: bool
) -> None:
    points, truth = planted_rows(k, j, d, rows_each=40, noise=noise, seed=11)
    weights = None
    if weighted:
        weights = torch.rand(len(points), generator=torch.Generator().manual_seed(1)) + 0.5
        weights = weights.double()
    settings = SearchSettings(
        seedings=("random",) * 8 + ("directions",) * 2, seed=0, max_iterations=40, tolerance=0.0
    )
    best, _ = search(WeightedRows.of(points, weights), (j,) * k, settings, progress=ignore_progress)
    # A row that lies close to two of the subspaces by chance may go to either.
    together = (best.labels[:, None] == best.labels) == (truth[:, None] == truth)
    assert float(together.double().mean()) > 0.98
    assert best.cost_history[-1] <= 2 * d * noise**2 + 1e-14


def test_progress_counts_up_to_its_total_and_names_the_start() -> None:
    seen: list[Progress] = []
    settings = SearchSettings(seedings=("random",) * 3, seed=0, max_iterations=6, tolerance=1e-4)
    _, reports = search(rows_of(), (2, 2, 2), settings, progress=seen.append)
    assert {item.total for item in seen} == {18}
    assert all(after.done >= before.done for before, after in pairwise(seen))
    assert [item.phase for item in seen if not item.detail] == [
        f"Start {number} of 3" for number in (1, 2, 3)
    ]
    assert len(seen) == 3 + sum(len(report.cost_history) for report in reports)
    last = seen[-1].detail
    assert last.endswith(f"best {min(report.cost for report in reports):.4f}")


@pytest.mark.parametrize("after", [0, 1, 9])
def test_cancelling_goes_out_at_once_and_leaves_nothing_behind(after: int) -> None:
    rows = rows_of()
    expected, _ = found(rows)
    points = rows.points.clone()
    calls = 0

    def cancel(_: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Cancelled("stopped by the user")

    settings = SearchSettings(seedings=PLAN, seed=0, max_iterations=15, tolerance=1e-4)
    with pytest.raises(Cancelled, match="stopped by the user"):
        search(rows, (2, 2, 2), settings, progress=cancel)
    assert calls == after + 1
    assert torch.equal(rows.points, points)
    assert torch.equal(found(rows)[0].labels, expected.labels)
