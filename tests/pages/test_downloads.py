"""Files made on request: whole or not at all."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch

from engine import Factorization, factorize
from pages.parts.downloads import zip_folder


def test_zip_of_a_factorization_opens_where_it_is_unpacked(tmp_path: Path) -> None:
    matrix = torch.randn(50, 6, generator=torch.Generator().manual_seed(3))
    plan = factorize(matrix, k=2, j=3, n_init=1)
    with zipfile.ZipFile(io.BytesIO(zip_folder("small", plan.save))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    again = Factorization.load(tmp_path / "small")
    assert torch.equal(again.reconstruct(), plan.reconstruct())


def test_folders_inside_are_kept() -> None:
    def write(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "file.txt").write_text("text")

    with zipfile.ZipFile(io.BytesIO(zip_folder("outer", write))) as archive:
        assert archive.read("outer/inner/file.txt") == b"text"


def test_failure_to_write_is_not_hidden() -> None:
    def write(folder: Path) -> None:
        raise OSError(f"no room in {folder.name}")

    with pytest.raises(OSError, match="no room in"):
        zip_folder("any", write)
