"""From a spec to an embedding table: bundled models, model folders, the hub, and plain files."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import SourceError
from engine.rows import RowMatrix, cut_rows, row_range
from engine.sources.arrays import read_npy, read_npz
from engine.sources.bundled import BUNDLED_MODELS as BUNDLED_MODELS
from engine.sources.bundled import PREFIX, bundled_files
from engine.sources.files import FolderFiles, HubFiles, ModelFiles
from engine.sources.models import read_model
from engine.sources.rows import SourceRows
from engine.sources.shards import (
    INDEX_SUFFIX,
    read_shards,
    shards_in_folder,
    shards_of_index,
    shards_of_pattern,
)
from engine.sources.tensors import read_safetensors
from engine.sources.tokens import tokens_for_array
from engine.sources.word_vectors import read_word_vectors
from engine.table import EmbeddingTable, check_finite, unique_tokens

# What can be given, for a help text: the form of the spec, and what it is.
SOURCE_KINDS = {
    "bundled:minilm": "a model that comes with Subspace Atlas",
    "org/name": "a model on the Hugging Face hub",
    "folder": "a model folder, with config.json and model.safetensors, or one with shards",
    "table-*.npy": "one table in several files, as table-00001-of-00004.npy; .safetensors as well",
    ".npy": "a NumPy array",
    ".npz": "a NumPy archive; the array is chosen by name",
    ".safetensors": "a safetensors file; the tensor is chosen by name",
    ".vec": "word vectors as text, from word2vec or fastText",
    ".txt": "word vectors as text, from GloVe",
    ".vec.gz": "the same, gzipped",
    ".txt.gz": "the same, gzipped",
}

_TEXT_SUFFIXES = (".vec", ".txt", ".vec.gz", ".txt.gz")
_ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")
_NAMED_ARRAYS = (".npz", ".safetensors")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def load_table(
    spec: str | Path,
    *,
    tensor: str | None = None,
    tokens: str | Path | None = None,
    mapped: bool | None = None,
) -> EmbeddingTable:
    """Load an embedding table.

    Args:
        spec: ``"bundled:minilm"``, a model folder, a file (.npy, .npz, .safetensors, .vec, .txt,
            .vec.gz, .txt.gz),
            or a Hugging Face id. One table in several files ``table-00001-of-00004.npy`` (or
            .safetensors): their folder, ``"table-*.npy"``, or a .safetensors.index.json. What
            exists on disk comes before a model id of the same name.
        tensor: Name of the array in a .npz, a .safetensors or a model; by default the only
            matrix in a file, and the input embedding of a model.
        tokens: A text file with one token a line, in row order. By default, for a model, its
            tokenizer; for ``table.npy`` and its like, the first of ``table.tokens.txt``,
            ``table.txt``, ``tokens.txt`` and ``vocab.txt`` in the same folder.
        mapped: Whether 16-bit rows in a .npy or .safetensors file, and rows in several files,
            stay on disk as they are stored instead of being read as float32; None decides by
            size: above a tenth of the memory that is free now.

    Returns:
        The rows in float32 or as they are stored, one unique token a row, and notes on every
        repair made. float32 files in one piece are always memory-mapped: leave mapped files in
        place and unchanged while the table is in use.

    Raises:
        SourceError: If there is nothing to read at ``spec``, or what is there is damaged,
            ambiguous, unsafe, too large or not finite.
        ShapeError: If the array is not (rows, columns), or the tokens do not fit the rows.
        MissingDependencyError: If a bundled model is not installed.
    """
    text = str(spec)
    name, rows = _read_or_say_why(text, tensor, tokens, mapped)
    unique, renamed = unique_tokens(rows.tokens)
    return EmbeddingTable(
        name=name,
        spec=text,
        tokens=unique,
        matrix=rows.matrix,
        source_dtype=rows.source_dtype,
        notes=(*rows.notes, *renamed),
        tensor=tensor,
        tokens_file=None if tokens is None else str(tokens),
    )


def load_rows(spec: str | Path, *, tensor: str | None = None, rank: int, size: int) -> RowMatrix:
    """The rows of one of several processes; the others' are not read where files can be mapped.

    Args:
        spec: As in `load_table`.
        tensor: As in `load_table`.
        rank: Number of this process, 0 … size − 1.
        size: How many processes there are.

    Returns:
        The rows of `engine.rows.row_range`, shape (m, d), as `load_table` has them: mapped where
        that can be, whatever their size.

    Raises:
        SourceError: As `load_table`, for these rows.
        ShapeError: As `load_table`.
    """
    name, whole = _read_or_say_why(str(spec), tensor, None, mapped=True)
    rows = cut_rows(whole.matrix, row_range(len(whole.matrix), rank, size))
    check_finite(rows, f"{name}, part {rank + 1} of {size}")
    return rows


def find_model(spec: str | Path) -> ModelFiles | None:
    """The files of the model that a spec names.

    Args:
        spec: As in `load_table`, which takes the same for a model.

    Returns:
        None where the spec names a plain table.

    Raises:
        SourceError: If there is no model of that name.
        MissingDependencyError: If a bundled model is not installed.
    """
    text = str(spec)
    with _saying_why(text):
        return _find_model(text)


def check_source(spec: str | Path) -> None:
    """Refuse a spec that names nothing; of what is there nothing is read.

    Args:
        spec: As in `load_table`. Of a model on the hub its config.json is downloaded.

    Raises:
        SourceError: If there is nothing of that name.
        MissingDependencyError: If a bundled model is not installed.
    """
    text = str(spec)
    if find_model(text) is not None:
        return
    with _saying_why(text):
        path = expand_path(text)
        if not (text and (path.is_file() or _find_shards(path) is not None)):
            raise _nothing_at(text)


def _read_or_say_why(
    spec: str, tensor: str | None, tokens: str | Path | None, mapped: bool | None
) -> tuple[str, SourceRows]:
    with _saying_why(spec):
        return _read(spec, tensor, None if tokens is None else expand_path(tokens), mapped)


@contextmanager
def _saying_why(spec: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{spec} cannot be read ({error.strerror or error}); check the path and who may read it"
        ) from error


def expand_path(path: str | Path) -> Path:
    """A path as `load_table` reads it: ``~`` is the user's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # "~name" of nobody here: a plain name, then
        return Path(path)


