"""The bundled model made smaller, as the README does it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import engine
from engine.sources import find_model

TEXTS = [
    "A man is playing a guitar.",
    "Someone plays an instrument.",
    "The stock market fell sharply on Tuesday.",
    "Share prices dropped early this week.",
]


@pytest.mark.slow
@pytest.mark.parametrize("bits", [None, 8])
def test_minilm_at_a_rate_of_0_4(bits: int | None, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    plan = {"rate": 0.4, "k": 5, "n_init": 1, "neighbours": 0, "bits": bits}
    smaller = engine.compress_model("bundled:minilm", output=tmp_path / "out", **plan)
    source = find_model("bundled:minilm")
    assert source is not None
    before, after = smaller.cost.before, smaller.cost.after

    path = tmp_path / "out" / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        sizes = {name: file.get_tensor(name).nbytes for name in file.keys()}
    own = sum(size for name, size in sizes.items() if "word_embeddings" in name)
    assert own == after.embedding_file_bytes == smaller.factorization.stored_bytes
    assert sum(sizes.values()) == after.file_bytes
    saved = before.file_bytes - after.file_bytes
    assert saved == 30522 * 384 * 4 - own
    original = (source.folder / "model.safetensors").stat().st_size
    # headers differ, and the original holds a table of positions that transformers makes anew
    assert original - path.stat().st_size == pytest.approx(saved, abs=20_000)

    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    with torch.inference_mode():
        ids = loaded.tokenizer(TEXTS, padding=True, return_tensors="pt")
        assert torch.equal(
            loaded[0].auto_model(**ids).last_hidden_state,
            smaller.model(**ids).last_hidden_state,
        )
    dense = SentenceTransformer(str(source.folder), device="cpu")
    likeness = (loaded.encode(TEXTS) * dense.encode(TEXTS)).sum(axis=1)
    assert likeness.min() > 0.9  # unit vectors; other sentences are at 0.0 to 0.6
