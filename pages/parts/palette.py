"""Colours and symbols of the subspaces: told apart with any kind of colour vision."""

from __future__ import annotations

from plotly.colors import sample_colorscale

# Okabe and Ito's set, strongest contrast first; the last stands for their black.
_HUES = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")
_INK = {"light": "#4A4A4A", "dark": "#D8D8D8"}
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "triangle-down")

# Even steps of lightness, the same to every kind of colour vision; without the end that would
# fade into the page.
_CIVIDIS = {"light": (0.0, 0.9), "dark": (0.25, 1.0)}
SEQUENTIAL = {
    theme: sample_colorscale("Cividis", [low + (high - low) * step / 10 for step in range(11)])
    for theme, (low, high) in _CIVIDIS.items()
}
WEIGHTED_SVD = _HUES[5]  # the plain SVD is drawn in the accent; charts of k use the first hues
CONTEXT = {"light": "#9AA0A6", "dark": "#6B7280"}
ACCENT = {"light": "#111827", "dark": "#FFFFFF"}
# Of text, which needs more contrast than a mark: vermilion and blue of the set above, darker on
# light and lighter on dark pages.
WORSE = {"light": "#A84300", "dark": "#FF9A57"}
BETTER = {"light": "#005F99", "dark": "#7CC4F5"}
PAGE = {"light": "#FFFFFF", "dark": "#0F151D"}  # backgroundColor of .streamlit/config.toml


def subspace_colour(label: int, theme: str) -> str:
    """Colour of a subspace; it repeats after eight, with another symbol."""
    colours = (*_HUES, _INK[theme])
    return colours[label % len(colours)]


def subspace_symbol(label: int) -> str:
    """Symbol of a subspace: the next one each time the colours start over."""
    return _SYMBOLS[label // (len(_HUES) + 1) % len(_SYMBOLS)]
