"""What a distance costs: squared, or a robust loss that far rows cannot dominate.

Every loss is a function φ of the *squared* distance s with slope φ′. EM minimises Σ w·φ(s) by
giving each row the weight w·φ′(s) in the next refit. Where φ is concave, its tangent lies above
it, so that refit can only lower the objective (majorise–minimise); where it is convex (ℓ_q with
q > 2), the step is guarded instead, see `engine.clustering.em`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.errors import ParameterError

_SMOOTHING = 1e-6  # of the mean ‖x‖²: keeps ℓ_q's weight finite on a row that is held exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss of the distance r = √s of a row to its subspace.

    Attributes:
        name: As `parse_loss` reads it, without the scale.
        scale: Distance from which rows count as far, in the units of the rows; for ℓ_q the
            smoothing length. None until it is known (`needs_scale`).
        power: q of ℓ_q; 2 for the others.
    """

    name: str
    scale: float | None = None
    power: float = 2.0

    @property
    def squared(self) -> bool:
        """Whether this is the plain squared distance, whose weights never change."""
        return self.name == "squared"

    @property
    def concave(self) -> bool:
        """Whether reweighting alone never raises the objective."""
        return self.power <= 2

    @property
    def needs_scale(self) -> bool:
        """Whether a scale has still to be found in the rows."""
        return self.scale is None and not self.squared

    @property
    def robust(self) -> bool:
        """Whether it is an M-estimator, whose scale separates near rows from far ones."""
        return self.name in _SHAPES

    def value(self, squared: Tensor) -> Tensor:
        """φ(s) of squared distances, same shape and dtype."""
        if self.squared:
            return squared
        unit = self._unit
        if not self.robust:
            half = self.power / 2  # (s + unit)^half − unit^half, and exactly 0 at 0
            return torch.log1p(squared / unit).mul_(half).expm1_().mul_(unit**half)
        return unit * _SHAPES[self.name].value(squared / unit)

    def slope(self, squared: Tensor) -> Tensor:
        """φ′(s) of squared distances, same shape and dtype: the weight of a row."""
        if self.squared:
            return torch.ones_like(squared)
        unit = self._unit
        if not self.robust:
            return (squared + unit).pow(self.power / 2 - 1).mul_(self.power / 2)
        return _SHAPES[self.name].slope(squared / unit)

    def scaled_by(self, mean_squared_norm: float, median_distance: float) -> Loss:
        """The same loss with its scale found in the rows.

        Args:
            mean_squared_norm: Mean ‖x‖² of the rows.
            median_distance: Median distance of the rows to the subspaces of a least-distance (ℓ_1)
                fit; used by the M-estimators alone.
        """
        if not self.needs_scale:
            return self
        if not self.robust:
            return replace(self, scale=math.sqrt(_SMOOTHING * mean_squared_norm) or 1.0)
        # Rows that are held exactly leave no distance to measure by: anything off is far then.
        distance = max(median_distance, math.sqrt(_SMOOTHING * mean_squared_norm)) or 1.0
        return replace(self, scale=_SHAPES[self.name].medians * distance)

    @property
    def _unit(self) -> float:
        if self.scale is None:
            raise ParameterError(f"the loss {self.name} has no scale yet; call scaled_by first")
        return self.scale**2

    def __str__(self) -> str:
        """As `parse_loss` reads it back."""
        return self.name if self.scale is None else f"{self.name}:{self.scale!r}"


def _tukey(t: Tensor) -> Tensor:
    """(1 − (1 − t)³) / 3 without the cancellation that would blur near rows."""
    return t * (1 - t + t.square() / 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """φ and φ′ in units of the squared scale, and that scale in median distances.

    A distance to a subspace is the length of d − j residual coordinates, which all rows of one
    spread have nearly alike; so the scales are small multiples of the median distance, and not
    the textbook's multiples of a standard deviation in one dimension.
    """

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    medians: float


_SHAPES = {
    "huber": _Shape(
        value=lambda t: torch.where(t <= 1, t, 2 * t.sqrt() - 1),
        slope=lambda t: t.clamp(min=1).rsqrt(),
        medians=1.5,
    ),
    "cauchy": _Shape(value=torch.log1p, slope=lambda t: 1 / (1 + t), medians=2.0),
    "geman-mcclure": _Shape(
        value=lambda t: t / (1 + t), slope=lambda t: (1 + t).pow(-2), medians=2.0
    ),
    "welsch": _Shape(value=lambda t: -torch.expm1(-t), slope=lambda t: torch.exp(-t), medians=2.0),
    "tukey": _Shape(
        value=lambda t: _tukey(t.clamp(max=1)),
        slope=lambda t: (1 - t.clamp(max=1)).square(),
        medians=3.0,
    ),
    "truncated": _Shape(
        value=lambda t: t.clamp(max=1), slope=lambda t: (t < 1).to(t.dtype), medians=2.0
    ),
}

SQUARED = Loss(name="squared")
LOSSES = ("squared", "l1", *_SHAPES)


def parse_loss(text: str) -> Loss:
    """Read ``"tukey"``, ``"tukey:0.8"`` (with a scale), ``"l1"``, ``"l1.5"`` (any q > 0).

    Args:
        text: Name, and after a colon the scale in the units of the rows.

    Returns:
        The loss; without a scale of its own, it is found in the rows.

    Raises:
        ParameterError: If the name is unknown, or q or the scale is not a positive number.
    """
    name, colon, scale_text = text.partition(":")
    scale = _positive(scale_text, f"the scale in loss {text!r}") if colon else None
    if name in ("squared", "l2"):
        if scale is not None:
            raise ParameterError(f"the squared loss has no scale, got {text!r}; write 'squared'")
        return SQUARED
    if name in _SHAPES:
        return Loss(name=name, scale=scale)
    if name[:1] == "l" and name[1:2].isdigit():
        return Loss(name=name, scale=scale, power=_positive(name[1:], f"q in loss {text!r}"))
    raise ParameterError(
        f"unknown loss {text!r}; known are {', '.join(LOSSES)} and l<q> for any q > 0, each but "
        "squared with an optional scale as in 'tukey:0.8'"
    )


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ParameterError(f"{what} must be a positive number, got {text!r}")
    return value
