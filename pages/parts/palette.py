"""Colours and symbols of the subspaces: told apart with any kind of colour vision."""

from __future__ import annotations

from plotly.colors import sample_colorscale

from engine.colours import COLOURS as COLOURS
from engine.colours import subspace_colour as subspace_colour  # the charts' colours, in one place
from engine.colours import subspace_symbol as subspace_symbol

# Even steps of lightness, the same to every kind of colour vision; without the end that would
# fade into the page.
_CIVIDIS = {"light": (0.0, 0.9), "dark": (0.25, 1.0)}
SEQUENTIAL = {
    theme: sample_colorscale("Cividis", [low + (high - low) * step / 10 for step in range(11)])
    for theme, (low, high) in _CIVIDIS.items()
}
WEIGHTED_SVD = subspace_colour(5, "light")  # the plain SVD has the accent, the k the first hues
# From the first of two to the second, the same to every kind of colour vision; the middle fades
# into the page.
DIVERGING = {
    "light": ("#B84A00", "#EBA46F", "#E3E5E8", "#6FAEDB", "#005F99"),
    "dark": ("#FF8A3D", "#A8602F", "#323B47", "#3E7FA8", "#6CC0F7"),
}
CONTEXT = {"light": "#9AA0A6", "dark": "#6B7280"}
ACCENT = {"light": "#111827", "dark": "#FFFFFF"}
# Of text, which needs more contrast than a mark: vermilion and blue of the set above, darker on
# light and lighter on dark pages.
WORSE = {"light": "#A84300", "dark": "#FF9A57"}
BETTER = {"light": "#005F99", "dark": "#7CC4F5"}
PAGE = {"light": "#FFFFFF", "dark": "#0F151D"}  # backgroundColor of .streamlit/config.toml
