"""Which tokens are looked at: by what is written in them, their subspace, and their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable, EngineError
from engine.finding import Manner, find_tokens
from pages.parts.state import View
from pages.parts.wording import literal

FIND, MANNER, SUBSPACES, ERRORS = "find", "find-by", "subspaces", "errors"
# Controls that keep their value while another page is looked at; "map" and "in" are the map's.
LASTING = (FIND, MANNER, SUBSPACES, ERRORS, "map", "in")
ANY_PICKED = "map-picked"
"""In the session: whether anything was picked on the map when it was drawn last."""
MAP_ROUND = "map-round"
"""In the session: raised to forget what is selected on the map."""
_MANNERS: dict[str, Manner] = {"Part of it": "part", "Pattern": "regex", "List": "list"}
_HINTS = {
    "Part of it": "part of a token, such as “berlin” or “##ing”",
    "Pattern": "regular expression, such as “^un.*ly$”",
    "List": "tokens apart by spaces: “paris rome oslo”",
}
_ALL = (0, 100)  # per cent; its upper end is no bound
_TOKEN_OF, _SUBSPACES_OF, _FOUND = "token-of", "subspaces-of", "found-before"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The tokens that all controls agree on.

    Attributes:
        rows: Row numbers, shape (m,), rising; all rows where nothing is asked.
        matches: Those that the search alone found; empty where nothing is searched for.
        words: What they are, as Markdown; empty where nothing is asked.
    """

    rows: NDArray[np.int64]
    matches: NDArray[np.int64]
    words: str

    @property
    def active(self) -> bool:
        """Whether anything is asked."""
        return bool(self.words)


