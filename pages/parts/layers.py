"""Layers of a network and what joins them, as pieces of SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import product

LEAST = 12.0  # height of the smallest layer: room for one node
_BREADTH = 14
_PITCH = 11  # from node to node
_RADIUS = 3.4
_LINE = 15  # from one line of text to the next
_FEW_LINES = 40  # more of them need to be fainter
_QUIET = 0.75  # of the ink: more than 5 : 1 on the page of either theme


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A column of nodes, with an ellipsis in the middle where not all fit.

    Attributes:
        x: Middle, in units of the drawing, as all places here.
        y: Middle.
        height: Of the column.
        count: Nodes that there are.
        colour: Of nodes and column.
        many: Whether it stands for several layers: dashed, without nodes.
    """

    x: float
    y: float
    height: float
    count: int
    colour: str
    many: bool = False

    @property
    def _places(self) -> list[float]:
        fitting = min(self.count, max(1, int(self.height // _PITCH)))
        top, pitch = self.y - self.height / 2, self.height / max(1, fitting)
        return [top + pitch * (place + 0.5) for place in range(fitting)]

    @property
    def is_cut(self) -> bool:
        """Whether an ellipsis stands for some of the nodes."""
        return self.many or 3 <= len(self._places) < self.count

    @property
    def nodes(self) -> list[float]:
        """Where nodes are drawn, from above."""
        if self.many:
            return []
        places = self._places
        half = (len(places) - 1) // 2
        return [*places[:half], *places[-half:]] if self.is_cut else places

    def nearest(self, y: float) -> float:
        """The node closest to a height; the middle where there is none."""
        return min(self.nodes, key=lambda node: abs(node - y), default=self.y)

    def draw(self) -> str:
        """The column with its nodes."""
        solid = self.count and not self.many
        dashes = "" if solid else ' stroke-dasharray="2 2"'
        column = (
            f'<rect x="{self.x - _BREADTH / 2:g}" y="{self.y - self.height / 2:.1f}" '
            f'width="{_BREADTH}" height="{self.height:.1f}" rx="5" fill="{self.colour}" '
            f'fill-opacity="0.3" stroke="{self.colour}"{dashes}/>'
        )
        dots = [(node, _RADIUS, self.colour) for node in self.nodes]
        if self.is_cut:
            dots += [(self.y + step, 1.1, "currentColor") for step in (-4, 0, 4)]
        return column + "".join(
            f'<circle cx="{self.x:g}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'
            for y, radius, colour in dots
        )


def draw_band(left: Layer, right: Layer, colour: str) -> str:
    """All connections of two layers, as one faint area."""
    start, end = left.x + _BREADTH / 2, right.x - _BREADTH / 2
    corners = (
        (start, left.y - left.height / 2),
        (end, right.y - right.height / 2),
        (end, right.y + right.height / 2),
        (start, left.y + left.height / 2),
    )
    points = " ".join(f"{x:g},{y:.1f}" for x, y in corners)
    return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.16"/>'


def draw_path(start: Layer, node: float, *layers: Layer) -> str:
    """What one node reaches through the layers to the right of it."""
    lines: list[str] = []
    here, reached = start, [node]
    for layer in layers:
        lines += [
            f"M{here.x:g} {left:.1f}L{layer.x:g} {right:.1f}"
            for left, right in product(reached, layer.nodes)
        ]
        here, reached = layer, layer.nodes
    opacity = 0.7 if len(lines) <= _FEW_LINES else 0.4
    return (
        f'<path d="{"".join(lines)}" fill="none" stroke="currentColor" stroke-opacity="{opacity}"/>'
        f'<circle cx="{start.x:g}" cy="{node:.1f}" r="{_RADIUS + 1.4}" fill="currentColor"/>'
    )


def draw_text(x: float, y: float, first: str, second: str = "", *, anchor: str = "middle") -> str:
    """A line of text and, where there is one, a second in quiet ink."""
    below = ""
    if second:
        quiet = f'dy="{_LINE}" fill-opacity="{_QUIET}"'
        below = f'<tspan x="{x:g}" {quiet}>{escape(second)}</tspan>'
    return f'<text x="{x:g}" y="{y:.1f}" text-anchor="{anchor}">{escape(first)}{below}</text>'
