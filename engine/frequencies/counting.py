"""Occurrences of a tokenizer's tokens: in a text file, or expected in text of a language."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import SourceError
from engine.frequencies.encoding import Encoder
from engine.frequencies.running_text import (
    SENTENCES_PER_WORD,
    lines_of,
    marks_of,
    space_before_words,
    words_of,
)

_LINES = 1_024  # of a text file, encoded together
_CHARACTERS = 1 << 21  # fewer lines where they are this long together
_BATCH = 8_192  # words encoded together: fills every core, holds a few MB of row numbers
_PROBES = 256  # words that decide how a word is set into running text


class Tally:
    """Adds up occurrences by row number."""

    def __init__(self, n_rows: int) -> None:
        self.counts: Tensor = torch.zeros(n_rows, dtype=torch.float64)

    def add(self, rows: list[list[int]], amounts: list[float]) -> None:
        """Count each list of row numbers as often as its amount says."""
        lengths = [len(found) for found in rows]
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
        weights = np.repeat(np.asarray(amounts, dtype=np.float64), lengths)
        sums = np.bincount(flat, weights=weights, minlength=len(self.counts))
        self.counts += torch.from_numpy(sums)


def count_file(encoder: Encoder, path: Path, *, special_tokens: bool) -> Tensor:
    """Occurrences in a text file, each line encoded as one text.

    Args:
        encoder: The tokenizer.
        path: UTF-8 text, plain or gzipped.
        special_tokens: Whether the tokens around each line count.

    Returns:
        Shape (n,), float64.

    Raises:
        SourceError: If the file cannot be read or holds no text.
    """
    tally, empty = Tally(encoder.n_rows), True
    for block in _blocks(lines_of(path)):
        empty = False
        tally.add(encoder.encode(block, special=special_tokens), [1.0] * len(block))
    if empty:
        raise SourceError(f"{path.name} holds no words; give a text file with some")
    return tally.counts


def count_language(
    encoder: Encoder, language: str, *, punctuation: bool, special_tokens: bool
) -> Tensor:
    """Expected occurrences in text of a language, per word of it.

    Args:
        encoder: The tokenizer.
        language: A code of wordfreq.
        punctuation: Whether marks count.
        special_tokens: Whether the tokens around each sentence count.

    Returns:
        Shape (n,), float64.
    """
    occurring = words_of(language)
    space = space_before_words(language)
    after_word = next(iter(occurring))
    tally = Tally(encoder.n_rows)
    setting = _Setting.of(encoder, f",{space}", list(islice(occurring, _PROBES)))
    spelt, shares = _with_capitals(encoder, occurring)
    setting.count(spelt, shares, tally)
    if punctuation:
        rates = marks_of(language)
        _Setting(encoder, after_word).count(list(rates), list(rates.values()), tally)
    if special_tokens:
        around = encoder.encode([""], special=True)
        tally.add(around, [SENTENCES_PER_WORD])
    return tally.counts


def _blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    block, held = list[str](), 0
    for line in lines:
        block.append(line)
        held += len(line)
        if len(block) == _LINES or held > _CHARACTERS:
            yield block
            block, held = [], 0
    if block:
        yield block


def _with_capitals(encoder: Encoder, occurring: dict[str, float]) -> tuple[list[str], list[float]]:
    """The words, and where the tokenizer tells case apart, with a capital at sentence starts."""
    words, shares = list(occurring), list(occurring.values())
    capital = [word[:1].upper() + word[1:] for word in words]
    probes = slice(0, _PROBES)
    plain = encoder.encode(words[probes], special=False)
    if plain == encoder.encode(capital[probes], special=False):
        return words, shares
    spelt, amounts = list[str](), list[float]()
    for word, first, share in zip(words, capital, shares, strict=True):
        raised = SENTENCES_PER_WORD if first != word else 0.0
        spelt.append(word)
        amounts.append(share * (1 - raised))
        if raised:
            spelt.append(first)
            amounts.append(share * raised)
    return spelt, amounts


class _Setting:
    """How words are set so that the tokenizer sees them as in the middle of a text.

    Vocabularies mark the space before a word, or the word that goes on: a word alone can come out
    other than after a word. So it is encoded behind something whose own tokens are taken off.
    """

    def __init__(self, encoder: Encoder, before: str, taken: str | None = None) -> None:
        self._encoder = encoder
        self._before = before
        self._taken = encoder.encode([before if taken is None else taken], special=False)[0]

    @classmethod
    def of(cls, encoder: Encoder, before: str, probes: list[str]) -> _Setting:
        """The plain word, or the word behind a space, where that makes no difference."""
        exact = cls(encoder, before, before.rstrip())
        wanted = exact.encode(probes)
        for prefix in ("", " "):
            plain = cls(encoder, prefix, "")
            if plain.encode(probes) == wanted:
                return plain
        return exact

    def encode(self, words: list[str]) -> list[list[int]]:
        encoded = self._encoder.encode([self._before + word for word in words], special=False)
        taken = self._taken
        if not taken:
            return encoded
        # where the two grew together there is nothing to take off, and the word counts as it came
        return [rows[len(taken) :] if rows[: len(taken)] == taken else rows for rows in encoded]

    def count(self, words: list[str], amounts: list[float], tally: Tally) -> None:
        for start in range(0, len(words), _BATCH):
            part = slice(start, start + _BATCH)
            tally.add(self.encode(words[part]), amounts[part])
