"""Lesson 3: EM by hand, twenty starts on the same rows, and rows that lie far off."""

from __future__ import annotations

import streamlit as st
import torch

from engine import lessons
from engine.clustering.em import EMPlan
from engine.lessons import HalfStep
from pages.parts.lessons import drawing
from pages.parts.lessons.page import columns, ink, picture, prose, theme

_PLAN = EMPlan.even(4, 1)
_STARTS = 20
_START, _STEP = "lesson-start", "lesson-step"
_FIRST_START = 0  # one of those that get stuck
_SAID = {
    "start": "Every row is in one of four parts, drawn at random: **the start**.",
    "refit": "**Refit** (*M-step*): each line became the best one for the rows of its colour.",
    "assign": "**Assign** (*E-step*): each row took the colour of its closest line.",
}
_NEXT = {"start": "refit", "refit": "assign", "assign": "refit"}
_LOSSES = {
    "Squared distance": "squared",
    "Distance (ℓ₁)": "l1",
    "Huber": "huber",
    "Tukey": "tukey",
}


@st.cache_resource(max_entries=1)
def _traces() -> tuple[tuple[HalfStep, ...], ...]:
    points = lessons.lines_in_plane()
    return tuple(lessons.trace_random_start(points, _PLAN, seed) for seed in range(_STARTS))


def show() -> None:
    """The section."""
    _show_by_hand()
    _show_outliers()


@st.fragment
def _show_by_hand() -> None:
    traces = _traces()
    st.session_state.setdefault(_START, _FIRST_START)
    start = st.session_state[_START]
    trace = traces[start]
    last = len(trace) - 1
    st.session_state[_STEP] = min(st.session_state.get(_STEP, 2), last)
    with prose():
        st.markdown(
            "Which line does a row belong to? That depends on the lines; and the lines depend on "
            "their rows. **EM** (*expectation–maximisation; k-means, but with subspaces for "
            "centres*) begins with the rows in k = 4 parts drawn at random. Then two half-steps "
            "take turns: **refit** every line to the rows of its part (*M-step*), and **assign** "
            "every row to its closest line (*E-step*). Neither can raise the cost, so it falls "
            "until nothing moves:"
        )
        st.latex(
            rf"\mathrm{{cost}} = \sum_x\; \min_{{{ink(0)}{{i}}}}\; "
            rf"\mathrm{{dist}}(x,{ink(0)}{{S_i}})^2"
        )
    step = trace[st.session_state[_STEP]]
    left, right = columns(1.15, 1.0)
    scene = drawing.PlaneScene(
        points=lessons.lines_in_plane().numpy(),
        labels=step.labels.numpy(),
        directions=None if step.subspaces is None else torch.cat([*step.subspaces.bases]).numpy(),
        height=470,
    )
    picture(
        left,
        drawing.draw_plane(scene, theme()),
        key="lesson-em",
        alt=f"Rows near four lines in the plane, coloured by their subspace, after {step.phase} "
        f"of round {step.round}.",
    )
    with right:
        _controls(trace, start)
        st.markdown(_describe(step, at_end=st.session_state[_STEP] == last))
        st.markdown("**Cost of this start**")
        picture(
            right,
            drawing.draw_costs(
                [state.cost for state in trace],
                [state.phase for state in trace],
                st.session_state[_STEP],
                theme(),
            ),
            key="lesson-costs",
            alt="Energy lost after each half-step; it never rises.",
            on_point=lambda step: st.session_state.update({_STEP: step}),
        )
        st.slider("Half-step", 0, last, key=_STEP, help="Or press a point above.")
    _show_starts(traces, start)


