"""The embedding table: what every source gives and every method takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import overload

import torch

from engine.errors import ShapeError, SourceError
from engine.provenance import fingerprint_matrix
from engine.rows import HALVES, RowMatrix, each_block
from engine.wording import counted

_CHECK_NUMBERS = 1 << 20  # looked at together for NaN/Inf: bounds the extra memory on mapped files


class RowNumbers(Sequence[str]):
    """Names for rows that have none: "row 0", "row 1" and so on, made when they are asked for.

    Args:
        n: How many rows.
    """

    def __init__(self, n: int) -> None:
        self._rows = range(n)

    def __len__(self) -> int:
        """How many rows."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """The name of one row, or of several."""
        if isinstance(place, slice):
            return [f"row {row}" for row in self._rows[place]]
        return f"row {self._rows[index(place)]}"

    def __iter__(self) -> Iterator[str]:
        """Every name in order."""
        return (f"row {row}" for row in self._rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingTable:
    """The rows of an embedding layer with the token each row stands for.

    Attributes:
        name: What people call it ("all-MiniLM-L6-v2").
        spec: The text that `engine.load_table` made it from.
        tokens: One string a row; unique.
        matrix: Shape (n, d), float32, finite; may be memory-mapped. A table that would crowd the
            memory stays on disk: then a mapped tensor of float16 or bfloat16 as well, or several
            as `engine.rows.ShardedRows`; read it with `engine.rows.read_rows`.
        source_dtype: The dtype it was stored in ("float16"), for honest byte counts.
        notes: Repairs made while reading, each a full sentence for the user.
        tensor: The ``tensor`` that `engine.load_table` was given with the spec.
        tokens_file: The ``tokens`` that it was given.

    Raises:
        ShapeError: If the matrix is not (n, d) with n, d ≥ 1, or tokens and rows differ in number.
        SourceError: If the matrix is of another dtype, holds NaN or infinity, or a token repeats.
    """

    name: str
    spec: str
    tokens: Sequence[str]
    matrix: RowMatrix
    source_dtype: str = "float32"
    notes: tuple[str, ...] = ()
    tensor: str | None = None
    tokens_file: str | None = None

    def __post_init__(self) -> None:
        """Check that rows and tokens fit and that every number is finite."""
        if self.matrix.ndim != 2 or min(self.matrix.shape) < 1:
            raise ShapeError(
                f"an embedding table needs shape (rows, columns), both at least 1; "
                f"{self.name} has shape {tuple(self.matrix.shape)}"
            )
        if self.matrix.dtype not in (torch.float32, *HALVES):
            raise SourceError(
                f"{self.name}: the matrix must be float32, or float16 or bfloat16 where it stays "
                f"on disk, got {self.matrix.dtype}"
            )
        if len(self.tokens) != len(self.matrix):
            raise ShapeError(
                f"{self.name}: {counted(len(self.matrix), 'row')} but "
                f"{counted(len(self.tokens), 'token')}; give one token a row, in row order"
            )
        numbered = isinstance(self.tokens, RowNumbers)  # unique as they are, and maybe millions
        if not numbered and len(set(self.tokens)) != len(self.tokens):
            raise SourceError(f"{self.name}: a token repeats; pass the list through unique_tokens")
        check_finite(self.matrix, self.name)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of the matrix, computed on first use."""
        return fingerprint_matrix(self.matrix)

    @property
    def dense_bytes(self) -> int:
        """Bytes of the uncompressed matrix in float32."""
        return self.matrix.numel() * 4


def check_finite(matrix: RowMatrix, name: str) -> None:
    """Refuse NaN and infinity, naming the first bad row.

    Args:
        matrix: Shape (n, d), float.
        name: What the message calls the matrix.

    Raises:
        SourceError: If an entry is NaN or infinite.
    """
    for rows, block in each_block(matrix, max(1, _CHECK_NUMBERS // matrix.shape[1])):
        finite = torch.isfinite(block).all(dim=1)
        if not bool(finite.all()):
            row = rows.start + int(finite.logical_not().nonzero()[0])
            raise SourceError(
                f"{name}: row {row:,} holds NaN or infinity; "
                "every entry must be a finite number. Remove or repair that row"
            )


def unique_tokens(tokens: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    """Make every token unique without dropping a row.

    What is no valid text becomes question marks; the second "cat" becomes "cat (2)", and so on, so
    that row numbers stay those of the source.

    Args:
        tokens: One string a row.

    Returns:
        The tokens, unique, and a note for the user when something was renamed.
    """
    if isinstance(tokens, RowNumbers):
        return tokens, ()
    # Half of a surrogate pair, as some vocabularies hold, is no text that could be shown or saved.
    tokens = [token.encode("utf-8", "replace").decode("utf-8") for token in tokens]
    if len(set(tokens)) == len(tokens):
        return tokens, ()
    taken = set(tokens)
    seen: set[str] = set()
    result: list[str] = []
    for token in tokens:
        unique, number = token, 2
        if token in seen:
            while (unique := f"{token} ({number})") in taken:
                number += 1
            taken.add(unique)
        seen.add(token)
        result.append(unique)
    renamed = len(tokens) - len(seen)
    noun = "token was" if renamed == 1 else "tokens were"
    return result, (f"{renamed:,} repeated {noun} renamed by adding a number, as in “cat (2)”.",)
