"""Learn: projective clustering in ten minutes, from one line to the rows of a real table."""

from __future__ import annotations

import streamlit as st

from engine import EmbeddingTable, EngineError
from pages.parts import entry, inputs, state
from pages.parts.lessons import counting, descent, dimensions, lines, one_subspace, own_rows
from pages.parts.wording import literal


def main() -> None:
    """Draw the page."""
    table, problem = _choose_table()
    st.title("Why several subspaces?")
    st.markdown(
        "Six short lessons, about ten minutes, top to bottom; nothing has to be touched. Pictures "
        "in space turn with the mouse, all others move by the controls beside them."
    )
    for number, (title, show) in enumerate(
        (
            ("Rows are points, one line holds them", one_subspace.show),
            ("Three lines in space, and the plane that misses them", lines.show),
            ("Finding the lines: refit, assign, repeat", descent.show),
            ("Counting what is stored", counting.show),
            ("Subspaces need not be of one dimension", dimensions.show),
        ),
        start=1,
    ):
        st.header(f"{number} · {title}", divider="gray")
        show()
    st.header("6 · The same on real rows", divider="gray")
    if problem:
        st.error(literal(problem), icon=":material/error:")
    elif table is None:
        st.info("Name a model or a file in the sidebar to take the same steps on its rows.")
    else:
        own_rows.show(table)
    _sum_up()


def _sum_up() -> None:
    with st.container(border=True):
        st.markdown(
            "**In short.** The SVD keeps the best *single* subspace for all n rows. Rows that lie "
            "in several small subspaces are closer to the best of **k subspaces**, found by "
            "refitting and assigning in turn, from several starts. Stored are n·j coordinates and "
            "k·j·d numbers of bases, so k pays where the closer fit is worth k − 1 bases more, and "
            "most where each subspace has the dimension that it needs. See it in a real model on "
            "**Explore**; find where it wins, and where the SVD does, on **Compare**."
        )


def _choose_table() -> tuple[EmbeddingTable | None, str]:
    """The table of the sidebar, and why there is none."""
    try:
        source = inputs.choose_source()
        return None if source is None else state.load_source(source), ""
    except EngineError as error:
        return None, str(error)


entry.enter_by_app()
main()