def choose_tokens(table: EmbeddingTable, view: View | None) -> Selection:
    """The controls, and what they select together."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        query, manner = _choose_query()
        labels, errors = _choose_among(view) if view is not None else ([], _ALL)
        active = bool(query.strip() or labels or errors != _ALL)
        if active or st.session_state.get("token") is not None:
            st.button("Clear", icon=":material/close:", on_click=clear, key="clear-selection")
    matches = np.empty(0, dtype=np.int64)
    if query.strip():
        try:
            found = find_tokens(table.tokens, query, by=manner)
        except EngineError as error:
            st.error(literal(str(error)), icon=":material/error:")
            query = ""
        else:
            matches = found.rows
            _report(query, manner, matches, found.missing)
    _look_at_what_is_found(query.strip(), matches)
    return _together(table, view, (query.strip(), matches), labels, errors)


def clear() -> None:
    """Select nothing any more; as a callback, since it changes controls that are drawn."""
    st.session_state[FIND] = ""
    st.session_state[SUBSPACES] = []
    st.session_state[ERRORS] = _ALL
    focus_on(None)
    clear_picked()


def clear_picked() -> None:
    """Pick nothing on the map any more; streamlit forgets that with the chart alone."""
    if st.session_state.pop(ANY_PICKED, False):
        st.session_state[MAP_ROUND] = st.session_state.get(MAP_ROUND, 0) + 1


def focus_on(row: int | None) -> None:
    """Look at this token closely, in this session and in its link."""
    st.session_state["token"] = row
    if row is None:
        st.query_params.pop("token", None)


def focused_row(table: EmbeddingTable) -> int | None:
    """The token looked at closely, if it is of this table."""
    if "token" not in st.session_state:
        named = st.query_params.get("token", "")
        st.session_state["token"] = int(named) if named.isdecimal() and len(named) < 10 else None
    elif st.session_state.get(_TOKEN_OF) not in (None, table.fingerprint):
        focus_on(None)  # another table has been opened: its row of that number is another token
    row = st.session_state["token"]
    if row is None or row >= len(table.tokens):
        st.session_state["token"] = None  # so that what a link asked in vain is told
        st.session_state.pop(_TOKEN_OF, None)
        st.query_params.pop("token", None)
        return None
    st.session_state[_TOKEN_OF] = table.fingerprint
    st.query_params["token"] = str(row)  # the menu leads to a bare address
    return int(row)


def _choose_query() -> tuple[str, Manner]:
    manner = str(st.session_state.get(MANNER) or st.query_params.get(MANNER) or "Part of it")
    query = st.text_input(
        "Find a token",
        key=FIND,
        bind="query-params",
        placeholder=_HINTS.get(manner, ""),
        icon=":material/search:",
        width=420,
    )
    chosen = st.selectbox("Search by", list(_MANNERS), key=MANNER, bind="query-params", width=130)
    return query, _MANNERS[chosen]


def _choose_among(view: View) -> tuple[list[int], tuple[int, int]]:
    """Subspaces, from 1, and a range of errors in per cent."""
    if st.session_state.get(_SUBSPACES_OF, view.key) != view.key:
        st.session_state[SUBSPACES] = []  # those of another plan hold other tokens
    st.session_state[_SUBSPACES_OF] = view.key
    linked = st.query_params  # which fills the controls only when they are drawn, below
    on = bool(st.session_state.get(SUBSPACES, SUBSPACES in linked)) + (
        st.session_state.get(ERRORS, _ALL) != _ALL
        if ERRORS in st.session_state
        else ERRORS in linked
    )
    label = "Filter" if not on else f"Filter · {on} on"
    with st.popover(label, icon=":material/filter_alt:", key="filters"):
        k = view.factorization.k
        kept = [label for label in st.session_state.get(SUBSPACES) or [] if label <= k]
        if kept != (st.session_state.get(SUBSPACES) or []):
            st.session_state[SUBSPACES] = kept  # another plan may have had more
        labels = st.pills(
            "Subspaces",
            list(range(1, k + 1)),
            selection_mode="multi",
            key=SUBSPACES,
            bind="query-params",
            help="None chosen: all of them.",
        )
        low, high = st.slider(
            "Error of the token, per cent",
            *_ALL,
            _ALL,
            key=ERRORS,
            bind="query-params",
            help="The squared error of its row over the row's squared length.",
        )
    return list(labels), (low, high)


def _report(
    query: str, manner: Manner, matches: NDArray[np.int64], missing: tuple[str, ...]
) -> None:
    if missing:
        shown = ", ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
        st.info(f"Not among the tokens: {literal(shown)}", icon=":material/search_off:")
    elif not len(matches):
        what = "holds" if manner == "part" else "matches"
        st.info(f"No token {what} “{literal(query)}”.", icon=":material/search_off:")


def _look_at_what_is_found(query: str, matches: NDArray[np.int64]) -> None:
    """Once a search: look closely at a token it finds alone, and no more at one it does not find.

    A link that names a token and a search besides shows both.
    """
    found = (query, *matches[:2].tolist())
    before = st.session_state.get(_FOUND)
    st.session_state[_FOUND] = found
    by_link = before is None and "token" in st.query_params
    if not query or found == before or by_link:
        return
    if len(matches) == 1:
        focus_on(int(matches[0]))
    elif st.session_state.get("token") not in matches:
        focus_on(None)


def _together(
    table: EmbeddingTable,
    view: View | None,
    search: tuple[str, NDArray[np.int64]],
    labels: list[int],
    errors: tuple[int, int],
) -> Selection:
    query, matches = search
    wanted = np.ones(len(table.tokens), dtype=bool)
    parts: list[str] = []
    if query:
        parts.append(f"with “{literal(query)}”")
        wanted[:] = False
        wanted[matches] = True
    if view is not None and labels:
        parts.append(f"in subspace {', '.join(map(str, labels))}")
        wanted &= np.isin(view.factorization.labels.numpy(), np.array(labels) - 1)
    if view is not None and errors != _ALL:
        low, high = errors
        bounds = f"{low} to {high} %" if high < _ALL[1] else f"{low} % or more"
        parts.append(f"with an error of {bounds}")
        wanted &= view.row_errors >= low / 100
        if high < _ALL[1]:
            wanted &= view.row_errors <= high / 100
    return Selection(rows=np.flatnonzero(wanted), matches=matches, words=" ".join(parts))
