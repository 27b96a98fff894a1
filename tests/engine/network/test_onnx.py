"""One ONNX file of a whole compressed model, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

import engine
from engine.errors import EngineError, MissingDependencyError, ModelError, ParameterError
from engine.network import onnx as onnx_room
from tests.engine.coded_plans import coded_plan
from tests.engine.network.models import ROWS

onnxruntime = pytest.importorskip("onnxruntime")

_SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
_OWN = 0  # a coded plan: each basis vector has bits of its own
_BERT = {"vocab_size": ROWS, "hidden_size": 16, "max_position_embeddings": 64, **_SIZES}


def _bert() -> Any:  # noqa: ANN401
    return tf.BertModel(tf.BertConfig(**_BERT))


def _causal() -> Any:  # noqa: ANN401
    return tf.LlamaForCausalLM(tf.LlamaConfig(**_BERT, tie_word_embeddings=True))


def _compressed(make: Callable[[], Any], bits: int | None = None, basis_bits: int = 16) -> Any:  # noqa: ANN401
    torch.manual_seed(0)
    model = make().eval()
    weight = model.get_input_embeddings().weight.detach()
    if basis_bits == _OWN:
        plan = coded_plan(*weight.shape, (5, 0, 16), affine=True)
    else:
        plan = engine.factorize(weight, k=3, j=5, n_init=1, bits=bits, basis_bits=basis_bits)
    engine.replace_embedding(model, plan)
    return model


def _run(path: Path, **inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "bits", "basis_bits"),
    [
        (_bert, None, 16),
        (_bert, 8, 16),
        (_bert, 4, 8),
        (_bert, None, _OWN),
        (_causal, None, 16),
        (_causal, None, _OWN),
    ],
    ids=["floats", "8 bits", "4 bits", "coded", "tied head", "coded, tied head"],
)
def test_onnxruntime_gives_the_models_outputs(
    tmp_path: Path, make: Callable[[], Any], bits: int | None, basis_bits: int
) -> None:
    model = _compressed(make, bits, basis_bits)
    path = engine.export_onnx(model, tmp_path / "model.onnx")
    ids = torch.tensor([[5, 5, 96, 0, 17], [1, 2, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    given = _run(path, input_ids=ids, attention_mask=mask)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask)[0].numpy()
    real = mask.bool().numpy()  # what stands under the mask is nobody's business
    np.testing.assert_allclose(given[real], expected[real], atol=1e-4)


@pytest.mark.slow
def test_subspaces_stay_factored_in_the_file(tmp_path: Path) -> None:
    def make() -> Any:  # noqa: ANN401
        return tf.BertModel(tf.BertConfig(**{**_BERT, "vocab_size": 20_000}))

    dense = engine.export_onnx(make().eval(), tmp_path / "dense.onnx").stat().st_size
    small = engine.export_onnx(_compressed(make), tmp_path / "small.onnx").stat().st_size
    # The table goes from 16 to 5 numbers a row and 4 bytes that say where it lies; the rest is
    # what the graph says of itself.
    assert dense - small > 0.8 * 20_000 * 4 * (16 - 5 - 1)


@pytest.mark.slow
def test_bases_in_training_are_written_as_their_codes(tmp_path: Path) -> None:
    model = _compressed(_bert, basis_bits=_OWN)
    coded = engine.export_onnx(model, tmp_path / "coded.onnx").stat().st_size
    layer = model.get_input_embeddings()
    layer.train_bases()
    trained = engine.export_onnx(model, tmp_path / "trained.onnx").stat().st_size
    assert trained == coded
    assert layer.trained_bases is not None  # the model itself goes on


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _compressed(_bert)
    export = onnx_room._export

    def export_another(whole: Any, *rest: Any) -> Any:  # noqa: ANN401
        program = export(whole, *rest)
        # What the check runs beside the file is no longer what was traced.
        dense = whole.model.encoder.layer[0].output.dense
        dense.weight = torch.nn.Parameter(3 * dense.weight)
        return program

    monkeypatch.setattr(onnx_room, "_export", export_another)
    with pytest.raises(EngineError, match="outputs differ from the model's by"):
        engine.export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"ends in \.onnx, got 'model\.pt'"):
        engine.export_onnx(_bert(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="Linear is no encoder and no causal LM"):
        engine.export_onnx(torch.nn.Linear(2, 2), tmp_path / "model.onnx")
    config = tf.T5Config(vocab_size=ROWS, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    with pytest.raises(ModelError, match="T5Model is no encoder"):
        engine.export_onnx(tf.T5Model(config), tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_room, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(MissingDependencyError, match=r"needs no_such_package; run: .*\[onnx\]"):
        engine.export_onnx(_bert(), tmp_path / "model.onnx")
