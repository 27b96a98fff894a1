"""Array files: mapped where float32, converted otherwise, one array chosen out of several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import SourceError
from engine.sources import arrays, load_table, tensors

from .conftest import is_mapped_from

MATRIX = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def save_npy(path: Path, matrix: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), matrix)
    return path.with_suffix(".npy")


def save_npz(path: Path, matrix: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), weight=matrix, bias=np.zeros(3, np.float32))
    return path.with_suffix(".npz")


def save_compressed(path: Path, matrix: np.ndarray) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), matrix)
    return path.with_suffix(".npz")


def save_safetensors(path: Path, matrix: np.ndarray) -> Path:
    native = np.ascontiguousarray(matrix, dtype=matrix.dtype.newbyteorder("="))
    tensors = {"weight": torch.from_numpy(native), "bias": torch.zeros(3)}
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


SAVERS = [save_npy, save_npz, save_compressed, save_safetensors]
Saver = Callable[[Path, np.ndarray], Path]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_layout_gives_the_same_float32_rows(
    tmp_path: Path, save: Saver, dtype: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_BLOCK_BYTES", 40)  # two rows or fewer at a time
    monkeypatch.setattr(tensors, "_BLOCK_NUMBERS", 5)
    stored = np.asarray(MATRIX.astype(dtype), order=order)

    table = load_table(save(tmp_path / "table", stored))

    assert table.matrix.dtype == torch.float32
    assert table.matrix.is_contiguous()
    assert np.array_equal(table.matrix.numpy(), stored.astype(np.float32))
    assert table.source_dtype == np.dtype(dtype).newbyteorder("=").name
    assert table.name == "table"


@pytest.mark.parametrize("save", [save_npy, save_safetensors])
def test_float32_is_mapped_and_the_file_safe_from_changes(tmp_path: Path, save: Saver) -> None:
    path = save(tmp_path / "table", MATRIX)
    before = path.read_bytes()

    matrix = load_table(path).matrix
    assert is_mapped_from(path, matrix)

    matrix.add_(1)
    assert path.read_bytes() == before


def test_float16_is_not_mapped(tmp_path: Path) -> None:
    """The check above can fail: a converted matrix lies in no mapped file."""
    path = save_npy(tmp_path / "table", MATRIX.astype(np.float16))
    assert not is_mapped_from(path, load_table(path).matrix)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_an_array_is_chosen_by_name(tmp_path: Path, suffix: str) -> None:
    path = (tmp_path / "table").with_suffix(suffix)
    if suffix == ".npz":
        np.savez(path, a=MATRIX, b=MATRIX + 1)
    else:
        save_file({"a": torch.from_numpy(MATRIX), "b": torch.from_numpy(MATRIX + 1)}, path)

    assert np.array_equal(load_table(path, tensor="b").matrix.numpy(), MATRIX + 1)
    with pytest.raises(SourceError, match=r"found 2; give the name of one: a float32 "):
        load_table(path)
    with pytest.raises(SourceError, match=r"named 'c'; choose one of: a float32 \(6 × 4\), b "):
        load_table(path, tensor="c")


def test_bfloat16_tensors(tmp_path: Path) -> None:
    stored = torch.from_numpy(MATRIX).bfloat16()
    save_file({"weight": stored}, tmp_path / "table.safetensors")

    table = load_table(tmp_path / "table.safetensors")

    assert torch.equal(table.matrix, stored.float())
    assert table.source_dtype == "bfloat16"


def test_a_string_with_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_npy(tmp_path / "table", MATRIX)
    monkeypatch.setenv("HOME", str(tmp_path))

    table = load_table("~/table.npy")

    assert table.spec == "~/table.npy"
    assert table.matrix.shape == (6, 4)


@pytest.mark.parametrize("save", [save_npz, save_compressed])
def test_a_matrix_beyond_memory_is_refused_before_it_is_made(
    tmp_path: Path, save: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    path = save(tmp_path / "table", MATRIX)

    with pytest.raises(SourceError, match=r"6 × 4 numbers need .* GB of memory are free"):
        load_table(path)


def test_a_mapped_matrix_may_be_larger_than_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        available = 0

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    assert load_table(save_npy(tmp_path / "table", MATRIX)).matrix.shape == (6, 4)
