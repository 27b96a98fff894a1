"""How a page makes sure that app.py has set up the app around it."""

from __future__ import annotations

import runpy
from pathlib import Path

import streamlit as st

_READY = "app-is-set-up"
_APP = Path(__file__).parents[2] / "app.py"


def mark_ready() -> None:
    """Say that app.py has run in this session; it does so before any page."""
    st.session_state[_READY] = True


def enter_by_app() -> None:
    """Call first on a page: runs app.py instead where it has not run yet.

    A server whose first visit is a deep link to a page does not know st.navigation yet, finds the
    folder pages/ and runs the page on its own, without theme, mark or menu.
    """
    if not st.session_state.get(_READY):
        runpy.run_path(str(_APP))
        st.stop()
