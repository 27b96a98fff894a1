"""Layers of a trellis: what a number stands for hangs on its neighbours, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf
from torch.nn.functional import embedding, linear

import engine
from engine.errors import FormatError
from engine.factorization import Factorization
from engine.network.embedding import SubspaceEmbedding
from tests.engine.coded_plans import coded_plan

WIDTH = 48
IDS = torch.tensor([[3, 0, 79, 3], [7, 7, 21, 1]])


@pytest.fixture
def plan() -> Factorization:
    """Two subspaces of long rows, one of short ones, and a point."""
    found = coded_plan(80, WIDTH, (40, 5, 48, 0), affine=True, most_bits=4)
    assert [block.trellis for block in found.coordinates] == [True, False, True, False]  # type: ignore[union-attr]
    return found


def model_of(plan: Factorization) -> tf.BertModel:
    torch.manual_seed(0)
    n, d = plan.shape
    config = tf.BertConfig(
        vocab_size=n,
        hidden_size=d,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    model = tf.BertModel(config).eval()
    engine.replace_embedding(model, plan)
    return model


def outputs_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).last_hidden_state


def test_it_looks_up_the_rows_of_the_plan(plan: Factorization) -> None:
    layer, rows = SubspaceEmbedding(plan), plan.reconstruct()
    torch.testing.assert_close(layer(IDS), embedding(IDS, rows))
    torch.testing.assert_close(layer.to_dense(), rows)
    hidden = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer.logits(hidden), linear(hidden, rows), rtol=1e-4, atol=1e-4)
    assert sum(part.nbytes for part in layer.state_dict().values()) == plan.stored_bytes


def test_it_comes_back_bit_for_bit(plan: Factorization, tmp_path: Path) -> None:
    model = model_of(plan)
    model.save_pretrained(tmp_path / "model")
    plan.save(tmp_path / "plan")
    loaded = Factorization.load(tmp_path / "plan")
    assert torch.equal(loaded.reconstruct(), plan.reconstruct())
    settings = json.loads((tmp_path / "model/config.json").read_text())["quantization_config"]
    assert settings["format_version"] == 4
    again = tf.BertModel.from_pretrained(tmp_path / "model")
    assert torch.equal(outputs_of(again), outputs_of(model))


def test_its_bases_are_trained_as_before(plan: Factorization) -> None:
    layer = SubspaceEmbedding(plan)
    before = layer(IDS)
    layer.train_bases()
    assert torch.equal(layer(IDS), before)
    layer(IDS).square().sum().backward()
    assert all(bool(part.grad.any()) for part in layer.parameters())  # type: ignore[union-attr]


def test_it_exports_whole(plan: Factorization) -> None:
    layer = SubspaceEmbedding(plan).eval()
    shapes = {"input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}}
    exported = torch.export.export(layer, (IDS,), dynamic_shapes=shapes).module()
    for ids in (IDS, torch.arange(21).view(7, 3)):
        torch.testing.assert_close(exported(ids), layer(ids))


# torch's own compiler uses what torch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_it_compiles_whole(plan: Factorization) -> None:
    torch.compiler.reset()
    layer = SubspaceEmbedding(plan)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(IDS), layer(IDS))


@pytest.mark.slow
def test_onnx_says_the_same(plan: Factorization, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = model_of(plan)
    mask = torch.ones_like(IDS)
    engine.export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    given = {"input_ids": IDS, "attention_mask": mask, "token_type_ids": torch.zeros_like(IDS)}
    wanted = {one.name for one in session.get_inputs()}
    found = session.run(
        None, {name: part.numpy() for name, part in given.items() if name in wanted}
    )
    np.testing.assert_allclose(found[0], outputs_of(model).numpy(), rtol=1e-4, atol=1e-4)


def test_bits_out_of_range_are_refused_where_the_bytes_would_fit(plan: Factorization) -> None:
    layer = SubspaceEmbedding(plan)
    bits = layer.state_dict()["bits"].clone()
    taken = bits[1:9].sum() - 8
    bits[0], bits[1:9] = bits[0] + taken, 1
    assert bits[0] > 10
    with pytest.raises(FormatError, match="of a trellis 1 … 10; they are"):
        layer.load_state_dict({"bits": bits}, strict=False)


@pytest.mark.parametrize(
    ("version", "trellis", "message"),
    [
        (4, False, "trellis must say whether any row is of one, got False"),
        (3, None, "of a development version .*; compress the model"),
        (1, None, "describes a layer of format 4"),
    ],
)
def test_a_folder_of_other_levels_is_refused(
    plan: Factorization, tmp_path: Path, version: int, trellis: bool | None, message: str
) -> None:
    """It would be decoded to other rows."""
    model_of(plan).save_pretrained(tmp_path)
    change_settings(tmp_path, version, trellis)
    with pytest.raises(FormatError, match=message):
        tf.BertModel.from_pretrained(tmp_path)


def test_a_folder_that_says_so_of_its_trellis_is_read(plan: Factorization, tmp_path: Path) -> None:
    model = model_of(plan)
    model.save_pretrained(tmp_path)
    change_settings(tmp_path, 4, True)
    assert torch.equal(outputs_of(tf.BertModel.from_pretrained(tmp_path)), outputs_of(model))


def change_settings(folder: Path, version: int, trellis: bool | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["format_version"] = version
    if trellis is not None:
        config["quantization_config"]["layer"]["coding"]["trellis"] = trellis
    (folder / "config.json").write_text(json.dumps(config))
