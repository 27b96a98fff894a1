"""Files made on request: whole, under a name that every file system takes."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import Factorization, factorize
from pages.parts.downloads import file_name, zip_folder


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
