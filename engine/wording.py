"""Figures as a person reads them, on a page as in a report."""

from __future__ import annotations

from collections.abc import Sequence

BAND_TITLES = {
    "never": "never",
    "rare": "up to 1 in a million",
    "medium": "up to 100 in a million",
    "frequent": "more often",
}
"""How often the tokens of an `engine.measures.FrequencyBand` are used."""


def short_count(value: float) -> str:
    """A count with three digits: 7.01 M."""
    if value < 1e4:
        return f"{value:,.0f}"
    rounded = float(f"{value:.3g}")  # first, or 999,999 would be 1000 k
    scale, unit = next(
        (scale, unit) for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if rounded >= scale
    )
    return f"{rounded / scale:.3g} {unit}" if rounded < 1e12 else f"{rounded / scale:,.0f} {unit}"


def counted(number: int, noun: str) -> str:
    """A number of things, by their name in the singular: 1 token, 3,200 tokens."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def short_bytes(value: float) -> str:
    """Bytes in powers of ten: 28.0 MB."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:.0f} bytes"


def fewer_or_more(rate: float) -> str:
    """What a compression rate means: 40.2% fewer."""
    return f"{abs(rate):.1%} {'fewer' if rate >= 0 else 'more'}"


def name_range(numbers: Sequence[int]) -> str:
    """Whole numbers as a person says them: "216", or "6 to 309" where they differ."""
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"


def duration(seconds: float) -> str:
    """A length of time: 42 s, 3 min 20 s."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def printable(text: str) -> str:
    """Text without control characters, which a drawing cannot hold."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def name_svd(bits: int | None, *, weighted: bool) -> str:
    """What an SVD is called beside a plan: "weighted SVD, 4 bits"."""
    return ("weighted SVD" if weighted else "SVD") + ("" if bits is None else f", {bits} bits")
