"""Colours and symbols of subspaces and of k: told apart with any kind of colour vision."""

from __future__ import annotations

# Okabe and Ito's set, strongest contrast first; the last stands for their black. Their blue is
# too dark for words on a dark page (contrast 3.5, where 4.5 is asked for).
_BLUE = {"light": "#0072B2", "dark": "#2B8CCF"}
_HUES = ("#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")
_INK = {"light": "#4A4A4A", "dark": "#D8D8D8"}
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "triangle-down")
COLOURS = len(_HUES) + 2
"""Different ones, after which they repeat."""


def subspace_colour(label: int, theme: str) -> str:
    """Colour of a subspace on a light or dark page; it repeats after `COLOURS`."""
    colours = (_BLUE[theme], *_HUES, _INK[theme])
    return colours[label % len(colours)]


def subspace_symbol(label: int) -> str:
    """Symbol of a subspace: the next one each time the colours start over."""
    return _SYMBOLS[label // COLOURS % len(_SYMBOLS)]
