"""Just tell me: name the bytes or the loss, and read which plan that is, why, and what it costs."""

from __future__ import annotations

import streamlit as st

from engine.advice import CHANCE, Advice, several_as_good
from engine.frontier import FAMILY_NAMES, SLACK, BytePoint, SizeCurves
from pages.parts import jobs, promises
from pages.parts.asking import Ask, ask, nothing_so_small
from pages.parts.state import Source
from pages.parts.wording import (
    about,
    decimals,
    energy,
    literal,
    lost,
    printed_difference,
    short_bytes,
)

_NOTHING_SO_GOOD = "Nothing that was measured loses so little."
_NOT_MADE = ":material/info: It is measured here to compare with, and made by other tools."


def tell(source: Source, curves: SizeCurves) -> BytePoint | None:
    """The controls, the answer, and the button that makes it.

    Args:
        source: Where the table comes from.
        curves: What was measured of it.

    Returns:
        The point that is told of, to be marked on the chart; None where nothing is so small.
    """
    with st.container(border=True, key="telling"):
        asked = ask(curves)
        if asked is None:
            return None
        advice = asked.advise(curves)
        if advice is None:
            by_size = asked.stored_bytes is not None
            st.markdown(nothing_so_small(curves) if by_size else _NOTHING_SO_GOOD)
            return None
        _say(curves, advice, limit=asked.stored_bytes)
        offered = advice.made_here
        if offered is not None:
            _offer(source, curves, offered, asked=asked)
        return advice.point


def tell_picked(source: Source, curves: SizeCurves, picked: BytePoint) -> bool:
    """The same of a point that was clicked on the chart, for a place beside it.

    Returns:
        Whether that was put away.
    """
    with st.container(border=True, key="telling-picked"):
        st.markdown(
            f":material/touch_app: You clicked **{literal(picked.name)}**: "
            f"{_figures(curves, picked)}."
        )
        _explain(picked)
        row = st.container(horizontal=True, vertical_alignment="center")
        with row:
            _offer(source, curves, picked)
        return row.button("Back to the advice", icon=":material/undo:", key="unpick")


def _say(curves: SizeCurves, advice: Advice, *, limit: int | None) -> None:
    """The answer, and why it is that; within a limit of bytes where that was asked for."""
    point, by_size = advice.point, limit is not None
    said = _figures(curves, point, expected=True)
    st.markdown(f":material/arrow_forward: **{literal(point.name)}**: {said}.")
    least = "loses least"
    if curves.higher_is_better:
        least = f"scores most, or is within {CHANCE:g} of that and the smallest"
    enough = "scores enough" if curves.higher_is_better else "loses no more"
    why = [
        f"Of all that was measured and takes at most {short_bytes(limit)}, it {least}."
        if limit is not None
        else f"Of all that was measured and {enough}, it is the smallest."
    ]
    if advice.others:
        listed = "; ".join(
            f"{other.name}, {_short(curves, other, by_size=by_size)}" for other in advice.others
        )
        why.append(f"Next best of other kinds: {listed}.")
    if advice.between:
        why.append("Between the two measured sizes beside it, what to expect is read off.")
    if curves.higher_is_better:
        why.append("A few tenths are chance.")
    st.caption(literal(" ".join(why)))
    _explain(point)
    several = several_as_good(curves, point)
    if several is not None:
        st.caption(
            ":material/info: At this size one coded subspace is as good as several on this check, "
            f"since both come within {SLACK:g} of the table itself "
            f"({literal(several.name)}: {several.value:.2f})."
        )
    made = advice.made_here
    if made is not None and made is not point:
        st.caption(
            f":material/info: {FAMILY_NAMES[point.family]} is measured here to compare with, and "
            f"made by other tools. The best that is made here is **{literal(made.name)}**: "
            f"{_figures(curves, made, expected=True)}."
        )
    elif made is None:
        st.caption(_NOT_MADE)


def _explain(point: BytePoint) -> None:
    """What coded subspaces are, with the exact terms."""
    if point.family != "coded":
        return
    groups = f"Every token is in one of {point.k} subspaces"
    if point.k == 1:
        groups = "One subspace holds all tokens, as with the SVD"
    st.caption(
        f"**Coded, k = {point.k}**: {groups[0].lower()}{groups[1:]}, and each coordinate has the "
        "bits it is worth, many or none (reverse water-filling, trellis-coded quantisation)."
    )


def _figures(curves: SizeCurves, point: BytePoint, *, expected: bool = False) -> str:
    """Bytes and value of a point, in words."""
    size = f"{short_bytes(point.stored_bytes)}, {point.stored_bytes / curves.dense_bytes:.1%}"
    if curves.higher_is_better:
        drop = printed_difference(curves.whole, point.value)
        lead = "should score" if expected else "scored"
        beside = f"{decimals(abs(drop))} {'below' if drop >= 0 else 'above'} the table itself"
        return f"{size}; {lead} **{point.value:.2f}**, {beside}"
    lead = "should lose" if expected else "loses"
    of = energy(weighted=curves.weighted)
    return f"{size}; {lead} **{lost(curves.expected(point))}** of {of}"


def _short(curves: SizeCurves, point: BytePoint, *, by_size: bool) -> str:
    if not by_size:
        return short_bytes(point.stored_bytes)
    return f"{point.value:.2f}" if curves.higher_is_better else lost(point.value)


def _offer(
    source: Source, curves: SizeCurves, point: BytePoint, *, asked: Ask | None = None
) -> None:
    """The button that makes a plan; `promises` then says whether it kept what was expected.

    Args:
        source: Where the table comes from.
        curves: What was measured of it.
        point: What to make.
        asked: What that answers; None of a point that was clicked.
    """
    if point.plan is None:
        st.caption(_NOT_MADE)
        return
    clicked = asked is None
    busy = jobs.is_active("compress")
    if st.button(
        "Make this one and check it" if clicked else "Make it and check it",
        type="secondary" if clicked else "primary",
        key="make-picked" if clicked else "make-told",
        disabled=busy,
        icon=":material/play_arrow:",
        help=f"Fits {point.name} as a job, opens it on every page, and says whether it keeps what "
        "is expected of it.",
    ):
        promises.make(source, curves, point, point.plan, asked)
        st.rerun()  # the job then shows
    if point.seconds is not None and not busy:
        rest = ", the check not counted" if curves.check else ""
        st.caption(
            f":material/timer: Making it took {about(point.seconds)} where it was measured{rest}."
        )
    if busy:
        st.caption("A plan is being made: how far it is stands at the top of the page.")
