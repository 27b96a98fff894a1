"""Rows past memory: several tensors read as one, against the one they are parts of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ShapeError
from engine.rows import (
    ShardedRows,
    compute_dtype,
    cut_rows,
    each_block,
    empty_rows,
    read_rows,
    row_range,
)
from tests.engine.tables import gaussian

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=5),
    st.sampled_from(DTYPES),
    st.data(),
)
def test_shards_read_like_the_whole(
    sizes: list[int], dtype: torch.dtype, data: st.DataObject
) -> None:
    whole = gaussian(sum(sizes), 3).to(dtype)
    shards = ShardedRows(whole.split(sizes))
    n = len(whole)

    assert (shards.shape, shards.dtype, shards.ndim) == (whole.shape, dtype, 2)
    assert (len(shards), shards.numel()) == (n, whole.numel())
    start, stop = (data.draw(st.integers(-n - 1, n + 1)) for _ in range(2))
    assert torch.equal(shards[start:stop], whole[start:stop])
    rows = torch.tensor(data.draw(st.lists(st.integers(-n, n - 1)) if n else st.just([])))
    rows = rows.to(torch.int64)
    assert torch.equal(shards[rows], whole[rows])
    assert torch.equal(read_rows(shards, rows), whole[rows].to(compute_dtype(whole)))


@given(st.integers(0, 20), st.integers(1, 25), st.sampled_from(DTYPES))
def test_blocks_cover_every_row_once_in_order(n: int, block: int, dtype: torch.dtype) -> None:
    whole = gaussian(n, 2).to(dtype)
    seen = list(each_block(ShardedRows(whole.tensor_split(3)), block))

    assert [row for rows, _ in seen for row in range(rows.start, rows.stop)] == list(range(n))
    assert all(1 <= len(part) <= block and part.dtype == compute_dtype(whole) for _, part in seen)
    if seen:
        assert torch.equal(torch.cat([part for _, part in seen]), whole.to(compute_dtype(whole)))


def test_16_bit_rows_are_computed_in_float32_and_others_in_their_own() -> None:
    expected = [torch.float32, torch.float32, torch.float32, torch.float64]
    assert [compute_dtype(torch.zeros(1, 1, dtype=dtype)) for dtype in DTYPES] == expected


def test_a_float32_slice_is_a_view() -> None:
    matrix = gaussian(6, 2)
    assert read_rows(matrix, slice(2, 4)).data_ptr() == matrix[2].data_ptr()
    inside = read_rows(ShardedRows(matrix.split(3)), slice(3, 5))
    assert inside.data_ptr() == matrix[3].data_ptr()


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one shard, got none"):
        ShardedRows([])
    with pytest.raises(ShapeError, match=r"the first is \(2, 3\) .*, number 1 is \(2, 4\)"):
        ShardedRows([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(ShapeError, match=r"in torch.float32, number 1 is .* in torch.float16"):
        ShardedRows([torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.float16)])


def test_rows_out_of_range_and_steps_are_refused() -> None:
    shards = ShardedRows(gaussian(4, 2).split(2))
    with pytest.raises(IndexError, match=r"row numbers must be in -4 … 3"):
        _ = shards[torch.tensor([4])]
    with pytest.raises(ValueError, match="got a slice of step 2"):
        _ = shards[::2]
    assert shards.detach() is shards
    assert shards.is_floating_point()
    assert shards.device == torch.device("cpu")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a way to reserve disk space")
def test_a_workspace_without_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    assert empty_rows(3, 2, torch.float64, tmp_path).dtype == torch.float64
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        empty_rows(3, 2, torch.float32, tmp_path)


@given(st.integers(0, 20), st.integers(1, 7))
def test_ranges_cover_every_row_once_and_evenly(n: int, size: int) -> None:
    ranges = [row_range(n, rank, size) for rank in range(size)]
    assert [row for part in ranges for row in range(n)[part]] == list(range(n))
    lengths = [part.stop - part.start for part in ranges]
    assert max(lengths) - min(lengths) <= 1


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 4))
def test_cut_rows_are_views_of_the_whole(sizes: list[int], size: int) -> None:
    whole = gaussian(sum(sizes), 3)
    for matrix in (whole, ShardedRows(whole.split(sizes))):
        cuts = [cut_rows(matrix, row_range(len(matrix), rank, size)) for rank in range(size)]
        assert torch.equal(torch.cat([cut[:] for cut in cuts]), whole)
        parts = [part for cut in cuts for part in getattr(cut, "parts", (cut,)) if len(part)]
        storage = whole.untyped_storage().data_ptr()
        assert all(part.untyped_storage().data_ptr() == storage for part in parts)
