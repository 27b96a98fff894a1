"""Zip files: stored as they are, stopped when asked, under a name that every file system takes."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import archives
from engine.archives import file_name, zip_folder
from engine.errors import Cancelled
from engine.progress import Progress


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with 25 bytes in it, in blocks of 10."""
    monkeypatch.setattr(archives, "_BLOCK_BYTES", 10)
    (tmp_path / "made" / "inner").mkdir(parents=True)
    (tmp_path / "made" / "inner" / "long.bin").write_bytes(bytes(range(21)))
    (tmp_path / "made" / "a.txt").write_text("text")
    return tmp_path / "made"


def test_what_is_packed_is_what_is_unpacked(folder: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    zip_folder(folder, tmp_path / "any.zip", name="outer", progress=steps.append)
    with zipfile.ZipFile(tmp_path / "any.zip") as packed:
        assert packed.namelist() == ["outer/a.txt", "outer/inner/long.bin"]
        assert {item.compress_type for item in packed.infolist()} == {zipfile.ZIP_STORED}
        assert packed.read("outer/inner/long.bin") == bytes(range(21))
        assert packed.testzip() is None
    assert [(step.done, step.total) for step in steps] == [(0, 25), (4, 25), (14, 25), (24, 25)]


def test_packing_stops_between_blocks(folder: Path, tmp_path: Path) -> None:
    def cancel(progress: Progress) -> None:
        if progress.done > 4:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        zip_folder(folder, tmp_path / "any.zip", name="outer", progress=cancel)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("org/model", "k5"), "org-model-k5"),
        (("../../etc", "k2"), "etc-k2"),
        (("a b: c?", "factorization"), "a-b-c-factorization"),
        (("größe_1.5",), "größe_1.5"),
    ],
)
def test_file_names(parts: tuple[str, ...], name: str) -> None:
    assert file_name(*parts) == name


@given(st.text())
def test_file_names_lead_nowhere_else(text: str) -> None:
    assert re.fullmatch(r"[\w-][\w.-]*", file_name(text, "k1"))
