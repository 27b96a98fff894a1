"""A coded plan in a model's folder: bytes as counted, a card that speaks of bytes, and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import engine
from engine.export.models import describe_layer
from engine.export.restoring import restore_model
from engine.network.embedding import SubspaceEmbedding
from engine.runs import read_run
from tests.engine.coded_plans import fit_coded
from tests.engine.export.conftest import PLAN, make_model


@pytest.fixture
def coded_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan that is asked for is a coded one."""
    monkeypatch.setattr("engine.compression.fit_plan", fit_coded)


@pytest.mark.usefixtures("coded_fits")
def test_a_folder_of_a_coded_plan(family: str, tmp_path: Path) -> None:
    import transformers

    source, out = make_model(tmp_path / "source", family), tmp_path / "out"
    smaller = engine.compress_model(source, output=out, **PLAN)
    plan, after = smaller.factorization, smaller.cost.after
    loaded = getattr(transformers, family).from_pretrained(out)
    layer = loaded.get_input_embeddings()
    assert isinstance(layer, SubspaceEmbedding)
    ids = torch.arange(len(plan.labels))
    assert torch.equal(layer(ids), smaller.model.get_input_embeddings()(ids))
    (path,) = (name for name, part in loaded.named_modules() if part is layer)
    with safe_open(out / "model.safetensors", framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(f"{path}.")]
        stored = sum(file.get_tensor(key).nbytes for key in keys)
    assert stored == after.embedding_file_bytes == plan.stored_bytes
    assert (after.parameters, after.embedding_parameters) == (None, None)
    assert read_run(out).record.figures["parameters"] is None
    assert plan.coding is not None
    assert describe_layer(out)["bits"] == plan.coding.bits
    dense = getattr(transformers, family).from_pretrained(restore_model(out, tmp_path / "dense"))
    # Sums in the order of another kernel, of numbers of about 1.
    torch.testing.assert_close(dense.get_input_embeddings().weight.data, layer.to_dense())


@pytest.mark.usefixtures("coded_fits")
def test_its_card_speaks_of_bytes(bert: Path, tmp_path: Path) -> None:
    smaller = engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    card = (tmp_path / "out" / "README.md").read_text()
    figures = smaller.record.figures
    assert f"in {figures['stored_bytes'] / figures['dense_bytes']:.1%} of the bytes" in card
    assert re.search(r"coordinates in \d to \d bits and bases in \d to \d", card)
    assert "compression rate" not in card
    assert "| parameters |" not in card
    assert "| bytes on disk |" in card
    assert "None" not in card
