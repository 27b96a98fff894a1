"""Compare's third view: two plans of a table side by side, who moved, and where one wins."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EmbeddingTable, EngineError
from engine.run_differences import WEIGHTS_DIFFER
from pages.parts import charts, pair_tables, state
from pages.parts.narrow import is_narrow
from pages.parts.pair_map import PairLabels, gain_map, pair_map
from pages.parts.plan_pair import SHIPPED, SVD, Pair, load_pair
from pages.parts.run_words import EVEN, captions
from pages.parts.wording import literal, short_bytes

_FIRST, _SECOND = "pair-a", "pair-b"
_SAME_SIZE = 1.1  # times the bytes: plans that differ by less were meant to be alike
_MANY_TIMES = 9.95  # from there on without a decimal
_SUBSPACE, _MOVED, _WINS = "Subspace", "Who moved", "Where one wins"


def is_linked() -> bool:
    """Whether the link names a plan to compare."""
    return _FIRST in st.query_params or _SECOND in st.query_params


def leave_link() -> None:
    """Take the plans out of the link where they are not looked at; the session keeps them."""
    for name in (_FIRST, _SECOND):
        st.query_params.pop(name, None)


def show(table: EmbeddingTable) -> None:
    """The view."""
    try:
        plans = _plans(table)
        if not plans:
            st.info(
                f"**{literal(table.name)}** has no plan yet. Make one on the Explore page: two "
                "plans, or a plan and the SVD of its size, are then compared here.",
                icon=":material/info:",
            )
            return
        left, right = st.columns(2, gap="medium")
        second = {**plans, SVD: "the SVD that stores as much as A"}
        with left:
            first_name = _choose("Plan A", _FIRST, plans, _usual_first(plans))
        with right:
            second_name = _choose(
                "Plan B", _SECOND, second, next((name for name in plans if name != first_name), SVD)
            )
        pair = load_pair(table, first_name, second_name)
    except EngineError as error:
        st.warning(
            f"These plans cannot be compared. {literal(str(error))}", icon=":material/warning:"
        )
        return
    _say(pair)
    _show_maps(table, pair)
    pair_tables.show_rows(pair, table)
    pair_tables.show_subspaces(pair)
    if pair.regrouped:
        pair_tables.show_flow(pair)


def _plans(table: EmbeddingTable) -> dict[str, str]:
    """Plans of this table, newest first, each with what it is called."""
    runs = state.run_store().list().of("compress", table.fingerprint)
    named = captions(runs)
    if state.starter(table) is not None:
        named[SHIPPED] = "the plan that ships with the app"
    return named


def _usual_first(plans: dict[str, str]) -> str:
    """The plan that Explore shows, if it is one of these."""
    current = state.current_run_id()
    return current if current in plans else SHIPPED if SHIPPED in plans else next(iter(plans))


def _choose(label: str, name: str, plans: dict[str, str], usual: str) -> str:
    """One of the plans: what the link names, else what this session chose before, else the usual.

    Not bound as other controls are: a link names runs by their ids, and one that is gone is told.
    """
    kept = f"{name}.kept"
    linked, before = st.query_params.get(name), st.session_state.get(kept)
    if linked not in (None, before, *plans):
        st.warning(
            f"The link names “{literal(str(linked))}” as {label}, which is no plan of this table. "
            "It may have been deleted, or be of another table; choose another.",
            icon=":material/warning:",
        )
    elif linked in plans and linked != before:
        st.session_state[name] = linked
    elif name not in st.session_state:
        st.session_state[name] = before
    if st.session_state.get(name) not in plans:
        st.session_state.pop(name, None)
    options = list(plans)
    chosen = st.selectbox(
        label,
        options,
        options.index(usual),
        format_func=lambda option: plans[option],
        key=name,
    )
    st.query_params[name] = st.session_state[kept] = chosen
    return chosen


def _say(pair: Pair) -> None:
    """Who is closer and who moved, in a sentence, then in figures."""
    first, second, found = pair.first, pair.second, pair.difference
    if abs(second.error - first.error) <= EVEN * max(first.error, second.error):
        winner, beside = f"**About even**{_sizes_differ(pair, None)}", ""
    else:
        better = "A" if first.error < second.error else "B"
        winner = f"**{better} loses less**{_sizes_differ(pair, better)}"
        beside = _tokens_disagree(pair)
    if pair.regrouped:
        moved = f"**{found.share_moved:.0%} of the tokens moved** to another subspace."
    else:
        single = "A" if first.factorization.k == 1 else "B"
        moved = f"{single} has one subspace for all tokens, so none can move."
    st.markdown(
        f":material/balance: {winner}: A loses {first.error:.2%} of the energy in "
        f"{short_bytes(first.factorization.stored_bytes)}, B {second.error:.2%} in "
        f"{short_bytes(second.factorization.stored_bytes)}. {moved}{beside}"
    )
    if first.weights != second.weights:
        st.caption(f":material/info: {WEIGHTS_DIFFER}")
    row = st.container(horizontal=True, key="pair-figures")
    if pair.regrouped:
        _metric(
            row,
            ("Moved", f"{found.share_moved:.1%}"),
            f"{int(found.moved.sum()):,} of {len(found.moved):,} tokens",
            "Tokens whose subspace in B is not the partner of theirs in A. Subspaces are partnered "
            "so that as few tokens as possible move (Hungarian method).",
        )
        _metric(
            row,
            ("Agreement", f"{found.rand_index:.2f}"),
            "adjusted Rand index",
            "Of all pairs of tokens: are they together in both plans or apart in both? 1 is the "
            "same grouping, 0 what chance would give.",
        )
        _metric(
            row,
            *_turned(pair),
            "Principal angles between partners: 0° is the same direction, 90° a right angle. Two "
            "subspaces of more than half the width always share some directions.",
        )
    _metric(
        row,
        ("Closer in B", f"{found.closer_in_second:.1%}"),
        f"of the tokens; in A {found.closer_in_first:.1%}",
        "Tokens whose own error is lower in that plan.",
    )
    _metric(
        row,
        ("Mean error of a token", f"{second.row_errors.mean():.2%}"),
        f"in B; in A {first.row_errors.mean():.2%}",
        "Every token counts the same, by its error against its own row; in the error of the whole "
        "table, long rows count more.",
    )
    if pair.regrouped and (found.alone_in_first or found.alone_in_second):
        alone = ", ".join(name for name in pair.numbers if "only" in name)
        st.caption(
            f":material/info: Without a partner: {alone}. Tokens of a subspace that is only in one "
            "plan count as moved."
        )


def _sizes_differ(pair: Pair, better: str | None) -> str:
    """How many times the bytes one plan takes, where that is more than a tenth more.

    Args:
        pair: The plans.
        better: Which of the two loses less; None where they are about even.
    """
    sizes = {
        "A": pair.first.factorization.stored_bytes,
        "B": pair.second.factorization.stored_bytes,
    }
    small, large = sorted(sizes, key=lambda name: sizes[name])
    times = sizes[large] / sizes[small]
    if times <= _SAME_SIZE:
        return ""
    said = f"{times:,.0f}" if times >= _MANY_TIMES else f"{times:.1f}"
    if better is None:
        return f", though {large} takes {said} times the bytes of {small}"
    if better == large:
        return f", but takes {said} times the bytes of {small}"
    return f", though {large} takes {said} times its bytes"


def _tokens_disagree(pair: Pair) -> str:
    """Why most tokens may be closer in the plan that loses more."""
    nearer = pair.difference.closer_in_first - pair.difference.closer_in_second
    if nearer * (pair.second.error - pair.first.error) >= 0:
        return ""
    better, nearer_in = ("A", "B") if nearer < 0 else ("B", "A")
    return (
        f" More tokens are closer in {nearer_in} all the same: what {better} saves, it saves where "
        "a row has much to lose."
    )


def _metric(row: DeltaGenerator, figure: tuple[str, str], below: str, about: str) -> None:
    label, value = figure
    row.metric(label, value, below, delta_color="off", delta_arrow="off", border=True, help=about)


def _turned(pair: Pair) -> tuple[tuple[str, str], str]:
    """Mean and greatest principal angle over the partners."""
    angles = [
        (item.mean_angle, item.greatest_angle)
        for item in pair.difference.pairs
        if item.mean_angle is not None and item.greatest_angle is not None
    ]
    if not angles:
        return ("Turned by", "–"), "no partners with directions"
    mean = sum(angle for angle, _ in angles) / len(angles)
    return ("Turned by", f"{mean:.0f}°"), f"on average; at most {max(b for _, b in angles):.0f}°"


@st.fragment
def _show_maps(table: EmbeddingTable, pair: Pair) -> None:
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    kind = bar.segmented_control(
        "Map", ["UMAP", "PCA"], default="UMAP", required=True, key="map", bind="query-params"
    )
    colouring = bar.segmented_control(
        "Colour",
        [_SUBSPACE, _MOVED, _WINS] if pair.regrouped else [_SUBSPACE, _WINS],
        default=_SUBSPACE if pair.regrouped else _WINS,
        required=True,
        key="pair-colour" if pair.regrouped else "pair-colour-svd",
        bind="query-params",
    )
    layout = state.layout(table, str(kind))
    if layout is None:
        st.caption("UMAP has not been drawn for this table yet; PCA stands in for it.")
        layout = state.layout(table, "PCA")
        assert layout is not None
    rows = state.drawn_rows(table)
    points = charts.MapPoints(
        layout=layout[rows],
        rows=rows,
        tokens=[table.tokens[int(i)] for i in rows],
        theme=st.context.theme.type or "light",
        uirevision=f"{table.fingerprint}-{kind}",
    )
    found = pair.difference
    if colouring == _WINS:
        figure = gain_map(points, found.gain.numpy()[rows])
        alt = "Map of the tokens by which plan is closer to each."
    else:
        labels = PairLabels(
            first=pair.first.factorization.labels.numpy()[rows],
            second=found.labels.numpy()[rows],
            names=pair.legend(table.tokens),
        )
        figure = pair_map(
            points,
            labels,
            (f"A · {pair.first.name}", f"B · {pair.second.name}"),
            moved_only=colouring == _MOVED,
            stacked=is_narrow(),
        )
        alt = "The same map twice, coloured by the subspaces of plan A and of plan B."
    st.plotly_chart(
        figure,
        key=f"pair-map-{colouring}",
        config={"displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["autoScale"]},
        alt=f"{alt} Every token is in the table below.",
    )
    if len(rows) < len(table.tokens):
        st.caption(f"An even sample of {len(rows):,} of {len(table.tokens):,} tokens is drawn.")
