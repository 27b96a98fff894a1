"""Token names for rows that come without a tokenizer: a text file, or the row number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import ShapeError, SourceError
from engine.table import RowNumbers
from engine.wording import counted

_FOLDER_FILES = ("tokens.txt", "vocab.txt")


def tokens_for_array(
    path: Path, *, n_rows: int, given: Path | None
) -> tuple[Sequence[str], list[str]]:
    """Find the tokens of an array file.

    The first of these that exists is used: the file that was given; for ``table.npy``,
    ``table.tokens.txt`` and ``table.txt`` beside it; ``tokens.txt`` and ``vocab.txt`` in its
    folder. Without any, rows are named by their number.

    Args:
        path: The array file.
        n_rows: Rows of the array.
        given: A text file with one token a line, or None to look for one.

    Returns:
        One token a row, not yet unique, and notes for the user.

    Raises:
        SourceError: If the given file is missing or not text.
        ShapeError: If the file has not one line for each row.
    """
    if given is not None:
        return read_token_file(given, n_rows=n_rows), []
    candidates = token_files_beside(path)
    for beside in candidates:
        if beside.is_file():
            return read_token_file(beside, n_rows=n_rows), []
    names = ", ".join(beside.name for beside in candidates)
    note = (
        f"Rows are named by their number: no token names were given, nor found beside {path.name} "
        f"({names})."
    )
    return RowNumbers(n_rows), [note]


def token_files_beside(path: Path) -> list[Path]:
    """Where the tokens of an array file are looked for, the first choice first."""
    names = (f"{path.stem}.tokens.txt", f"{path.stem}.txt", *_FOLDER_FILES)
    return [path.with_name(name) for name in names]


def read_token_file(path: Path, *, n_rows: int) -> list[str]:
    """Read one token a line and check that there is one for each row.

    Args:
        path: A UTF-8 text file.
        n_rows: Rows of the array the tokens belong to.

    Returns:
        The tokens, in row order.

    Raises:
        SourceError: If the file is missing or not text.
        ShapeError: If the number of lines is not ``n_rows``.
    """
    tokens = read_lines(path)
    if len(tokens) != n_rows:
        raise ShapeError(
            f"{path.name}: expected {counted(n_rows, 'line')}, one token for each row, got "
            f"{len(tokens):,}; correct the file, or name another file of tokens"
        )
    return tokens


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file, without their ends.

    Only line feeds end a line: vocabularies hold the other Unicode line separators as tokens.

    Args:
        path: The file.

    Returns:
        The lines; a line feed at the very end starts no further line.

    Raises:
        SourceError: If the file is missing or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(
            f"expected a text file with one token a line, but {path} cannot be read; check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path.name}: expected UTF-8 text with one token a line, got other bytes at position "
            f"{error.start:,}; save it as UTF-8"
        ) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    return lines
