"""Tables and figures of GLUE results: made anew from the JSON files, the same bytes."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.commands import group
from engine.errors import MissingDependencyError
from engine.evaluation.glue.report import write_report
from engine.evaluation.glue.summarizing import read_results, summarize_cells
from engine.evaluation.glue.verdict import say_verdict
from tests.engine.evaluation.glue_cells import make_run, save_run

pytest.importorskip("matplotlib")
TASKS = ("cola", "qqp")
STORED = sorted(
    path.parent
    for path in (Path(__file__).parents[3] / "assets" / "results" / "glue").glob("*/cells")
)
RUN = {"settings": {"model": "org/tiny", "epochs": 3, "data": ""}, "versions": {"torch": "2.13"}}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    cells = make_run(tasks=TASKS, seeds=(0, 1), rates=(0.4, 0.8), draws=80)
    return save_run(tmp_path / "run", cells, RUN)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_deleted_tables_and_figures_come_back_byte_for_byte(
    run_folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    command = ["glue-report", str(run_folder), "-o", str(place)]
    assert CliRunner().invoke(group, command, catch_exceptions=False).exit_code == 0
    first = contents(place)
    assert set(first) == {
        *("glue.md", "glue.csv", "summary.json", "average.svg"),
        *(f"{task}.svg" for task in TASKS),
    }
    for path in place.iterdir():
        path.unlink()
    assert CliRunner().invoke(group, command, catch_exceptions=False).exit_code == 0
    assert contents(place) == first


@pytest.mark.parametrize("stored", STORED, ids=lambda folder: folder.name)
def test_the_stored_results_come_back_byte_for_byte(stored: Path, tmp_path: Path) -> None:
    place = tmp_path / stored.name
    place.mkdir()
    shutil.copytree(stored / "cells", place / "cells")
    shutil.copy(stored / "run.json", place)
    CliRunner().invoke(group, ["glue-report", str(place)], catch_exceptions=False)
    assert contents(place) == contents(stored)


def test_a_summary_alone_gives_the_same_files(run_folder: Path, tmp_path: Path) -> None:
    write_report(read_results(run_folder), tmp_path / "one")
    write_report(read_results(tmp_path / "one"), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_score_gives_another_figure(run_folder: Path, tmp_path: Path) -> None:
    write_report(read_results(run_folder), tmp_path / "one")
    (path,) = (run_folder / "cells").glob("cola_seed0_compressed_svd_rate0.8.json")
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "score": values["score"] - 10}), encoding="utf-8")
    write_report(read_results(run_folder), tmp_path / "two")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    changed = {"glue.md", "glue.csv", "summary.json", "average.svg", "cola.svg"}
    assert {name for name in one if one[name] != two[name]} == changed


def test_the_page_says_what_must_be_known(run_folder: Path, tmp_path: Path) -> None:
    write_report(read_results(run_folder), tmp_path)
    text = (tmp_path / "glue.md").read_text(encoding="utf-8")
    assert "# GLUE: org/tiny" in text
    assert "Note: not the official split: 400 rows." in text
    assert "Not measured at all: SST-2" in text
    assert "| settings: epochs | 3 |" in text
    assert "Our aim is at most 25% of the SVD's drop" in text
    assert "The paper's bar here is 0.5 points" in text
    for name in ("average", *TASKS):
        assert f"({name}.svg)" in text
        assert (tmp_path / f"{name}.svg").is_file()


def test_every_cell_is_a_row_of_the_table(run_folder: Path, tmp_path: Path) -> None:
    summary = read_results(run_folder)
    write_report(summary, tmp_path)
    with (tmp_path / "glue.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary.cells)
    wholes = {(r["task"], r["seed"], r["stage"]): float(r["score"]) for r in rows if not r["plan"]}
    before = {"compressed": "tuned", "retrained": "continued"}
    for row in (row for row in rows if row["plan"]):
        whole = wholes[row["task"], row["seed"], before[row["stage"]]]
        assert float(row["drop"]) == pytest.approx(whole - float(row["score"]), abs=1e-4)


def test_json_is_the_summary(run_folder: Path) -> None:
    command = ["glue-report", str(run_folder), "--json"]
    result = CliRunner().invoke(group, command, catch_exceptions=False)
    values = json.loads(result.stdout)
    assert values["model"] == "org/tiny"
    assert {point["task"] for point in values["points"]} == {*TASKS, "average"}
    assert all(Path(path).is_file() for path in values["written"])


def test_a_run_that_has_just_begun_will_do(tmp_path: Path) -> None:
    cells = make_run(tasks=("rte",), seeds=(0,), plans=("svd",), rates=(0.4,), draws=10)
    summary = summarize_cells(cells[:1], model="tiny")
    assert summary.points == ()
    written = write_report(summary, tmp_path)
    assert [path.name for path in written] == ["glue.md", "glue.csv", "summary.json"]
    assert say_verdict(summary) == ()
    written = write_report(summarize_cells(cells[:2], model="tiny"), tmp_path)
    assert {"average.svg", "rte.svg"} <= {path.name for path in written}


def test_the_verdict_tells_reached_from_missed() -> None:
    said = " ".join(say_verdict(summarize_cells(make_run(seeds=(0, 1)), model="tiny")))
    assert "reached" in said
    plain = make_run(plans=("svd", "k2"), seeds=(0, 1))
    said = say_verdict(summarize_cells(plain, model="tiny"))
    assert any("at most 25%" in words and words.endswith("missed.") for words in said)
    alike = make_run(plans=("svd", "k2"), rates=(0.01,), seeds=(0, 1))
    assert all(
        "inside noise" in words for words in say_verdict(summarize_cells(alike, model="tiny"))
    )


def test_one_seed_of_training_decides_nothing() -> None:
    run = make_run(plans=("svd", "k2"), seeds=(0,))
    before, after = (
        [words for words in say_verdict(summarize_cells(run, model="tiny")) if when in words]
        for when in ("Before further", "After further")
    )
    assert before
    assert after
    assert not any("one seed of training" in words for words in before)
    assert all("rests on one seed of training" in words for words in after)


def test_without_matplotlib_the_install_is_named(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'subspace-atlas\[glue\]'"):
        write_report(read_results(run_folder), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_networks_that_always_guess_alike_reach_nothing() -> None:
    cells = [
        replace(cell, score=50.0, draws=(50.0,) * len(cell.draws))
        for cell in make_run(tasks=("rte",), seeds=(0,), plans=("svd", "k2"), draws=20)
    ]
    for words in say_verdict(summarize_cells(cells, model="tiny")):
        assert "nothing can be told" in words
        assert "reached" not in words


def test_coded_plans_are_told_by_their_bytes(tmp_path: Path) -> None:
    cells = make_run(tasks=("mrpc", "rte"), plans=("k4-coded-weighted",), rates=(0.95,), draws=80)
    summary = summarize_cells(cells, model="tiny")
    before, after = say_verdict(summary)
    assert before.startswith("Before further training, 5.00% of the bytes kept (781,")
    assert "k = 4, coded, token weights drops" in before
    assert "Our aim" not in before
    assert "Our aim is at most 0.5: over these 2 of the nine tasks " in after
    write_report(summary, tmp_path)
    text = (tmp_path / "glue.md").read_text(encoding="utf-8")
    assert "at 95% they keep 5 % of them" in text
    assert "95% removed" in text
    assert "embedding's bytes removed" in (tmp_path / "average.svg").read_text(encoding="utf-8")


def test_without_coded_plans_nothing_is_said_of_them(run_folder: Path, tmp_path: Path) -> None:
    write_report(read_results(run_folder), tmp_path / "out")
    assert "coded" not in (tmp_path / "out" / "glue.md").read_text(encoding="utf-8")
    figure = (tmp_path / "out" / "average.svg").read_text(encoding="utf-8")
    assert "embedding's numbers removed" in figure
