"""Just tell me: name the bytes or the loss, and read which plan that is, why, and what it costs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import streamlit as st

from engine.advice import CHANCE, Advice, advise_reaching, advise_within
from engine.frontier import FAMILY_NAMES, BytePoint, SizeCurves
from pages.parts import jobs, promises
from pages.parts.state import Source
from pages.parts.wording import decimals, literal, lost, printed_difference, short_bytes

_SIZE, _LOSS = "In a size", "At a loss"
_PERCENTS = (1.0, 1.3, 1.6, 2.0, 2.4, 3.1, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0, 20.0, 27.0, 50.0)
_ERRORS = (0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002)
_DROPS = (10.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.0)
_NOT_MADE = ":material/info: It is measured here to compare with, and made by other tools."
_USUAL_PERCENT, _USUAL_ERROR, _USUAL_DROP = 3.1, 0.2, 0.5


def tell(source: Source, curves: SizeCurves, picked: BytePoint | None) -> BytePoint | None:
    """The controls, the answer, and the button that makes it.

    Args:
        source: Where the table comes from.
        curves: What was measured of it.
        picked: A point that was clicked on the chart, to be told of in place of the answer.

    Returns:
        The point that is told of, to be marked on the chart; None where nothing is so small.
    """
    with st.container(border=True, key="telling"):
        left, right = st.columns([1, 2], gap="medium", vertical_alignment="bottom")
        with left:
            by = st.segmented_control(
                "**Just tell me** what to make",
                [_SIZE, _LOSS],
                default=_SIZE,
                required=True,
                key="tell",
                bind="query-params",
            )
        with right:
            advice = _ask_size(curves) if by == _SIZE else _ask_loss(curves)
        if picked is not None:
            st.markdown(
                f":material/touch_app: You clicked **{literal(picked.name)}**: "
                f"{_figures(curves, picked)}."
            )
            _offer(source, curves, picked)
            return picked
        if advice is None:
            if by == _LOSS:
                st.markdown("Nothing that was measured loses so little.")
            return None
        _say(curves, advice, by_size=by == _SIZE)
        offered = advice.made_here
        if offered is not None:
            _offer(source, curves, offered)
        return advice.point


def _ask_size(curves: SizeCurves) -> Advice | None:
    least = 100 * min(point.stored_bytes for point in curves.points) / curves.dense_bytes
    percents = [percent for percent in _PERCENTS if percent >= least]
    if not percents:
        st.markdown(f"The smallest that was measured takes {least:.0f} % of the table.")
        return None
    percent = _slider(
        "At most, % of the table in float32",
        percents,
        _USUAL_PERCENT,
        key="tell-size",
    )
    return advise_within(curves, int(percent / 100 * curves.dense_bytes))


def _ask_loss(curves: SizeCurves) -> Advice | None:
    values = [point.value for point in curves.points]
    if curves.higher_is_better:
        drops = [drop for drop in _DROPS if curves.whole - drop <= max(values)]
        drop = _slider(
            f"At most so many points below the table itself, {curves.measure}",
            drops or list(_DROPS[:1]),
            _USUAL_DROP,
            key="tell-drop",
        )
        return advise_reaching(curves, curves.whole - drop)
    errors = [error for error in _ERRORS if error >= min(values)]
    error = _slider(
        f"At most so much {curves.measure}",
        errors or list(_ERRORS[:1]),
        _USUAL_ERROR,
        key="tell-loss",
    )
    return advise_reaching(curves, error)


def _slider(label: str, options: Sequence[float], usual: float, *, key: str) -> float:
    """One of some values, beginning at the usual one or the next that is offered."""
    if len(options) == 1:
        st.markdown(f"{label}: {options[0]:g}")
        return options[0]
    rising = sorted(options)
    start = rising[max(0, bisect_right(rising, usual) - 1)]
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)  # another measure offered other values
    return st.select_slider(
        label,
        options,
        start,
        key=key,
        bind="query-params",
        format_func=lambda value: f"{value:g}",
    )


def _say(curves: SizeCurves, advice: Advice, *, by_size: bool) -> None:
    """The answer, and why it is that."""
    point = advice.point
    said = _figures(curves, point, expected=True)
    st.markdown(f":material/arrow_forward: **{literal(point.name)}**: {said}.")
    least = "loses least"
    if curves.higher_is_better:
        least = f"scores most, or is within {CHANCE:g} of that and the smallest"
    enough = "scores enough" if curves.higher_is_better else "loses no more"
    why = [
        f"Of all that was measured and is no larger, it {least}."
        if by_size
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
    made = advice.made_here
    if made is not None and made is not point:
        st.caption(
            f":material/info: {FAMILY_NAMES[point.family]} is measured here to compare with, and "
            f"made by other tools. The best that is made here is **{literal(made.name)}**: "
            f"{_figures(curves, made, expected=True)}."
        )
    elif made is None:
        st.caption(_NOT_MADE)


def _figures(curves: SizeCurves, point: BytePoint, *, expected: bool = False) -> str:
    """Bytes and value of a point, in words."""
    size = f"{short_bytes(point.stored_bytes)}, {point.stored_bytes / curves.dense_bytes:.1%}"
    if curves.higher_is_better:
        drop = printed_difference(curves.whole, point.value)
        lead = "should score" if expected else "scored"
        beside = f"{decimals(abs(drop))} {'below' if drop >= 0 else 'above'} the table itself"
        return f"{size}; {lead} **{point.value:.2f}**, {beside}"
    lead = "should lose" if expected else "loses"
    return f"{size}; {lead} **{lost(curves.expected(point))}** ({curves.measure})"


def _short(curves: SizeCurves, point: BytePoint, *, by_size: bool) -> str:
    if not by_size:
        return short_bytes(point.stored_bytes)
    return f"{point.value:.2f}" if curves.higher_is_better else lost(point.value)


def _offer(source: Source, curves: SizeCurves, point: BytePoint) -> None:
    """The button that makes a plan; `promises` then says whether it kept what was expected."""
    if point.plan is None:
        st.caption(_NOT_MADE)
        return
    if st.button(
        "Make it and check it",
        type="primary",
        key="make-told",
        disabled=jobs.is_active("compress"),
        icon=":material/play_arrow:",
        help=f"Fits {point.name} as a job, opens it on every page, and says whether it keeps what "
        "is expected of it.",
    ):
        promises.make(source, curves, point, point.plan)
        st.rerun()  # the job then shows
