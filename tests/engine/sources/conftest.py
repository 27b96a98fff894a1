"""Tiny models with random weights, saved as transformers saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

ROWS, COLUMNS = 48, 16
SaveModel = Callable[..., tuple[Path, torch.Tensor]]


def is_mapped_from(path: Path, matrix: torch.Tensor) -> bool:
    """Whether the numbers lie in memory that the system maps from that file."""
    for mapped in psutil.Process().memory_maps(grouped=False):
        start, end = (int(part, 16) for part in mapped.addr.split("-"))
        if mapped.path == str(path.resolve()) and start <= matrix.data_ptr() < end:
            return True
    return False


@pytest.fixture(scope="session")
def save_model() -> SaveModel:
    """Save a model of a configuration into a folder; give the folder and its input embedding."""

    def save(
        folder: Path,
        model_class: str,
        config_class: str,
        settings: dict[str, Any],
        *,
        dtype: torch.dtype = torch.float32,
        max_shard_size: str = "1GB",
    ) -> tuple[Path, torch.Tensor]:
        import transformers

        transformers.logging.disable_progress_bar()
        torch.manual_seed(0)
        config = getattr(transformers, config_class)(**settings)
        model = getattr(transformers, model_class)(config).to(dtype)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        return folder, model.get_input_embeddings().weight.detach().clone()

    return save


@pytest.fixture
def tiny_bert(tmp_path: Path, save_model: SaveModel) -> tuple[Path, torch.Tensor]:
    """A BERT of 48 rows, without a tokenizer."""
    return save_model(tmp_path / "tiny-bert", "BertModel", "BertConfig", BERT)


BERT = {
    "vocab_size": ROWS,
    "hidden_size": COLUMNS,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 8,
}
LLAMA = {
    "vocab_size": ROWS,
    "hidden_size": COLUMNS,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
T5 = {
    "vocab_size": ROWS,
    "d_model": COLUMNS,
    "num_layers": 1,
    "num_heads": 2,
    "d_ff": 8,
    "d_kv": 8,
}
GPT2 = {
    "vocab_size": ROWS,
    "n_embd": COLUMNS,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
XLNET = {"vocab_size": ROWS, "d_model": COLUMNS, "n_layer": 1, "n_head": 2, "d_inner": 8}
OPENAI = {"vocab_size": ROWS, "n_embd": COLUMNS, "n_layer": 1, "n_head": 2, "n_positions": 8}
