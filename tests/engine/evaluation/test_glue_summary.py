"""GLUE cells read as drops: paired, averaged, ensembles chosen without the dev rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.evaluation.glue.summary as summary_module
from engine.errors import FormatError
from engine.evaluation.glue.cells import CellKey, GlueCell
from engine.evaluation.glue.drops import complete_block
from engine.evaluation.glue.ensembles import (
    ensemble_cells,
    family_of,
    is_ensemble,
    plan_order,
    plan_title,
)
from engine.evaluation.glue.summarizing import read_results, summarize_cells
from engine.evaluation.glue.summary import AVERAGE, Gain, GluePoint, GlueSummary, stored_glue
from engine.evaluation.scores import Interval
from tests.engine.evaluation.glue_cells import make_cell, make_run, save_run

ROUNDED = 2e-4  # two figures kept to 4 decimals, each half a unit off at most, and their difference
SMALL = make_run(tasks=("cola", "rte"), seeds=(0, 1), rates=(0.4, 0.8), draws=60)


def summarize(cells: Sequence[GlueCell]) -> GlueSummary:
    return summarize_cells(cells, model="tiny")


def drops(summary: GlueSummary) -> dict[tuple[str, str, str, float], GluePoint]:
    return {(p.task, p.stage, p.plan, p.rate): p for p in summary.points}


def figures(point: GluePoint) -> list[float]:
    return [point.drop.value, point.drop.low, point.drop.high, *sorted(point.by_seed)]


def assert_same_drops(one: GlueSummary, other: GlueSummary) -> None:
    assert drops(one).keys() == drops(other).keys()
    for key, point in drops(one).items():
        assert figures(drops(other)[key]) == pytest.approx(figures(point), abs=ROUNDED), key


def shift(cell: GlueCell, by: float) -> GlueCell:
    draws = tuple(draw + by for draw in cell.draws)
    return replace(cell, score=cell.score + by, train_score=cell.train_score + by, draws=draws)


def pair(task: str, seed: int, whole: float, ours: float, svd: float) -> list[GlueCell]:
    """A whole network, an SVD and a plan of two subspaces, every draw at the score itself."""
    key = CellKey(task=task, seed=seed, stage="tuned")
    smaller = replace(key, stage="compressed", plan="svd", rate=0.4)
    return [
        make_cell(key, whole),
        make_cell(smaller, svd),
        make_cell(replace(smaller, plan="k2"), ours),
    ]


@given(by=st.floats(-20, 20))
@settings(max_examples=10, deadline=None)
def test_a_constant_on_all_scores_changes_no_drop(by: float) -> None:
    assert_same_drops(summarize(SMALL), summarize([shift(cell, by) for cell in SMALL]))


@given(names=st.permutations([3, 7]), order=st.randoms())
@settings(max_examples=10, deadline=None)
def test_names_of_seeds_and_order_of_cells_change_nothing(names: list[int], order: object) -> None:
    renamed = [replace(c, key=replace(c.key, seed=names[c.key.seed])) for c in SMALL]
    order.shuffle(renamed)
    assert_same_drops(summarize(SMALL), summarize(renamed))


def test_a_plan_equal_to_the_whole_network_drops_nothing() -> None:
    wholes = {(c.key.task, c.key.seed, c.key.stage): c for c in SMALL if not c.key.plan}
    before = {"compressed": "tuned", "retrained": "continued"}
    cells = [
        replace(
            cell,
            score=(whole := wholes[cell.key.task, cell.key.seed, before[cell.key.stage]]).score,
            draws=whole.draws,
        )
        if cell.key.plan == "k2"
        else cell
        for cell in SMALL
    ]
    found = [point for point in summarize(cells).points if point.plan == "k2"]
    assert {tuple(figures(point)) for point in found} == {(0.0,) * 5}


@pytest.mark.parametrize("stage", ["compressed", "retrained"])
def test_no_ensemble_has_a_lower_training_score_than_a_member(stage: str) -> None:
    cells = make_run(plans=("svd", "k2", "k3", "k5", "k2-weighted", "k5-weighted"), seeds=(0, 1))
    chosen = [cell for cell in ensemble_cells(cells) if cell.key.stage == stage]
    assert {cell.key.plan for cell in chosen} == {"best-k", "best-k-weighted", "best"}
    for cell in chosen:
        members = [
            other
            for other in cells
            if replace(other.key, plan=cell.key.plan) == cell.key
            and other.k > 1
            and (
                cell.key.plan == "best"
                or ("weighted" in other.key.plan) == ("weighted" in cell.key.plan)
            )
        ]
        assert len(members) >= 2
        assert cell.train_score == max(member.train_score for member in members)
        assert replace(cell, key=members[0].key) in [
            replace(m, key=members[0].key) for m in members
        ]


def test_an_ensemble_never_looks_at_the_dev_rows() -> None:
    rng = np.random.default_rng(0)
    chosen = {cell.key: cell.k for cell in ensemble_cells(SMALL)}
    shuffled = [replace(cell, score=float(rng.random())) for cell in SMALL]
    assert {cell.key: cell.k for cell in ensemble_cells(shuffled)} == chosen


def test_drops_by_hand() -> None:
    cells = [
        *pair("cola", 0, whole=60, ours=59, svd=50),
        *pair("cola", 1, whole=62, ours=59, svd=56),
        *pair("rte", 0, whole=70, ours=70, svd=66),
    ]
    summary = summarize(cells)
    found = {key: point for key, point in drops(summary).items() if key[2] == "k2"}
    cola = found["cola", "compressed", "k2", 0.4]
    assert (cola.drop.value, cola.by_seed, cola.score) == (2.0, (1.0, 3.0), 59.0)
    average = found[AVERAGE, "compressed", "k2", 0.4]
    assert (average.drop.value, average.seeds, average.by_seed) == (1.0, (0,), (0.5,))
    gain = average.gain()
    # The SVD drops (10 + 6) / 2 and 4, on average 6: five more than ours, a sixth of it is ours.
    assert (gain.less.value, gain.by_seed) == (5.0, (6.5,))
    assert gain.ratio.value == pytest.approx(1 / 6, abs=ROUNDED)
    assert not gain.inside_noise
    assert average.gain("svd-weighted") is None
    assert summary.whole_score("cola", "tuned") == 61


def test_each_stage_is_held_against_the_whole_network_with_the_same_training() -> None:
    cells = pair("rte", 0, whole=70, ours=65, svd=60)
    cells += [
        replace(cell, key=replace(cell.key, stage=stage))
        for cell, stage in zip(cells, ("continued", "retrained", "retrained"), strict=True)
    ]
    cells[3] = replace(cells[3], score=75, draws=(75, 75))
    found = drops(summarize(cells))
    assert found["rte", "compressed", "k2", 0.4].drop.value == 5
    assert found["rte", "retrained", "k2", 0.4].drop.value == 10


def test_draws_are_paired() -> None:
    """Rows move the whole and the smaller network alike: unpaired, the interval would be ±20."""
    rows = np.linspace(-20, 20, 101)
    key = CellKey(task="rte", seed=0, stage="tuned")
    smaller = replace(key, stage="compressed", plan="svd", rate=0.4)
    shuffled = np.random.default_rng(0).permutation(rows)
    whole, ours = make_cell(key, 70, 70 + rows), make_cell(smaller, 68, 68 + rows)
    (point, *_) = summarize([whole, ours]).points
    assert [point.drop.low, point.drop.high] == pytest.approx([2, 2], abs=ROUNDED)
    (apart, *_) = summarize([whole, replace(ours, draws=tuple(68 + shuffled))]).points
    assert apart.drop.high - apart.drop.low > 20


def test_seeds_are_paired() -> None:
    """Seeds differ by 40 points, the drop by none: unpaired it would spread."""
    cells = [
        *pair("rte", 0, whole=90, ours=88, svd=86),
        *pair("rte", 1, whole=50, ours=48, svd=46),
    ]
    point = drops(summarize(cells))["rte", "compressed", "k2", 0.4]
    assert point.by_seed == (2.0, 2.0)


def test_seeds_that_disagree_are_inside_noise() -> None:
    cells = [
        *pair("rte", 0, whole=70, ours=69, svd=60),
        *pair("rte", 1, whole=70, ours=66, svd=67),
    ]
    gain = drops(summarize(cells))["rte", "compressed", "k2", 0.4].gain()
    assert gain.less.low > 0
    assert gain.inside_noise


def test_one_seed_of_training_is_no_evidence_after_it() -> None:
    """Before further training the rows are all that chance decides; after it, training is too."""
    one = Gain(baseline="svd", less=Interval(value=3, low=1, high=5), ratio=None, by_seed=(3.0,))
    assert one.of_one_seed
    assert not one.inside_noise
    assert not replace(one, by_seed=(3.0, 2.0)).of_one_seed


def test_no_ratio_to_a_drop_inside_noise() -> None:
    (whole, svd, ours) = pair("rte", 0, whole=70, ours=69, svd=68)
    svd = replace(svd, draws=(71, 65))
    gain = drops(summarize([whole, svd, ours]))["rte", "compressed", "k2", 0.4].gain()
    assert gain.ratio is None


@pytest.mark.parametrize(
    ("present", "rows", "columns"),
    [
        (["11", "11"], [0, 1], [0, 1]),
        (["111", "111", "100"], [0, 1], [0, 1, 2]),
        (["110", "110", "111"], [0, 1, 2], [0, 1]),
        (["0"], [], []),
        (["01"], [0], [1]),
    ],
)
def test_complete_block_by_hand(present: list[str], rows: list[int], columns: list[int]) -> None:
    table = np.array([[cell == "1" for cell in row] for row in present])
    assert complete_block(table) == (rows, columns)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_complete_block_has_no_gaps(rows: list[list[bool]]) -> None:
    table = np.array(rows)
    kept, columns = complete_block(table)
    assert table[np.ix_(kept, columns)].all()
    assert bool(kept) == bool(columns)


def test_a_task_that_is_not_done_stays_out_of_the_average_and_is_named() -> None:
    cells = make_run(seeds=(0,), draws=20)
    unfinished = [c for c in cells if not (c.key.task == "rte" and c.key.plan not in ("", "svd"))]
    summary = summarize(unfinished)
    assert summary.averaged["compressed"] == ("cola", "mrpc")
    assert_same_average(summary, summarize([c for c in cells if c.key.task != "rte"]))
    assert any("RTE, seed 0, before further training: 20 of 24" in w for w in summary.missing)
    assert any("Not measured at all: SST-2" in words for words in summary.missing)


def assert_same_average(one: GlueSummary, other: GlueSummary) -> None:
    (ours, theirs) = (
        {key: point for key, point in drops(each).items() if key[0] == AVERAGE}
        for each in (one, other)
    )
    assert ours
    assert ours == theirs


def test_without_the_whole_network_there_is_no_drop() -> None:
    cells = [c for c in SMALL if (c.key.task, c.key.seed, c.key.stage) != ("rte", 1, "continued")]
    summary = summarize(cells)
    assert drops(summary)["rte", "retrained", "svd", 0.4].seeds == (0,)
    assert drops(summary)["rte", "compressed", "svd", 0.4].seeds == (0, 1)
    assert any("RTE, seed 1, after further training: the whole" in w for w in summary.missing)


def test_an_ensemble_needs_every_member() -> None:
    gone = CellKey(task="rte", seed=1, stage="compressed", plan="k3", rate=0.8)
    found = drops(summarize([cell for cell in SMALL if cell.key != gone]))
    assert found["rte", "compressed", "best-k", 0.8].seeds == (0,)
    assert found["rte", "compressed", "best-k", 0.4].seeds == (0, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"draws": (1.0,)}, "expected 60 bootstrap draws"),
        ({"dev_rows": 7}, "scored on 400 dev rows"),
        ({"score": float("nan")}, "is no number"),
    ],
)
def test_cells_that_cannot_be_paired_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        summarize([*SMALL[:-1], replace(SMALL[-1], **change)])


@pytest.mark.parametrize(
    "change",
    [{"plan": "pca"}, {"plan": "best-k"}, {"task": "squad"}, {"stage": "tuned"}, {"stage": "new"}],
)
def test_cells_of_unknown_names_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(FormatError, match="names no task, stage or plan"):
        summarize([*SMALL[:-1], replace(SMALL[-1], key=replace(SMALL[-1].key, **change))])


def test_a_cell_that_is_there_twice_is_refused() -> None:
    with pytest.raises(FormatError, match="there twice"):
        summarize([*SMALL, SMALL[0]])


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    save_run(tmp_path, SMALL)
    path = tmp_path / "cells" / SMALL[0].key.file_name
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    with pytest.raises(FormatError, match=f"{path.name} is damaged"):
        read_results(tmp_path)


@pytest.mark.parametrize("name", ["rte_seed7_tuned.json", "copy of a cell.json"])
def test_a_file_that_holds_the_cell_of_another_is_named(tmp_path: Path, name: str) -> None:
    save_run(tmp_path, SMALL)
    own = tmp_path / "cells" / SMALL[0].key.file_name
    other = own.with_name(name)
    other.write_bytes(own.read_bytes())
    with pytest.raises(
        FormatError, match=f"{name} holds the cell of {own.name}, .* as well; delete this file"
    ):
        read_results(tmp_path)
    own.unlink()
    with pytest.raises(FormatError, match=f"{name} holds the cell of {own.name}; rename it to"):
        read_results(tmp_path)
    other.rename(own)
    assert len(read_results(tmp_path).cells) == len(SMALL)


def test_what_a_run_says_of_itself_is_kept_without_paths(tmp_path: Path) -> None:
    run = {"settings": {"model": "/home/me/tiny", "epochs": 3}, "versions": {"torch": "2.13"}}
    summary = read_results(save_run(tmp_path, SMALL, run))
    assert summary.model == "tiny"
    assert summary.settings == {**run, "settings": {"model": "tiny", "epochs": 3}}
    (tmp_path / "run.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(FormatError, match="must hold a JSON object, got list"):
        read_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds neither"):
        read_results(tmp_path)


def test_a_summary_comes_back_from_its_file(tmp_path: Path) -> None:
    summary = summarize(SMALL)
    summary.save(tmp_path / "summary.json")
    assert GlueSummary.load(tmp_path / "summary.json") == summary
    assert read_results(tmp_path) == summary


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "m", "new": 1}'])
def test_a_damaged_summary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match="is damaged"):
        GlueSummary.load(tmp_path / "summary.json")


def test_stored_results_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "assets_folder", lambda: tmp_path)
    assert stored_glue() == []
    summary = summarize(SMALL)
    summary.save(tmp_path / "results" / "glue" / "tiny" / "summary.json")
    assert stored_glue() == [summary]
    summary.save(tmp_path / "results" / "glue" / "tiny-coded" / "summary.json")
    assert stored_glue() == [summary, replace(summary, model="tiny-coded")]


def test_plans_are_sorted_and_titled() -> None:
    plans = summarize(SMALL).plans
    assert plans[:2] == ("svd", "svd-weighted")
    assert sorted(plans, key=plan_order) == list(plans)
    assert [plan_title(plan) for plan in plans if is_ensemble(plan)] == [
        "best k by training set",
        "best plan by training set",
    ]


def test_coded_plans_are_a_family_of_their_own() -> None:
    plans = ("svd", "k5-optimal-weighted", "k2-coded-weighted", "k4-coded-weighted")
    summary = summarize(make_run(plans=plans, rates=(0.95,)))
    ensemble = "best-k-coded-weighted"
    assert summary.plans == (*plans, ensemble, "best")
    assert plan_title("k4-coded-weighted") == "k = 4, coded, token weights"
    assert plan_title(ensemble) == "best k by training set, coded, token weights"
    assert family_of(ensemble) == family_of("k4-coded-weighted")
    assert family_of(ensemble).title == "coded, token weights"
    points = {point.plan: point for point in summary.at(AVERAGE, "retrained", 0.95)}
    assert points["k4-coded-weighted"].parameters is None
    assert points["k5-optimal-weighted"].parameters is not None


def test_reading_results_needs_no_torch() -> None:
    script = "import sys, engine.evaluation.glue.summarizing; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
