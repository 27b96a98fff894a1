"""Finished parts survive a kill at any byte; other work's parts are never taken over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, FormatError, ParameterError
from engine.journal import Journal

HEADER: dict[str, object] = {"of": "a table", "grid": (1, 2)}
PARTS = st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(), max_size=3))


@given(PARTS, PARTS, st.floats(0, 1))
def test_a_journal_cut_anywhere_goes_on(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[dict[str, object]],
    after: list[dict[str, object]],
    cut: float,
) -> None:
    path = tmp_path_factory.mktemp("journal") / "work.partial"
    journal = Journal(path, HEADER)
    assert not path.exists()
    for part in before:
        journal.append(part)
    if before:
        content = path.read_bytes()
        path.write_bytes(content[: round(cut * len(content))])

    again = Journal(path, HEADER)
    kept = list(again.parts)
    assert kept == before[: len(kept)]
    for part in after:
        again.append(part)
    if before or after:
        assert Journal(path, HEADER).parts == [*kept, *after]


def test_whole_lines_are_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "work", HEADER)
    journal.append({"a": 1})
    journal.append({"b": 2})
    with (tmp_path / "work").open("ab") as file:
        file.write(b'{"c": ')
    assert Journal(tmp_path / "work", HEADER).parts == [{"a": 1}, {"b": 2}]


def test_other_work_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "work", HEADER).append({"a": 1})
    with pytest.raises(ParameterError, match="work is what remains of a run on another table or"):
        Journal(tmp_path / "work", {**HEADER, "grid": (1, 3)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\n", "is damaged .*; delete it"),
        (b'{"of": "a table", "grid": [1, 2]}\n3\n', "is"),
    ],
)
def test_damage_before_the_end_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "work").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        Journal(tmp_path / "work", HEADER)


def test_a_folder_and_a_full_disk_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        Journal(tmp_path, HEADER)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match=r"could not write .*work: No space left on device"):
        Journal(tmp_path / "work", HEADER).append({"a": 1})
