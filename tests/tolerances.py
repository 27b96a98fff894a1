"""How far two computations of the same number may lie apart, by dtype: the one table.

Scatter matrices square the rows, so an energy comes out right to a few rounding units of the whole
energy, not of itself: costs and residuals are compared relative to ‖A‖². Worst seen over 3,000
random problems of the kinds in `tests.engine.problems`, five steps each: 7 units for an energy, 14
for a frame; the bounds leave a factor of about 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Bounds for one dtype.

    Attributes:
        energy: Sums of squares, relative to the whole energy: about 50 rounding units.
        unit: Entries of an orthonormal frame times its transpose; about 90 units.
        spectral: Projectors and reconstructions, where the subspaces are well apart: a perturbation
            of the scatter by a few units turns a subspace by units / gap, gap ≥ 1/100 here.
    """

    energy: float
    unit: float
    spectral: float


TOLERANCES = {
    torch.float32: Tolerance(energy=6e-6, unit=1e-5, spectral=1e-3),
    torch.float64: Tolerance(energy=1e-14, unit=2e-14, spectral=1e-11),
}
"""float32's rounding unit is 1.2e-7, float64's 2.2e-16."""
