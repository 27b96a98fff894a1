"""The levels that numbers of few bits stand for: dense where normal numbers are, sparse beyond."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import embedding

MOST_BITS = 12  # of a number; a window of three bytes would hold 17
_REACH = 8  # no level lies farther from zero
_UNIT = 2.0**-13  # all levels are whole multiples: the same on every machine, exact in float32

# Lloyd-Max quantisers of 1 … 5 bits for a standard normal number, the levels above zero.
_ABOVE_ZERO = (
    (6536,),
    (3709, 12373),
    (2008, 6193, 11009, 17629),
    (1052, 3179, 5380, 7720, 10291, 13255, 16949, 22385),
    (540, 1622, 2715, 3823, 4956, 6121, 7328, 8592, 9927, 11357, 12912, 14641, 16619, 18987, 22046,
     26712),
)  # fmt: skip


def _levels(bits: int) -> Tensor:
    """Rising and even about zero, shape (2**bits,), float64.

    Beyond five bits the best levels lie as densely as the cube root of the density (Panter and
    Dite 1951), which is that of a normal number of variance 3.
    """
    half = 1 << (bits - 1)
    if bits <= len(_ABOVE_ZERO):
        above = torch.tensor(_ABOVE_ZERO[bits - 1], dtype=torch.float64)
    else:
        shares = (half + torch.arange(half, dtype=torch.float64) + 0.5) / (2 * half)
        above = (math.sqrt(3) * torch.special.ndtri(shares) / _UNIT).round()
    return torch.cat([-above.flip(0), above]) * _UNIT


def _normal_loss(levels: Tensor) -> float:
    """E(x − Q(x))² of a standard normal number, its density integrated between the levels."""
    edges = torch.cat([levels.new_tensor([-40.0]), _middles(levels), levels.new_tensor([40.0])])
    density = torch.exp(-edges.square() / 2) / math.sqrt(2 * math.pi)
    mass, first = torch.special.ndtr(edges).diff(), -density.diff()
    second = mass - (edges * density).diff()
    return float((second - 2 * levels * first + levels.square() * mass).sum())


def _middles(levels: Tensor) -> Tensor:
    return (levels[1:] + levels[:-1]) / 2


def _cells(levels: Tensor) -> tuple[Tensor, Tensor]:
    """For nearest levels without a search: cells so small that each holds one edge at most.

    Returns:
        Of each cell the code below it, and the edge in it, infinity where there is none.
    """
    edges = _middles(levels)
    count = _REACH * len(levels)
    bounds = torch.arange(count + 1, dtype=torch.float64) * (2 * _REACH / count) - _REACH
    below = torch.searchsorted(edges, bounds)
    edge = torch.cat([edges, edges.new_tensor([math.inf])])[below[:-1]]
    return below[:-1].int(), torch.where(below.diff() > 0, edge, math.inf).float()


_BY_BITS = [_levels(bits) for bits in range(1, MOST_BITS + 1)]
_BELOW, _EDGE = (torch.cat(parts) for parts in zip(*map(_cells, _BY_BITS), strict=True))
LEVELS = torch.cat(_BY_BITS).float()
"""Those of 1 bit, then those of 2, and so on: code c of b bits is at 2**b − 2 + c."""
NORMAL_LOSSES = tuple(map(_normal_loss, _BY_BITS))
"""What is lost of a standard normal number at 1 … `MOST_BITS` bits: the mean squared error."""


def nearest_codes(numbers: Tensor, bits: Tensor | int) -> Tensor:
    """The code of the nearest level of each number; fit for torch.compile.

    Args:
        numbers: Float32, in units of the levels.
        bits: Whole numbers, each 1 … `MOST_BITS`; broadcast against the numbers.

    Returns:
        The shape of the numbers, int32; any code where a number is NaN.
    """
    counts = _counts(bits)  # of levels; a cell is 2 / count wide
    scaled = numbers.add(_REACH).mul_(counts / 2).clamp_(min=0).clamp_(max=_REACH * counts - 1)
    places = scaled.int().clamp_(min=0)  # of NaN as well
    places = places.add_(_whole(_REACH * (counts - 2))).flatten()
    below = _BELOW.to(numbers.device).index_select(0, places).view(numbers.shape)
    edges = _EDGE.to(numbers.device).index_select(0, places).view(numbers.shape)
    return below.add_(numbers > edges)


def levels_of(codes: Tensor, bits: Tensor | int) -> Tensor:
    """The levels that codes stand for.

    Args:
        codes: Int32.
        bits: Whole numbers, broadcast against the codes.

    Returns:
        The shape of the codes, float32.
    """
    return look_up(LEVELS, codes.add(_whole(_counts(bits) - 2)))


def look_up(levels: Tensor, places: Tensor) -> Tensor:
    """What stands at places of a table, int32; fit for any device, torch.compile and export."""
    table = levels.to(places.device)
    if torch.compiler.is_exporting():  # ONNX cannot flatten what is empty
        return embedding(places, table.unsqueeze(1)).squeeze(-1)
    return table.index_select(0, places.flatten()).view(places.shape)


def nearest_levels(numbers: Tensor, bits: Tensor | int) -> Tensor:
    """The nearest level of each number: see `nearest_codes`."""
    return levels_of(nearest_codes(numbers, bits), bits)


def _counts(bits: Tensor | int) -> Tensor | float:
    return 2.0**bits if isinstance(bits, int) else torch.exp2(bits.float())


def _whole(number: Tensor | float) -> Tensor | int:
    return number.int() if isinstance(number, Tensor) else int(number)
