"""Tables that stay on disk: 16-bit files mapped as they are, and tables in several files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from engine.errors import EngineError, ShapeError, SourceError
from engine.provenance import fingerprint_matrix
from engine.rows import RowMatrix, ShardedRows, read_rows
from engine.sources import load_table
from engine.table import EmbeddingTable, RowNumbers, unique_tokens

from .conftest import is_mapped_from

MATRIX = torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
SIZES = (4, 1, 6)
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Free:
    """A machine with next to no memory."""

    available = 300


def save_one(path: Path, matrix: torch.Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, matrix.numpy())
    else:
        save_file({"weight": matrix.contiguous(), "bias": torch.zeros(3)}, path)
    return path


def save_shards(folder: Path, suffix: str, matrix: torch.Tensor, first: int = 1) -> list[Path]:
    folder.mkdir(exist_ok=True)
    names = [f"table-{first + i:05}-of-{len(SIZES):05}{suffix}" for i in range(len(SIZES))]
    parts = zip(names, matrix.split(SIZES), strict=True)
    return [save_one(folder / name, part) for name, part in parts]


def save_index(folder: Path) -> Path:
    shards = save_shards(folder, ".safetensors", MATRIX)
    index = folder / "table.safetensors.index.json"
    names = {f"part {number}": path.name for number, path in enumerate(shards)}
    index.write_text(json.dumps({"weight_map": names}))
    return index


def whole(matrix: RowMatrix) -> torch.Tensor:
    return read_rows(matrix, slice(None))


SHARDED: dict[str, Callable[[Path], Path]] = {
    "folder of .npy": lambda folder: save_shards(folder, ".npy", MATRIX)[0].parent,
    "counted from 0": lambda folder: save_shards(folder, ".npy", MATRIX, first=0)[0].parent,
    "folder of .safetensors": lambda folder: save_shards(folder, ".safetensors", MATRIX)[0].parent,
    "index": save_index,
    "pattern": lambda folder: save_shards(folder, ".npy", MATRIX)[0].parent / "table-*.npy",
    "pattern of other names": lambda folder: _other_names(folder),
}


def _other_names(folder: Path) -> Path:
    folder.mkdir()
    for letter, part in zip("abc", MATRIX.split(SIZES), strict=True):
        np.save(folder / f"{letter}.npy", part.numpy())
    return folder / "*.npy"


@pytest.mark.parametrize("mapped", [None, True, False])
@pytest.mark.parametrize("form", SHARDED)
def test_shards_are_one_table_in_order(tmp_path: Path, form: str, mapped: bool | None) -> None:
    table = load_table(SHARDED[form](tmp_path / "big"), mapped=mapped)

    assert isinstance(table.matrix, ShardedRows if mapped else torch.Tensor)
    assert torch.equal(whole(table.matrix), MATRIX)
    assert table.fingerprint == fingerprint_matrix(MATRIX)
    assert (table.source_dtype, len(table.tokens)) == ("float32", 11)
    assert table.name in ("big", "table")


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_shards_stay_in_their_files_and_these_safe_from_changes(
    tmp_path: Path, suffix: str
) -> None:
    paths = save_shards(tmp_path, suffix, MATRIX.half())
    before = [path.read_bytes() for path in paths]

    matrix = load_table(tmp_path, mapped=True).matrix

    assert isinstance(matrix, ShardedRows)
    assert matrix.dtype == torch.float16
    for path, part in zip(paths, matrix.parts, strict=True):
        assert is_mapped_from(path, part)
        part.add_(1)
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".npy", "float16"), (".safetensors", "float16"), (".safetensors", "bfloat16")],
)
def test_a_16_bit_file_is_one_table_mapped_or_not(tmp_path: Path, suffix: str, dtype: str) -> None:
    stored = MATRIX.to(DTYPES[dtype])
    path = save_one(tmp_path / f"table{suffix}", stored)

    there, here = (load_table(path, mapped=mapped) for mapped in (True, False))

    assert isinstance(there.matrix, torch.Tensor)
    assert is_mapped_from(path, there.matrix)
    assert torch.equal(there.matrix, stored)
    assert isinstance(here.matrix, torch.Tensor)
    assert torch.equal(here.matrix, stored.float())
    assert there.fingerprint == here.fingerprint
    assert there.source_dtype == here.source_dtype == dtype
    assert there.dense_bytes == here.dense_bytes == 11 * 4 * 4


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_size_decides_what_stays_on_disk(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = save_one(tmp_path / f"one{suffix}", MATRIX.half())
    save_shards(tmp_path / "several", suffix, MATRIX)
    assert load_table(one).matrix.dtype == torch.float32
    assert isinstance(load_table(tmp_path / "several").matrix, torch.Tensor)
    monkeypatch.setattr(psutil, "virtual_memory", Free)
    assert load_table(one).matrix.dtype == torch.float16
    assert isinstance(load_table(tmp_path / "several").matrix, ShardedRows)


def test_what_torch_cannot_map_is_read(tmp_path: Path) -> None:
    for name, array in {
        "columns": np.asfortranarray(MATRIX.half().numpy()),
        "swapped": MATRIX.half().numpy().astype(">f2"),
        "double": MATRIX.double().numpy(),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        matrix = load_table(tmp_path / f"{name}.npy", mapped=True).matrix
        assert matrix.dtype == torch.float32
        assert torch.equal(whole(matrix), torch.from_numpy(array.astype(np.float32)))


def test_a_sparse_file_beyond_all_memory_is_mapped(tmp_path: Path) -> None:
    """Linux refuses to promise memory for changes to so many pages; none is asked for."""
    rows = 2 * psutil.virtual_memory().total // 256
    np.save(tmp_path / "table.npy", np.zeros((1, 128), np.float16))
    header = (tmp_path / "table.npy").read_bytes()[:128]
    header = header.replace(b"(1, 128), }", f"({rows}, 128), }}".encode())
    with (tmp_path / "table.npy").open("wb") as file:
        file.write(header[:127].rstrip().ljust(127) + b"\n")
        file.truncate(128 + rows * 256)
    from engine.sources.arrays import read_npy

    matrix, dtype = read_npy(tmp_path / "table.npy")
    assert (matrix.shape, dtype) == ((rows, 128), "float16")
    assert float(matrix[-1].float().sum()) == 0


def test_tokens_beside_shards(tmp_path: Path) -> None:
    save_shards(tmp_path, ".npy", MATRIX)
    (tmp_path / "tokens.txt").write_text("\n".join("abcdefghijk"))
    assert list(load_table(tmp_path).tokens) == list("abcdefghijk")
    assert list(load_table(tmp_path / "table-*.npy").tokens) == list("abcdefghijk")


def test_nan_in_a_shard_is_found(tmp_path: Path) -> None:
    broken = MATRIX.half()
    broken[7, 2] = torch.nan
    save_shards(tmp_path, ".npy", broken)
    for mapped in (True, False):
        with pytest.raises(SourceError, match="row 7 holds NaN or infinity"):
            load_table(tmp_path, mapped=mapped)


def test_a_model_folder_with_shards_is_still_a_model(tiny_bert: tuple[Path, torch.Tensor]) -> None:
    folder, embedding = tiny_bert
    save_shards(folder, ".safetensors", MATRIX)
    assert torch.equal(whole(load_table(folder).matrix), embedding)


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, matrix: torch.Tensor) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, matrix.numpy())


@pytest.mark.parametrize(
    ("damage", "spec", "error", "message"),
    [
        (
            remove("table-00002-of-00003.npy"),
            "",
            SourceError,
            "shard 2 of 3 is missing beside table-00001-of-00003.npy; copy or download it as well",
        ),
        (
            replace("table-00003-of-00003.npy", torch.ones(2, 5)),
            "",
            ShapeError,
            "table-00003-of-00003.npy: expected 4 columns, as in table-00001-of-00003.npy, got 5",
        ),
        (
            replace("table-00003-of-00003.npy", torch.ones(2, 4).double()),
            "",
            SourceError,
            "expected float32, as in table-00001-of-00003.npy, got float64; save all shards in one",
        ),
        (
            replace("other-00001-of-00001.npy", MATRIX),
            "",
            SourceError,
            "expected the shards of one table, found other-00001-of-00001.npy and table-00003-of",
        ),
        (remove("table-00001-of-00003.npy"), "none-*.npy", SourceError, "there is no file .*none-"),
        (
            lambda folder: (folder / "table-x.txt").touch(),
            "table-*",
            SourceError,
            r"expected shards that end in .npy or .safetensors, got .*; give a narrower pattern",
        ),
        (
            lambda folder: save_one(folder / "table-x.safetensors", MATRIX),
            "table-[0-9x]*",
            SourceError,
            "found table-00001-of-00003.npy and table-x.safetensors; name the right ones",
        ),
        (
            lambda folder: (folder / "t.safetensors.index.json").write_text("[]"),
            "t.safetensors.index.json",
            SourceError,
            "names each tensor's file under “weight_map”, but it cannot be read so",
        ),
        (
            lambda folder: (folder / "t.safetensors.index.json").write_text(
                '{"weight_map": {"a": "../secret"}}'
            ),
            "t.safetensors.index.json",
            SourceError,
            r"should name files of its own folder, got \['../secret'\]",
        ),
        (
            lambda folder: (folder / "t.safetensors.index.json").write_text(
                '{"weight_map": {"a": "gone.safetensors"}}'
            ),
            "t.safetensors.index.json",
            SourceError,
            "names the file gone.safetensors, but it is missing",
        ),
    ],
)
def test_shards_that_do_not_make_a_table(
    tmp_path: Path,
    damage: Callable[[Path], object],
    spec: str,
    error: type[EngineError],
    message: str,
) -> None:
    save_shards(tmp_path, ".npy", MATRIX)
    damage(tmp_path)
    with pytest.raises(error, match=message):
        load_table(tmp_path / spec)


def test_shards_of_several_tensors_are_chosen_by_name(tmp_path: Path) -> None:
    for number, part in enumerate(MATRIX.split(SIZES), start=1):
        tensors = {"in": part.contiguous(), "out": part + 1}
        save_file(tensors, tmp_path / f"t-{number}-of-3.safetensors")
    assert torch.equal(whole(load_table(tmp_path, tensor="out").matrix), MATRIX + 1)
    with pytest.raises(SourceError, match="found 2; give the name of one: in float32"):
        load_table(tmp_path)


@given(st.integers(0, 30), st.data())
def test_row_numbers_are_a_list_of_names(n: int, data: st.DataObject) -> None:
    names, expected = RowNumbers(n), [f"row {row}" for row in range(n)]
    assert list(names) == expected
    assert len(names) == n
    start, stop, step = (data.draw(st.integers(-n - 1, n + 1)) for _ in range(3))
    assert names[start : stop : step or None] == expected[start : stop : step or None]
    if n:
        place = data.draw(st.integers(-n, n - 1))
        assert names[place] == names[np.int64(place)] == expected[place]
    with pytest.raises(IndexError, match="out of range"):
        _ = names[n]


def test_ten_million_rows_are_named_without_a_list() -> None:
    names = RowNumbers(10_000_000)
    assert unique_tokens(names) == (names, ())
    matrix = torch.zeros(10_000_000, 1, dtype=torch.float16)
    table = EmbeddingTable(name="t", spec="t", tokens=names, matrix=matrix)
    assert table.tokens[9_999_999] == "row 9999999"


def test_other_dtypes_are_no_table() -> None:
    with pytest.raises(SourceError, match=r"must be float32, or float16 .*, got torch.float64"):
        EmbeddingTable(name="t", spec="t", tokens=RowNumbers(2), matrix=torch.zeros(2, 2).double())
