"""Figures as a person reads them."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from unicodedata import east_asian_width

from engine.evaluation.scores import Interval

_MARKUP = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$:<>&]")


def short_count(value: float) -> str:
    """A count with three digits: 7.01 M."""
    if value < 1e4:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")  # first, or 999,999 would be 1000 k
    scale, unit = next(
        (scale, unit) for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if rounded >= scale
    )
    return f"{rounded / scale:.3g} {unit}" if rounded < 1e12 else f"{rounded / scale:,.0f} {unit}"


def short_bytes(value: float) -> str:
    """Bytes in powers of ten: 28.0 MB."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:.0f} bytes"


def fewer_or_more(rate: float) -> str:
    """What a compression rate means: 40.2% fewer."""
    return f"{abs(rate):.1%} {'fewer' if rate >= 0 else 'more'}"


def duration(seconds: float) -> str:
    """A length of time: 42 s, 3 min 20 s."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def printable(text: str) -> str:
    """Text without control characters, which a drawing cannot hold."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


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
    """A figure with two decimals and a true minus: −0.42."""
    return f"{value:,.2f}".replace("-", "−")


def interval(figure: Interval) -> str:
    """Where resamples put a figure: [68.01 – 74.33]."""
    return f"[{decimals(figure.low)} – {decimals(figure.high)}]"


def escape(text: str) -> str:
    """Text for plotly's hover and legends, which read a few tags and entities and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def literal(text: str) -> str:
    """Text for a place that reads Markdown, shown as it is: names, messages, what was typed."""
    return _MARKUP.sub(r"\\\g<0>", text)
