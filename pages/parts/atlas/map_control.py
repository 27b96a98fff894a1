"""What changes on a map that is drawn: its colours and what stands out, in the browser alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from pages.parts import links
from pages.parts.atlas.colourings import Colouring
from pages.parts.atlas.selection import focus_on
from pages.parts.palette import CONTEXT

MAP_KEY = "atlas-map"
"""Of the container that holds the map."""
_KEY = "colour"
_WISH = "colour-wished"
_LIVE = Path(__file__).parent / "live"
_mount = component(
    "subspace_atlas_map",
    html=(_LIVE / "map.html").read_text(encoding="utf-8"),
    css=(_LIVE / "map.css").read_text(encoding="utf-8"),
    js=(_LIVE / "map.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnMap:
    """The map that the browser has, or is about to have.

    Attributes:
        shows: Tells figures apart, as the figure's own ``meta`` does.
        view: Zoom and camera are kept from one map to another while this stays the same.
        count: Traces of subspaces.
        space: Whether it has three dimensions.
        theme: ``"light"`` or ``"dark"``.
    """

    shows: str
    view: str
    count: int
    space: bool
    theme: str


def control_map(drawn: DrawnMap, ways: Sequence[Colouring], emphasis: dict[str, Any]) -> None:
    """Let the colour be chosen, and let stand out what is to; the map is not drawn anew.

    Args:
        drawn: The map, whose figure has a button for each way to colour it.
        ways: The ways, in the order of these buttons.
        emphasis: From `pages.parts.atlas.drawing.Emphasis.as_data`.
    """
    able = [way.name for way in ways if not way.lacks]
    state: Any = st.session_state.get(_KEY, {})
    # Kept beside the control's own state, which is gone once another page was looked at; and kept
    # where it cannot be had right now, so that it comes back.
    wish = state.get("name") or st.session_state.get(_WISH) or st.query_params.get(_KEY)
    names = [way.name for way in ways]
    if wish is not None and wish not in names:
        links.tell_ignored({_KEY: [wish]})
        wish = None
    st.session_state[_WISH] = wish
    chosen = wish if wish in able else able[0]
    if wish is None or wish == able[0]:
        st.query_params.pop(_KEY, None)
    else:
        st.query_params[_KEY] = wish
    _mount(
        key=_KEY,
        data={
            "options": [{"name": way.name, "lacks": way.lacks} for way in ways],
            "active": names.index(chosen),
            "map": MAP_KEY,
            "shows": drawn.shows,
            "view": drawn.view,
            "count": drawn.count,
            "space": drawn.space,
            "grey": CONTEXT[drawn.theme],
            "emphasis": emphasis,
        },
        on_name_change=lambda: None,
        on_clicked_change=_look_closely,
    )


def _look_closely() -> None:
    row: Any = st.session_state[_KEY].get("clicked")
    if isinstance(row, int) and row >= 0:
        focus_on(row)
