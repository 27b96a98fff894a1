"""Word-vector text in the forms that word2vec, fastText and GloVe write."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SourceError
from engine.sources import load_table, word_vectors


def write(path: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix.lower() == ".gz" else content)
    return path


FORMS = {
    "glove": "cat 1 2.5 -3\ndog 4 5 6e-1\n",
    "header": "2 3\ncat 1 2.5 -3\ndog 4 5 6e-1\n",
    "word2vec leaves a space": "2 3 \ncat 1 2.5 -3 \ndog 4 5 6e-1 \n",
    "tabs": "cat\t1\t2.5\t-3\ndog\t4\t5\t6e-1",
    "several spaces": "cat  1  2.5 -3\ndog 4   5 6e-1",
    "windows": "2 3\r\ncat 1 2.5 -3\r\ndog 4 5 6e-1\r\n",
    "byte order mark": "\ufeffcat 1 2.5 -3\ndog 4 5 6e-1\n",
    "header after a byte order mark": "\ufeff2 3\ncat 1 2.5 -3\ndog 4 5 6e-1\n",
    "blank lines at the end": "cat 1 2.5 -3\ndog 4 5 6e-1\n\n \n",
}


@pytest.mark.parametrize("suffix", [".vec", ".txt", ".vec.gz", ".txt.gz", ".VEC.GZ"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(tmp_path: Path, form: str, suffix: str) -> None:
    table = load_table(write(tmp_path / f"words{suffix}", FORMS[form]))

    assert table.tokens == ["cat", "dog"]
    assert np.array_equal(table.matrix.numpy(), np.float32([[1, 2.5, -3], [4, 5, 0.6]]))
    assert (table.name, table.source_dtype, table.notes) == ("words", "float32", ())


def test_tokens_with_spaces_and_odd_signs(tmp_path: Path) -> None:
    text = 'the 1 2\n. . . 3 4\nat name@x.com 5 6\n\u00a0\u2028 7 8\n 9 10\n# 11 12\n" 1 1\n'

    table = load_table(write(tmp_path / "glove.txt", text))

    assert table.tokens == ["the", ". . .", "at name@x.com", "\u00a0\u2028", "", "#", '"']
    assert table.matrix[:, 0].tolist() == [1, 3, 5, 7, 9, 11, 1]


def test_repeated_and_damaged_tokens_are_repaired_and_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "w.vec", b"cat 1 2\ncat 3 4\ncaf\xe9 5 6\n")

    table = load_table(path)

    assert table.tokens == ["cat", "cat (2)", "caf\ufffd"]
    assert table.notes == (
        "1 token is not UTF-8; what could not be read shows as �.",
        "1 repeated token was renamed by adding a number, as in “cat (2)”.",
    )


def test_blocks_and_their_line_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "_BLOCK_LINES", 3)
    rows = [f"w{i} {i} {i + 1}" for i in range(10)]

    table = load_table(write(tmp_path / "w.vec", "\n".join(["10 2", *rows])))
    assert table.matrix[:, 1].tolist() == list(range(1, 11))

    rows[7] = "w7 7 x"
    with pytest.raises(SourceError, match=r"w.vec, line 9: expected 2 numbers .* got 'x'; correct"):
        load_table(write(tmp_path / "w.vec", "\n".join(["10 2", *rows])))
    with pytest.raises(SourceError, match=r"w.vec, line 8: expected 2 numbers"):
        load_table(write(tmp_path / "w.vec", "\n".join(rows)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\v\f "),
                min_size=1,
            ),
            st.lists(
                st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
            ),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[0],
    ),
    st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[float]]], header: bool
) -> None:
    lines = [f"{token} {' '.join(map(repr, numbers))}" for token, numbers in rows]
    text = "\n".join([*([f"{len(rows)} 3"] if header else []), *lines])
    if not header and lines[0].startswith("\ufeff"):
        return  # a byte order mark at the start of a file is no part of its first token

    table = load_table(write(tmp_path_factory.mktemp("w") / "w.vec", text))

    assert table.tokens == [token for token, _ in rows]
    assert np.array_equal(table.matrix.numpy(), np.float32([numbers for _, numbers in rows]))


def test_a_matrix_beyond_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Free:
        available = 20

    path = write(tmp_path / "w.vec", FORMS["glove"])
    monkeypatch.setattr(psutil, "virtual_memory", Free)
    with pytest.raises(SourceError, match=r"w.vec: 2 × 3 numbers need .* memory are free"):
        load_table(path)


def test_a_decompression_bomb_ends_where_its_rows_would_no_longer_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        available = 1_000_000

    path = write(tmp_path / "bomb.vec.gz", "a 1 2 3 4\n" * 1_000_000)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(psutil, "virtual_memory", Free)
    monkeypatch.setattr(word_vectors, "_CHECK_NUMBERS", 1 << 12)
    # 0.8 MB hold 50,000 rows of 4 numbers; the look after those refuses, not one at the end.
    with pytest.raises(SourceError, match=r"bomb.vec.gz: 50,176 × 4 numbers need 0.0 GB"):
        load_table(path)
