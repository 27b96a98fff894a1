"""What a picture draws as a table, for those who would rather read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go


def figure_table(figure: go.Figure) -> pd.DataFrame:
    """A row a point or bar: what it belongs to, and where it lies.

    Args:
        figure: Of points, lines and bars, each trace with a name.

    Returns:
        Columns "Part", one an axis, named as the axes are, and "Name" where points have one; breaks
        of a line are left out.
    """
    named = any(getattr(trace, "text", None) is not None for trace in figure.data)
    flat = all(getattr(trace, "z", None) is None for trace in figure.data)
    axes = ("x", "y") if flat else ("x", "y", "z")
    titles = [_title(figure, axis) for axis in axes] if flat else axes  # those of space are bare
    rows = [row for trace in figure.data for row in _rows(trace, axes)]
    frame = pd.DataFrame(rows, columns=["Part", *titles, "Name"])
    return frame if named else frame.drop(columns="Name")


def _title(figure: go.Figure, axis: str) -> str:
    text = figure.layout[f"{axis}axis"].title.text
    return str(text) if text else axis


def _rows(trace: Any, axes: Sequence[str]) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - plotly's
    columns = [getattr(trace, axis) for axis in axes]
    name = str(trace.name or "")
    if isinstance(trace, go.Bar):  # groups, and bars within each
        group, columns[0] = columns[0]
        name = str(group[0])
    names = getattr(trace, "text", None)
    if names is None or isinstance(names, str):
        names = [names or ""] * len(columns[0])
    for *row, called in zip(*columns, names, strict=True):
        if None not in row and all(value == value for value in row):  # not NaN
            yield (name, *row, called)
