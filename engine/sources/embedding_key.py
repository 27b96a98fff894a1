"""Which tensor of a checkpoint is the input embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from engine.errors import SourceError
from engine.sources.declared import Declared
from engine.sources.files import ModelFiles

# How model families name the parameter, as the end of its key.
WELL_KNOWN_KEYS = (
    "word_embeddings.weight",  # BERT, RoBERTa, MPNet, DistilBERT, ELECTRA, DeBERTa, BLOOM, Falcon
    "embed_tokens.weight",  # Llama, Mistral, Qwen, Gemma, Phi, OPT
    "wte.weight",  # GPT-2, GPT-J, MPT
    "shared.weight",  # T5, BART, Pegasus
    "word_embedding.weight",  # XLNet
    "embed_in.weight",  # GPT-NeoX
    "tok_embeddings.weight",  # ModernBERT
    "token_embedding.weight",  # CLIP's text tower
)

HeaderLookup = Callable[[str], Declared]


def find_embedding_key(
    files: ModelFiles, config: dict[str, Any], keys: list[str], header_of: HeaderLookup
) -> str:
    """Find the key of the input embedding in a checkpoint.

    Well-known names come first, when one key alone has such a name and as many rows as the
    vocabulary. Otherwise the architecture itself is asked, built without weights.

    Args:
        files: The model, for the configuration.
        config: The content of its config.json.
        keys: Every tensor name in the checkpoint.
        header_of: Gives the shape and dtype of one tensor; may download the shard that holds it.

    Returns:
        One of ``keys``.

    Raises:
        SourceError: If the architecture is unknown, or the checkpoint lacks its embedding.
    """
    known = [key for key in keys if any(_ends_with(key, name) for name in WELL_KNOWN_KEYS)]
    if len(known) == 1:
        header = header_of(known[0])
        if header.is_table and header.shape[0] == _vocabulary_size(config):
            return known[0]
    if "model_type" not in config:
        return _only_table(files, keys, header_of)
    names, prefix, shape = _embedding_names(files)
    for name in names:
        matching = [key for key in keys if _ends_with(key, name) or _ends_with(name, key)]
        # the plain name, then the one a head class adds, then any other wrapping
        for key in sorted(matching, key=lambda key: (key != name, key != f"{prefix}.{name}", key)):
            header = header_of(key)
            # rows may differ: checkpoints are padded to a multiple of 64, or resized
            if header.is_table and header.shape[1] == shape[1]:
                return key
    raise SourceError(
        f"{files.name}: expected the input embedding of a {config['model_type']!r} model "
        f"({' or '.join(names)}, {shape[1]:,} columns), but the checkpoint has no such tensor; "
        "give the name of the right one"
    )


def _ends_with(key: str, name: str) -> bool:
    return key == name or key.endswith(f".{name}")


def _vocabulary_size(config: dict[str, Any]) -> int | None:
    # multimodal models keep the language model's settings one level down
    text: Any = config.get("text_config")
    inner = cast("dict[str, Any]", text) if isinstance(text, dict) else {}
    return config.get("vocab_size", inner.get("vocab_size"))


def _only_table(files: ModelFiles, keys: list[str], header_of: HeaderLookup) -> str:
    """The tensor to take when config.json names no architecture, as for static embeddings."""
    tables = [key for key in keys if header_of(key).is_table]
    if len(tables) == 1:
        return tables[0]
    raise SourceError(
        f"{files.name}: config.json names no model_type, and the checkpoint has {len(tables):,} "
        "tensors that could be the embedding; give the name of the right one"
    )


def _embedding_names(files: ModelFiles) -> tuple[list[str], str, tuple[int, ...]]:
    """Parameter names, prefix and shape of the input embedding, from a skeleton."""
    import torch
    from transformers import AutoConfig, AutoModel

    try:
        config: Any = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
        with torch.device("meta"):  # shapes without storage: a 70B model takes no memory
            model: Any = AutoModel.from_config(config, trust_remote_code=False)
        weight = model.get_input_embeddings().weight
    except Exception as error:  # a config of others' can break model code in any way
        reason = str(error).strip().split("\n", 1)[0]
        raise SourceError(
            f"{files.name}: the installed transformers cannot tell which tensor is its input "
            f"embedding ({reason}); give its name"
        ) from error
    parameters = model.named_parameters(remove_duplicate=False)  # tied tables have several names
    names = [name for name, parameter in parameters if parameter is weight]
    return names, str(model.base_model_prefix), tuple(weight.shape)
