"""Many starts: the cheapest wins, each is reported, progress is honest and can stop the search."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from engine.clustering.allocation import OptimalDimensions, spread_evenly
from engine.clustering.em import EMPlan, EMResult, run_em
from engine.clustering.losses import parse_loss
from engine.clustering.search import (
    _WORTH_SAMPLING,
    REFINING,
    SearchSettings,
    StartReport,
    search,
)
from engine.clustering.weighted_rows import WeightedRows
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
    return search(rows, EMPlan.even(3, 2), settings, given=given, progress=ignore_progress)


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
    expected = run_em(rows, truth, EMPlan.even(3, 2), max_iterations=15, tolerance=1e-4)
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
    best, _ = search(
        WeightedRows.of(points, weights), EMPlan.even(k, j), settings, progress=ignore_progress
    )
    # A row that lies close to two of the subspaces by chance may go to either.
    together = (best.labels[:, None] == best.labels) == (truth[:, None] == truth)
    assert float(together.double().mean()) > 0.98
    assert best.cost_history[-1] <= 2 * d * noise**2 + 1e-14


def test_progress_counts_up_to_its_total_and_names_the_start() -> None:
    seen: list[Progress] = []
    settings = SearchSettings(seedings=("random",) * 3, seed=0, max_iterations=6, tolerance=1e-4)
    _, reports = search(rows_of(), EMPlan.even(3, 2), settings, progress=seen.append)
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
        search(rows, EMPlan.even(3, 2), settings, progress=cancel)
    assert calls == after + 1
    assert torch.equal(rows.points, points)
    assert torch.equal(found(rows)[0].labels, expected.labels)


RACED = SearchSettings(
    seedings=("random", "norms", "directions", "random", "random"),
    seed=0,
    max_iterations=12,
    tolerance=1e-4,
    race_rows=80,
)
PLANS = {
    "plain": EMPlan.even(3, 2),
    "affine l1": EMPlan(allocation=spread_evenly(3, 1), affine=True, loss=parse_loss("l1:0.01")),
    "optimal": EMPlan(allocation=OptimalDimensions(k=3, budget=700)),
}


def many_rows(seed: int = 0) -> WeightedRows:
    points, _ = planted_rows(3, 2, 6, rows_each=100, noise=0.1, seed=seed)
    return WeightedRows.of(points)


def raced(
    rows: WeightedRows, plan: EMPlan = PLANS["plain"], **changed: object
) -> tuple[EMResult, tuple[StartReport, ...], list[Progress]]:
    seen: list[Progress] = []
    settings = replace(RACED, **changed)  # type: ignore[arg-type]
    best, reports = search(rows, plan, settings, progress=seen.append)
    return best, reports, seen


@pytest.mark.parametrize("name", PLANS)
def test_a_race_reports_every_start_and_polishes_two_on_all_rows(name: str) -> None:
    best, reports, _ = raced(many_rows(), PLANS[name])
    assert [report.seeding for report in reports] == list(RACED.seedings)
    assert sum(not report.sampled for report in reports) == 2
    finished = [report for report in reports if not report.sampled]
    assert best.cost_history in {report.cost_history for report in finished}
    assert best.cost_history[-1] == min(report.cost for report in finished)
    assert len(best.labels) == 300
    for report in reports:
        assert report.cost == report.cost_history[-1]
        assert report.wall_seconds > 0
        assert len(report.cost_history) <= 12


def test_tables_hardly_larger_than_the_sample_are_not_raced() -> None:
    most = int(300 / _WORTH_SAMPLING)
    assert not any(report.sampled for report in raced(many_rows(), race_rows=most + 1)[1])
    assert any(report.sampled for report in raced(many_rows(), race_rows=most - 1)[1])


def test_one_subspace_is_never_raced() -> None:
    _, reports, _ = raced(many_rows(), EMPlan.even(1, 2), seedings=("random",))
    assert [report.sampled for report in reports] == [False]


@pytest.mark.parametrize("moves", [0, 2])
def test_a_race_finds_what_was_planted(moves: int) -> None:
    points, truth = planted_rows(3, 2, 8, rows_each=150, noise=1e-3, seed=3)
    best, _, _ = raced(WeightedRows.of(points), moves=moves, seedings=("directions", "random") * 4)
    together = (best.labels[:, None] == best.labels) == (truth[:, None] == truth)
    assert float(together.double().mean()) > 0.98


@pytest.mark.parametrize("moves", [0, 2])
@pytest.mark.parametrize("race_rows", [80, 8192])
@pytest.mark.parametrize("name", PLANS)
def test_same_seed_same_labels_raced_or_not(name: str, race_rows: int, moves: int) -> None:
    one, same, other = (
        raced(many_rows(), PLANS[name], seed=seed, race_rows=race_rows, moves=moves)
        for seed in (3, 3, 4)
    )
    assert torch.equal(one[0].labels, same[0].labels)
    assert histories(one[1]) == histories(same[1]) != histories(other[1])
    assert one[2] == same[2]


def histories(reports: tuple[StartReport, ...]) -> list[tuple[float, ...]]:
    return [report.cost_history for report in reports]


@pytest.mark.parametrize("given_first", [False, True])
@pytest.mark.parametrize("moves", [0, 3])
@pytest.mark.parametrize("race_rows", [80, 8192])
@pytest.mark.parametrize("name", PLANS)
def test_progress_never_goes_backwards(
    name: str, race_rows: int, moves: int, given_first: bool
) -> None:
    seen: list[Progress] = []
    settings = replace(RACED, race_rows=race_rows, moves=moves)
    first = torch.arange(300) % 3 if given_first else None
    search(many_rows(), PLANS[name], settings, given=first, progress=seen.append)
    assert len({item.total for item in seen}) == 1
    assert all(after.done >= before.done for before, after in pairwise(seen))
    assert seen[0].done <= 1
    assert 0.4 * seen[-1].total <= seen[-1].done <= seen[-1].total
    errors = [item.detail for item in seen if item.detail]
    assert all(detail.startswith("error ") for detail in errors)
    assert len(errors) > 20


def test_progress_says_in_plain_words_what_is_done() -> None:
    _, _, seen = raced(many_rows(), moves=1, seedings=("random", "splits", "random", "random"))
    assert list(dict.fromkeys(item.phase for item in seen)) == [
        "Taking a sample of the rows",
        *(f"Start {number} of 4: first partition" for number in range(1, 5)),
        "Comparing 4 starts on a sample",
        "Comparing 2 starts on a sample",
        "Move 1: merging two subspaces, splitting another",
        REFINING,
    ]
    details = {item.detail for item in seen}
    assert "2 of 3 subspaces so far" in details
    assert any(detail.endswith(" on the sample") for detail in details)
    _, _, seen = raced(many_rows(), seedings=("random",))
    assert {"Start 1 of 1: first partition", "Trying the start on a sample"} <= {
        item.phase for item in seen
    }


@pytest.mark.parametrize("name", PLANS)
def test_a_start_begins_where_those_before_it_end(name: str) -> None:
    seen: list[Progress] = []
    settings = replace(RACED, race_rows=8192)
    search(many_rows(), PLANS[name], settings, progress=seen.append)
    begun = [item.done for item in seen if not item.detail]
    assert begun == [number * settings.max_iterations for number in range(5)]


@pytest.mark.parametrize("race_rows", [80, 8192])
def test_cancelling_at_any_report_leaves_nothing_behind(race_rows: int) -> None:
    rows = many_rows()
    expected, _, reports = raced(rows, race_rows=race_rows, moves=1)
    state = torch.get_rng_state()
    points = rows.points.clone()
    settings = replace(RACED, race_rows=race_rows, moves=1)
    for last in range(0, len(reports), 4):
        calls = 0

        def cancel(_: Progress, last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls > last:
                raise Cancelled("stopped by the user")

        with pytest.raises(Cancelled, match="stopped by the user"):
            search(rows, PLANS["plain"], settings, progress=cancel)
        assert calls == last + 1
    assert torch.equal(torch.as_tensor(rows.points), torch.as_tensor(points))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(raced(rows, race_rows=race_rows, moves=1)[0].labels, expected.labels)


@pytest.mark.parametrize("name", PLANS)
def test_moves_never_cost_anything(name: str) -> None:
    without, moved = (
        raced(many_rows(5), PLANS[name], race_rows=8192, seedings=("random",), moves=moves)
        for moves in (0, 3)
    )
    assert moved[0].cost_history[-1] <= without[0].cost_history[-1]
    assert [len(fit[1]) for fit in (without, moved)] == [1, 1]


def test_a_move_frees_a_start_that_two_merged_subspaces_hold_fast() -> None:
    """Two planes begin as one cluster and the third plane as two: EM alone stays there."""
    points, truth = planted_rows(3, 2, 12, rows_each=60, noise=0.01, seed=4)
    halves = torch.arange(len(points)) % 2
    stuck = torch.where(truth == 2, 1 + halves, 0)
    rows, plan = WeightedRows.of(points), PLANS["plain"]
    settings = replace(RACED, seedings=(), max_iterations=60, race_rows=8192)
    best, _ = search(rows, plan, settings, given=stuck, progress=ignore_progress)
    moved, _ = search(rows, plan, replace(settings, moves=3), given=stuck, progress=ignore_progress)
    assert best.cost_history[-1] > 0.2
    assert moved.cost_history[-1] < best.cost_history[-1] / 2
