"""Rows get the tokens of the model's own tokenizer, in every form it is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.sources.files import FolderFiles
from engine.sources.vocabulary import tokens_for_model

WORDS = ["[UNK]", "cat", "dog", "\u2028", "##s"]


def write_tokenizer_json(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {word: row for row, word in enumerate(WORDS[:-1])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.add_tokens([WORDS[-1]])
    tokenizer.save(str(folder / "tokenizer.json"))


def write_vocab_txt(folder: Path) -> None:
    text = "".join(f"{word}\n" for word in WORDS)
    (folder / "vocab.txt").write_text(text, encoding="utf-8")


def write_vocab_json(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(WORDS[:-1])}))
    (folder / "added_tokens.json").write_text(json.dumps({WORDS[-1]: len(WORDS) - 1}))


FORMS = [write_tokenizer_json, write_vocab_txt, write_vocab_json]


@pytest.mark.parametrize("write", FORMS)
def test_tokens_follow_the_row_numbers(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)

    assert tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=5) == (WORDS, [])


def test_padding_rows_are_named_by_number(tmp_path: Path) -> None:
    write_vocab_txt(tmp_path)

    tokens, notes = tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=7)

    assert tokens == [*WORDS, "[row 5]", "[row 6]"]
    assert notes == [
        "2 rows have no token in the tokenizer (padding or unused) and are named by number, "
        "as in “[row 5]”."
    ]


def test_one_added_token_without_a_row_is_noted(tmp_path: Path) -> None:
    write_tokenizer_json(tmp_path)

    tokens, notes = tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=4)

    assert tokens == WORDS[:4]
    assert notes == ["1 token has no row in the embedding and cannot be shown."]


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    write_vocab_txt(tmp_path)

    with pytest.raises(SourceError, match=r"tokenizer has 5 tokens, but its embedding only 2 rows"):
        tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=2)


def test_a_tokenizer_only_transformers_can_read(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    ByT5Tokenizer(extra_ids=0).save_pretrained(tmp_path)
    for light in ("tokenizer.json", "vocab.txt", "vocab.json", "added_tokens.json"):
        (tmp_path / light).unlink(missing_ok=True)

    tokens, _ = tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=300)

    assert tokens[0] == "<pad>"
    assert tokens[ord("a") + 3] == "a"  # ByT5: bytes after three special tokens


def test_an_unreadable_tokenizer_leaves_row_numbers_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "NoSuchTokenizer"}')

    tokens, notes = tokens_for_model(FolderFiles(tmp_path, name="m"), n_rows=2)

    assert list(tokens) == ["row 0", "row 1"]
    assert notes[0].startswith("The tokenizer of m could not be read: ")
    assert notes[1] == "m has no tokenizer that can be read, so rows are named by their number."
