"""What Just tell me asks: how many bytes there are, or how much may be lost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from engine import EngineError
from engine.advice import Advice, advise_reaching, advise_within
from engine.budget import read_bytes
from engine.frontier import SizeCurves
from pages.parts.wording import energy, literal, short_bytes

_SIZE, _LOSS = "In a size", "At a loss"
_PERCENTS = (1.0, 1.3, 1.6, 2.0, 2.4, 3.1, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0, 20.0, 27.0, 50.0)
_ERRORS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
_DROPS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_USUAL_PERCENT, _USUAL_ERROR, _USUAL_DROP = 3.1, 0.2, 0.5
_TYPED = "tell-bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was asked for; one of the two.

    Attributes:
        stored_bytes: Most bytes.
        loss: The largest error, or most points of a score below the table itself.
    """

    stored_bytes: int | None = None
    loss: float | None = None

    def advise(self, curves: SizeCurves) -> Advice | None:
        """What to make; None where nothing that was measured is so small or so good."""
        if self.stored_bytes is not None:
            return advise_within(curves, self.stored_bytes)
        loss = self.loss or 0.0
        return advise_reaching(curves, curves.whole - loss if curves.higher_is_better else loss)


def ask(curves: SizeCurves) -> Ask | None:
    """The controls; None where what was typed is no number of bytes, which is told."""
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
        if by == _LOSS:
            return Ask(loss=_ask_loss(curves))
        size = _ask_size(curves)
        return None if size is None else Ask(stored_bytes=size)


def _ask_size(curves: SizeCurves) -> int | None:
    """Most bytes, by a slider or as typed; None where what was typed is no number of bytes."""
    least = _least(curves) / curves.dense_bytes
    percents = [percent for percent in _PERCENTS if percent / 100 >= least]
    slide, write = st.columns([2, 1], gap="medium", vertical_alignment="bottom")
    with write:
        typed = st.text_input(
            "or type it",
            key=_TYPED,
            bind="query-params",
            placeholder="1 MB",
            help="1 MB, 750 kB, 750108 or 3%: bytes, or a share of the table in float32. kB and MB "
            "are powers of ten. The slider takes over again where it is moved.",
        )
    asked: int | None = None
    wrong = ""
    if typed.strip():
        try:
            asked = read_bytes(typed, curves.dense_bytes)
        except EngineError as error:
            wrong = str(error)
    with slide:
        if not percents:
            if asked is None:
                st.markdown(nothing_so_small(curves))
            _refuse(wrong)
            return asked
        if asked is not None:  # the slider stands where it comes closest
            share = 100 * asked / curves.dense_bytes
            st.session_state["tell-size"] = min(percents, key=lambda one: abs(one - share))
        percent = _slider(
            "At most, % of the table in float32",
            percents,
            _USUAL_PERCENT,
            key="tell-size",
            on_change=_clear_typed,
        )
    if wrong:
        _refuse(wrong)
        return None
    return int(percent / 100 * curves.dense_bytes) if asked is None else asked


def _refuse(wrong: str) -> None:
    if wrong:
        st.error(f"{literal(wrong)}.", icon=":material/error:")


def _clear_typed() -> None:
    st.session_state[_TYPED] = ""


def _ask_loss(curves: SizeCurves) -> float:
    """The largest error, or most points below the table itself; either rises to the right."""
    values = [point.value for point in curves.points]
    if curves.higher_is_better:
        drops = [drop for drop in _DROPS if curves.whole - drop <= max(values)]
        return _slider(
            f"Lose at most, in points of {curves.measure}: further left loses less, "
            "takes more bytes",
            drops or list(_DROPS[-1:]),
            _USUAL_DROP,
            key="tell-drop",
        )
    errors = [error for error in _ERRORS if error >= min(values)]
    return _slider(
        f"Lose at most, of {energy(weighted=curves.weighted)}: further left loses less, "
        "takes more bytes",
        errors or list(_ERRORS[-1:]),
        _USUAL_ERROR,
        key="tell-loss",
        show=lambda value: f"{100 * value:g}%",
    )


def _least(curves: SizeCurves) -> int:
    return min(point.stored_bytes for point in curves.points)


def nothing_so_small(curves: SizeCurves) -> str:
    """What to say where even the smallest is too large."""
    least = _least(curves)
    return (
        f"The smallest that was measured takes {short_bytes(least)}, "
        f"{100 * least / curves.dense_bytes:.2g} % of the table."
    )


def _slider(
    label: str,
    options: Sequence[float],
    usual: float,
    *,
    key: str,
    show: Callable[[float], str] = "{:g}".format,
    on_change: Callable[[], None] | None = None,
) -> float:
    """One of some rising values, beginning at the usual one or the next that is offered."""
    if len(options) == 1:
        st.markdown(f"{label}: {show(options[0])}")
        return options[0]
    start = options[max(0, bisect_right(options, usual) - 1)]
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)  # another measure offered other values
    return st.select_slider(
        label,
        options,
        start,
        key=key,
        bind="query-params",
        format_func=show,
        on_change=on_change,
    )
