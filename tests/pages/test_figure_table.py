"""What a picture draws, as a table."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from engine import lessons, spending
from pages.parts.lessons import drawing
from pages.parts.lessons.figure_table import figure_table


def test_points_and_lines_are_listed_without_their_breaks() -> None:
    points = lessons.lines_in_plane().numpy()
    labels = np.arange(len(points)) % 2
    scene = drawing.PlaneScene(points=points, labels=labels, directions=np.eye(2))
    table = figure_table(drawing.draw_plane(scene, "light"))
    assert list(table.columns) == ["Part", "x", "y"]
    assert not table.isna().to_numpy().any()
    dots = table[table["Part"].str.startswith("rows of")]
    assert np.allclose(np.sort(dots["x"]), np.sort(points[:, 0]))
    assert {"subspace 1", "subspace 2"} < set(table["Part"])


def test_bars_are_listed_by_group() -> None:
    spent = spending.spend_bits(*lessons.uneven_clusters(), 5, 3)
    table = figure_table(drawing.draw_bits(spent.bought.numpy(), "dark"))
    assert list(table.columns) == ["Part", "direction", "bits"]
    assert table["bits"].tolist() == spent.bought.flatten().tolist()
    assert table["Part"].nunique() == len(spent.bought)


def test_space_has_three_axes() -> None:
    figure = go.Figure(go.Scatter3d(x=[1.0, None], y=[2.0, None], z=[3.0, None], name="a"))
    assert figure_table(figure).to_numpy().tolist() == [["a", 1.0, 2.0, 3.0]]


def test_two_points_are_no_groups_and_names_are_told() -> None:
    layout = np.array([[1, 2], [3, 4]], dtype=np.float32)
    trace = go.Scatter(x=layout[:, 0], y=layout[:, 1], text=["cat", "dog"], name="subspace 1")
    table = figure_table(go.Figure([trace, go.Scatter(x=[5.0], y=[6.0], name="line")]))
    assert table.to_numpy().tolist() == [
        ["subspace 1", 1, 2, "cat"],
        ["subspace 1", 3, 4, "dog"],
        ["line", 5, 6, ""],
    ]
