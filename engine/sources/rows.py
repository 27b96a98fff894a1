"""What a reader gives, before tokens are made unique and the table is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.rows import RowMatrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceRows:
    """The rows of one source.

    Attributes:
        matrix: Shape (n, d), float32, or as it is stored where it stays on disk; may hold NaN.
        source_dtype: The dtype it is stored in ("float16").
        tokens: One string a row; may repeat.
        notes: What the user should know about the reading, each a full sentence.
    """

    matrix: RowMatrix
    source_dtype: str
    tokens: Sequence[str]
    notes: list[str]
