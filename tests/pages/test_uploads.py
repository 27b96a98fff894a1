"""Uploads: written once and nowhere else, and gone again where they could not be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from engine import EngineError
from pages.parts import state, uploads
from pages.parts.state import Source


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
    return Path(uploads.keep_upload(cast("UploadedFile", upload)))


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


def test_upload_that_cannot_be_read_is_not_kept(home: Path) -> None:
    broken = keep("a.npy", b"\x93NUMPY\x01\x00 this is no header")
    assert broken.exists()
    with pytest.raises(EngineError, match="expected a NumPy array"):
        state.load_source(Source(spec=str(broken)))
    assert files_below(home) == []
    assert list((home / "uploads").iterdir()) == [], "nor its folder"
    assert keep("a.npy", b"\x93NUMPY\x01\x00 this is no header") == broken
    assert broken.exists(), "still chosen: what it lacks may be given at the next run"


def test_upload_that_was_read_stays_whatever_comes_beside_it(home: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.eye(2, dtype=np.float32))
    rows = keep("two.npy", (tmp_path / "two.npy").read_bytes())
    assert len(state.load_source(Source(spec=str(rows))).tokens) == 2
    tokens = keep("few.txt", b"one", file_id="2")
    with pytest.raises(EngineError, match="tokens"):
        state.load_source(Source(spec=str(rows), tokens=str(tokens)))
    assert files_below(home) == [rows]


def test_what_is_no_upload_is_never_deleted(tmp_path: Path) -> None:
    broken = tmp_path / "mine.npy"
    broken.write_bytes(b"nothing")
    with pytest.raises(EngineError, match="NumPy"):
        state.load_source(Source(spec=str(broken)))
    assert broken.exists()


def test_upload_that_others_had_before_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = keep("a.npy", b"\x93NUMPY\x01\x00 this is no header")
    monkeypatch.setattr(st, "session_state", {})  # another session, with the same file
    assert keep("a.npy", b"\x93NUMPY\x01\x00 this is no header") == broken
    with pytest.raises(EngineError, match="expected a NumPy array"):
        state.load_source(Source(spec=str(broken)))
    assert broken.exists()
