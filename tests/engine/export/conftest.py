"""Tiny models with random weights, in folders as their libraries write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ROWS, COLUMNS = 48, 16
PLAN: dict[str, Any] = {"k": 2, "j": 4, "n_init": 1, "neighbours": 3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "BertForMaskedLM": (
        "BertConfig",
        {
            "hidden_size": COLUMNS,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "max_position_embeddings": 20,
        },
    ),
    "BertForSequenceClassification": (
        "BertConfig",
        {
            "hidden_size": COLUMNS,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
        },
    ),
    "LlamaForCausalLM": (
        "LlamaConfig",
        {
            "hidden_size": COLUMNS,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "tie_word_embeddings": True,
        },
    ),
    "T5ForConditionalGeneration": (
        "T5Config",
        {
            "d_model": COLUMNS,
            "num_layers": 1,
            "num_heads": 2,
            "d_ff": 8,
            "d_kv": 8,
            "decoder_start_token_id": 0,
        },
    ),
}
MakeModel = Callable[..., Path]


def make_model(folder: Path, family: str, *, dtype: torch.dtype = torch.float32) -> Path:
    """A model of this class with a tokenizer and a card, in a folder."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    config_class, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(vocab_size=ROWS, **settings)
    model = getattr(transformers, family)(config).eval().to(dtype)
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    words = {"[UNK]": 0, "[PAD]": 1, **{f"word{row}": row for row in range(2, ROWS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=16
    ).save_pretrained(folder)
    (folder / "README.md").write_text(
        "---\nlicense: mit\nlanguage:\n- en\npipeline_tag: fill-mask\n---\n\nlicense: none\n"
    )
    (folder / "LICENSE").write_text("MIT")
    return folder


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Name of a class of transformers."""
    return request.param


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A masked language model."""
    return make_model(tmp_path / "bert", "BertForMaskedLM")


@pytest.fixture
def sentence_model(tmp_path: Path) -> Path:
    """A model of sentence-transformers that ends in a dense layer of its own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    base = make_model(tmp_path / "base", "BertForMaskedLM")
    torch.manual_seed(1)
    parts = [modules.Transformer(str(base)), modules.Pooling(COLUMNS), modules.Dense(COLUMNS, 5)]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(
        str(tmp_path / "sentences"), create_model_card=False
    )
    return tmp_path / "sentences"