def _controls(trace: tuple[HalfStep, ...], start: int) -> None:
    at, last = st.session_state[_STEP], len(trace) - 1

    def go(step: int) -> None:
        st.session_state[_STEP] = step

    row = st.container(horizontal=True, gap="small")
    row.button(
        f"Next: {_NEXT[trace[at].phase]}",
        on_click=go,
        args=(min(at + 1, last),),
        disabled=at == last,
        type="primary",
        icon=":material/play_arrow:",
        key="lesson-next",
    )
    row.button(
        "Back",
        on_click=go,
        args=(max(at - 1, 0),),
        disabled=at == 0,
        icon=":material/undo:",
        key="lesson-back",
    )
    row.button(
        "To the end",
        on_click=go,
        args=(last,),
        disabled=at == last,
        icon=":material/skip_next:",
        key="lesson-end",
    )

    def restart() -> None:
        st.session_state[_START] = (start + 1) % _STARTS
        st.session_state[_STEP] = 0

    row.button("Another start", on_click=restart, icon=":material/casino:", key="lesson-restart")


def _describe(step: HalfStep, *, at_end: bool) -> str:
    said = _SAID[step.phase]
    if step.phase == "assign":
        moved = "No row" if not step.moved else f"{step.moved} row{'s' * (step.moved > 1)}"
        said += f" {moved} moved."
    if step.cost is not None:
        said += f" **{step.cost:.1%}** of the energy is lost."
    if at_end:
        said += " Nothing moves any more: EM **has settled**."
    return said


def _show_starts(traces: tuple[tuple[HalfStep, ...], ...], start: int) -> None:
    costs = [float(trace[-1].cost or 0.0) for trace in traces]
    best = min(costs)
    stuck = sum(cost > 1.05 * best for cost in costs)

    def go(chosen: int) -> None:
        st.session_state[_START] = chosen
        st.session_state[_STEP] = len(traces[chosen]) - 1

    with prose():
        st.markdown("#### Same rows, 20 starts")
        st.markdown(
            f"{_STARTS - stuck} starts (dots) end at the lowest cost, {best:.1%}; **{stuck} get "
            "stuck** (crosses) at a higher one (*a local minimum*): a line came to rest between "
            "two groups of rows, and neither half-step can move it. Starts differ only in the "
            "parts that were drawn for them. That is **why one restarts**, and keeps the cheapest. "
            "Press a mark to see in the picture above where that start ended; the one that is "
            "shown there is outlined."
        )
    picture(
        st.container(),
        drawing.draw_starts(costs, start, theme()),
        key="lesson-starts",
        alt=f"Final cost of twenty starts: {_STARTS - stuck} reach the lowest, {stuck} get stuck.",
        on_point=go,
    )


@st.fragment
def _show_outliers() -> None:
    st.markdown("#### Rows that lie far off")
    points = lessons.line_with_outliers()
    with prose():
        st.markdown(
            "Squared, one distance of 10 costs as much as a hundred of 1, so **five odd rows turn "
            "the whole line**. *Robust losses* grow more slowly: the distance itself (*ℓ₁*), "
            "Huber's, which is squared nearby and straight far off, or Tukey's, by which a row "
            "that lies far enough costs no more for lying farther. The line then stays with the "
            "other forty. **Explore** offers them for any table, under *Advanced*."
        )
        chosen = st.segmented_control(
            "What a distance costs, on the right",
            list(_LOSSES)[1:],
            default=list(_LOSSES)[1],
            required=True,
            key="lesson-loss",
        )
    left, right = columns(1.0, 1.0)
    for place, name in ((left, "Squared distance"), (right, str(chosen))):
        line = lessons.best_line(points, _LOSSES[name])
        angle = lessons.angle_of(line)
        scene = drawing.PlaneScene(
            points=points.numpy(),
            labels=torch.zeros(len(points), dtype=torch.int64).numpy(),
            directions=line[None].numpy(),
            height=340,
            reach=1.5,
        )
        with place:
            st.markdown(f"**{name}**: a line at {angle:.0f}°")
            picture(
                place,
                drawing.draw_plane(scene, theme(), names=["the line"]),
                key=f"lesson-outliers-{place is left}",
                alt=f"Forty rows along a line at 20° and five far off; by {name.lower()} the best "
                f"line lies at {angle:.0f}°.",
            )