def absolute_spec(spec: str) -> str:
    """A spec as it is found from any folder: where it names a file or folder, the absolute path.

    ``bundled:`` names and the ids of models on the hub stay as they are.
    """
    if not spec or spec.startswith(PREFIX):
        return spec
    path = expand_path(spec)
    try:
        found = path.exists() or ("*" in path.name and any(path.parent.glob(path.name)))
    except (OSError, ValueError):  # no name of a file
        return spec
    return str(path.absolute()) if found else spec


def is_hub_id(spec: str) -> bool:
    """Whether a spec is the id of a model on the hub, where nothing on the disk has that name."""
    suffix = _suffix(expand_path(spec))
    named = suffix in (*_ARRAY_SUFFIXES, *_TEXT_SUFFIXES, *_PICKLE_SUFFIXES)
    return not named and _HUB_ID.fullmatch(spec) is not None


def _find_model(spec: str) -> ModelFiles | None:
    if spec.startswith(PREFIX):
        return bundled_files(spec.removeprefix(PREFIX))
    path = expand_path(spec)
    if not spec or path.is_file() or _find_shards(path) is not None:
        return None
    if path.is_dir():
        return FolderFiles(path, name=path.resolve().name)
    return HubFiles(spec) if is_hub_id(spec) else None


def _read(
    spec: str, tensor: str | None, tokens: Path | None, mapped: bool | None
) -> tuple[str, SourceRows]:
    model = _find_model(spec)
    if model is not None:
        return model.name, read_model(model, tensor=tensor, tokens=tokens, mapped=mapped)
    path = expand_path(spec)
    shards = _find_shards(path) if spec else None
    if shards is not None:
        place, paths = shards
        matrix, dtype = read_shards(paths, name=place.name, tensor=tensor, mapped=mapped)
        return place.stem, _with_tokens(matrix, dtype, place, tokens)
    if path.is_file():
        name = path.name[: len(path.name) - len(_suffix(path))]
        return name, _read_file(path, tensor, tokens, mapped)
    raise _nothing_at(spec)


