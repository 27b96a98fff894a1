"""The bases of a coded plan while they are trained: floats that are rounded at every use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.coding.mixed import pack_columns, round_columns
from engine.network.small_layer import SmallLayer, widened


class TrainedBases(nn.Module):
    """What stands behind the bases and offsets of a coded layer as long as they are trained.

    At every use the floats are rounded as they would be stored: a number of a basis to the nearest
    level of its vector, levels then multiplied with the float16 step that fits that vector best, an
    offset to float16. Gradients pass the rounding as if it were not there. So training sees what
    codes can say, and making codes of it changes nothing.

    Nothing here is saved, since `SubspaceEmbedding` writes the codes.

    Attributes:
        bases: Shape (Σ j_c, d).
        offsets: Shape (k, d), where subspaces are affine.
        grid: Shape (Σ j_c,): distance of the levels that numbers are rounded to; it stays.
        bits: Shape (Σ j_c,), uint8: of a number of each vector.

    Source: Bengio, Léonard, Courville, *Estimating or Propagating Gradients Through Stochastic
    Neurons*, 2013: the straight-through estimator.
    """

    bases: Tensor
    offsets: Tensor | None
    grid: Tensor
    bits: Tensor

    def __init__(self, layers: Sequence[SmallLayer], steps: Tensor, bits: Tensor) -> None:
        """Start from what codes stand for; the numbers are copied.

        Args:
            layers: Of a coded plan.
            steps: Of all their basis vectors, shape (Σ j_c,), the bits of float16.
            bits: Of the numbers of each, shape (Σ j_c,), uint8.
        """
        super().__init__()
        bases = torch.cat([layer.decode_basis() for layer in layers])
        offsets = [part for layer in layers if (part := layer.decode_offset()) is not None]
        self.bases = nn.Parameter(bases)
        self.offsets = nn.Parameter(torch.stack(offsets)) if offsets else None
        self.register_buffer("grid", widened(steps, bases.dtype), persistent=False)
        self.register_buffer("bits", bits.clone(), persistent=False)

    def take(self, other: TrainedBases) -> None:
        """Start anew from the numbers of another, in place."""
        with torch.no_grad():
            self.grid.copy_(other.grid)
            self.bits.copy_(other.bits)
            self.bases.copy_(other.bases)
            if self.offsets is not None and other.offsets is not None:
                self.offsets.copy_(other.offsets)

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Bases and offsets as they would be stored; gradients flow to the floats."""
        levels, steps = self._levels()
        bases = _pass_through(levels * steps.float().unsqueeze(1), self.bases)
        if self.offsets is None:
            return bases, None
        return bases, _pass_through(self.offsets.detach().half(), self.offsets)

    def codes(self, dimensions: tuple[int, ...]) -> dict[str, Tensor]:
        """What is stored of it, under the names of `SubspaceEmbedding`.

        Args:
            dimensions: j_1 … j_k.
        """
        levels, steps = self._levels()
        pairs = zip(levels.cpu().split(dimensions), self.bits.cpu().split(dimensions), strict=True)
        packed = torch.cat([pack_columns(own.T, bits).flatten() for own, bits in pairs])
        device = self.bases.device
        found = {"bases": packed.to(device), "basis_steps": steps.view(torch.int16)}
        if self.offsets is not None:
            found["offsets"] = self.offsets.detach().half().view(torch.int16)
        return found

    def _levels(self) -> tuple[Tensor, Tensor]:
        """Nearest levels, and for each vector the step that then loses least, in float16."""
        with torch.no_grad():
            bases = self.bases.float()
            levels = round_columns(bases.T, self.grid.float(), self.bits).T
            squares = levels.square().sum(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
            steps = (levels * bases).sum(dim=1).div(squares).clamp(min=0).half()
        return levels, steps

    def _save_to_state_dict(self, *_: object, **__: object) -> None: ...

    def _load_from_state_dict(self, *_: object, **__: object) -> None: ...


def _pass_through(rounded: Tensor, number: Tensor) -> Tensor:
    """The rounded number, whose gradient is the number's."""
    return rounded.to(number.dtype) + (number - number.detach())
