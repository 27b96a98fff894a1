"""A model's input embedding, alone: one tensor out of its checkpoint, tokens from its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from engine.errors import SourceError
from engine.sources.declared import Declared, choose_table
from engine.sources.embedding_key import find_embedding_key
from engine.sources.files import ModelFiles
from engine.sources.rows import SourceRows
from engine.sources.tensors import declared_tensors, read_tensor
from engine.sources.tokens import read_token_file
from engine.sources.vocabulary import tokens_for_model

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
COMPRESSED = "subspace_atlas"
"""What config.json calls a model that has subspaces for an embedding."""


def read_model(
    files: ModelFiles, *, tensor: str | None, tokens: Path | None, mapped: bool | None = None
) -> SourceRows:
    """Read the input embedding of a model and the tokens of its rows.

    Only that tensor is read; of a sharded checkpoint, only the shard that holds it is opened.

    Args:
        files: The files of the model.
        tensor: Name of the tensor to take instead of the input embedding.
        tokens: A text file with one token a line to use instead of the tokenizer.
        mapped: As for `read_tensor`.

    Returns:
        The rows, mapped when stored in float32 or large, with notes on rows without a token.

    Raises:
        SourceError: If files are missing or damaged, or the embedding cannot be found.
        ShapeError: If the tensor has not two axes, or the tokens do not fit the rows.
    """
    config = read_json(files, "config.json")
    checkpoint = _Checkpoint(files)
    if tensor is None and quantization_method(config) == COMPRESSED:
        raise SourceError(
            f"{files.name} is a compressed model: its embedding is k subspaces already, and no "
            "table. Give the model it was made from, or put the dense layer back with: "
            "subspace-atlas restore FOLDER -o OUT"
        )
    if tensor is None:
        tensor = find_embedding_key(files, config, checkpoint.keys, checkpoint.header_of)
    matrix, source_dtype = checkpoint.read(tensor, mapped)
    if tokens is not None:
        names, notes = read_token_file(tokens, n_rows=len(matrix)), list[str]()
    else:
        names, notes = tokens_for_model(files, n_rows=len(matrix))
    return SourceRows(matrix=matrix, source_dtype=source_dtype, tokens=names, notes=notes)


def quantization_method(config: dict[str, Any]) -> str | None:
    """How a model's weights are quantised, by the name its config.json gives; None if not."""
    content: Any = config.get("quantization_config")
    values = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    return str(values.get("quant_method", "unknown")) if values else None


def checkpoint_files(files: ModelFiles) -> list[Path]:
    """Every file of a model's weights.

    Raises:
        SourceError: If one is missing or damaged, or they are no safetensors.
    """
    return _Checkpoint(files).paths()


class _Checkpoint:
    """One safetensors file, or several and their index."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._headers: dict[Path, dict[str, Declared]] = {}
        single = files.find(_SINGLE)
        if single is not None:
            self._shards = dict.fromkeys(self._open(single), _SINGLE)
        elif files.find(_INDEX) is not None:
            self._shards = _read_weight_map(files)
        else:
            raise _no_checkpoint(files)

    @property
    def keys(self) -> list[str]:
        return list(self._shards)

    def header_of(self, key: str) -> Declared:
        path = self._path_of(key)
        headers = self._open(path)
        if key not in headers:
            raise SourceError(
                f"{path.name}: expected a tensor {key!r}, as {_INDEX} says, but the file has none; "
                "download both again"
            )
        return headers[key]

    def read(self, key: str, mapped: bool | None) -> tuple[Tensor, str]:
        if key not in self._shards:
            every = {
                name: header for path in self.paths() for name, header in self._open(path).items()
            }
            choose_table(every, wanted=key, file_name=self._files.name, kind="tensor")
        self.header_of(key)
        return read_tensor(self._path_of(key), key, mapped=mapped)

    def paths(self) -> list[Path]:
        return [self._find(name) for name in sorted(set(self._shards.values()))]

    def _path_of(self, key: str) -> Path:
        return self._find(self._shards[key])

    def _find(self, file_name: str) -> Path:
        path = self._files.find(file_name)
        if path is None:
            raise SourceError(
                f"{self._files.name}: {_INDEX} names the file {file_name}, but it is missing; "
                "download the model again"
            )
        return path

    def _open(self, path: Path) -> dict[str, Declared]:
        if path not in self._headers:
            self._headers[path] = declared_tensors(path)
        return self._headers[path]


def _read_weight_map(files: ModelFiles) -> dict[str, str]:
    content: Any = read_json(files, _INDEX).get("weight_map")
    shards = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    for name in shards.values():
        # a name with folders in it could point anywhere on the disk
        if not isinstance(name, str) or Path(name).name != name:
            raise SourceError(
                f"{files.name}: {_INDEX} should name files of its own folder, got {name!r}; "
                "download the model again"
            )
    if not shards:
        raise SourceError(
            f"{files.name}: {_INDEX} should say which file holds which tensor under "
            "“weight_map”, but says nothing; download the model again"
        )
    return shards


def read_json(files: ModelFiles, file_name: str) -> dict[str, Any]:
    """The content of a model's JSON file.

    Raises:
        SourceError: If it is missing, or holds no JSON object.
    """
    path = files.find(file_name)
    if path is None:
        raise SourceError(
            f"{files.name}: expected a model folder with {file_name}, but it has none; give the "
            "folder that holds it, or one of the files in it"
        )
    try:
        content: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{files.name}: {file_name} is not JSON ({error}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise SourceError(
            f"{files.name}: {file_name} should hold a JSON object, got a "
            f"{type(content).__name__}; download it again"
        )
    return cast("dict[str, Any]", content)


def _no_checkpoint(files: ModelFiles) -> SourceError:
    if any(files.find(name) is not None for name in _PICKLED):
        return SourceError(
            f"{files.name} has only {_PICKLED[0]}, a pickle, which can run code when it is read; "
            "save it as safetensors: AutoModel.from_pretrained(folder).save_pretrained(new_folder),"
            " or look for a revision on the hub that has model.safetensors"
        )
    return SourceError(
        f"{files.name}: expected {_SINGLE} or {_INDEX} beside config.json, found neither; "
        "save the model with save_pretrained"
    )
