"""How long work reports where it is, and how it is stopped.

A callback is a plain function of one `Progress`. It may raise `engine.errors.Cancelled`: the work
stops there and nothing half-made is left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of one phase.

    Attributes:
        phase: What is being done, as a person would say it ("Fitting k = 5").
        done: Steps finished, from 0 to ``total``.
        total: Steps of the phase, an upper bound where the work may stop early; at least 1.
        detail: A short figure worth watching ("error 0.1341"), or nothing.
    """

    phase: str
    done: int
    total: int
    detail: str = ""

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            ParameterError: If ``done`` is not within 0 … ``total`` or ``total`` is below 1.
        """
        if self.total < 1 or not 0 <= self.done <= self.total:
            raise ParameterError(
                f"progress needs 0 <= done <= total and total >= 1, got {self.done} of {self.total}"
            )


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """Take a report and do nothing with it; the default callback."""
