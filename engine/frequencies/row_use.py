"""What each row of a table is used for: its token's occurrences, and the weight made of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.frequencies import find_counted, table_token_counts, token_weights
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.table import EmbeddingTable

NO_WEIGHTS = "none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowUse:
    """How often each row is used, and what it weighs for that.

    Attributes:
        counts: Expected occurrences per million tokens, shape (n,), float64, not all 0.
        weights: Row weights made of them, shape (n,), float64.
    """

    counts: Tensor
    weights: Tensor


def check_row_use(source: str, power: float, floor: float) -> None:
    """Refuse what no table can be counted and weighed by.

    Args:
        source: As in `count_row_use`.
        power: As there.
        floor: As there.

    Raises:
        ParameterError: If the source is neither a language nor a file, or power or floor is out
            of range.
    """
    if source == NO_WEIGHTS:
        return
    token_weights(torch.zeros(1), power, floor)
    find_counted(source)


def count_row_use(
    table: EmbeddingTable,
    source: str,
    power: float,
    floor: float,
    *,
    progress: ProgressCallback = ignore_progress,
) -> RowUse | None:
    """Count the tokens of a table and weigh its rows.

    Args:
        table: Whose rows.
        source: A language of wordfreq ("en"), the path of a text file, or ``"none"``.
        power: As in `engine.token_weights`.
        floor: As in `engine.token_weights`.
        progress: Called before and after; may raise to stop.

    Returns:
        Counts and weights; None where the source is ``"none"``.

    Raises:
        ParameterError: If the source is neither a language nor a file, or power or floor is out
            of range.
        SourceError: If the tokens cannot be counted.
    """
    if source == NO_WEIGHTS:
        return None
    check_row_use(source, power, floor)  # refused at once, not after the counting
    progress(Progress(phase="Counting tokens", done=0, total=1))
    counts = table_token_counts(table, source)
    progress(Progress(phase="Counting tokens", done=1, total=1))
    return RowUse(counts=counts, weights=token_weights(counts, power, floor))
