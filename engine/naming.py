"""A short plain name for each subspace, from what its tokens are and the others are not.

A kind of token names a subspace where it is common there and clearly commoner than elsewhere; the
thresholds below were set by looking at the names of plans of k = 3 … 20 of a BERT vocabulary. What
no kind tells apart is named by its most typical tokens.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from engine.errors import ShapeError
from engine.frequencies.words import piece_mark

# A kind is worth saying from a sixth of the tokens on, if that is half as much again as it is of
# the whole vocabulary; a second kind, if it adds a tenth that the first has not.
_LEAST_SHARE, _LEAST_LIFT, _LEAST_ADDED, _MOST_KINDS = 1 / 6, 1.5, 0.1, 2
# An ending says less than a kind: it must be twice as common, but a few of them add up.
_ENDING_SHARE, _ENDING_LIFT, _MOST_ENDINGS = 0.06, 2.0, 3
# Rarer ones could name a sixtieth of the table at most, or a few words that happen to rhyme.
_RAREST_ENDING, _FEWEST_RHYMES = 1e-3, 5  # of all tokens; tokens
_SAME = 0.8  # "Cyrillic" rather than "other scripts", "-ing" rather than "-ng", from this share on
_NEARLY_ALL, _MOSTLY = 0.85, 0.5  # shares of a subspace that need no "mostly", and no "many"
_EXAMPLES, _EXAMPLE_LETTERS = 2, 16

_PIECES, _SPECIAL, _NUMBERS = "word pieces", "special tokens", "numbers"
_MARKS, _CAPITALS, _SCRIPTS = "punctuation and symbols", "capitalised words", "other scripts"
_LETTERS, _BYTES, _UNUSED = "single letters", "parts of letters", "unused tokens"
_SPECIAL_TOKEN = re.compile(r"\[[^\]\s]+\]|<[^>\s]+>")
_UNUSED_TOKEN = re.compile(r".(?:unused|reserved|extra_id|extra_token|pad)[\W_]?", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d.,:/-]*(?:st|nd|rd|th|s)?")
_WORD_WITH_ENDING = re.compile(r"[^\W\d_]{5,}")
_SCRIPT_NAMES = {"Cjk": "Chinese characters", "Hiragana": "Japanese", "Katakana": "Japanese"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kind:
    """What some tokens have in common.

    Attributes:
        name: Of the kind, or an ending.
        rows: Which tokens, shape (m,).
        within: The wider kind that all of them are of as well, if there is one.
    """

    name: str
    rows: Tensor
    within: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Choice:
    """Kinds that tell a subspace apart, and which rows of the table they are, (n,) of truths."""

    names: tuple[str, ...]
    covered: Tensor


def suggest_names(
    tokens: Sequence[str], labels: Tensor, k: int, typical: Sequence[Sequence[int]]
) -> tuple[str, ...]:
    """A name for each subspace ("numbers", "mostly word pieces", "like berlin, paris").

    Args:
        tokens: One a row, n of them.
        labels: Shape (n,), int64, each in 0 … k−1.
        k: Number of subspaces.
        typical: For each, row numbers that show best what it is, best first; as in
            `engine.measures.SubspaceSummary.typical_rows`.

    Returns:
        k names, no two alike; an empty subspace is called so. "Mostly" is half of its tokens or
        more, "many" a sixth or more, and always clearly more than in the whole vocabulary.

    Raises:
        ShapeError: If the lengths differ.

    Cost: about 0.3 s for 30,000 tokens, a tenth of it when asked again of the same.
    """
    if len(tokens) != len(labels) or len(typical) != k:
        raise ShapeError(
            f"{len(tokens):,} tokens and k = {k} need as many labels and lists of typical rows, "
            f"got {len(labels):,} and {len(typical)}"
        )
    mark = piece_mark(tokens)
    kinds, endings = _sort_tokens(tuple(tokens), mark)
    names: list[str] = []
    for label in range(k):
        members = labels == label
        rows, total = typical[label], int(members.sum())
        choice = _choose(kinds, members, (_LEAST_SHARE, _LEAST_LIFT, _MOST_KINDS))
        what = " and ".join(choice.names)
        if not choice.names:
            choice = _choose(endings, members, (_ENDING_SHARE, _ENDING_LIFT, _MOST_ENDINGS))
            what = f"words in {', '.join(choice.names)}"
        share = float((choice.covered & members).sum()) / max(1, total)
        examples = _examples([row for row in rows if not choice.covered[row]], tokens, mark)
        if share < _LEAST_SHARE:
            examples = _examples(rows, tokens, mark)
        names.append(_compose(what, share, examples) if total else "empty")
    return _distinct(names, [_examples(rows, tokens, mark) for rows in typical])


@lru_cache(maxsize=2)  # plan after plan is made of the same tokens, and this is most of the time
def _sort_tokens(tokens: tuple[str, ...], mark: str | None) -> tuple[list[_Kind], list[_Kind]]:
    """The kinds there are, and the endings of whole words; a token may be of several."""
    of_kind: dict[tuple[str, str | None], list[int]] = {}
    of_ending: dict[tuple[str, str | None], list[int]] = {}
    for row, token in enumerate(tokens):
        text, goes_on = _read_token(token, mark)
        for kind in _kinds_of(token, text, goes_on):
            of_kind.setdefault(kind, []).append(row)
        if not goes_on and _WORD_WITH_ENDING.fullmatch(text):
            short, long = f"-{text[-2:].lower()}", f"-{text[-3:].lower()}"
            of_ending.setdefault((short, None), []).append(row)
            of_ending.setdefault((long, short), []).append(row)
    least = max(_FEWEST_RHYMES, round(_RAREST_ENDING * len(tokens)))
    return _as_kinds(of_kind), _as_kinds(of_ending, least)


def _as_kinds(groups: dict[tuple[str, str | None], list[int]], least: int = 0) -> list[_Kind]:
    return [
        _Kind(name=name, rows=torch.tensor(rows), within=within)
        for (name, within), rows in sorted(groups.items(), key=lambda group: group[0][0])
        if len(rows) >= least
    ]


def _read_token(token: str, mark: str | None) -> tuple[str, bool]:
    """What a token is without its mark, and whether it goes on with a word begun before."""
    if mark is None or _SPECIAL_TOKEN.fullmatch(token):
        return token, False
    begins = token.startswith(mark) and token != mark
    text = token.removeprefix(mark) if begins else token
    if mark == "Ġ":
        text = _from_bytes(text)
    return text, begins if mark == "##" else not begins and text[:1].isalpha()


def _from_bytes(text: str) -> str:
    """Undo the alphabet of byte-level tokenizers; a part of a letter becomes U+FFFD."""
    try:
        return bytes(_BYTE_OF[letter] for letter in text).decode("utf-8", "replace")
    except KeyError:  # an added token, which is plain text
        return text


def _byte_alphabet() -> dict[str, int]:
    """Letters that byte-level tokenizers write bytes with: themselves where they can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {
        chr(256 + place): byte for place, byte in enumerate(hidden)
    }