def _nothing_at(spec: str) -> SourceError:
    if _suffix(expand_path(spec)) in (*_ARRAY_SUFFIXES, *_TEXT_SUFFIXES, *_PICKLE_SUFFIXES):
        return SourceError(f"there is no file {spec}; check the path")
    return SourceError(
        f"{spec!r} is no file, no folder and no Hugging Face id (“org/name”); check the path"
    )


def _suffix(path: Path) -> str:
    """The ending that says what a file is, in lower case: ".npy", ".vec.gz"."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == ".gz" else last


def _find_shards(path: Path) -> tuple[Path, list[Path]] | None:
    """The files of a table in shards, and what the table would be called if it were one."""
    if path.is_dir() and not (path / "config.json").is_file():
        paths = shards_in_folder(path)
        return (path / path.resolve().name, paths) if paths else None
    if path.name.endswith(INDEX_SUFFIX) and path.is_file():
        return path.with_name(path.name.removesuffix(".index.json")), shards_of_index(path)
    if "*" in path.name and not path.exists():
        stem = path.name.replace("*", "").split("-of-")[0].removesuffix(path.suffix).strip("-._")
        return path.with_name(f"{stem or 'table'}{path.suffix}"), shards_of_pattern(path)
    return None


def _read_file(
    path: Path, tensor: str | None, tokens: Path | None, mapped: bool | None
) -> SourceRows:
    suffix = _suffix(path)
    if suffix in _PICKLE_SUFFIXES:
        raise SourceError(
            f"{path.name}: {suffix} files are pickles, or binary of unknown kind, and can run code "
            "when they are read; save the matrix as .safetensors (safetensors.torch.save_file) or "
            ".npy (numpy.save), and word vectors as .vec text"
        )
    known = (*_ARRAY_SUFFIXES, *_TEXT_SUFFIXES)
    if suffix not in known:
        raise SourceError(
            f"{path.name}: expected a file that ends in {', '.join(known[:-1])} or {known[-1]}, "
            f"or a model folder, got {suffix or 'no ending'!r}; "
            "convert it, or correct its name"
        )
    if tensor is not None and suffix not in _NAMED_ARRAYS:
        raise SourceError(
            f"{path.name} holds one array without a name, but the name {tensor!r} was given; "
            "leave the name out"
        )
    if suffix in _TEXT_SUFFIXES:
        return _read_text(path, tokens)
    if suffix == ".npz":
        matrix, source_dtype = read_npz(path, tensor=tensor)
    elif suffix == ".safetensors":
        matrix, source_dtype = read_safetensors(path, tensor=tensor, mapped=mapped)
    else:
        matrix, source_dtype = read_npy(path, mapped=mapped)
    return _with_tokens(matrix, source_dtype, path, tokens)


def _with_tokens(matrix: RowMatrix, dtype: str, path: Path, tokens: Path | None) -> SourceRows:
    names, notes = tokens_for_array(path, n_rows=len(matrix), given=tokens)
    return SourceRows(matrix=matrix, source_dtype=dtype, tokens=names, notes=notes)


def _read_text(path: Path, tokens: Path | None) -> SourceRows:
    if tokens is not None:
        raise SourceError(
            f"{path.name} holds its tokens itself, but the file {str(tokens)!r} was given; "
            "leave the file of tokens out"
        )
    return read_word_vectors(path)
