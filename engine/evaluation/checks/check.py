"""What every check is: what it can tell, whether it can be run, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.evaluation.encoding import Report
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.progress import ProgressCallback

Outcome = NDArray[Any]
Items = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What the outcomes of all variants come to.

    Attributes:
        n: Items.
        metric: What the figure is, with its unit.
        statistic: Item numbers, shape (m,), repeats allowed → the figure of each variant.
        higher_is_better: False for a perplexity.
        agreement: Whether the figure is how far a variant agrees with the original, which itself
            then has 100 by definition.
        notes: What the reader must know, each a full sentence.
        details: Further figures; JSON values only.
        settings: What decided the result; JSON values only.
    """

    n: int
    metric: str
    statistic: Callable[[Items], Sequence[float]]
    higher_is_better: bool = True
    agreement: bool = False
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


class Prepared(Protocol):
    """A check with its data read and tokenised for one subject."""

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """What one variant gives for each item; first axis n.

        Args:
            variant: Of the subject's table.
            report: Told between batches, several times a second; may raise to stop.
        """
        ...

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Put the outcomes of all variants beside each other.

        Args:
            outcomes: By the variants' names, the original first.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One way to see what a smaller embedding is worth.

    Attributes:
        name: As `subspace-atlas evaluate --task` takes it.
        title: As the app calls it.
        metric: What its figure is, with its unit.
        tells: What it can tell, a plain sentence.
        blind: What it cannot, likewise.
        unavailable: Why it cannot be run on a subject, and what to do; None where it can. Loads
            no model.
        prepare: Reads its data and tokenises it.
    """

    name: str
    title: str
    metric: str
    tells: str
    blind: str
    unavailable: Callable[[Subject], str | None]
    prepare: Callable[[Subject, ProgressCallback], Prepared]


def mean_of(outcomes: Mapping[str, Outcome]) -> Callable[[Items], Sequence[float]]:
    """The mean of one number an item, × 100, as a statistic.

    Args:
        outcomes: Each of shape (n,).
    """
    stacked = 100 * np.stack([np.asarray(own, dtype=np.float64) for own in outcomes.values()])

    def means(items: Items) -> list[float]:
        return stacked[:, items].mean(axis=1).tolist()

    return means
