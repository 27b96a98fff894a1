"""Numbers in float16, which ends early."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.errors import ParameterError


def in_half(numbers: Tensor, name: str) -> Tensor:
    """Numbers rounded to float16.

    Args:
        numbers: Any shape, float, finite.
        name: What the message calls them ("offsets").

    Returns:
        The same shape, float16.

    Raises:
        ParameterError: If one is too large for it.
    """
    half = numbers.half()
    if not bool(torch.isfinite(half).all()):
        raise ParameterError(
            f"{name} reach {float(numbers.abs().max()):.3g}, and float16, which would store them, "
            f"{torch.finfo(torch.float16).max:.0f}; scale the table down"
        )
    return half