_BYTE_OF = _byte_alphabet()


def _kinds_of(token: str, text: str, goes_on: bool) -> Iterator[tuple[str, str | None]]:
    """Names of the kinds that a token is of, each with the wider kind around it."""
    first = next((letter for letter in text if letter.isalnum()), None)
    if _SPECIAL_TOKEN.fullmatch(token):
        yield _SPECIAL, None
        if _UNUSED_TOKEN.match(token):
            yield _UNUSED, _SPECIAL
    elif "\ufffd" in text:
        yield _BYTES, None
    elif first is None:
        yield _MARKS, None
    else:
        if goes_on:
            yield _PIECES, None
        if _NUMBER.fullmatch(text):
            yield _NUMBERS, None
        elif not first.isascii() and (script := _script(first)) is not None:
            yield _SCRIPTS, None
            yield script, _SCRIPTS
        elif len(text) == 1:
            yield _LETTERS, None
        elif first.isupper():
            yield _CAPITALS, None


def _script(letter: str) -> str | None:
    """Of a letter or sign, None if it is Latin: the first word of its Unicode name."""
    script = re.split(r"[ -]", unicodedata.name(letter, "?"))[0].capitalize()
    return None if script == "Latin" else _SCRIPT_NAMES.get(script, script)


def _choose(kinds: list[_Kind], members: Tensor, least: tuple[float, float, int]) -> _Choice:
    """The fewest kinds that say most of the members; ``least`` is a share, a lift, and how many."""
    n, total = len(members), max(1, int(members.sum()))
    fit: dict[str, tuple[_Kind, float, float]] = {}
    for kind in kinds:
        share = float(members[kind.rows].sum()) / total
        lift = share * n / len(kind.rows)
        if share >= least[0] and lift >= least[1]:
            fit[kind.name] = (kind, share, lift)
    for name, (kind, share, _) in list(fit.items()):
        if kind.within in fit and share >= _SAME * fit[kind.within][1]:
            del fit[kind.within]
        elif kind.within in fit:
            del fit[name]
    names: list[str] = []
    covered = torch.zeros(n, dtype=torch.bool)
    while fit and len(names) < least[2]:
        added = {
            name: float((members[kind.rows] & ~covered[kind.rows]).sum()) / total
            for name, (kind, _, _) in fit.items()
        }
        best = max(fit, key=lambda name: added[name] * math.log(fit[name][2]))
        if added[best] < min(_LEAST_ADDED, least[0]):
            break
        covered[fit.pop(best)[0].rows] = True
        names.append(best)
    return _Choice(names=tuple(names), covered=covered)


def _examples(rows: Iterable[int], tokens: Sequence[str], mark: str | None) -> str:
    """The first few of these tokens, whole words before all others."""
    plain: dict[str, str] = {}
    other: dict[str, str] = {}
    for row in rows:
        text, goes_on = _read_token(tokens[row], mark)
        shown = tokens[row] if goes_on else text.strip()
        group = other if any(_kinds_of(tokens[row], text, goes_on)) else plain
        if shown:
            group.setdefault(shown.lower(), shown)
    chosen = [*plain.values(), *other.values()][:_EXAMPLES]
    short = (
        text if len(text) <= _EXAMPLE_LETTERS else text[: _EXAMPLE_LETTERS - 1] + "…"
        for text in chosen
    )
    return ", ".join(short)


def _compose(what: str, share: float, examples: str) -> str:
    if share >= _NEARLY_ALL:
        return what
    if share >= _MOSTLY:
        return f"mostly {what}"
    if share >= _LEAST_SHARE:
        return f"many {what}; {examples}" if examples else f"many {what}"
    return f"like {examples}" if examples else "various tokens"


def _distinct(names: list[str], examples: list[str]) -> tuple[str, ...]:
    """Names that occur twice with examples behind them, and with numbers where that is no help."""
    often = Counter(names)
    names = [
        f"{name}; {shown}" if often[name] > 1 and shown and shown not in name else name
        for name, shown in zip(names, examples, strict=True)
    ]
    taken: set[str] = set()
    for place, name in enumerate(names):
        number = 2
        while names[place] in taken:
            names[place] = f"{name} ({number})"
            number += 1
        taken.add(names[place])
    return tuple(names)
