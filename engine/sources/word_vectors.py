"""Word-vector text: a token and its numbers on each line, as word2vec, fastText and GloVe write.

The word2vec and fastText form has a first line with the number of rows and columns; GloVe's has
none. GloVe's larger files hold tokens with spaces inside, so a row is split from the right.
Files that end in ``.gz`` are decompressed as they are read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from engine.errors import SourceError
from engine.sources.declared import Declared
from engine.sources.rows import SourceRows
from engine.wording import counted

_BLOCK_LINES = 4_096  # parsed together: enough to hide the call, 30 MB of text at 300 columns
_LONGEST_LINE = 1 << 24  # 16 MB: beyond any row, and keeps a binary file from filling memory
# Beyond any row of known width: a token and the spaces around the numbers may be long, but a file
# that decompresses to a thousand times its size must not fill memory with a block of lines.
_LONGEST_TOKEN = 1 << 16
_LONGEST_NUMBER = 64
_CHECK_NUMBERS = 1 << 24  # between two looks at the free memory while lines are counted
_SHOWN = 40  # characters of a wrong line that a message quotes
_WHITE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the rows are and how wide, known before anything is allocated."""

    name: str
    has_header: bool
    n_rows: int
    width: int

    @property
    def longest_line(self) -> int:
        return _longest_line(self.width)


def read_word_vectors(path: Path) -> SourceRows:
    """Read a word-vector text file.

    Args:
        path: An existing ``.vec`` or ``.txt`` file, with or without the line "rows columns", plain
            or gzipped.

    Returns:
        The rows in float32, whatever the precision of the text, and notes on damaged tokens.

    Raises:
        SourceError: If the file is empty or damaged, a row has too few or too many numbers or
            something that is no number, the first line declares other sizes than follow, or memory
            is short.

    Cost: two passes over the file, about a million rows of 300 numbers a minute.
    """
    try:
        return _read_rows(path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path.name}: expected text compressed with gzip, but it is cut short, damaged or "
            f"something else ({error}); download it again, or decompress it first"
        ) from error


def _read_rows(path: Path) -> SourceRows:
    layout = _find_layout(path)
    shape = (layout.n_rows, layout.width)
    Declared(name=layout.name, shape=shape, dtype="float32").check_memory()
    matrix = np.empty(shape, dtype=np.float32)
    raw_tokens: list[bytes] = []
    with _open(path) as stream:
        if layout.has_header:
            stream.readline()
        lines = _bounded_lines(stream, layout.longest_line, path.name, 1 + layout.has_header)
        while block := list(islice(lines, min(_BLOCK_LINES, layout.n_rows - len(raw_tokens)))):
            start = len(raw_tokens)
            first_line = start + 1 + layout.has_header
            tokens, numbers = _parse_block(block, layout, first_line)
            matrix[start : start + len(block)] = numbers
            raw_tokens.extend(tokens)
    tokens, notes = _decode_tokens(raw_tokens)
    return SourceRows(
        matrix=torch.from_numpy(matrix), source_dtype="float32", tokens=tokens, notes=notes
    )


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _longest_line(width: int) -> int:
    return _LONGEST_TOKEN + _LONGEST_NUMBER * width


def _bounded_lines(stream: IO[bytes], longest: int, name: str, first: int) -> Iterator[bytes]:
    """Lines of which none can fill the memory."""
    for number, line in enumerate(iter(lambda: stream.readline(longest), b""), start=first):
        if len(line) == longest and not line.endswith(b"\n"):
            raise SourceError(
                f"{name}, line {number:,}: expected a token and its numbers, but {longest:,} "
                "characters hold no line end; correct or remove that line"
            )
        yield line


def _find_layout(path: Path) -> _Layout:
    with _open(path) as stream:
        first = stream.readline(_LONGEST_LINE)
        second = stream.readline(_LONGEST_LINE)
    if len(first) == _LONGEST_LINE:
        raise SourceError(
            f"{path.name}: expected a token and its numbers on each line, but the first "
            f"{_LONGEST_LINE >> 20} MB hold no line end; give a word-vector text file"
        )
    fields = first.removeprefix(_BYTE_ORDER_MARK).split()
    if not fields:
        raise SourceError(
            f"{path.name}: expected a token and its numbers on each line, but the file is empty "
            "or its first line blank; give a word-vector text file"
        )
    has_header = len(fields) == 2 and all(field.isdigit() for field in fields)
    width = _count_numbers(second.split() if has_header else fields)
    n_lines = _count_lines(path, max(width, 1))
    if has_header:
        _check_header(fields, n_rows=n_lines - 1, first_row=second, name=path.name)
        return _Layout(name=path.name, has_header=True, n_rows=n_lines - 1, width=int(fields[1]))
    if width == 0:
        raise SourceError(
            f"{path.name}, line 1: expected a token and its numbers, got {_show(first)}; give a "
            "word-vector text file here, and a list of tokens as the file of tokens"
        )
    return _Layout(name=path.name, has_header=False, n_rows=n_lines, width=width)


