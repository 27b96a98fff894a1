"""From numbers to codes: the step that loses least for each column, or plain rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from engine.coding.codes import CODE_BITS, CodedMatrix, pack_levels, spread_steps
from engine.coding.packing import packed_bytes
from engine.errors import ParameterError
from engine.rows import RowMatrix, each_block, empty_rows, row_slices

_BLOCK_ROWS = 1024  # of the search: blocks that stay in the processor's cache
# Shares of the largest number beyond which a column may be cut off. Many numbers want a finer step
# than their largest allows, the more so the fewer the levels. Neighbours lie 10 % apart: near the
# best one, half of that costs less than 1 % of the error.
_CUTS = {bits: tuple(0.9**power for power in range(count)) for bits, count in ((4, 20), (8, 8))}


def round_to_nearest(
    matrix: RowMatrix, *, bits: int, group: int | None = None, workspace: Path | None = None
) -> CodedMatrix:
    """Every number to the nearest level, the outermost cells ending at the largest of its group.

    The baseline that knows nothing of subspaces: steps are stored in float16, and numbers rounded
    with the step as stored.

    Args:
        matrix: Shape (n, d), finite; read a block at a time.
        bits: 8, 4, 3 or 2.
        group: Columns that share a step; the whole row when left out.
        workspace: A folder on a disk with room for the codes, as in `engine.rows.empty_rows`.

    Returns:
        Shape (n, d); its `stored_bytes` and `relative_error` are the baseline's figures.

    Raises:
        ParameterError: If bits or group is out of range, or a number is not finite.
        OSError: If the disk of the workspace is full.

    Cost: one pass over the rows; extra memory O(block·d) beside the result.
    """
    n, columns = matrix.shape
    group = max(columns, 1) if group is None else group
    if bits not in CODE_BITS or group < 1:
        raise ParameterError(
            f"bits must be one of {CODE_BITS} and group at least 1, got {bits} and {group}"
        )
    codes = empty_rows(n, packed_bytes(columns, bits), torch.uint8, workspace)
    steps = torch.empty(n, -(-columns // group), dtype=torch.float16)
    for rows, part in each_block(matrix):
        largest = _checked(_largest_of_groups(part, group).float())
        steps[rows] = _half(largest / 2 ** (bits - 1))
        own = spread_steps(steps[rows].float(), group, columns)
        codes[rows] = pack_levels(_nearest_levels(part.float(), own, bits), bits)
    return CodedMatrix(codes=codes, steps=steps, bits=bits, columns=columns, group=group)


def code_columns(
    read: Callable[[slice], Tensor],
    shape: tuple[int, int],
    *,
    bits: int,
    workspace: Path | None = None,
) -> CodedMatrix:
    """Each column with the step, out of a few cuts of its largest number, that loses least.

    Args:
        read: Gives rows as float32, shape (m, columns); the same each time it is asked.
        shape: (rows, columns).
        bits: 8 or 4.
        workspace: As in `round_to_nearest`.

    Returns:
        Codes with one float32 step a column. No column loses more than when nothing is cut off:
        then every number is within half of (largest number) / 2**(bits − 1).

    Raises:
        ParameterError: If a number is not finite in float32.
        OSError: If the disk of the workspace is full.

    Cost: three passes over the rows, 20 roundings of each number at 4 bits and 8 at 8 bits; extra
    memory O(block·columns).
    """
    n, columns = shape
    largest = torch.zeros(columns)
    for rows in row_slices(n, _BLOCK_ROWS):
        largest = torch.maximum(largest, read(rows).abs().amax(dim=0))
    steps = torch.outer(torch.tensor(_CUTS[bits]), _checked(largest) / 2 ** (bits - 1))
    losses = torch.zeros(steps.shape, dtype=torch.float64)
    for rows in row_slices(n, _BLOCK_ROWS):
        part = read(rows).abs()  # levels lie evenly about zero: signs change nothing
        for step, loss in zip(steps, losses, strict=True):
            rounded = _nearest_levels(part, step, bits).mul_(step)
            loss += rounded.sub_(part).square_().sum(dim=0)
    best = steps.gather(0, losses.argmin(dim=0, keepdim=True))
    codes = empty_rows(n, packed_bytes(columns, bits), torch.uint8, workspace)
    for rows in row_slices(n):
        codes[rows] = pack_levels(_nearest_levels(read(rows), best, bits), bits)
    return CodedMatrix(codes=codes, steps=best, bits=bits, columns=columns, group=1)


def _nearest_levels(numbers: Tensor, steps: Tensor, bits: int) -> Tensor:
    """The level of each number; any of them where the step is 0."""
    highest = (2**bits - 1) / 2
    scaled = numbers / steps.clamp(min=torch.finfo(torch.float32).tiny)
    return scaled.floor_().add_(0.5).clamp_(-highest, highest)


def _largest_of_groups(part: Tensor, group: int) -> Tensor:
    """Largest absolute number of each row in each group of columns."""
    groups = part.abs().split(group, dim=1)
    return torch.stack([own.amax(dim=1) for own in groups], dim=1) if part.numel() else part[:, :0]


def _checked(largest: Tensor) -> Tensor:
    if not bool(torch.isfinite(largest).all()):
        raise ParameterError("only numbers that are finite in float32 can be coded")
    return largest


def _half(steps: Tensor) -> Tensor:
    """In float16; what is too large for it becomes its largest number, and cuts off."""
    return steps.clamp(max=torch.finfo(torch.float16).max).half()
