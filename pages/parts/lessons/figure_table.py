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
        Columns "Part" and one an axis, named as the axes are; breaks of a line are left out.
    """
    flat = all(getattr(trace, "z", None) is None for trace in figure.data)
    axes = ("x", "y") if flat else ("x", "y", "z")
    titles = [_title(figure, axis) for axis in axes] if flat else axes  # those of space are bare
    rows = [row for trace in figure.data for row in _rows(trace, axes)]
    return pd.DataFrame(rows, columns=["Part", *titles])


def _title(figure: go.Figure, axis: str) -> str:
    text = figure.layout[f"{axis}axis"].title.text
    return str(text) if text else axis


def _rows(trace: Any, axes: Sequence[str]) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - plotly's
    columns = [getattr(trace, axis) for axis in axes]
    name = str(trace.name or "")
    x = columns[0]
    if len(x) == 2 and not isinstance(x[0], int | float | str):  # groups, and bars within each
        name, columns[0] = str(x[0][0]), x[1]
    for row in zip(*columns, strict=True):
        if None not in row and all(value == value for value in row):
            yield (name, *row)