def _check_header(fields: list[bytes], *, n_rows: int, first_row: bytes, name: str) -> None:
    declared_rows, declared_width = (int(field) for field in fields)
    if n_rows < 1 or declared_rows != n_rows:
        raise SourceError(
            f"{name}: its first line declares {counted(declared_rows, 'row')}, but {n_rows:,} "
            "follow; the file was cut short or altered, correct that line or download it again"
        )
    width = _count_numbers(first_row.split())
    if width < 1 or declared_width != width:
        raise SourceError(
            f"{name}: its first line declares {counted(declared_width, 'number')} a row, but the "
            f"first row has {width:,}; correct that line or download it again"
        )


def _count_lines(path: Path, width: int) -> int:
    """Lines up to the last that is not blank; no further than rows could fit into memory."""
    count = 0
    check_lines = max(1, _CHECK_NUMBERS // width)
    with _open(path) as stream:
        lines = _bounded_lines(stream, max(_longest_line(width), _LONGEST_LINE), path.name, 1)
        for number, line in enumerate(lines, start=1):
            if not line.isspace():
                count = number
            if number % check_lines == 0:
                Declared(name=path.name, shape=(number, width), dtype="float32").check_memory()
    return count


def _count_numbers(fields: list[bytes]) -> int:
    """How many fields at the end of a row are numbers; the first is always token."""
    count = 0
    for field in reversed(fields[1:]):
        if not _is_number(field):
            break
        count += 1
    return count


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return b"_" not in field  # Python reads 1_000, the files' own readers do not


def _parse_block(
    lines: list[bytes], layout: _Layout, first_line: int
) -> tuple[list[bytes], np.ndarray[Any, Any]]:
    tokens: list[bytes] = []
    texts: list[bytes] = []
    for number, line in enumerate(lines, start=first_line):
        stripped = line.rstrip(_WHITE)
        if number == 1:
            stripped = stripped.removeprefix(_BYTE_ORDER_MARK)
        token, _, text = stripped.partition(b" ")
        if not text or text.count(b" ") != layout.width - 1:
            token, text = _split_from_right(stripped, layout, number)
        tokens.append(token)
        texts.append(text)
    try:
        numbers = np.loadtxt(texts, dtype=np.float32, comments=None, encoding="latin-1", ndmin=2)
    except ValueError as error:
        raise _bad_row(texts, layout, first_line) from error
    if numbers.shape != (len(lines), layout.width):
        raise _bad_row(texts, layout, first_line)
    return tokens, numbers


def _split_from_right(line: bytes, layout: _Layout, number: int) -> tuple[bytes, bytes]:
    """Split a row whose token holds spaces, or whose fields are set apart by something else."""
    fields = line.split()
    parts = line.rsplit(None, layout.width)
    found = _count_numbers(fields)
    # all numbers after one word: a row too long, not a token that ends in numbers
    if len(parts) <= layout.width or (found > layout.width and found == len(fields) - 1):
        raise _ragged(layout, number, found)
    return parts[0], b" ".join(parts[1:])


def _bad_row(texts: list[bytes], layout: _Layout, first_line: int) -> SourceError:
    for number, text in enumerate(texts, start=first_line):
        fields = text.split()
        wrong = next((field for field in fields if not _is_number(field)), None)
        if wrong is not None:
            return SourceError(
                f"{layout.name}, line {number:,}: expected {counted(layout.width, 'number')} after "
                f"the token, got {_show(wrong)}; correct or remove that line"
            )
        if len(fields) != layout.width:
            return _ragged(layout, number, len(fields))
    return SourceError(
        f"{layout.name}: expected {counted(layout.width, 'number')} a row from line {first_line:,} "
        "on, but a row cannot be read; set its numbers apart by single spaces"
    )


def _ragged(layout: _Layout, number: int, found: int) -> SourceError:
    return SourceError(
        f"{layout.name}, line {number:,}: expected {counted(layout.width, 'number')} after the "
        f"token, as in the first row, got {found:,}; correct or remove that line"
    )


def _decode_tokens(raw_tokens: list[bytes]) -> tuple[list[str], list[str]]:
    tokens: list[str] = []
    damaged = 0
    for raw in raw_tokens:
        try:
            tokens.append(raw.decode())
        except UnicodeDecodeError:
            tokens.append(raw.decode(errors="replace"))
            damaged += 1
    if not damaged:
        return tokens, []
    verb = "token is" if damaged == 1 else "tokens are"
    return tokens, [f"{damaged:,} {verb} not UTF-8; what could not be read shows as �."]


def _show(text: bytes) -> str:
    shown = text.strip(_WHITE).decode(errors="replace")
    return repr(shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…")
