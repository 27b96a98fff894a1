"""The k of coded subspaces, chosen: what it is the best of, and that it is itself unchanged."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import engine
from engine.clustering.weighted_rows import WeightedRows
from engine.coding.choosing import CODED_KS, ChosenFit, fit_cheapest
from engine.coding.fitting import CodedRequest, Settled, fit_coded, settle
from engine.compression import compress_table
from engine.errors import Cancelled, ParameterError
from engine.plans import CompressionConfig, check_fit_memory
from engine.progress import Progress, ProgressCallback, ignore_progress
from tests.engine.coding.test_fitting import decode, spectrum
from tests.engine.problems import planted_rows
from tests.engine.tables import make_table


def requests(
    ks: Sequence[int] = CODED_KS, *, max_bytes: int, affine: bool = False
) -> tuple[CodedRequest, ...]:
    return tuple(
        CodedRequest(k=k, max_bytes=max_bytes, affine=affine, max_iterations=8, tolerance=1e-3)
        for k in ks
    )


def choose(
    points: Tensor, max_bytes: int, progress: ProgressCallback = ignore_progress
) -> ChosenFit:
    return fit_cheapest(WeightedRows.of(points), requests(max_bytes=max_bytes), progress=progress)


@given(st.integers(0, 3), st.integers(700, 6000), st.booleans(), st.booleans())
@settings(max_examples=15, deadline=None)
def test_it_loses_least_of_all_and_is_what_its_k_gives_alone(
    seed: int, max_bytes: int, weighted: bool, affine: bool
) -> None:
    weights = torch.arange(1.0, 301).double() / 300 if weighted else None
    rows = WeightedRows.of(spectrum(300, 12, seed), weights)
    asked = requests(max_bytes=max_bytes, affine=affine)
    found = fit_cheapest(rows, asked, progress=ignore_progress)
    costs = {
        one.k: settle(rows, one, progress=ignore_progress).step.cost
        for one in asked
        if one.k in found.costs
    }
    assert found.costs == costs
    assert found.costs[found.k] == min(costs.values())
    (same,) = (one for one in asked if one.k == found.k)
    alone = fit_coded(rows, same, progress=ignore_progress)
    assert torch.equal(alone.labels, found.fit.labels)
    assert torch.equal(decode(alone), decode(found.fit))
    assert alone.cost_history == found.fit.cost_history


@pytest.mark.parametrize(("k", "chosen"), [("auto", CODED_KS), ([8, 2, 2, 900], (2, 8))])
def test_the_facade_gives_what_its_k_gives_alone(
    k: str | list[int], chosen: tuple[int, ...]
) -> None:
    points, _ = planted_rows(2, 2, 16, rows_each=200, noise=0.01, seed=0)
    found = engine.factorize(points, method="coded", max_bytes=1200, k=k)
    assert found.k in chosen
    assert found.k > 1  # two planes are no single one
    alone = engine.factorize(points, method="coded", max_bytes=1200, k=found.k)
    assert torch.equal(found.reconstruct(), alone.reconstruct())
    assert torch.equal(found.labels, alone.labels)
    assert found.stored_bytes == alone.stored_bytes
    assert found.record.cost_history == alone.record.cost_history
    assert found.record.config == alone.record.config  # which gives it again, without the trial
    (note,) = found.record.notes
    assert note.startswith(f"k = {found.k} was chosen: before anything was coded it lost")
    assert all(f" with k = {other}" in note for other in chosen if other != found.k)
    assert alone.record.notes == ()


def test_one_direction_needs_one_subspace() -> None:
    points = torch.linspace(-1, 1, 300).unsqueeze(1) * torch.ones(1, 12)
    found = choose(points, 400)
    assert found.k == min(k for k in found.costs if found.costs[k] == min(found.costs.values()))


def test_candidates_without_room_are_skipped_and_named() -> None:
    # 500 rows: with one subspace all of them take a byte, with more only those of some.
    found = choose(spectrum(), 300)
    assert list(found.costs) == [4, 8]
    assert found.notes[0].endswith("the bytes have no room for k = 1, 2.")


def test_more_subspaces_than_rows_are_not_tried() -> None:
    found = engine.factorize(spectrum(3, 12), method="coded", max_bytes=200, k="auto")
    assert found.k in (1, 2)
    assert "k = 4" not in found.record.notes[0]


def test_no_room_for_any_says_so_of_the_least() -> None:
    with pytest.raises(ParameterError, match=r"max_bytes = 20 leaves no room .* k = 1 coded"):
        choose(spectrum(), 20)
    with pytest.raises(ParameterError, match="scale the matrix"):
        choose(1e-25 * spectrum().double(), 3000)


def test_only_want_of_room_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_at_two(rows: WeightedRows, request: CodedRequest, **rest: ProgressCallback) -> Settled:
        if request.k == 2:
            raise ParameterError("something else")
        return settle(rows, request, **rest)

    monkeypatch.setattr("engine.coding.choosing.settle", fail_at_two)
    with pytest.raises(ParameterError, match="something else"):
        choose(spectrum(), 3000)


def test_progress_never_goes_back_and_names_the_k() -> None:
    seen: list[Progress] = []
    found = choose(spectrum(), 3000, seen.append)
    for phase in ("Trying several k", "Coding rows"):
        part = [one for one in seen if one.phase == phase]
        assert [one.done for one in part] == sorted(one.done for one in part)
        assert all(one.done <= one.total for one in part)
    details = [one.detail.split(",")[0] for one in seen if one.phase == "Trying several k"]
    assert list(dict.fromkeys(details)) == [f"k = {k}" for k in CODED_KS]
    assert {one.phase for one in seen} == {"Trying several k", "Coding rows"}
    assert found.k in CODED_KS


@pytest.mark.parametrize("where", ["k = 1", "k = 8", ""])
def test_it_can_be_stopped_at_any_candidate_and_while_it_codes(where: str) -> None:
    def stop(step: Progress) -> None:
        if step.detail.startswith(where) and (where or step.phase == "Coding rows"):
            raise Cancelled

    with pytest.raises(Cancelled):
        choose(spectrum(), 3000, stop)


def test_memory_is_asked_for_the_largest_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def needed(n: int, d: int, *, k: int) -> int:
        asked.append(k)
        return n + d

    monkeypatch.setattr("engine.plans.coded_fit_bytes", needed)
    table = make_table(spectrum(40, 6))
    for k in ("auto", 2, None):
        check_fit_memory(table, CompressionConfig(method="coded", max_bytes=300, k=k))
    assert asked == [8, 2, 4]


def test_the_report_says_why_once() -> None:
    table = make_table(spectrum(60, 6))
    config = CompressionConfig(method="coded", max_bytes=300, k="auto", neighbours=0)
    found = compress_table(table, config)
    (note,) = found.notes
    assert note.startswith(f"k = {found.figures.k} was chosen: before anything was coded")
