"""Small whole numbers packed at few bits: of one width, or of one for each column."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.errors import FormatError, ParameterError
from engine.rows import row_slices

WINDOW_BITS = 24  # read at once
_BLOCK = 1 << 16  # numbers at once; a multiple of 8, so that each block ends with a whole byte


def bits_for(count: int) -> int:
    """Bits that tell ``count`` values apart: ⌈log2 count⌉, 0 for a single one."""
    return (count - 1).bit_length()


def packed_bytes(length: int, bits: int) -> int:
    """Bytes of ``length`` numbers at ``bits`` bits, the last byte filled up."""
    return (length * bits + 7) // 8


def pack_integers(values: Tensor, bits: int) -> Tensor:
    """Pack whole numbers, most significant bit first, without gaps.

    Args:
        values: Shape (n,), integer, each in 0 … 2**bits − 1.
        bits: 0 … 16.

    Returns:
        Shape (⌈n·bits / 8⌉,), uint8.

    Raises:
        ParameterError: If a value does not fit.
    """
    values = values.cpu()
    if values.numel() and (int(values.min()) < 0 or int(values.max()) >> bits):
        raise ParameterError(
            f"values {int(values.min())} … {int(values.max())} do not fit {bits} bits; use more "
            "bits"
        )
    eights = pad(values, (0, -len(values) % 8)).view(-1, 8)  # of any width whole bytes
    packed = pack_codes(eights, torch.full((8,), bits, dtype=torch.uint8))
    return packed.flatten()[: packed_bytes(len(values), bits)]


def unpack_integers(packed: Tensor, bits: int, length: int) -> Tensor:
    """Undo `pack_integers`.

    Args:
        packed: Shape (⌈length·bits / 8⌉,), uint8.
        bits: As packed.
        length: How many numbers to read.

    Returns:
        Shape (length,), int64.

    Raises:
        FormatError: If the number of bytes is not what ``length`` needs.
    """
    if packed.numel() != packed_bytes(length, bits):
        raise FormatError(
            f"{length:,} numbers of {bits} bits need {packed_bytes(length, bits):,} bytes, "
            f"got {packed.numel():,}; the file is damaged"
        )
    array = packed.cpu().numpy()
    places = (1 << np.arange(bits - 1, -1, -1)).astype(np.int64)
    values = np.empty(length, dtype=np.int64)
    for start in range(0, length, _BLOCK):
        count = min(_BLOCK, length - start)
        first = packed_bytes(start, bits)
        block = array[first : first + packed_bytes(count, bits)]
        flags = np.unpackbits(block, count=count * bits).reshape(count, bits)
        values[start : start + count] = flags @ places
    return torch.from_numpy(values)


def row_bytes(bits: Tensor) -> int:
    """Bytes of one row whose columns have these bits: whole bytes."""
    return packed_bytes(int(bits.sum()), 1)


def pack_codes(codes: Tensor, bits: Tensor) -> Tensor:
    """Pack whole numbers row by row, most significant bit first, every row from a whole byte.

    Args:
        codes: Shape (m, d), whole numbers, each within its column's bits.
        bits: Shape (d,), uint8.

    Returns:
        Shape (m, ⌈Σ bits / 8⌉), uint8; bits that no number needs are 0.
    """
    byte, shift, _ = windows_of(bits)
    packed = torch.empty(len(codes), row_bytes(bits), dtype=torch.uint8)
    for rows in row_slices(len(codes)):
        words = codes[rows].T.int() << shift
        bytes_ = torch.zeros(packed.shape[1] + 3, words.shape[1], dtype=torch.int32)
        for place, part in enumerate((words >> 16, words >> 8 & 255, words & 255)):
            bytes_.index_add_(0, byte + place, part)  # numbers share a byte, never a bit
        packed[rows] = bytes_[: packed.shape[1]].T.to(torch.uint8)
    return packed


def windows_of(bits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each column: its first byte, its number's distance from a window's end, and its mask."""
    wide = bits.int()
    start = wide.cumsum(0, dtype=torch.int32) - wide
    mask = torch.bitwise_left_shift(torch.ones_like(wide), wide) - 1
    return start >> 3, (WINDOW_BITS - (start & 7) - wide).unsqueeze(1), mask.unsqueeze(1)
