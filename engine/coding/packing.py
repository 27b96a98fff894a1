"""Small whole numbers packed at a fixed number of bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.errors import FormatError, ParameterError

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
    array = values.cpu().numpy()
    if array.size and (array.min() < 0 or int(array.max()) >> bits):
        raise ParameterError(
            f"values {array.min()} … {array.max()} do not fit {bits} bits; use more bits"
        )
    shifts = np.arange(bits - 1, -1, -1)
    packed = np.empty(packed_bytes(len(array), bits), dtype=np.uint8)
    for start in range(0, len(array), _BLOCK):
        flags = (array[start : start + _BLOCK, None] >> shifts & 1).astype(np.uint8)
        block = np.packbits(flags.ravel())
        first = packed_bytes(start, bits)
        packed[first : first + len(block)] = block
    return torch.from_numpy(packed)


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
