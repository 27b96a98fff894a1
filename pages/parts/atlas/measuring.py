"""What is measured of every token beyond the plan: how often it is used, what neighbours do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from engine import EmbeddingTable, EngineError
from engine.library import RowMeasures
from engine.row_measures import find_row_measures
from engine.trust import MapTrust
from pages.parts import jobs, state
from pages.parts.atlas.colourings import Colouring, by_subspace
from pages.parts.state import Source, View
from pages.parts.wording import literal, short_count

_PARTS = {
    "table": "how often tokens are used",
    "plan": "which neighbours of each token the plan keeps",
    "map": "how far the map on a plane can be trusted",
}
_PRESS = "press Measure, under the map"


def find_measures(table: EmbeddingTable, view: View | None, kind: str) -> RowMeasures | None:
    """What was measured of this table with this plan on this map; None before it was."""
    try:
        return find_row_measures(table.fingerprint, None if view is None else view.run_id, kind)
    except EngineError as error:
        st.warning(literal(str(error)), icon=":material/warning:")
        return None


def colourings(
    table: EmbeddingTable,
    view: View | None,
    measures: RowMeasures | None,
    rows: NDArray[np.int64],
    dimensions: int,
) -> list[Colouring]:
    """All ways to colour the drawn rows of a map.

    Args:
        table: Whose rows.
        view: The plan they are seen in, if there is one.
        measures: What is known of them on the map of this kind on a plane.
        rows: Those that are drawn.
        dimensions: Of the map that is drawn.
    """
    norm = Colouring(name="Norm", title="length of the row", values=state.row_norms(table)[rows])
    frequency = None if measures is None else measures.frequency
    found = [] if view is None else [by_subspace(), _error(view, rows)]
    found += [norm, _frequency(measures, None if frequency is None else frequency.numpy()[rows])]
    if view is not None:
        kept = None if measures is None else measures.kept
        found.append(
            _share(
                "Neighbours kept",
                "neighbours kept by the plan",
                None if kept is None else kept.numpy()[rows],
                _lacks(measures, "plan"),
            )
        )
    false = None if measures is None or dimensions == 3 else measures.false
    found.append(
        _share(
            "False on the map",
            "neighbours on the map that are false",
            None if false is None else false.numpy()[rows],
            "measured of maps on a plane; choose 2-D"
            if dimensions == 3
            else _lacks(measures, "map"),
        )
    )
    return found


def show_trust(
    source: Source, table: EmbeddingTable, view: View | None, drawn: tuple[str, int]
) -> None:
    """How far the map can be trusted, or the button that measures it.

    Args:
        source: Where the table comes from.
        table: Whose map.
        view: The plan, if there is one.
        drawn: The kind of the map, and its dimensions.
    """
    kind, dimensions = drawn
    request: dict[str, Any] = {"run": None if view is None else view.run_id, "layout": kind}
    jobs.outcome("measure", source)  # what it measured is found below
    measures = find_measures(table, view, kind)
    if measures is not None and measures.trust is not None:
        if dimensions == 3:
            st.caption(f"How far to trust {kind} is measured of the map on a plane; choose 2-D.")
        else:
            explained = _EXPLAIN.format(trust=measures.trust)
            st.caption(_describe(measures, measures.trust), help=explained)
    for note in measures.notes if measures is not None else ():
        st.caption(f":material/info: {literal(note)}")
    missing = set(_PARTS if measures is None else measures.missing)
    if view is None:
        missing.discard("plan")
    if missing:
        jobs.join("measure", source, request)
        if not jobs.is_active("measure"):
            _offer(source, request, missing)


_EXPLAIN = (
    "Trustworthiness falls when the map puts tokens beside each other that are not neighbours in "
    "the table; continuity falls when it tears neighbours apart (Venna and Kaski). Both look at "
    "{trust.neighbours} neighbours by cosine, of {trust.queries:,} sampled tokens among all "
    "{trust.total_rows:,}. A map drawn at random has about 0.5."
)


def _describe(measures: RowMeasures, trust: MapTrust) -> str:
    said = (
        f":material/verified: How far to trust this map: **trustworthiness "
        f"{trust.trustworthiness:.2f}, continuity {trust.continuity:.2f}** (1 is perfect)."
    )
    if measures.false is None:
        return said
    true = 1 - float(measures.false.double().mean())
    return (
        f"{said} Of a token's {measures.neighbours} nearest on the map, {true:.0%} are among its "
        "nearest in the table: read regions, not single neighbours."
    )


def _offer(source: Source, request: dict[str, Any], missing: Collection[str]) -> None:
    wanted = [what for part, what in _PARTS.items() if part in missing]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Not measured yet: {'; '.join(wanted)}. It takes seconds to a minute.")
        if st.button("Measure", icon=":material/straighten:", key="measure-rows"):
            jobs.start("measure", source, request)
            st.rerun(scope="fragment")


def _lacks(measures: RowMeasures | None, part: str) -> str:
    if measures is None or part in measures.missing:
        return f"not measured yet: {_PRESS}"
    return " ".join(measures.notes) or "not known of this table"


def _error(view: View, rows: NDArray[np.int64]) -> Colouring:
    return Colouring(
        name="Error",
        title="error of the row",
        values=view.row_errors[rows],
        write="{:.0%}".format,
    )


def _frequency(measures: RowMeasures | None, values: NDArray[np.float32] | None) -> Colouring:
    """By orders of magnitude: a few tokens make up most of any text."""
    return Colouring(
        name="Frequency",
        title="uses in a million tokens of English",
        values=None if values is None else np.log1p(values),
        write=lambda value: short_count(float(np.expm1(value))),
        lacks="" if values is not None else _lacks(measures, "table"),
    )


def _share(name: str, title: str, values: NDArray[np.float32] | None, lacks: str) -> Colouring:
    return Colouring(
        name=name,
        title=title,
        values=values,
        write="{:.0%}".format,
        lacks="" if values is not None else lacks,
    )
