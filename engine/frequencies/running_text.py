"""What running text holds: the words of a language and how often, its punctuation, a file's lines.

wordfreq lists words in lower case with their share of all words. It knows no punctuation, and it
counts all numbers of one shape together ("00" for every number of two digits); both are put back
here, since a tokenizer meets commas and single numbers.
"""

from __future__ import annotations

import gzip
import random
import re
import zlib
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO

from engine.errors import ParameterError, SourceError

# Marks per 1,000 running words of English, and the white space that they follow: V. Cook, "Standard
# punctuation and the punctuation of the street", 2013, a corpus of 459,000 words. Apostrophes are
# inside wordfreq's words; of the double quotes, half open and half close. Brackets are not in that
# table; Meyer's count of the Brown corpus (1987) has one pair for every 23 commas.
MARKS_PER_WORD = {
    ".": 0.0653,
    ",": 0.0616,
    ";": 0.0032,
    ":": 0.0034,
    "!": 0.0033,
    "?": 0.0056,
    '"': 0.01335,
    ' "': 0.01335,
    "-": 0.0153,
    " (": 0.0026,
    ")": 0.0026,
}
# One sentence for each mark that ends one.
SENTENCES_PER_WORD = MARKS_PER_WORD["."] + MARKS_PER_WORD["!"] + MARKS_PER_WORD["?"]
# Languages with marks of their own; the rates are English everywhere.
_OWN_MARKS = {
    "zh": {".": "。", ",": "，", ";": "；", ":": "：", "!": "！", "?": "？", '"': "”", ' "': "“"},
    "ja": {".": "。", ",": "、", "!": "！", "?": "？", '"': "」", ' "': "「"},
    "hi": {".": "।"},
    "bn": {".": "।"},
    "ar": {",": "،", ";": "؛", "?": "؟"},
    "fa": {",": "،", ";": "؛", "?": "؟"},
    "ur": {".": "۔", ",": "،", ";": "؛", "?": "؟"},
    "el": {"?": ";", ";": "·"},
}
_WITHOUT_SPACES = ("zh", "ja")

_NUMBER = re.compile(r"\d[\d.,]+")  # wordfreq's own: numbers of two digits or more
_SMASHED = re.compile(r"0{2,4}")
_DRAWS = 16  # numbers drawn for each longer shape ("0,000"): together 0.3 % of English words
_LINE_LIMIT = 1 << 20  # characters held at once of a text that has no line ends


def languages() -> list[str]:
    """Codes of the languages that wordfreq has a word list for, sorted."""
    import wordfreq

    return sorted(wordfreq.available_languages())


def space_before_words(language: str) -> str:
    """What stands between two words of a language: a space, or nothing."""
    return "" if language in _WITHOUT_SPACES else " "


def words_of(language: str) -> dict[str, float]:
    """Every listed word of a language with its share of all words in running text.

    Args:
        language: A code of `languages` ("en").

    Returns:
        Lower-case words and their shares; they add up to about 1. Numbers of up to four digits are
        all there, of each longer shape a few, drawn with a fixed seed.

    Raises:
        ParameterError: If there is no list for the language.

    Cost: about 0.3 s for English, 330,000 words.
    """
    import wordfreq

    known = languages()
    if language not in known:
        raise ParameterError(
            f"wordfreq has no word list for {language!r}; its languages are {', '.join(known)}. "
            "For any other, give the path of a text file"
        )
    words: dict[str, float] = {}
    draw = _NumberDraw()
    for word, share in wordfreq.get_frequency_dict(language).items():
        for spelt, part in draw.spell(word):
            words[spelt] = words.get(spelt, 0.0) + share * part
    return words


def marks_of(language: str) -> dict[str, float]:
    """Punctuation of a language and how often each mark stands in text, per word.

    Args:
        language: A code of `languages`.

    Returns:
        Each mark as it follows a word, with the space where there is one, and its rate.
    """
    own = _OWN_MARKS.get(language, {})
    rates: dict[str, float] = {}
    for mark, rate in MARKS_PER_WORD.items():
        here = own.get(mark, mark)
        rates[here] = rates.get(here, 0.0) + rate
    return rates


def lines_of(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 text file without their ends, blank ones left out; gzip is opened.

    A line of more than a million characters comes in pieces, cut at white space where there is
    any, so that memory stays bounded.

    Args:
        path: The file; gzip by its first bytes, whatever its name.

    Yields:
        Lines that hold more than white space.

    Raises:
        SourceError: If the file cannot be read, is not UTF-8, or its gzip is damaged.
    """
    try:
        with _open_text(path) as stream:
            rest = ""
            while piece := stream.readline(_LINE_LIMIT):
                line, rest = rest + piece, ""
                if not line.endswith("\n") and len(piece) == _LINE_LIMIT:
                    head, space, tail = line.rpartition(" ")
                    line, rest = (head, tail) if space else (line, "")
                if line.strip():
                    yield line.strip("\r\n")
            if rest.strip():
                yield rest
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path.name}: expected UTF-8 text, got the byte {error.object[error.start]:#04x} in "
            "it; save it as UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror or error}); check the path and who may read it"
        ) from error


class _NumberDraw:
    """Single numbers for the shapes that wordfreq counts together."""

    def __init__(self) -> None:
        from wordfreq.numbers import digit_freq

        self._numbers = {
            length: [f"{value:0{length}}" for value in range(10**length)] for length in (1, 2, 3, 4)
        }
        shares = {
            length: [1 / 10 if length == 1 else digit_freq(number) for number in numbers]
            for length, numbers in self._numbers.items()
        }
        self._shares = shares
        self._sums = {length: list(accumulate(values)) for length, values in shares.items()}
        self._random = random.Random(0)

    def spell(self, word: str) -> list[tuple[str, float]]:
        """The words that a listed word stands for, with their shares of it."""
        shape = _NUMBER.search(word)
        if shape is None or set(shape.group()) - set("0.,"):
            return [(word, 1.0)]
        if _SMASHED.fullmatch(word):
            return list(zip(self._numbers[len(word)], self._shares[len(word)], strict=True))
        return [(_NUMBER.sub(self._draw, word), 1 / _DRAWS) for _ in range(_DRAWS)]

    def _draw(self, shape: re.Match[str]) -> str:
        return re.sub("0+", lambda run: self._digits(len(run.group())), shape.group())

    def _digits(self, length: int) -> str:
        if length in self._numbers:
            sums = self._sums[length]
            return self._random.choices(self._numbers[length], cum_weights=sums)[0]
        return str(self._random.randrange(10 ** (length - 1), 10**length))


def _open_text(path: Path) -> IO[str]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path.name}: its gzip data is damaged or cut short ({error}); compress the text again"
    )
