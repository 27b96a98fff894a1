"""Figures as a person reads them."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from unicodedata import east_asian_width

from engine.evaluation.scores import Interval
from engine.wording import duration as duration
from engine.wording import fewer_or_more as fewer_or_more
from engine.wording import name_range as name_range
from engine.wording import printable as printable
from engine.wording import short_bytes as short_bytes
from engine.wording import short_count as short_count

FORMULAS = (
    "Tokens are written as they are. To a spreadsheet one that begins with =, +, - or @ is a "
    "formula: import the column of tokens as text."
)
"""Said beside every file of tokens."""

_MARKUP = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$:<>&]")


def shorten(text: str, letters: int) -> str:
    """Printable text that is no broader than some small letters, with an ellipsis where cut."""
    text = printable(text)
    ends = list(accumulate(_breadth(letter) for letter in text))
    if bisect_right(ends, letters) == len(text):
        return text
    return f"{text[: bisect_right(ends, letters - 1)]}…"


def _breadth(letter: str) -> float:
    """Roughly, in small letters."""
    if east_asian_width(letter) in "WF":
        return 2
    return 1.5 if letter.isupper() else 1


def decimals(value: float) -> str:
    """A figure with two decimals and a true minus: −0.42; nothing has no sign."""
    return f"{round(value, 2) + 0.0:,.2f}".replace("-", "−")


def printed_difference(a: float, b: float) -> float:
    """What one figure has over another where both stand beside it, with two decimals."""
    return round(round(a, 2) - round(b, 2), 2)


def lost(error: float) -> str:
    """A share of the energy as Explore says it; what is less than that shows is not nothing."""
    return f"{error:.2%}" if error > 0.5e-4 or error == 0 else "under 0.01%"


def energy(*, weighted: bool) -> str:
    """What a loss is a share of: the sum of all squared numbers, by use where it is weighted."""
    return "the energy, weighted by use" if weighted else "the energy"


def energy_lost(*, weighted: bool) -> str:
    """The same as an axis is called, with the exact term."""
    term = "squared error, weighted by use" if weighted else "relative squared error"
    return f"energy lost ({term})"


def interval(figure: Interval) -> str:
    """Where resamples put a figure: [68.01, 74.33]."""
    return f"[{decimals(figure.low)}, {decimals(figure.high)}]"


def about(seconds: float) -> str:
    """A length of time as far as it can be foretold: about 3 min, about 1 h 10 min."""
    if seconds < 45:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes <= 1:
        return "about a minute"
    if minutes < 60:
        return f"about {minutes} min"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"about {hours} h" + (f" {rest} min" if rest else "")


def escape(text: str) -> str:
    """Text for plotly's hover and legends, which read a few tags and entities and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def literal(text: str) -> str:
    """Text for a place that reads Markdown, shown as it is: names, messages, what was typed."""
    return _MARKUP.sub(r"\\\g<0>", text)
