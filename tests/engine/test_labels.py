"""What a user calls a run: kept beside it, and never in its way."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, FormatError, ParameterError
from engine.labels import LABEL_FILE, RunLabel, read_label, write_label
from engine.runs import RunStore, check_run_target, write_run
from tests.engine.test_records import make_record

one_line = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=80)
lines = st.lists(one_line, max_size=20).map(lambda parts: "\n".join(parts)[:2000])


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@given(one_line, lines)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, note: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    label = RunLabel(name=name, note=note)
    write_label(folder, label)
    assert read_label(folder) == label
    assert (folder / LABEL_FILE).exists() == bool(label)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x" * 81}, "name of a run may have 80 characters, got 81"),
        ({"note": "x" * 2001}, "note of a run may have 2,000 characters, got 2,001"),
        ({"name": "two\nlines"}, "one line of text"),
        ({"name": "bell\a"}, "control characters"),
        ({"note": "half \ud800"}, "control characters"),
        ({"name": 3}, "name of a run must be text, got 3"),
    ],
)
def test_what_cannot_be_a_label_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        RunLabel(**values)


def test_a_label_is_kept_beside_the_record_and_goes_with_it(store: RunStore) -> None:
    run = store.create(make_record(name="k = 5"), lambda _: None)
    record = (run.folder / "run.json").read_bytes()
    assert (run.title, run.label) == ("k = 5", RunLabel())
    named = store.label(run.id, RunLabel(name="the good one", note="for the talk"))
    assert named == store.load(run.id) == store.list().runs[0]
    assert (named.title, named.label.note) == ("the good one", "for the talk")
    assert (run.folder / "run.json").read_bytes() == record
    assert store.label(run.id, RunLabel()) == run
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def test_a_run_that_is_gone_is_not_made_again_by_its_label(store: RunStore) -> None:
    run = store.create(make_record(), lambda _: None)
    store.delete(run.id)
    with pytest.raises(ParameterError, match="there is no run"):
        store.label(run.id, RunLabel(name="late"))
    assert list(store.root.iterdir()) == []


GOOD = {"schema": 1, "name": "n", "note": ""}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 30_000,
        b"[]",
        json.dumps(GOOD | {"colour": "red"}).encode(),
        json.dumps({"schema": 1, "name": "n"}).encode(),
        json.dumps(GOOD | {"schema": 2}).encode(),
        json.dumps(GOOD | {"name": 3}).encode(),
        json.dumps(GOOD | {"note": "x" * 2001}).encode(),
        json.dumps(GOOD | {"note": "x" * 100_000}).encode(),
    ],
)
def test_a_damaged_label_does_not_lose_the_run(store: RunStore, content: bytes) -> None:
    run = store.create(make_record(), lambda _: None)
    (run.folder / LABEL_FILE).write_bytes(content)
    with pytest.raises(FormatError, match=r"label\.json is damaged: .*; name the run anew"):
        read_label(run.folder)
    (found,) = store.list().runs
    assert (found.record, found.label) == (run.record, RunLabel())
    assert "is damaged" in found.damage
    assert store.label(run.id, RunLabel(name="anew")).damage == ""


def test_a_label_that_is_a_folder_does_not_lose_the_run(store: RunStore) -> None:
    run = store.create(make_record(), lambda _: None)
    (run.folder / LABEL_FILE).mkdir()
    assert "cannot be read" in store.load(run.id).damage
    with pytest.raises(EngineError, match="could not keep the name and note"):
        store.label(run.id, RunLabel(name="anew"))


def test_a_label_is_no_foreign_file(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_run(folder, make_record(), lambda _: None)
    time.sleep(0.01)  # the file system's clock ticks every few milliseconds
    write_label(folder, RunLabel(name="mine"))
    check_run_target(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / LABEL_FILE).touch()
    with pytest.raises(ParameterError, match=r"sub/label\.json came into it"):
        check_run_target(folder)
