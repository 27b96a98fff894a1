"""What is on the page, to take home: its link, a report, every token's figures, a picture."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from engine import EmbeddingTable
from engine.archives import file_name
from engine.report import ReportedMap, ReportedPlan, build_report, made_how
from pages.parts import state
from pages.parts.atlas import selection
from pages.parts.inputs import is_upload
from pages.parts.state import View
from pages.parts.wording import FORMULAS

_FORMATS = {"PNG": "png", "SVG": "svg"}
_FORMAT = "picture"  # key of the control
# What the controls over the map are at, where nobody has touched them.
_USUAL = {"map": "UMAP", "in": "2-D", selection.MANNER: "Part of it", selection.ERRORS: (0, 100)}
_JOB = "job_"  # begins the name by which a reload finds a running job: see pages.parts.jobs
_IN_LINK = (
    "It holds the table, the plan, the map and its colours, the search, the chosen subspaces and "
    "errors, and the token looked at. A loop drawn on the map is not in it: the list of its tokens "
    "can be downloaded below the map."
)


def show_share(table: EmbeddingTable, view: View | None, kind: str) -> None:
    """The menu.

    Args:
        table: What the page shows.
        view: The plan on the map; None before there is one.
        kind: The map that is drawn: ``"UMAP"`` or ``"PCA"``.
    """
    places = find_map(table, kind)
    name = file_name(table.name)
    with st.popover("Share", icon=":material/share:", width="content"):
        st.markdown("**Link** to this table, plan, map, search and token", help=_IN_LINK)
        st.code(_link(), language=None, wrap_lines=True)
        if is_upload(table.spec) and (view is None or view.run_id is None):  # a run knows its file
            st.caption("A link cannot hold an upload: who opens it uploads the same file first.")
        if view is not None:
            st.markdown("**Report**: one page with the map, the figures and every setting")
            st.download_button(
                "Report (HTML)",
                partial(make_report, table, view, places),
                f"{name}-report.html",
                "text/html",
                icon=":material/description:",
                on_click="ignore",
                help="Opens in any browser, without network and without this app; about 6 MB.",
            )
        st.markdown("**Figures** of all tokens: subspace, error, norm, place on the map")
        st.download_button(
            "Every token (CSV)",
            partial(make_csv, table, view, places),
            f"{name}-tokens.csv",
            "text/csv",
            icon=":material/table:",
            on_click="ignore",
            help=FORMULAS,
        )
        st.markdown("**Picture**: the camera over the map saves it as it is drawn now")
        st.segmented_control(
            "Camera saves",
            list(_FORMATS),
            default="PNG",
            required=True,
            key=_FORMAT,
            label_visibility="collapsed",
            help="PNG at twice the size of the screen. In an SVG words stay words; the points are "
            "a picture inside it.",
        )


def picture_options(table: EmbeddingTable) -> dict[str, Any]:
    """What a map's ``config`` says of its camera: the format chosen in the menu, a good name."""
    kind = _FORMATS[st.session_state.get(_FORMAT) or "PNG"]
    options = {"format": kind, "filename": f"{file_name(table.name)}-map", "scale": 2}
    return {"toImageButtonOptions": options}


def _link() -> str:
    """This page's address, without the jobs of this session: who else has the link started none.

    What is chosen over the map is taken from its controls: after a change in the sidebar Streamlit
    sends the browser the whole address as it was before, and what was chosen meanwhile is lost.
    """
    pairs = [
        (name, each)
        for name in st.query_params
        if name not in selection.LASTING and not name.startswith(_JOB)
        for each in st.query_params.get_all(name)
    ]
    for name in selection.LASTING:
        value = st.session_state.get(name)
        if value and value != _USUAL.get(name):
            pairs += [(name, str(one)) for one in ([value] if isinstance(value, str) else value)]
    query = urlencode(pairs)
    return f"{st.context.url or ''}{'?' if query else ''}{query}"


def find_map(table: EmbeddingTable, kind: str) -> ReportedMap:
    """The map as it is drawn: PCA stands in for a UMAP that has not been made."""
    layout = state.layout(table, kind)
    if layout is None:
        kind, layout = "PCA", state.layout(table, "PCA")
    assert layout is not None
    return ReportedMap(kind=kind, layout=layout, rows=state.drawn_rows(table))


def make_report(table: EmbeddingTable, view: View, places: ReportedMap) -> bytes:
    """The report of a plan; called in a thread of its own when the button is pressed."""
    reported = ReportedPlan(
        table=table,
        factorization=view.factorization,
        figures=view.figures,
        row_errors=view.row_errors,
        summaries=view.summaries,
        **_made_how(table, view),
    )
    sweep, origin = state.current_sweep(table)
    return build_report(reported, places, sweep=sweep, origin=origin)


def _made_how(table: EmbeddingTable, view: View) -> dict[str, Any]:
    """Settings, versions and date of a plan."""
    if view.run_id is None:
        shipped = state.starter(table)
        assert shipped is not None
        return {"config": shipped.config}
    return made_how(state.run_store().load(view.run_id).record)


def make_csv(table: EmbeddingTable, view: View | None, places: ReportedMap) -> bytes:
    """Every token with its figures, as CSV."""
    frame = pd.DataFrame({"token": list(table.tokens), "norm": state.row_norms(table)})
    if view is not None:
        frame.insert(1, "subspace", view.factorization.labels.numpy() + 1)
        frame.insert(2, "error", view.row_errors)
    method = places.kind.lower()
    frame[f"{method}_x"], frame[f"{method}_y"] = places.layout[:, 0], places.layout[:, 1]
    return frame.to_csv(index=False).encode()
