"""Levels that hang on the bits before a number too: trellis-coded quantisation.

README.md in this folder says why, and `tests.benchmarks.train_trellis` where the levels are from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, cycle
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.rows import row_slices

WINDOW = 10  # bits that a level hangs on: a number's own and those before it, as if in a ring
LEAST_BYTES = 8  # of a row: in a shorter ring its ends bind too much; single numbers do better
STATES = 1 << WINDOW
LEVEL_FILE = Path(__file__).with_name("trellis.safetensors")
LEVEL_UNIT = 2.0**-12  # all levels are whole multiples: the same on every machine
_MOST_ROWS = 256  # at once: what two neighbouring numbers need then stays in the cache
_MOST_COSTS = 1 << 26  # numbers of a block of rows, 256 MB
_BEFORE, _AFTER = 96, 64  # bits about the end of a row that decide how it ends, at least

_FILE = load_file(LEVEL_FILE)
TRELLIS_LEVELS = _FILE["levels"].float() * LEVEL_UNIT
"""What each window of bits stands for, its last b bits a number's own: shape (WINDOW, STATES), of
numbers of 1 … `WINDOW` bits."""
TRELLIS_LOSSES: tuple[float, ...] = tuple(_FILE["losses"].tolist())
"""What is lost of standard normal numbers at 1 … `WINDOW` bits: the mean squared error."""


def find_paths(
    numbers: Tensor,
    steps: Tensor,
    bits: Tensor,
    *,
    levels: Tensor = TRELLIS_LEVELS,
    on_block: Callable[[int], None] = lambda _: None,
) -> tuple[Tensor, Tensor]:
    """The codes that stand for what is nearest to each row as a whole: Viterbi's algorithm.

    How a row ends is found first, from the numbers about the place where it meets its beginning:
    a per cent more is lost by that than by the best of all 1,024 ends.

    Args:
        numbers: Shape (m, j), float32.
        steps: What a unit of each column's levels stands for, shape (j,), float32, not negative.
        bits: Shape (j,), each 1 … `WINDOW`, together `WINDOW` at least.
        levels: As `TRELLIS_LEVELS`.
        on_block: Called with how many rows are done after every few; may raise to stop.

    Returns:
        Codes, shape (m, j), int16, and the levels that they stand for, shape (m, j), float32.

    Source: Forney, *The Viterbi algorithm*, Proc. IEEE 61 (1973); Marcellin and Fischer, *Trellis
    coded quantization of memoryless and Gauss-Markov sources*, IEEE Trans. Communications 38
    (1990).

    Cost: about 3·`STATES` flops a number; extra memory `STATES` numbers for each number of a block
    of rows, at most 256 MB, or those of one row.
    """
    widths: list[int] = bits.tolist()
    codes = torch.empty(numbers.shape, dtype=torch.int16)
    found = torch.empty_like(numbers)
    around, before = _around_the_end(widths)
    length = max(len(widths), len(around)) + 1
    block = max(1, min(_MOST_ROWS, _MOST_COSTS // (STATES * length)))
    room = torch.empty(length, STATES, min(block, len(numbers)))
    # By the largest: squares of what is far from 1 would leave float32.
    unit = max([torch.finfo(torch.float32).tiny, *steps.tolist()])
    columns = _Columns(widths=widths, scaled=(steps / unit).unsqueeze(1) * levels[bits.long() - 1])
    for rows in row_slices(len(numbers), block):
        turned = (numbers[rows] / unit).T.contiguous()
        costs = room[:, :, : turned.shape[1]]
        # What stands before a row is its own end: looked for around the place where both meet.
        near = columns.take(around)
        _add_up(turned[around], near, costs)
        edge = _trace_back(near.widths, costs, costs[len(around)].argmin(dim=0))[before - 1]
        _add_up(turned, columns, costs, edge)
        windows = _trace_back(columns.widths, costs, edge)
        for place, width in enumerate(widths):
            codes[rows, place] = (windows[place] & ((1 << width) - 1)).short()
            found[rows, place] = levels[width - 1][windows[place]]
        on_block(rows.stop)
    return codes, found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Columns:
    """What numbers may become.

    Attributes:
        widths: Bits of each of the j.
        scaled: What every window stands for at each, shape (j, `STATES`).
    """

    widths: list[int]
    scaled: Tensor

    def take(self, places: list[int]) -> _Columns:
        """Some of them, in an order of one's own."""
        widths = [self.widths[place] for place in places]
        return _Columns(widths=widths, scaled=self.scaled[places])


def _around_the_end(widths: list[int]) -> tuple[list[int], int]:
    """The numbers about the place where a row's end meets its beginning, and how many are before.

    Short rows are gone round more than once.
    """
    before = _count(widths[::-1], _BEFORE)
    after = _count(widths, _AFTER)
    return [place % len(widths) for place in range(-before, after)], before


def _count(widths: list[int], bits: int) -> int:
    """How many numbers of a ring hold so many bits."""
    return next(
        count for count, end in enumerate(accumulate(cycle(widths)), start=1) if end >= bits
    )


def _add_up(turned: Tensor, columns: _Columns, costs: Tensor, edge: Tensor | None = None) -> None:
    """The least cost of every window at every number, in place.

    Args:
        turned: Shape (j, m).
        columns: Of the j.
        costs: Shape (j + 1 or more, `STATES`, m): Σ (what it stands for − number)² up to a
            number, of the best way to the window that ends there.
        edge: The window before the first number, shape (m,); any where left out.
    """
    costs[0].fill_(0 if edge is None else torch.inf)
    if edge is not None:
        costs[0].scatter_(0, edge.unsqueeze(0), 0.0)
    for place, (width, own) in enumerate(zip(columns.widths, columns.scaled, strict=True)):
        # Windows that differ in their first bits alone lead to the same ones.
        best = costs[place].unflatten(0, (1 << width, -1)).amin(dim=0)
        # Without the square sums would be of the size of the rows, and small columns lost in them.
        best.add_(turned[place].square())
        cost = costs[place + 1].unflatten(0, (-1, 1 << width))
        torch.add(best.unsqueeze(1), own.square().view(-1, 1 << width, 1), out=cost)
        costs[place + 1].addr_(own, turned[place], alpha=-2)


def _trace_back(widths: list[int], costs: Tensor, last: Tensor) -> list[Tensor]:
    """The windows of the cheapest way to a last one, number by number: each shape (m,), int64."""
    every = torch.arange(costs.shape[2])
    window = last
    found: list[Tensor] = []
    for place in range(len(widths) - 1, -1, -1):
        found.append(window)
        width = widths[place]
        shared = window >> width
        before = costs[place].unflatten(0, (1 << width, -1))[:, shared, every].argmin(dim=0)
        window = (before << (WINDOW - width)) | shared
    return found[::-1]
