"""Tokens of array files: given, beside the file, or row numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ShapeError, SourceError
from engine.sources import load_table


@pytest.fixture
def array(tmp_path: Path) -> Path:
    np.save(tmp_path / "table.npy", np.eye(3, dtype=np.float32))
    return tmp_path / "table.npy"


def test_the_order_in_which_files_beside_it_are_used(array: Path) -> None:
    for name in ("vocab.txt", "tokens.txt", "table.txt", "table.tokens.txt"):
        array.with_name(name).write_text(f"{name}\nb\nc\n")
        assert load_table(array).tokens == [name, "b", "c"]

    given = array.with_name("given.list")
    given.write_text("given\nb\nc")
    assert load_table(array, tokens=str(given)).tokens == ["given", "b", "c"]


def test_rows_without_names_get_their_number_and_a_note(array: Path) -> None:
    table = load_table(array)

    assert list(table.tokens) == ["row 0", "row 1", "row 2"]
    assert table.notes == (
        "Rows are named by their number: no token names were given, nor found beside table.npy "
        "(table.tokens.txt, table.txt, tokens.txt, vocab.txt).",
    )


def test_repeated_tokens_are_renamed_and_noted(array: Path) -> None:
    array.with_name("table.txt").write_text("cat\ndog\ncat\n")

    table = load_table(array)

    assert table.tokens == ["cat", "dog", "cat (2)"]
    assert table.notes == ("1 repeated token was renamed by adding a number, as in “cat (2)”.",)


def test_only_line_feeds_end_a_token(array: Path) -> None:
    text = "\ufeffa\u2028b\r\n\x0b\n \n"  # a byte order mark, Windows line ends
    array.with_name("table.txt").write_bytes(text.encode())

    assert load_table(array).tokens == ["a\u2028b", "\x0b", " "]


def test_wrong_counts_missing_files_and_wrong_bytes(array: Path) -> None:
    tokens = array.with_name("table.txt")
    tokens.write_text("a\nb\n")
    with pytest.raises(ShapeError, match=r"^table.txt: expected 3 lines, one .*, got 2; correct"):
        load_table(array)
    with pytest.raises(SourceError, match=r"expected a text file .* nowhere.txt cannot be read"):
        load_table(array, tokens="nowhere.txt")
    tokens.write_bytes(b"a\n\xff\xfe\nc\n")
    with pytest.raises(SourceError, match=r"expected UTF-8 text .* at position 2; save it as"):
        load_table(array)
