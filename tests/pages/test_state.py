"""What the pages keep: uploads, written once and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import streamlit as st
import torch
from streamlit.runtime.uploaded_file_manager import UploadedFile

from engine import EmbeddingTable, EngineError, layout
from engine.errors import ParameterError
from pages.parts import state


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """As much of streamlit's upload as is asked of it."""

    file_id: str
    name: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def getvalue(self) -> bytes:
        return self.content


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(st, "session_state", {})
    return tmp_path / "home"


def keep(name: str, content: bytes, *, file_id: str = "1") -> Path:
    upload = Upload(file_id=file_id, name=name, content=content)
    return Path(state.keep_upload(cast("UploadedFile", upload)))


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_same_content_is_one_file(home: Path) -> None:
    first = keep("a.npy", b"rows", file_id="1")
    assert keep("a.npy", b"rows", file_id="2") == first
    other = keep("a.npy", b"others", file_id="3")
    assert other != first
    assert (first.read_bytes(), other.read_bytes()) == (b"rows", b"others")
    assert files_below(home) == sorted([first, other]), "no temporary file is left"


@pytest.mark.parametrize(
    "name", ["../../x.npy", "/etc/x.npy", "a/../../../x.npy", "~/x.npy", "x.npy"]
)
def test_upload_stays_in_its_folder(home: Path, name: str) -> None:
    path = keep(name, b"rows")
    assert path.name == "x.npy"
    assert path.resolve().parent.parent == (home / "uploads").resolve()
    assert files_below(home.parent) == [path]


def test_lengths_of_rows_are_worked_out_once_and_kept_from_harm() -> None:
    table = EmbeddingTable(name="t", spec="", tokens=["a", "b"], matrix=torch.eye(2) * 3)
    norms = state.row_norms(table)
    assert norms.tolist() == [3, 3]
    assert state.row_norms(table) is norms
    with pytest.raises(ValueError, match="read-only"):
        norms[0] = 1


def test_failed_write_leaves_nothing_and_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(self: Path, content: bytes) -> int:
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(EngineError, match=r"could not be kept in .*No space left.*free some space"):
        keep("a.npy", b"rows")
    assert files_below(home) == []


def test_large_tables_are_drawn_as_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_LARGEST_MAP", 10)
    table = EmbeddingTable(
        name="t",
        spec="t",
        tokens=[str(i) for i in range(95)],
        matrix=torch.ones(95, 2),
        source_dtype="float32",
    )
    rows = state.drawn_rows(table)
    assert len(rows) == 10
    assert (rows[0], rows[-1]) == (0, 94)
    assert set(np.diff(rows)) <= {10, 11}
    monkeypatch.setattr(layout, "_LARGEST_MAP", 95)
    assert state.drawn_rows(table).tolist() == list(range(95))


def test_a_table_without_a_plan_of_its_own_says_so() -> None:
    table = EmbeddingTable(name="mine", spec="", tokens=["a", "b"], matrix=torch.eye(2))
    with pytest.raises(ParameterError, match="no plan ships with mine; make one"):
        state.named_view(table, None)
