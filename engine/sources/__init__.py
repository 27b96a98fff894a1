"""From a spec to an embedding table: bundled models, model folders, the hub, and plain files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from engine.errors import SourceError
from engine.sources.arrays import read_npy, read_npz
from engine.sources.bundled import BUNDLED_MODELS as BUNDLED_MODELS
from engine.sources.bundled import PREFIX, bundled_files
from engine.sources.files import FolderFiles, HubFiles, ModelFiles
from engine.sources.models import read_model
from engine.sources.rows import SourceRows
from engine.sources.tensors import read_safetensors
from engine.sources.tokens import tokens_for_array
from engine.sources.word_vectors import read_word_vectors
from engine.table import EmbeddingTable, unique_tokens

# What can be given, for a help text: the form of the spec, and what it is.
SOURCE_KINDS = {
    "bundled:minilm": "a model that comes with Subspace Atlas",
    "org/name": "a model on the Hugging Face hub",
    "folder": "a model folder, with config.json and model.safetensors",
    ".npy": "a NumPy array",
    ".npz": "a NumPy archive; the array is chosen by name",
    ".safetensors": "a safetensors file; the tensor is chosen by name",
    ".vec": "word vectors as text, from word2vec or fastText",
    ".txt": "word vectors as text, from GloVe",
}

_TEXT_SUFFIXES = (".vec", ".txt")
_ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
_NAMED_ARRAYS: dict[str, Callable[..., tuple[Tensor, str]]] = {
    ".npz": read_npz,
    ".safetensors": read_safetensors,
}
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def load_table(
    spec: str | Path, *, tensor: str | None = None, tokens: str | Path | None = None
) -> EmbeddingTable:
    """Load an embedding table.

    Args:
        spec: ``"bundled:minilm"``, a model folder, a file (.npy, .npz, .safetensors, .vec, .txt),
            or a Hugging Face id. What exists on disk comes before a model id of the same name.
        tensor: Name of the array in a .npz, a .safetensors or a model; by default the only
            matrix in a file, and the input embedding of a model.
        tokens: A text file with one token a line, in row order. By default, for a model, its
            tokenizer; for ``table.npy`` and its like, the first of ``table.tokens.txt``,
            ``table.txt``, ``tokens.txt`` and ``vocab.txt`` in the same folder.

    Returns:
        The rows in float32, one unique token a row, and notes on every repair made. float32 files
        are memory-mapped: leave them in place and unchanged while the table is in use.

    Raises:
        SourceError: If there is nothing to read at ``spec``, or what is there is damaged,
            ambiguous, unsafe, too large or not finite.
        ShapeError: If the array is not (rows, columns), or the tokens do not fit the rows.
        MissingDependencyError: If a bundled model is not installed.
    """
    text = str(spec)
    token_path = None if tokens is None else _expand(tokens)
    try:
        name, rows = _read(text, tensor, token_path)
    except OSError as error:
        raise SourceError(
            f"{text} cannot be read ({error.strerror or error}); check the path and who may read it"
        ) from error
    unique, renamed = unique_tokens(rows.tokens)
    return EmbeddingTable(
        name=name,
        spec=text,
        tokens=unique,
        matrix=rows.matrix,
        source_dtype=rows.source_dtype,
        notes=(*rows.notes, *renamed),
    )


def _expand(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # "~name" of nobody here: a plain name, then
        return Path(path)


def _read(spec: str, tensor: str | None, tokens: Path | None) -> tuple[str, SourceRows]:
    if spec.startswith(PREFIX):
        files: ModelFiles = bundled_files(spec.removeprefix(PREFIX))
        return files.name, read_model(files, tensor=tensor, tokens=tokens)
    path = _expand(spec)
    if spec and path.is_dir():
        files = FolderFiles(path, name=path.resolve().name)
        return files.name, read_model(files, tensor=tensor, tokens=tokens)
    if path.is_file():
        return path.stem, _read_file(path, tensor, tokens)
    if path.suffix.lower() in (*_ARRAY_SUFFIXES, *_TEXT_SUFFIXES, *_PICKLE_SUFFIXES):
        raise SourceError(f"there is no file {spec}; check the path")
    if not _HUB_ID.fullmatch(spec):
        raise SourceError(
            f"{spec!r} is no file, no folder and no Hugging Face id (“org/name”); check the path"
        )
    files = HubFiles(spec)
    return files.name, read_model(files, tensor=tensor, tokens=tokens)


def _read_file(path: Path, tensor: str | None, tokens: Path | None) -> SourceRows:
    suffix = path.suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        raise SourceError(
            f"{path.name}: {suffix} files are pickles, or binary of unknown kind, and can run code "
            "when they are read; save the matrix as .safetensors (safetensors.torch.save_file) or "
            ".npy (numpy.save), and word vectors as .vec text"
        )
    if suffix not in (*_ARRAY_SUFFIXES, *_TEXT_SUFFIXES):
        raise SourceError(
            f"{path.name}: expected a file that ends in {', '.join(_ARRAY_SUFFIXES)}, "
            f"{' or '.join(_TEXT_SUFFIXES)}, or a model folder, got {suffix or 'no ending'!r}; "
            "convert it, or correct its name"
        )
    if tensor is not None and suffix not in _NAMED_ARRAYS:
        raise SourceError(
            f"{path.name} holds one array without a name, but tensor={tensor!r} was given; "
            "leave tensor out"
        )
    if suffix in _TEXT_SUFFIXES:
        return _read_text(path, tokens)
    if suffix in _NAMED_ARRAYS:
        matrix, source_dtype = _NAMED_ARRAYS[suffix](path, tensor=tensor)
    else:
        matrix, source_dtype = read_npy(path)
    names, notes = tokens_for_array(path, n_rows=len(matrix), given=tokens)
    return SourceRows(matrix=matrix, source_dtype=source_dtype, tokens=names, notes=notes)


def _read_text(path: Path, tokens: Path | None) -> SourceRows:
    if tokens is not None:
        raise SourceError(
            f"{path.name} holds its tokens itself, but tokens={str(tokens)!r} was given; "
            "leave tokens out"
        )
    return read_word_vectors(path)
