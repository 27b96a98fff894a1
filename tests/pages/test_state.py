"""What the pages look at: lengths of rows, samples, plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import EmbeddingTable, layout
from engine.errors import ParameterError
from pages.parts import state


def test_lengths_of_rows_are_worked_out_once_and_kept_from_harm() -> None:
    table = EmbeddingTable(name="t", spec="", tokens=["a", "b"], matrix=torch.eye(2) * 3)
    norms = state.row_norms(table)
    assert norms.tolist() == [3, 3]
    assert state.row_norms(table) is norms
    with pytest.raises(ValueError, match="read-only"):
        norms[0] = 1


def test_large_tables_are_drawn_as_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_LARGEST_MAP", 10)
    table = EmbeddingTable(
        name="t",
        spec="t",
        tokens=[str(i) for i in range(95)],
        matrix=torch.ones(95, 2),
        source_dtype="float32",
    )
    rows = state.drawn_rows(table)
    assert len(rows) == 10
    assert (rows[0], rows[-1]) == (0, 94)
    assert set(np.diff(rows)) <= {10, 11}
    monkeypatch.setattr(layout, "_LARGEST_MAP", 95)
    assert state.drawn_rows(table).tolist() == list(range(95))


def test_a_table_without_a_plan_of_its_own_says_so() -> None:
    table = EmbeddingTable(name="mine", spec="", tokens=["a", "b"], matrix=torch.eye(2))
    with pytest.raises(ParameterError, match="no plan ships with mine; make one"):
        state.named_view(table, None)
