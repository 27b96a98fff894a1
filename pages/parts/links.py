"""What a link asks for that a control cannot take: told, for Streamlit leaves it out in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from pages.parts import plan
from pages.parts.atlas import selection
from pages.parts.wording import literal

_ASKED = "asked-by-link"
# Controls whose value is written in a link as it is; "token" is the row that is looked at.
_NAMES = (*plan.LASTING, *selection.LASTING, "token")


def read_link() -> None:
    """Keep in mind what this session's link asked for; once, before any control is drawn."""
    if _ASKED not in st.session_state:
        given = st.query_params
        st.session_state[_ASKED] = {name: given.get_all(name) for name in _NAMES if name in given}


def say_ignored() -> None:
    """Tell what the controls drawn by now did not take; each once, all in one message."""
    asked: dict[str, list[str]] = st.session_state.get(_ASKED, {})
    drawn = {name: asked.pop(name) for name in [*asked] if name in st.session_state}
    ignored = {
        name: given for name, given in drawn.items() if not _is_taken(given, st.session_state[name])
    }
    if ignored:
        tell_ignored(ignored)


def tell_ignored(ignored: Mapping[str, Sequence[str]]) -> None:
    """Say what of its link this page cannot do: name → values."""
    wanted = "; ".join(f"{name} = {', '.join(given)}" for name, given in ignored.items())
    st.toast(
        f"The link asks for {literal(wanted)}, which there is not here. It was left out.",
        icon=":material/link_off:",
        duration="long",
    )


def _is_taken(given: list[str], value: object) -> bool:
    taken = [*value] if isinstance(value, list | tuple) else [value]
    return len(given) == len(taken) and all(map(_say_the_same, given, taken))


def _say_the_same(text: str, value: object) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return text.casefold() == str(value).casefold()
