"""Counts as a person reads them, and the sentences that hold them."""

from __future__ import annotations

import pytest
import torch

from engine.clustering.em import EMPlan
from engine.errors import ShapeError, SourceError
from engine.fitting import fit_notes
from engine.frequencies import table_token_counts
from engine.grid import SweepConfig
from engine.recording import record_sweep
from engine.sweep import run_sweep
from engine.table import EmbeddingTable
from engine.wording import counted
from tests.engine.tables import gaussian, make_table


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (3200, "3,200 rows")]
)
def test_one_is_told_in_the_singular(number: int, words: str) -> None:
    assert counted(number, "row") == words


def test_sentences_on_one_of_a_kind() -> None:
    word = EmbeddingTable(name="it", spec="", tokens=("qzqzq",), matrix=gaussian(1, 3))
    with pytest.raises(SourceError, match="none of the 1 token of it occurs in en"):
        table_token_counts(word)
    with pytest.raises(ShapeError, match="1 row but 2 tokens"):
        EmbeddingTable(name="it", spec="", tokens=("a", "b"), matrix=gaussian(1, 3))
    table = make_table(gaussian(8, 3))
    sweep = run_sweep(table, SweepConfig(rates=(0.1,), ks=(1,), bits=(32,)))
    assert record_sweep(table, sweep)[0].name == "tiny, 1 fit"
    (note,) = fit_notes((), torch.tensor([4.0, 0.0]), EMPlan.even(2, 1))
    assert note.startswith("1 of 2 subspaces holds no row")
