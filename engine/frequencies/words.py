"""Counts for a table of plain words: no tokenizer, each row is a word as it stands in text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import SourceError
from engine.frequencies.running_text import (
    SENTENCES_PER_WORD,
    lines_of,
    marks_of,
    words_of,
)
from engine.table import RowNumbers
from engine.wording import counted

_TEXT_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_PARTS = re.compile(r"['’-]|[^'’-]+")
_NUMBERED = re.compile(r"\[?row \d+\]?")
# Marks by which tokenizers tell pieces of words from whole ones.
_PIECE_MARKS = ("##", "Ġ", "▁")
_MOST_PIECES = 0.02  # a few words of a plain table may begin so


class WordRows:
    """Which rows stand for a word, whatever its case."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._exact = whole_words(tokens)
        self._by_lower: dict[str, list[str]] = {}
        for word in self._exact:
            self._by_lower.setdefault(word.lower(), []).append(word)

    def exact(self, word: str) -> int | None:
        """The row of the word as written, or else of its form of the plainest case."""
        row = self._exact.get(word)
        if row is not None:
            return row
        forms = self._by_lower.get(word.lower())
        return self._exact[_by_plainness(forms)[0]] if forms else None

    def shares(self, word: str) -> list[tuple[int, float]]:
        """Rows of a lower-case word and how its occurrences divide among them.

        A list in lower case cannot tell "the" from "The": a capital is counted where a sentence
        begins, and the plainest form gets the rest.
        """
        forms = _by_plainness(self._by_lower.get(word, []))
        if not forms:
            return []
        rows = [self._exact[form] for form in forms]
        if len(forms) > 1 and forms[1][1:] == forms[0][1:]:
            return [(rows[0], 1 - SENTENCES_PER_WORD), (rows[1], SENTENCES_PER_WORD)]
        return [(rows[0], 1.0)]


def whole_words(tokens: Sequence[str]) -> dict[str, int]:
    """Rows that stand for a whole word, by that word.

    Args:
        tokens: One a row: plain words; or pieces with the marks by which tokenizers tell what goes
            on (``##ing``) or what begins (``Ġthe``, ``▁the``). Pieces are left out.

    Returns:
        Words without their marks, each with its row.
    """
    mark = piece_mark(tokens)
    if mark is None:
        return {token: row for row, token in enumerate(tokens)}
    if mark == "##":
        return {token: row for row, token in enumerate(tokens) if not token.startswith(mark)}
    return {
        token.removeprefix(mark): row
        for row, token in enumerate(tokens)
        if token.startswith(mark) and token != mark
    }


def piece_mark(tokens: Sequence[str]) -> str | None:
    """The mark by which these tokens tell pieces of words from whole ones.

    Args:
        tokens: One a row.

    Returns:
        "##" at what goes on, "Ġ" or "▁" at what begins; None where they are plain words.
    """
    for mark in _PIECE_MARKS:
        if sum(token.startswith(mark) for token in tokens) > _MOST_PIECES * len(tokens):
            return mark
    return None


def check_words(tokens: Sequence[str], name: str) -> None:
    """Refuse tokens that text cannot be searched for.

    Raises:
        SourceError: If rows are named by number, or are pieces of words.
    """
    if isinstance(tokens, RowNumbers) or all(_NUMBERED.fullmatch(token) for token in tokens):
        raise SourceError(
            f"the rows of {name} are named by number only, so how often they occur cannot be "
            "known; name a file of tokens with the table, or give its tokenizer"
        )
    pieces = sum(token.startswith(_PIECE_MARKS) for token in tokens)
    if pieces > _MOST_PIECES * len(tokens):
        raise SourceError(
            f"{pieces:,} of the {counted(len(tokens), 'token')} of {name} are pieces of words, "
            "which only their tokenizer can count; give it with tokenizer="
        )


def count_words_of_language(tokens: Sequence[str], language: str, *, punctuation: bool) -> Tensor:
    """Expected occurrences of words per million words and marks of a language.

    Args:
        tokens: One word a row, unique.
        language: A code of wordfreq.
        punctuation: Whether commas and their like count.

    Returns:
        Shape (n,), float64; 0 for words that the language's list has not.
    """
    rows, counts = WordRows(tokens), [0.0] * len(tokens)
    occurring = words_of(language)
    total = sum(occurring.values())
    for word, share in occurring.items():
        for row, part in rows.shares(word):
            counts[row] += share * part
    if punctuation:
        for mark, rate in marks_of(language).items():
            row = rows.exact(mark.strip())
            total += rate
            if row is not None:
                counts[row] += rate
    return torch.tensor(counts, dtype=torch.float64) * (1e6 / total)


def count_words_of_file(tokens: Sequence[str], path: Path, *, punctuation: bool) -> Tensor:
    """Occurrences of words per million words and marks of a text file.

    A word with an apostrophe or hyphen that is no row counts as its parts.

    Args:
        tokens: One word a row, unique.
        path: UTF-8 text, plain or gzipped.
        punctuation: Whether marks count.

    Returns:
        Shape (n,), float64.

    Raises:
        SourceError: If the file cannot be read or holds no text.
    """
    rows, counts, total = WordRows(tokens), Counter[int](), 0
    for line in lines_of(path):
        for found in _TEXT_WORD.findall(line):
            for word in [found] if rows.exact(found) is not None else _PARTS.findall(found):
                if punctuation or word[0].isalnum():
                    total += 1
                    row = rows.exact(word)
                    if row is not None:
                        counts[row] += 1
    if not total:
        raise SourceError(f"{path.name} holds no words; give a text file with some")
    result = torch.zeros(len(tokens), dtype=torch.float64)
    for row, count in counts.items():
        result[row] = count * (1e6 / total)
    return result


def _by_plainness(forms: list[str]) -> list[str]:
    """Lower case first, then a capital, then the rest."""
    if len(forms) < 2:
        return forms
    return sorted(forms, key=lambda form: (form != form.lower(), form[1:] != form[1:].lower()))
