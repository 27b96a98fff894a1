"""Back from a compressed model to a dense one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import engine
from engine.errors import EngineError, FormatError, ModelError, ParameterError, SourceError
from engine.export import restoring
from engine.export.restoring import restore_model
from tests.engine.export.conftest import COLUMNS, PLAN, ROWS, make_model
from tests.engine.export.test_compressing import load, outputs
from tests.engine.tables import gaussian


@pytest.fixture
def small(bert: Path, tmp_path: Path) -> Path:
    """A compressed masked language model."""
    engine.compress_model(bert, output=tmp_path / "small", **PLAN)
    return tmp_path / "small"


@pytest.mark.parametrize("bits", [None, 4])
def test_a_restored_model_says_the_same(family: str, bits: int | None, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", family)
    smaller = engine.compress_model(source, output=tmp_path / "small", bits=bits, **PLAN)
    restored = restore_model(tmp_path / "small", tmp_path / "dense")
    dense = load(restored, family)
    weight = dense.get_input_embeddings().weight
    assert type(dense.get_input_embeddings()) is torch.nn.Embedding
    # products summed in another order
    torch.testing.assert_close(weight.detach(), smaller.factorization.reconstruct())
    torch.testing.assert_close(outputs(dense), outputs(smaller.model), atol=1e-5, rtol=1e-4)
    assert dense.num_parameters() == smaller.cost.before.parameters
    assert "quantization_config" not in json.loads((restored / "config.json").read_text())
    assert engine.load_table(restored).matrix.shape == (ROWS, COLUMNS)
    for name in ("tokenizer.json", "LICENSE"):
        assert (restored / name).read_bytes() == (source / name).read_bytes()
    assert not (restored / "run.json").exists()


def test_a_sentence_model_stays_one(sentence_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    engine.compress_model(sentence_model, output=tmp_path / "small", **PLAN)
    restore_model(tmp_path / "small", tmp_path / "dense")
    small, dense = (
        SentenceTransformer(str(tmp_path / name), device="cpu").encode(["word5 word6"])
        for name in ("small", "dense")
    )
    assert dense == pytest.approx(small, rel=1e-4, abs=1e-5)  # float32, in another order


def test_one_that_save_pretrained_wrote_is_taken(bert: Path, tmp_path: Path) -> None:
    model = load(bert, "BertForMaskedLM")
    weight = model.get_input_embeddings().weight.detach()
    engine.replace_embedding(model, engine.factorize(weight, k=2, j=4))
    model.save_pretrained(tmp_path / "plain")
    restore_model(tmp_path / "plain", tmp_path / "dense")
    assert load(tmp_path / "dense", "BertForMaskedLM").num_parameters() > model.num_parameters()


def test_what_is_not_ours_is_refused(bert: Path, tmp_path: Path) -> None:
    engine.factorize(gaussian(30, 6), k=2, j=1).save(tmp_path / "factorization")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    for folder, kind, message in (
        (bert, ModelError, "holds no compressed model"),
        (tmp_path / "factorization", ModelError, "holds no compressed model"),
        (tmp_path / "none", ParameterError, "expected a model folder, found none at"),
        (tmp_path / "broken", SourceError, "config.json is not JSON"),
    ):
        with pytest.raises(kind, match=message):
            restore_model(folder, tmp_path / "dense")
    assert not (tmp_path / "dense").exists()


def test_nothing_that_is_there_is_replaced(small: Path, tmp_path: Path) -> None:
    before = (small / "model.safetensors").read_bytes()
    with pytest.raises(ParameterError, match="restore into a new or empty folder"):
        restore_model(small, small)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").touch()
    with pytest.raises(ParameterError, match="would be lost"):
        restore_model(small, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    restore_model(small, tmp_path / "empty")
    with pytest.raises(ParameterError, match="would be lost"):
        restore_model(small, tmp_path / "empty")
    assert (small / "model.safetensors").read_bytes() == before


def test_a_damaged_one_is_told(small: Path, tmp_path: Path) -> None:
    weights = small / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="transformers cannot load small"):
        restore_model(small, tmp_path / "dense")


def test_a_disk_that_refuses_leaves_nothing(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "place").mkdir()
    monkeypatch.setattr(restoring, "write_restored_card", refuse)
    with pytest.raises(EngineError, match=r"could not write the model to .*No space left"):
        restore_model(small, tmp_path / "place" / "dense")
    assert list((tmp_path / "place").iterdir()) == []


def test_a_folder_that_lacks_weights_is_not_restored(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = make_model(tmp_path / "source", "BertForMaskedLM")
    engine.compress_model(source, output=tmp_path / "small", **PLAN)
    file = tmp_path / "small" / "model.safetensors"
    tensors = load_file(file)
    del tensors["bert.encoder.layer.0.output.dense.weight"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(FormatError, match=r"lacks bert\.encoder.*random numbers"):
        restore_model(tmp_path / "small", tmp_path / "dense")
    assert not (tmp_path / "dense").exists()
