"""Find tokens by what is written in them: a part, a regular expression, or a list of them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import ParameterError

Manner = Literal["part", "regex", "list"]
MANNERS: tuple[Manner, ...] = get_args(Manner)
_LONGEST = 10_000  # characters of a query
_SECONDS = 2.0  # of an expression for all tokens; patterns such as (a+)+$ could search for years
_MOST_REPEATS, _MOST_TOGETHER = 1_000, 100_000  # counts; each inside the next is so many copies
# Read by eye, not by grammar: an escaped character is none of these, one in brackets may be.
_ESCAPED_OR_BLANK = re.compile(r"\\(.)|\s", re.DOTALL)
_REPEAT = re.compile(r"\{([0-9]*)(?:,([0-9]*))?\}")
_RECURSION = re.compile(r"\(\?(?:R|[0-9]|[+-][0-9]|&|P>)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a query found.

    Attributes:
        rows: Row numbers, shape (m,), int64, rising.
        missing: Of a list: what is no token.
    """

    rows: NDArray[np.int64]
    missing: tuple[str, ...] = ()


def find_tokens(tokens: Sequence[str], query: str, *, by: Manner = "part") -> Found:
    """Rows whose tokens answer a query; upper and lower case are the same but in a list.

    Args:
        tokens: One a row.
        query: What to look for; an empty one finds nothing.
        by: ``"part"``: it stands anywhere in the token; ``"regex"``: it matches anywhere in it, as
            a regular expression; ``"list"``: the token is one of these, apart by spaces, commas or
            lines.

    Raises:
        ParameterError: If the query is too long, is no regular expression, repeats or recurses
            too much, or takes too long.
    """
    if by not in MANNERS:
        raise ParameterError(f"tokens are found by {', '.join(MANNERS)}, got {by!r}")
    if len(query) > _LONGEST:
        raise ParameterError(
            f"a search holds at most {_LONGEST:,} characters, got {len(query):,}; shorten it"
        )
    if not query.strip():
        return Found(rows=np.empty(0, dtype=np.int64))
    if by == "list":
        return _find_listed(tokens, query)
    if by == "part":
        part = query.casefold()  # letter by letter: a part of a token stays a part of it
        found = [row for row, token in enumerate(tokens) if part in token.casefold()]
    else:
        matches = _matcher(query)
        found = [row for row, token in enumerate(tokens) if matches(token)]
    return Found(rows=np.array(found, dtype=np.int64))


def _find_listed(tokens: Sequence[str], query: str) -> Found:
    # A comma may be a token, and so may what holds one: by itself it is looked for as it stands.
    wanted = dict.fromkeys(
        part
        for word in query.split()
        for part in ([word] if word in {",", "，"} else word.split(","))
        if part
    )
    rows = [row for row, token in enumerate(tokens) if token in wanted]
    there = {tokens[row] for row in rows}
    return Found(
        rows=np.array(rows, dtype=np.int64),
        missing=tuple(word for word in wanted if word not in there),
    )


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a token matches; raises when all of them together have taken too long."""
    import regex

    _check_size(pattern)
    try:
        compiled = regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, OverflowError, RecursionError, MemoryError) as error:
        raise ParameterError(
            f"“{pattern}” is no regular expression: {str(error) or 'too large'}; look for a part "
            "of the token instead, or write a backslash before characters that stand for themselves"
        ) from error
    deadline = time.monotonic() + _SECONDS

    def matches(token: str) -> bool:
        left = max(1e-6, deadline - time.monotonic())
        try:
            return compiled.search(token, timeout=left) is not None
        except (TimeoutError, MemoryError) as error:
            most = f"{_SECONDS:g} s" if isinstance(error, TimeoutError) else "the memory there is"
            raise ParameterError(
                f"the search for “{pattern}” took more than {most} and was stopped; write "
                "a simpler expression, without repeats of repeats"
            ) from error

    return matches


def _check_size(pattern: str) -> None:
    """Refuse what would fill the memory before it took too long."""
    plain = _ESCAPED_OR_BLANK.sub(lambda found: "x" if found[1] else "", pattern)
    # As floats: thousands of digits are no int.
    counts = [max(float(part or 0) for part in found) for found in _REPEAT.findall(plain)]
    if max(counts, default=0) > _MOST_REPEATS or math.prod(filter(None, counts)) > _MOST_TOGETHER:
        raise ParameterError(
            f"“{pattern}” repeats too often: a count in braces may be {_MOST_REPEATS:,} at most, "
            f"and all of them multiplied {_MOST_TOGETHER:,}; write smaller ones, or * or +"
        )
    if _RECURSION.search(plain):
        raise ParameterError(
            f"“{pattern}” calls a part of itself, as (?R), (?1), (?&name) and (?P>name) do; write "
            "that part out instead"
        )
