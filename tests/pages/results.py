"""Findings of checks as a page meets them."""

from __future__ import annotations

from dataclasses import replace

from engine.evaluation.results import CheckResult, Role, Score
from engine.evaluation.scores import Interval


def make_score(
    variant: str,
    role: Role,
    stored_bytes: int,
    drop: float,
    spread: float,
    behind: tuple[float, float] | None = None,
) -> Score:
    """A variant of a model that itself scores 80, whose drop is known to ± spread.

    ``behind`` is the end points of what the compressed variant's figure has over this one's.
    """
    return Score(
        variant=variant,
        role=role,
        parameters=stored_bytes // 4,
        stored_bytes=stored_bytes,
        value=Interval(value=80 - drop, low=78 - drop, high=82 - drop),
        drop=Interval(value=drop, low=drop - spread, high=drop + spread),
        seconds=0.5,
        behind=None
        if behind is None
        else Interval(value=sum(behind) / 2, low=behind[0], high=behind[1]),
    )


ACCURACY = CheckResult(
    check="valence",
    metric="accuracy, %",
    higher_is_better=True,
    n=1849,
    scores=(
        make_score("original", "original", 1000, 0.0, 0.0),
        make_score("k = 5", "compressed", 600, 0.4, 0.5),
        make_score("SVD", "svd", 604, 2.0, 0.5, behind=(1.1, 2.1)),
    ),
    notes=("Half of *all* words.",),
    details={"F1": {"original": 80.0, "k = 5": 79.0, "SVD": 77.0}, "words": {"pleasant": 871}},
)
PERPLEXITY = replace(
    ACCURACY,
    check="language",
    metric="perplexity",
    higher_is_better=False,
    scores=(
        make_score("original", "original", 1000, 0.0, 0.0),
        make_score("k = 5", "compressed", 600, -3.0, 0.5),  # the original's less: it has risen
        make_score("SVD", "svd", 604, 1.0, 0.5, behind=(-0.5, 8.5)),
    ),
    notes=(),
    details={},
)
