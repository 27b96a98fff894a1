"""Lesson 1: rows as points, one line through zero, what it loses, and the SVD's line."""

from __future__ import annotations

import streamlit as st
import torch

from engine import lessons
from pages.parts.lessons import drawing
from pages.parts.lessons.page import columns, ink, picture, prose, theme

_ANGLE = "lesson-angle"
_FIRST_ANGLE = 100


@st.fragment
def show() -> None:
    """The section."""
    points = lessons.cloud_in_plane()
    best = round(lessons.angle_of(lessons.best_line(points)))
    degrees = torch.arange(0.0, 181.0)
    costs = lessons.cost_by_angle(points, degrees)
    with prose():
        st.markdown(
            "An embedding layer is a table: **one row of numbers for each token**. With two "
            "numbers a row, a row is a point that can be drawn; real rows have hundreds, and "
            "nothing below changes.\n\n"
            "To store less, put a line through zero (*a subspace of dimension* $j = 1$) and keep "
            "of each row only **where on the line** it falls: one number in place of two. What is "
            "lost is its distance to the line, the thin strokes (*residuals*). The **SVD** "
            "(*singular value decomposition*) finds the line that loses least:"
        )
        st.latex(rf"\min_{{{ink(0)}{{S}}}}\;\sum_{{x}} \mathrm{{dist}}(x, {ink(0)}{{S}})^2")
    left, right = columns(1.0, 1.0)
    with right:
        st.session_state.setdefault(_ANGLE, _FIRST_ANGLE)
        angle = st.slider("Turn the line", 0, 180, key=_ANGLE, format="%d°")
        st.button(
            "Find the best line",
            on_click=lambda: st.session_state.update({_ANGLE: best}),
            icon=":material/my_location:",
        )
        lost, least = float(costs[angle]), float(costs[best])
        st.markdown(
            f"Your line loses **{lost:.0%}** of the rows' **energy**, the sum of their squared "
            f"lengths (*Σ dist² over Σ ‖x‖²*); the SVD's, at {best}°, loses **{least:.0%}**."
        )
    scene = drawing.PlaneScene(
        points=points.numpy(),
        labels=torch.zeros(len(points), dtype=torch.int64).numpy(),
        reach=1.3,
        directions=lessons.line_at(angle)[None].numpy(),
    )
    picture(
        left,
        drawing.draw_plane(scene, theme(), names=["your line"]),
        key="lesson-one-rows",
        alt=f"Forty rows in the plane and a line at {angle}°, with a stroke from each row to it.",
    )
    picture(
        right,
        drawing.draw_angles(degrees.numpy(), costs.numpy(), angle, best, theme()),
        key="lesson-one-angles",
        alt=f"Energy lost by a line of each angle: lowest, {least:.0%}, at {best}°.",
    )
