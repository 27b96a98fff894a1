"""Corners that torch and transformers lead into: empty batches, replicas, heads of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from torch import nn

import engine
from engine.coding.codes import Coding
from engine.errors import ModelError, ParameterError
from tests.engine.network.models import ROWS

_SIZES: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


def _plan(matrix: torch.Tensor) -> engine.Factorization:
    return engine.factorize(matrix.detach(), k=2, j=4, n_init=1)


def test_an_empty_batch_has_a_gradient_as_torchs_has() -> None:
    layer = engine.SubspaceEmbedding(_plan(torch.randn(ROWS, 8)), padding_idx=0)
    rows = layer(torch.empty(2, 0, dtype=torch.int64))
    assert rows.shape == (2, 0, 8)
    rows.sum().backward()
    assert layer.bases.grad is not None
    assert not layer.bases.grad.any()


def test_a_replica_without_parameters_of_its_own_trains() -> None:
    layer = engine.SubspaceEmbedding(_plan(torch.randn(ROWS, 8)))
    replica = layer._replicate_for_data_parallel()
    for name, part in layer.named_parameters():
        setattr(replica, name, part * 1)  # as torch.nn.parallel.replicate does: no leaf
    assert not list(replica.parameters())
    replica(torch.arange(5)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


def test_a_tied_head_that_does_more_than_multiply_is_refused() -> None:
    class Halving(nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden) / 2

    model = tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=ROWS, n_embd=32, n_layer=1, n_head=2, n_positions=64)
    )
    table = model.get_input_embeddings()
    model.lm_head = Halving(32, ROWS, bias=False)
    model.lm_head.weight = table.weight
    with pytest.raises(ModelError, match="lm_head, a Halving, shares the weight"):
        engine.replace_embedding(model, _plan(table.weight))
    assert model.get_input_embeddings() is table


@pytest.mark.parametrize(
    ("make", "head"),
    [
        (
            lambda: tf.DebertaForMaskedLM(tf.DebertaConfig(**_SIZES, legacy=False)),
            "DebertaLMPredictionHead",
        ),
        (
            lambda: tf.MobileBertForMaskedLM(
                tf.MobileBertConfig(**_SIZES, embedding_size=16, intra_bottleneck_size=16)
            ),
            "MobileBertLMPredictionHead",
        ),
    ],
    ids=["DeBERTa", "MobileBERT"],
)
def test_heads_that_want_the_dense_weight_are_refused(make: Any, head: str) -> None:  # noqa: ANN401
    model = make()
    table = model.get_input_embeddings()
    with pytest.raises(ModelError, match=f"a {head}, multiplies with the embedding's dense weight"):
        engine.replace_embedding(model, _plan(table.weight))
    assert model.get_input_embeddings() is table


@pytest.mark.parametrize("frozen", [False, True])
def test_dequantize_gives_back_a_table_as_frozen_as_the_layer(frozen: bool) -> None:
    model = tf.BertModel(tf.BertConfig(**_SIZES))
    table = model.get_input_embeddings().weight
    table.requires_grad_(not frozen)
    engine.replace_embedding(model, _plan(table))
    model.dequantize()
    assert model.get_input_embeddings().weight.requires_grad is not frozen


@pytest.mark.parametrize("basis_bits", [8, 16])
def test_no_bits_are_no_coding(basis_bits: int) -> None:
    with pytest.raises(ParameterError, match="bits must be 8 or 4, got None"):
        Coding(bits=None, basis_bits=basis_bits)  # pyright: ignore[reportArgumentType]
