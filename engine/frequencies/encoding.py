"""Tokenizers of every make behind one small face: texts in, row numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from engine.errors import ParameterError, SourceError
from engine.sources.bundled import PREFIX, bundled_files
from engine.sources.files import FolderFiles, HubFiles, ModelFiles
from engine.sources.vocabulary import TOKENIZER_FILES

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Encoder(Protocol):
    """A tokenizer as far as counting needs one."""

    @property
    def n_rows(self) -> int:
        """One more than the highest row number it can give."""
        ...

    def encode(self, texts: list[str], *, special: bool) -> list[list[int]]:
        """Row numbers of each text, with or without the special tokens around it."""
        ...


def encoder_of(tokenizer: object) -> Encoder:
    """Take a tokenizer of any make, or find the one of a model.

    Args:
        tokenizer: A `tokenizers.Tokenizer`, a tokenizer of transformers, or what `load_table` takes
            for a model ("bundled:minilm", "org/name", a folder).

    Returns:
        It behind `Encoder`; nothing about the given object changes, its truncation and padding
        are left out.

    Raises:
        ParameterError: If it is none of these.
        SourceError: If the model has no tokenizer that can be read.
    """
    from tokenizers import Tokenizer

    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if isinstance(backend, Tokenizer):
        return _RustEncoder(backend)
    if callable(tokenizer) and hasattr(tokenizer, "get_vocab"):
        return _PythonEncoder(tokenizer)
    raise ParameterError(
        "expected a tokenizer of transformers or tokenizers, or the id or folder of a model that "
        f"has one, got {type(tokenizer).__name__}"
    )


def has_tokenizer(spec: str) -> bool:
    """Whether a table's spec names a model with a tokenizer, and not a file or shards of vectors.

    Args:
        spec: What `load_table` took.

    Raises:
        SourceError: If the spec is a Hugging Face id and the hub cannot be reached.
    """
    path = Path(spec).expanduser()
    if not spec or path.is_file() or "*" in path.name:
        return False
    files = _model_files(spec, path)
    if files.find("tokenizer.json") is not None:
        return True
    # beside mere vectors, "vocab.txt" is a list of their words
    return files.find("config.json") is not None and bool(_slow_files(files))


def load_tokenizer(spec: str | Path) -> object:
    """Load the tokenizer of a model, by the light library where it can.

    Args:
        spec: ``"bundled:minilm"``, a model folder, a tokenizer.json or a Hugging Face id.

    Returns:
        A `tokenizers.Tokenizer` or a tokenizer of transformers; no code of a model is run.

    Raises:
        SourceError: If there is no tokenizer or it cannot be read.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        return _read_tokenizer_json(path)
    files = _model_files(str(spec), path)
    light = files.find("tokenizer.json")
    if light is not None:
        return _read_tokenizer_json(light)
    if not _slow_files(files):
        raise SourceError(
            f"{files.name} has no tokenizer, so how often its tokens occur cannot be counted; put "
            "tokenizer.json beside the model, or give a tokenizer"
        )
    return _read_with_transformers(files)


def _slow_files(files: ModelFiles) -> list[str]:
    """Tokenizer files for transformers; a model of the hub fetches all that it has."""
    return [name for name in TOKENIZER_FILES if files.find(name) is not None]


class _RustEncoder:
    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer

        if tokenizer.truncation is not None or tokenizer.padding is not None:
            # a copy: the one given is somebody's
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.n_rows = _rows_of(tokenizer.get_vocab(with_added_tokens=True))

    def encode(self, texts: list[str], *, special: bool) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]


class _PythonEncoder:
    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - transformers' class is not imported
        self._tokenizer = tokenizer
        self.n_rows = _rows_of(tokenizer.get_vocab())

    def encode(self, texts: list[str], *, special: bool) -> list[list[int]]:
        encoded = self._tokenizer(
            texts, add_special_tokens=special, truncation=False, padding=False, verbose=False
        )
        return cast("list[list[int]]", encoded["input_ids"])


def _rows_of(vocabulary: Mapping[str, int]) -> int:
    if not vocabulary:
        raise SourceError("the tokenizer has no tokens; give one that is trained")
    return max(vocabulary.values()) + 1


def _model_files(spec: str, path: Path) -> ModelFiles:
    if spec.startswith(PREFIX):
        return bundled_files(spec.removeprefix(PREFIX))
    if spec and path.is_dir():
        return FolderFiles(path, name=path.resolve().name)
    return HubFiles(spec)


def _read_tokenizer_json(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the compiled library raises plain Exception for every damage
        raise SourceError(
            f"{path.name}: expected a tokenizer as the tokenizers library writes it, but it cannot "
            f"be read ({error}); download it again, or give a tokenizer"
        ) from error


def _read_with_transformers(files: ModelFiles) -> object:
    from transformers import AutoTokenizer

    try:
        return cast("object", AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False))
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise SourceError(
            f"the tokenizer of {files.name} cannot be read ({reason}); give a tokenizer"
        ) from error
