"""The layer as a network, before and after: the paper's figures 1 to 3 in a plan's own sizes.

Tokens on the left, the numbers that come out on the right, a band for every matrix in between. The
column of tokens is parted as the tokens are; the other layers have one scale over all panels.

Source: Maalouf et al., arXiv 2010.04290, figures 1 to 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from engine.budget import PlanSizes
from pages.parts.layers import LEAST, Layer, draw_band, draw_path, draw_text
from pages.parts.palette import CONTEXT, PAGE, subspace_colour
from pages.parts.wording import fewer_or_more, name_range, printable, short_count, shorten

_WIDTH, _HEIGHT = 340, 312
_TOP, _TALL = 44, 262  # where columns begin, and how high they may be
_TOKENS, _HIDDEN, _OUT = 72, 214, 314  # middles of the columns
_HIGHEST_OUT = 150  # of the layer that comes out
_GAP = 4  # between the parts of the column of tokens
_SLOTS = 6  # small layers with room for two lines of text each
_LETTERS = 10  # of a token's name that fit beside its column
_GRID = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));"
    "gap:1.25rem 1rem;margin-bottom:1rem"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPath:
    """The token whose way through the network is drawn.

    Attributes:
        name: As its vocabulary writes it.
        label: Its subspace, from 0.
    """

    name: str
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One small layer of a drawing.

    Attributes:
        name: Of its subspace; empty where there is only one.
        sizes: Of its subspace, or of the many it stands for.
        colour: As on the map.
        own: Whether the drawn token goes through it.
    """

    name: str
    sizes: PlanSizes
    colour: str
    own: bool = True

    @property
    def many(self) -> bool:
        """Whether it stands for those that are not drawn one by one."""
        return self.sizes.k > 1

    def describe(self) -> tuple[str, str]:
        """Its matrix of coordinates, in two short lines."""
        shape = f"{self.sizes.n:,} × {self.sizes.dimensions[0]:,}"
        named = f"{self.name}: {shape}" if self.name else shape
        return (
            f"and {self.sizes.k} more" if self.many else named,
            _numbers(sum(self.sizes.coordinates)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One network: its layers and bands, the texts on them, and what is said of it."""

    title: str
    marks: Sequence[str]
    texts: Sequence[str]
    counted: str
    formula: str
    told: str

    def frame(self, theme: str) -> str:
        """As a figure with its caption."""
        # A seam in the page's colour keeps the texts legible where lines run under them.
        seam = f'paint-order="stroke" stroke="{PAGE[theme]}" stroke-width="4"'
        return (
            f'<figure style="margin:0"><strong>{escape(self.title)}</strong>'
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(self.told)}" style="display:block;width:100%;'
            f'max-width:440px;overflow:visible">'
            f'{"".join(self.marks)}<g font-size="13" fill="currentColor" {seam} '
            f'stroke-linejoin="round">{"".join(self.texts)}</g></svg>'
            f"<figcaption>{escape(self.counted)}<br/>"
            f'<span style="opacity:0.75">{escape(self.formula)}</span></figcaption></figure>'
        )


def draw_network(
    plan: PlanSizes, rank: int, token: TokenPath, theme: str, *, stored: str | None = None
) -> str:
    """The layer before, as an SVD, and as k subspaces, side by side or wrapped where it is narrow.

    Args:
        plan: The plan's sizes.
        rank: Of the SVD beside it, left out where the plan is one subspace through zero itself.
        token: Whose path is drawn.
        theme: ``"light"`` or ``"dark"``.
        stored: What the plan's numbers take, where comparing how many there are says nothing.

    Returns:
        Well-formed HTML with an inline SVG for each panel, on one line: an empty one would end it
        for Markdown. Text takes font and colour from the page.
    """
    svd = PlanSizes(d=plan.d, sizes=(plan.n,), dimensions=(rank,))
    whole = [_Part(name="", sizes=svd, colour=CONTEXT[theme])]
    parts = _share_out(plan, token.label, theme)
    widest = max(part.sizes.dimensions[0] for part in parts if not part.many)
    scale = min(_HIGHEST_OUT / plan.d, (_TALL / len(parts) - 8) / max(1, widest))
    out = Layer(
        x=_OUT,
        y=_TOP + _TALL / 2,
        height=max(LEAST, plan.d * scale),
        count=plan.d,
        colour=CONTEXT[theme],
    )
    panels = [_draw_before(plan, whole, out, token)]
    if plan.k > 1 or plan.affine:
        title = f"SVD: one subspace of rank {rank:,}"
        panels.append(_draw_after(title, svd, whole, out, token))
    after = _draw_after(_name(plan), plan, parts, out, token)
    counted = after.counted if stored is None else f"{plan.parameters:,} numbers in {stored}"
    panels.append(replace(after, counted=counted))
    return f'<div style="{_GRID}">{"".join(panel.frame(theme) for panel in panels)}</div>'


def _name(plan: PlanSizes) -> str:
    if plan.k == 1:
        word = "affine subspace of dimension" if plan.affine else "subspace of rank"
        return f"One {word} {plan.dimensions[0]:,}"
    of = "dimension" if min(plan.dimensions) == max(plan.dimensions) else "dimensions"
    noun = "affine subspaces" if plan.affine else "subspaces"
    return f"{plan.k} {noun} of {of} {name_range(plan.dimensions)}"


def _numbers(count: int) -> str:
    return f"{short_count(count)} numbers"


def _share_out(plan: PlanSizes, own: int, theme: str) -> list[_Part]:
    """The largest subspaces and the token's own, in their order, and one part for all others."""
    labels = sorted(range(plan.k), key=lambda label: (label != own, -plan.sizes[label]))
    shown = labels if plan.k <= _SLOTS else labels[: _SLOTS - 1]
    parts = [
        _Part(
            name=str(label + 1) if plan.k > 1 else "",
            sizes=plan.only([label]),
            colour=subspace_colour(label, theme),
            own=label == own,
        )
        for label in sorted(shown)
    ]
    if len(shown) < plan.k:
        rest = plan.only(labels[len(shown) :])
        parts.append(_Part(name="", sizes=rest, colour=CONTEXT[theme], own=False))
    return parts


def _stack_tokens(parts: Sequence[_Part]) -> list[Layer]:
    """The column of tokens: every part as high as its share, but never too low for a node."""
    least = [LEAST if part.sizes.n else 0.0 for part in parts]
    free = _TALL - sum(least) - _GAP * (len(parts) - 1)
    total = sum(part.sizes.n for part in parts)
    layers: list[Layer] = []
    top = float(_TOP)
    for part, low in zip(parts, least, strict=True):
        height, count = low + free * part.sizes.n / total, part.sizes.n
        middle = top + height / 2
        layers.append(Layer(x=_TOKENS, y=middle, height=height, count=count, colour=part.colour))
        top += height + _GAP
    return layers


def _stack_hidden(parts: Sequence[_Part], out: Layer) -> list[Layer]:
    """One small layer a part, evenly spread, in the scale of what comes out."""
    slot, scale = _TALL / len(parts), out.height / out.count
    return [
        Layer(
            x=_HIDDEN,
            y=_TOP + slot * (place + 0.5),
            height=2 * LEAST if part.many else max(LEAST, part.sizes.dimensions[0] * scale),
            count=part.sizes.dimensions[0],
            colour=part.colour,
            many=part.many,
        )
        for place, part in enumerate(parts)
    ]


def _head(x: float, count: str, what: str) -> str:
    return draw_text(x, 14, count, what)


def _draw_before(plan: PlanSizes, whole: Sequence[_Part], out: Layer, token: TokenPath) -> _Panel:
    (tokens,) = _stack_tokens(whole)
    node = tokens.nearest(out.y)
    shape, before = f"{plan.n:,} × {plan.d:,}", plan.parameters_before
    return _Panel(
        title="Before: one layer",
        marks=[
            draw_band(tokens, out, out.colour),
            draw_path(tokens, node, out),
            tokens.draw(),
            out.draw(),
        ],
        texts=[
            _head(_TOKENS, f"{plan.n:,}", "tokens"),
            _head(_OUT, f"{plan.d:,}", "numbers"),
            _write_matrix(_OUT, out, shape, _numbers(before)),
            _write_token(token, node),
        ],
        counted=f"{before:,} numbers",
        formula=f"n·d = {shape}",
        told=f"Before: each of {plan.n:,} tokens is joined to all {plan.d:,} numbers that come "
        f"out, {before:,} numbers in all.",
    )


def _draw_after(
    title: str, plan: PlanSizes, parts: Sequence[_Part], out: Layer, token: TokenPath
) -> _Panel:
    columns = list(zip(parts, _stack_tokens(parts), _stack_hidden(parts, out), strict=True))
    marks: list[str] = []
    for _, tokens, hidden in columns:
        marks.append(draw_band(tokens, hidden, hidden.colour))
        if hidden.count:
            marks.append(draw_band(hidden, out, hidden.colour))
    (own,) = [column for column in columns if column[0].own]
    node = own[1].nearest(out.y)
    marks.append(draw_path(own[1], node, own[2], out))
    marks += [layer.draw() for _, *layers in columns for layer in layers]
    lowest = columns[-1][2]
    # Just under the lowest band, where it is half-way.
    foot = out.y + out.height / 2
    below = max(foot, (lowest.y + lowest.height / 2 + foot) / 2) + 16
    shared = f"{sum(plan.dimensions):,} × {plan.d:,}"
    texts = [
        _head(_TOKENS, f"{plan.n:,}", "tokens"),
        _head(_HIDDEN, name_range(plan.dimensions), "coordinates"),
        _head(_OUT, f"{plan.d:,}", "numbers"),
        draw_text(_WIDTH - 2, below, shared, _numbers(sum(plan.bases)), anchor="end"),
        _write_token(token, node),
    ]
    if len(parts) == 1:
        texts.append(_write_matrix(_HIDDEN, out, *parts[0].describe()))
    else:
        texts += [
            draw_text(_HIDDEN - 14, hidden.y - 3, *part.describe(), anchor="end")
            for part, _, hidden in columns
        ]
    return _Panel(
        title=title,
        marks=[*marks, out.draw()],
        texts=texts,
        counted=f"{plan.parameters:,} numbers, {fewer_or_more(plan.rate)}",
        formula=_count(plan),
        told=_tell(title, plan, token),
    )


def _write_matrix(end: float, out: Layer, shape: str, numbers: str) -> str:
    """On the band of a single matrix, over the lines of the token."""
    return draw_text((_TOKENS + end) / 2, out.y - 62, shape, numbers)


def _write_token(token: TokenPath, node: float) -> str:
    return draw_text(_TOKENS - 14, node + 4, shorten(token.name, _LETTERS), anchor="end")


def _count(plan: PlanSizes) -> str:
    """How its numbers are counted, in the paper's symbols."""
    if plan.k == 1 and not plan.affine:
        return f"r·(n + d) = {plan.dimensions[0]:,} × ({plan.n:,} + {plan.d:,})"
    even = min(plan.dimensions) == max(plan.dimensions)
    symbols = ("n·j + k·j·d" if even else "Σ nᵢ·jᵢ + Σ jᵢ·d") + (" + k·d" if plan.affine else "")
    counts = [sum(plan.coordinates), sum(plan.bases), *([plan.offsets] if plan.affine else [])]
    return f"{symbols} = {' + '.join(f'{count:,}' for count in counts)}"


def _tell(title: str, plan: PlanSizes, token: TokenPath) -> str:
    """The drawing in words."""
    ways = ", ".join(
        f"{size:,} tokens by {dimension:,} coordinates"
        for size, dimension in zip(plan.sizes, plan.dimensions, strict=True)
    )
    name = printable(token.name)
    through = f" “{name}” goes through number {token.label + 1} alone." if plan.k > 1 else ""
    return (
        f"{title}: {ways}, all put together to {plan.d:,} numbers by one shared layer, "
        f"{plan.parameters:,} numbers in all.{through}"
    )
