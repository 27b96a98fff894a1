"""What a check finds: one score a variant, each with its interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from engine.evaluation.scores import Interval

Role = Literal["original", "compressed", "svd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one variant of a model did.

    Attributes:
        variant: Its name, as in ``"k = 5"``.
        role: What it is: the model as it came, made smaller, or by the SVD of that size.
        parameters: Numbers of its embedding; None of a coded plan.
        stored_bytes: Bytes of its embedding; the original's in float32.
        value: The figure, with its 95 % interval.
        drop: The original's figure less this one, paired item by item.
        seconds: Time to measure it.
        behind: Of an SVD beside a compressed variant: that variant's figure less this one, paired;
            None elsewhere, and in findings of versions that did not compare the two.
    """

    variant: str
    role: Role
    parameters: int | None
    stored_bytes: int
    value: Interval
    drop: Interval
    seconds: float
    behind: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of all variants.

    Attributes:
        check: Its name, as `subspace-atlas evaluate --task` takes it.
        metric: What the figure is, with its unit ("Spearman × 100").
        higher_is_better: False for a perplexity.
        n: Items it was measured on.
        scores: The original first.
        notes: What the reader must know, each a full sentence: samples, splits, what was left out.
        agreement: Whether the figure is how far a variant agrees with the original: that has 100 by
            definition, so that it is no finding that the others have less.
        details: Further figures and small tables; JSON values only.
        settings: What decided the result; JSON values only.
    """

    check: str
    metric: str
    higher_is_better: bool
    n: int
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    agreement: bool = False

    def loss(self, score: Score) -> Interval:
        """How much worse than the original a variant is: its drop, or its rise of a perplexity."""
        return score.drop if self.higher_is_better else score.drop.negated()

    def lead(self, svd: Score) -> Interval | None:
        """How much better than an SVD the compressed variant is; None where not compared."""
        if svd.behind is None:
            return None
        return svd.behind if self.higher_is_better else svd.behind.negated()

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CheckResult:
        """Undo `as_dict` after a trip through JSON.

        Raises:
            KeyError: If there are no scores.
            TypeError: If a key is missing or unknown.
        """
        scores: list[Score] = []
        for one in values["scores"]:
            score: dict[str, Any] = {**one}
            score["value"], score["drop"] = Interval(**one["value"]), Interval(**one["drop"])
            behind = one.get("behind")
            score["behind"] = None if behind is None else Interval(**behind)
            scores.append(Score(**score))
        whole: dict[str, Any] = {**values}
        whole["scores"], whole["notes"] = tuple(scores), tuple(values["notes"])
        return cls(**whole)
