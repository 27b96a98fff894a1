"""What a search for the smallest size tries, and what it finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine.evaluation.scores import Interval
from engine.plans import CompressionConfig

_PERCENTS = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8, 10, 12.5, 16, 20, 25)
SIZES = tuple(f"{percent:g}%" for percent in _PERCENTS)
"""Sizes that are tried, of the table in float32: 10^(1/10) apart, rounded as Renard's numbers are.

Fifteen, so that halving takes four; above 25 % plain rounding to int8 loses less.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeTrial:
    """One size that was fitted and measured.

    Attributes:
        max_bytes: What was asked for, as `CompressionConfig.max_bytes` takes it: ``"2.5%"``.
        stored_bytes: What came of it.
        relative_error: ‖A − Â‖² / ‖A‖².
        value: The check's figure.
        drop: How much worse than the original that is, paired item by item; of a perplexity how
            much higher.
        seconds: Time to fit and measure it.
    """

    max_bytes: str
    stored_bytes: int
    relative_error: float
    value: Interval
    drop: Interval
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSearch:
    """The smallest size that a check accepts, and how it was found.

    Attributes:
        name: Of the model.
        check: Name of the check.
        metric: Its figure, with its unit.
        n: Items it was measured on.
        max_drop: The largest loss that was accepted, in points of the check.
        config: The plan of that size, ready to be compressed by.
        chosen: Its trial.
        trials: All of them, the smallest first.
        optimism: Points that a size chosen so is expected to lose more on other items than on
            those it was chosen on.
        seconds: Time of all.
        notes: What the user should know, each a full sentence.
    """

    name: str
    check: str
    metric: str
    n: int
    max_drop: float
    config: CompressionConfig
    chosen: SizeTrial
    trials: tuple[SizeTrial, ...]
    optimism: float
    seconds: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            **{name: getattr(self, name) for name in ("name", "check", "metric", "n", "max_drop")},
            "max_bytes": self.config.max_bytes,
            "trials": [asdict(trial) for trial in self.trials],
            "optimism": self.optimism,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }
