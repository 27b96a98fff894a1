"""The token of each row, from the tokenizer files of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from engine.errors import SourceError
from engine.sources.files import ModelFiles
from engine.sources.tokens import read_lines
from engine.table import RowNumbers
from engine.wording import counted

# A few added tokens without a row are common; more means a tokenizer of another model.
_MOST_WITHOUT_ROW = 0.01
TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "source.spm",
    "target.spm",
    "sentencepiece.model",
    "sentencepiece.bpe.model",
    "bpe.codes",
)
"""What transformers makes a tokenizer from where there is no tokenizer.json."""


def tokens_for_model(files: ModelFiles, *, n_rows: int) -> tuple[Sequence[str], list[str]]:
    """Name each row of a model's embedding by its token.

    Args:
        files: The files of the model.
        n_rows: Rows of the embedding.

    Returns:
        One token a row, not yet unique, and notes for the user: on rows beyond the vocabulary,
        which are named "[row 30522]", and on tokens beyond the rows, which are left out.

    Raises:
        SourceError: If a tokenizer file is damaged, or clearly belongs to another model.
    """
    vocabulary, notes = _read_vocabulary(files)
    if vocabulary is None:
        which = "has no tokenizer that can be read" if notes else "has no tokenizer"
        notes.append(f"{files.name} {which}, so rows are named by their number.")
        return RowNumbers(n_rows), notes
    tokens: list[str | None] = [None] * n_rows
    outside = 0
    for token, row in vocabulary.items():
        if 0 <= row < n_rows:
            tokens[row] = token
        else:
            outside += 1
    if outside > max(1, _MOST_WITHOUT_ROW * n_rows):
        raise SourceError(
            f"{files.name}: its tokenizer has {counted(len(vocabulary), 'token')}, but its "
            f"embedding only {counted(n_rows, 'row')}; they belong to different models. Put the "
            "right tokenizer files beside the model, or name a file of tokens"
        )
    if outside:
        noun = "token has" if outside == 1 else "tokens have"
        notes.append(f"{outside:,} {noun} no row in the embedding and cannot be shown.")
    unnamed = tokens.count(None)
    if unnamed:
        have, are = ("row has", "is") if unnamed == 1 else ("rows have", "are")
        notes.append(
            f"{unnamed:,} {have} no token in the tokenizer (padding or unused) and {are} named by "
            f"number, as in “[row {tokens.index(None)}]”."
        )
    return [f"[row {row}]" if token is None else token for row, token in enumerate(tokens)], notes


def _read_vocabulary(files: ModelFiles) -> tuple[dict[str, int] | None, list[str]]:
    for file_name, read in _LIGHT_READERS.items():
        path = files.find(file_name)
        if path is not None:
            vocabulary = read(path)
            added = files.find("added_tokens.json") if read is not _read_tokenizer_json else None
            return {**vocabulary, **(_read_vocab_json(added) if added else {})}, []
    found = [name for name in TOKENIZER_FILES if files.find(name) is not None]
    if not found:
        return None, []
    return _read_with_transformers(files)


def _read_tokenizer_json(path: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the compiled library raises plain Exception for every damage
        raise SourceError(
            f"{path.name}: expected a tokenizer as the tokenizers library writes it, but it cannot "
            f"be read ({error}); download it again, or name a file of tokens"
        ) from error


def _read_vocab_txt(path: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = {}
    for row, token in enumerate(read_lines(path)):
        # the first keeps the name; a later row of the same token shows as a row without one
        vocabulary.setdefault(token, row)
    return vocabulary


def _read_vocab_json(path: Path) -> dict[str, int]:
    try:
        content: Any = json.loads(path.read_bytes())
    except ValueError as error:
        content = error
    valid = isinstance(content, dict) and all(
        isinstance(row, int) for row in cast("dict[str, Any]", content).values()
    )
    if not valid:
        raise SourceError(
            f"{path.name}: expected JSON of the form {{token: row}}, but it cannot be read so; "
            "download it again, or name a file of tokens"
        )
    return cast("dict[str, int]", content)


def _read_with_transformers(files: ModelFiles) -> tuple[dict[str, int] | None, list[str]]:
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
        return dict(tokenizer.get_vocab()), []
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError) as error:
        # a missing sentencepiece or an unknown tokenizer class: the rows are still worth showing
        reason = str(error).strip().split("\n", 1)[0]
        return None, [f"The tokenizer of {files.name} could not be read: {reason}"]


_LIGHT_READERS: dict[str, Callable[[Path], dict[str, int]]] = {
    "tokenizer.json": _read_tokenizer_json,
    "vocab.txt": _read_vocab_txt,
    "vocab.json": _read_vocab_json,
}
