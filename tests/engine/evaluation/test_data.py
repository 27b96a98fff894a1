"""GLUE's rows: read from files, refused where damaged, marked where not official."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MissingDependencyError, ParameterError, SourceError
from engine.evaluation.checks.words import words_folder
from engine.evaluation.data import DATA_VARIABLE, HUB_DATASET, check_task, lacks_task, load_split
from engine.evaluation.tasks import GLUE_TASKS, glue_task

RTE, STSB, COLA = (GLUE_TASKS[name] for name in ("rte", "stsb", "cola"))


def write(folder: Path, task: str, text: str, name: str = "dev") -> Path:
    (folder / task).mkdir(parents=True, exist_ok=True)
    (folder / task / f"{name}.tsv").write_bytes(text.encode())
    return folder


def test_texts_and_labels_come_as_they_stand(tmp_path: Path) -> None:
    write(tmp_path, "rte", 'idx\tsentence1\tsentence2\tlabel\n4\tSaid "so.\té\t1\n9\tb\tc\t0\n')
    split = load_split(RTE, "dev", data=tmp_path)
    assert split.first == ('Said "so.', "b")
    assert split.second == ("é", "c")
    assert split.labels.tolist() == [1, 0]
    assert split.note == "not the official split: 2 rows, that has 277"


def test_the_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "cola", "idx\tsentence\tlabel\n0\tGood.\t1\n")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load_split(COLA, "dev").first == ("Good.",)


def test_a_whole_official_split_has_no_note(tmp_path: Path) -> None:
    rows = "".join(f"{row}\ta\tb\t0\n" for row in range(RTE.dev_rows))
    write(tmp_path, "rte", f"idx\tsentence1\tsentence2\tlabel\n{rows}")
    assert load_split(RTE, "dev", data=tmp_path).note == ""


@pytest.mark.parametrize(
    ("task", "text", "reason"),
    [
        ("rte", "", "must begin with the columns idx sentence1 sentence2 label.*an empty file"),
        ("rte", "idx\tsentence\tlabel\n", "got idx sentence label"),
        ("rte", "idx\tsentence1\tsentence2\tlabel\n", "holds no rows"),
        ("rte", "idx\tsentence1\tsentence2\tlabel\n0\ta\t1\n", "line 2: expected 4 columns, got 3"),
        ("rte", "idx\tsentence1\tsentence2\tlabel\n0\ta\tb\t2\n", r"is 0 … 1, got '2'"),
        ("rte", "idx\tsentence1\tsentence2\tlabel\n0\ta\tb\tyes\n", r"is 0 … 1, got 'yes'"),
        ("stsb", "idx\tsentence1\tsentence2\tlabel\n0\ta\tb\t5.5\n", "a number from 0 to 5"),
        ("stsb", "idx\tsentence1\tsentence2\tlabel\n0\ta\tb\tnan\n", "a number from 0 to 5"),
    ],
)
def test_damaged_files_are_refused_by_line(
    tmp_path: Path, task: str, text: str, reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        load_split(glue_task(task), "dev", data=write(tmp_path, task, text))


BY_DATA = "by the variable SUBSPACE_ATLAS_DATA, or none"


@pytest.mark.parametrize("named", [".", "glue", "words", "by the variable"])
def test_both_kinds_of_data_are_found_from_either_folder_or_the_one_above(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "dev"):
        write(tmp_path / "glue", "cola", "idx\tsentence\tlabel\n0\tGood.\t1\n", name)
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "rg65.tsv").write_text("word1\tword2\tscore\n", encoding="utf-8")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path if "variable" in named else "/nowhere"))
    data = None if "variable" in named else tmp_path / named
    check_task(COLA, data)
    assert load_split(COLA, "dev", data=data).first == ("Good.",)
    assert words_folder(data).samefile(tmp_path / "words")


def test_the_folder_that_is_named_comes_before_those_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "glue", "cola", "idx\tsentence\tlabel\n0\tBeside.\t1\n")
    mine = write(tmp_path / "mine", "cola", "idx\tsentence\tlabel\n0\tMine.\t1\n")
    assert load_split(COLA, "dev", data=mine).first == ("Mine.",)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"there is no .*rte/dev\.tsv; .*glue/rte.* {BY_DATA}"):
        load_split(RTE, "dev", data=tmp_path)
    write(tmp_path, "rte", "", "train")
    assert re.search(rf"there is no .*rte/dev\.tsv; .* {BY_DATA}", lacks_task(RTE, tmp_path) or "")


def test_a_missing_data_folder_is_told_as_one(tmp_path: Path) -> None:
    place = tmp_path / "gone"
    for what in ("is not there", "is a file"):
        reason = rf"the data folder .*gone {what}; name another {BY_DATA}"
        with pytest.raises(SourceError, match=reason):
            load_split(RTE, "dev", data=place)
        with pytest.raises(SourceError, match=reason):
            words_folder(place)
        assert re.search(reason, lacks_task(RTE, place) or "")
        place.write_text("")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "rte", "")
    (tmp_path / "rte" / "dev.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"dev\.tsv cannot be read"):
        load_split(RTE, "dev", data=tmp_path)


def test_there_is_no_test_split() -> None:
    with pytest.raises(ParameterError, match="a split is train or dev, got 'test'"):
        load_split(RTE, "test", data="anywhere")  # type: ignore[arg-type]


class Hub(dict[str, Any]):
    """As `datasets` gives rows."""


def test_the_hub_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def load_dataset(name: str, task: str, *, split: str) -> Hub:
        asked.append((name, task, split))
        return Hub(premise=["a"], hypothesis=["b"], label=[2])

    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    split = load_split(GLUE_TASKS["mnli"], "dev")
    assert asked == [(HUB_DATASET, "mnli", "validation_matched")]
    assert (split.first, split.second, split.labels.tolist()) == (("a",), ("b",), [2])


def test_a_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> Hub:
        raise ConnectionError("no route\nand more")

    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(SourceError, match=r"could not be read from the hub \(no route\)"):
        load_split(RTE, "dev")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'subspace-atlas\[glue\]'"):
        load_split(RTE, "dev")


def test_a_task_is_lacking_where_neither_files_nor_hub_nor_cache_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    for task in (RTE, STSB):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        reason = rf"the texts of {task.title} are not here: .*HF_HUB_OFFLINE.* SUBSPACE_ATLAS_DATA"
        assert re.search(reason, lacks_task(task) or "")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        assert lacks_task(task) is None, "the hub may have it"
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    (tmp_path / "nyu-mll___glue" / "rte" / "0.0.0" / "abc").mkdir(parents=True)
    assert lacks_task(RTE) is None, "it was kept"
    assert "HF_HUB_OFFLINE" in (lacks_task(STSB) or "")


@pytest.mark.network
@pytest.mark.parametrize("name", GLUE_TASKS)
def test_the_real_hub_has_the_official_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    split = load_split(GLUE_TASKS[name], "dev")
    assert split.note == ""


@given(count=st.integers(1, 40), seed=st.integers(0, 5))
def test_samples_are_rows_in_order_and_say_so(count: int, seed: int) -> None:
    from engine.evaluation.data import Split

    split = Split(
        task=RTE,
        name="train",
        first=tuple(f"a{row}" for row in range(20)),
        second=tuple(f"b{row}" for row in range(20)),
        labels=np.arange(20) % 2,
    )
    drawn = split.sample(count, seed)
    rows = [int(text[1:]) for text in drawn.first]
    assert rows == sorted(set(rows))
    assert len(rows) == min(count, 20)
    assert drawn.second == tuple(f"b{row}" for row in rows)
    assert drawn.labels.tolist() == [row % 2 for row in rows]
    assert drawn.note == ("" if count >= 20 else f"{count} of 20 rows")


def test_facts_of_the_tasks_agree_with_their_columns() -> None:
    for task in GLUE_TASKS.values():
        assert len(task.columns) in (1, 2)
        assert task.outputs == (1 if task.is_regression else len(task.labels))
    assert [task.name for task in GLUE_TASKS.values() if task.is_regression] == ["stsb"]


def test_an_unknown_task_is_told_what_there_is() -> None:
    with pytest.raises(ParameterError, match=r"cola, sst2, .*wnli, got 'snli'"):
        glue_task("snli")
