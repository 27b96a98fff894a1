"""How often each token occurs in text, and the row weights made from that.

The squared error of an embedding counts every row alike; a sentence meets "the" a million times as
often as most. Weights close that gap, and their floor keeps rare rows from being given up.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import ParameterError, ShapeError, SourceError
from engine.frequencies.counting import count_file, count_language
from engine.frequencies.encoding import encoder_of, has_tokenizer
from engine.frequencies.running_text import languages
from engine.frequencies.words import check_words, count_words_of_file, count_words_of_language
from engine.table import EmbeddingTable
from engine.wording import counted

DEFAULT_POWER = 0.5
DEFAULT_FLOOR = 16.0  # per million
_MOST_WITHOUT_ROW = 0.01  # as when tokens are read: more is the tokenizer of another model


def token_counts(
    tokenizer: object,
    source: str | Path = "en",
    *,
    punctuation: bool = True,
    special_tokens: bool = True,
) -> Tensor:
    """Expected occurrences of each token in a million tokens of text.

    Args:
        tokenizer: A tokenizer of transformers or tokenizers, or the model it belongs to
            ("bundled:minilm", "org/name", a folder).
        source: A language of wordfreq ("en", "de", "zh"): each word of its list is tokenised as it
            stands in running text and counted by its frequency. Lists are in lower case; a
            tokenizer that tells case apart sees a capital at each start of a sentence, while names
            stay small. Or the path of your own text, UTF-8, plain or gzipped, read by lines.
        punctuation: Whether a language's text has punctuation, which wordfreq has not: the marks
            of an English corpus, 190 for each 1,000 words. A text file has its own.
        special_tokens: Whether what the tokenizer puts around each text ([CLS], [SEP]) counts: once
            a sentence of 13.5 words, or once a line of a file.

    Returns:
        Shape (n,), float64, adding up to a million; n is the size of the vocabulary.

    Raises:
        ParameterError: If the source is neither a language nor a file, or the tokenizer is none.
        SourceError: If the file is empty or not UTF-8, or the model has no tokenizer.

    Cost: about three seconds for English, 330,000 words.
    """
    language, path = find_counted(source)
    encoder = encoder_of(tokenizer)
    if path is not None:
        counts = count_file(encoder, path, special_tokens=special_tokens)
    else:
        counts = count_language(
            encoder, language, punctuation=punctuation, special_tokens=special_tokens
        )
    total = float(counts.sum())
    if not total > 0:
        raise SourceError(f"the tokenizer makes no tokens of {source}; give another text")
    return counts * (1e6 / total)


def table_token_counts(
    table: EmbeddingTable,
    source: str | Path = "en",
    *,
    tokenizer: object | None = None,
    punctuation: bool = True,
    special_tokens: bool = True,
) -> Tensor:
    """Expected occurrences of each row of a table in a million tokens of text.

    A model's rows are counted with its tokenizer. Without one, rows are words and are looked up as
    they are; those of one word in several cases share its count.

    Args:
        table: From `engine.load_table`.
        source: As in `token_counts`.
        tokenizer: The one that the rows belong to, where the table does not come from a model.
        punctuation: As in `token_counts`; for word vectors, of a text file too.
        special_tokens: As in `token_counts`; word vectors have none.

    Returns:
        Shape (n,), float64; 0 for rows that no text uses (padding, unused).

    Raises:
        ParameterError: As `token_counts` does.
        SourceError: As `token_counts` does; or if rows are named by number, are pieces of words
            without a tokenizer, belong to another tokenizer, or none of them occurs.
    """
    language, path = find_counted(source)
    if tokenizer is None and has_tokenizer(table.spec):
        tokenizer = table.spec
    if tokenizer is None:
        check_words(table.tokens, table.name)
        if path is not None:
            counts = count_words_of_file(table.tokens, path, punctuation=punctuation)
        else:
            counts = count_words_of_language(table.tokens, language, punctuation=punctuation)
    else:
        counts = _fit_to_rows(
            token_counts(
                tokenizer,
                source,
                punctuation=punctuation,
                special_tokens=special_tokens,
            ),
            table,
        )
    if not bool(counts.any()):
        raise SourceError(
            f"none of the {counted(len(table.tokens), 'token')} of {table.name} occurs in "
            f"{source}; give the language or a text that the table was made for"
        )
    return counts


def token_weights(
    counts: Tensor, power: float = DEFAULT_POWER, floor: float = DEFAULT_FLOOR
) -> Tensor:
    """Row weights from token counts: (count + floor) ** power.

    Args:
        counts: Occurrences per million tokens, shape (n,), from `token_counts`.
        power: 0 weighs all rows alike, 1 by occurrence.
        floor: Added to each count, per million: what a token that never occurs is worth.

    Returns:
        Shape (n,), float64, for the ``weights`` of `engine.factorize`.

    Raises:
        ShapeError: If the counts have not one axis.
        ParameterError: If a count is negative or not finite, or power or floor is negative, not
            finite, or so large that a weight overflows.
    """
    if counts.ndim != 1 or not len(counts):
        raise ShapeError(f"expected one count a row, shape (n,), got {tuple(counts.shape)}")
    for name, value in (("power", power), ("floor", floor)):
        if not (math.isfinite(value) and value >= 0):
            raise ParameterError(f"{name} must be 0 or more and finite, got {value:g}")
    doubled = counts.detach().double()
    if not bool(torch.isfinite(doubled).all()) or float(doubled.min()) < 0:
        raise ParameterError("counts must be finite and not negative; take them from token_counts")
    weights = (doubled + floor) ** power
    if not bool(torch.isfinite(weights).all()):
        raise ParameterError(f"power = {power:g} makes a weight overflow; lower it, 1 is plenty")
    return weights


def find_counted(source: str | Path) -> tuple[str, Path | None]:
    """What tokens are counted in: a language and no path, or the path of a text.

    Args:
        source: As in `token_counts`.

    Raises:
        ParameterError: If it is neither.
    """
    if isinstance(source, str) and source in languages():
        return source, None
    path = Path(source).expanduser()
    if path.is_file():
        return "", path
    raise ParameterError(
        f"expected a language or a text file, got {str(source)!r}, which is no file here; the "
        f"languages are {', '.join(languages())}"
    )


def _fit_to_rows(counts: Tensor, table: EmbeddingTable) -> Tensor:
    """Counts by tokenizer → counts by row: padding rows occur never, tokens without row go."""
    n = len(table.tokens)
    if len(counts) - n > max(1, _MOST_WITHOUT_ROW * n):
        raise SourceError(
            f"the tokenizer has {counted(len(counts), 'token')}, but {table.name} only "
            f"{counted(n, 'row')}; they belong to different models, give the right tokenizer"
        )
    fitted = torch.zeros(n, dtype=torch.float64)
    fitted[: len(counts)] = counts[:n]
    return fitted
