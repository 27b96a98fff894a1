"""The embedding table: what every source gives and every method takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.errors import ShapeError, SourceError
from engine.provenance import fingerprint_matrix

_CHECK_ROWS = 65_536  # rows looked at together for NaN/Inf: bounds the extra memory on mapped files


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingTable:
    """The rows of an embedding layer with the token each row stands for.

    Attributes:
        name: What people call it ("all-MiniLM-L6-v2").
        spec: The text that `engine.load_table` made it from.
        tokens: One string a row; unique.
        matrix: Shape (n, d), float32, finite; may be memory-mapped.
        source_dtype: The dtype it was stored in ("float16"), for honest byte counts.
        notes: Repairs made while reading, each a full sentence for the user.

    Raises:
        ShapeError: If the matrix is not (n, d) with n, d ≥ 1, or tokens and rows differ in number.
        SourceError: If the matrix is not float32, holds NaN or infinity, or a token repeats.
    """

    name: str
    spec: str
    tokens: list[str]
    matrix: Tensor
    source_dtype: str = "float32"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that rows and tokens fit and that every number is finite."""
        if self.matrix.ndim != 2 or min(self.matrix.shape) < 1:
            raise ShapeError(
                f"an embedding table needs shape (rows, columns), both at least 1; "
                f"{self.name} has shape {tuple(self.matrix.shape)}"
            )
        if self.matrix.dtype != torch.float32:
            raise SourceError(f"{self.name}: the matrix must be float32, got {self.matrix.dtype}")
        if len(self.tokens) != len(self.matrix):
            raise ShapeError(
                f"{self.name}: {len(self.matrix):,} rows but {len(self.tokens):,} tokens; "
                "give one token a row, in row order"
            )
        if len(set(self.tokens)) != len(self.tokens):
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


def check_finite(matrix: Tensor, name: str) -> None:
    """Refuse NaN and infinity, naming the first bad row.

    Args:
        matrix: Shape (n, d), float.
        name: What the message calls the matrix.

    Raises:
        SourceError: If an entry is NaN or infinite.
    """
    for start in range(0, len(matrix), _CHECK_ROWS):
        finite = torch.isfinite(matrix[start : start + _CHECK_ROWS]).all(dim=1)
        if not bool(finite.all()):
            row = start + int(finite.logical_not().nonzero()[0])
            raise SourceError(
                f"{name}: row {row:,} holds NaN or infinity; "
                "every entry must be a finite number. Remove or repair that row"
            )


def unique_tokens(tokens: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Make every token unique without dropping a row.

    What is no valid text becomes question marks; the second "cat" becomes "cat (2)", and so on, so
    that row numbers stay those of the source.

    Args:
        tokens: One string a row.

    Returns:
        The tokens, unique, and a note for the user when something was renamed.
    """
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
