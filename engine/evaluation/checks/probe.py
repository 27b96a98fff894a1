"""A linear probe on a GLUE task: what a straight cut finds in the vectors of a frozen model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ParameterError, SourceError
from engine.evaluation.checks.check import Check, Comparison, Items, Outcome
from engine.evaluation.data import Split, lacks_task, load_split
from engine.evaluation.encoding import Report, TokenisedPairs, cut_notes, tokenise_pairs
from engine.evaluation.features import kept_states
from engine.evaluation.scores import METRIC_NAMES, task_scores
from engine.evaluation.subject import Subject
from engine.evaluation.tasks import glue_task
from engine.evaluation.variants import Variant
from engine.progress import ProgressCallback

TRAIN_ROWS = 2_000
DEV_ROWS = 1_500
_STRENGTH = 0.01  # of the fit against its penalty, as in `valence`
_RIDGE = 1_000.0  # likewise, for STS-B


class _Prepared:
    def __init__(self, subject: Subject, progress: ProgressCallback) -> None:
        options = subject.options
        self._subject, self._task = subject, glue_task(options.probe_task)
        train = load_split(self._task, "train", data=options.data)
        dev = load_split(self._task, "dev", data=options.data)
        self._train = train.sample(TRAIN_ROWS, options.seed)
        self._dev = dev.sample(DEV_ROWS, options.seed)
        if not self._task.is_regression and len(np.unique(self._train.labels)) < 2:
            raise SourceError(
                f"the training rows of {self._task.title} are all of one class, and a probe learns "
                "from two at least; give more of the rows"
            )
        subject.load(progress)
        self._texts = [self._tokenise(split) for split in (self._train, self._dev)]

    def _tokenise(self, split: Split) -> TokenisedPairs:
        sides = (split.first, split.second) if split.second else (split.first,)
        return tokenise_pairs(self._subject.tokenizer, sides, self._subject.longest)

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """Predictions for the dev rows by a cut fitted to the training rows."""
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        counts = [len(pairs.texts) for pairs in self._texts]
        features: list[NDArray[np.float64]] = []
        for number, pairs in enumerate(self._texts):
            before = sum(counts[:number])

            def report_part(done: int, _: int, before: int = before) -> None:
                report(before + done, sum(counts))

            states = kept_states(self._subject, variant, pairs.texts, report_part)
            features.append(combine(pairs.vectors(states)).double().numpy())
        report(sum(counts), sum(counts))
        model: Any
        if self._task.is_regression:
            model = Ridge(alpha=_RIDGE)
        else:
            model = LogisticRegression(C=_STRENGTH, max_iter=1000)
        cut = make_pipeline(StandardScaler(), model)
        cut.fit(features[0], self._train.labels)
        return cut.predict(features[1])

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """The benchmark's score of the task."""
        task, labels = self._task, self._dev.labels

        def statistic(items: Items) -> list[float]:
            return [task_scores(task, labels[items], own[items])[0] for own in outcomes.values()]

        names = " and ".join(METRIC_NAMES[name] for name in task.metrics)
        mean = "mean of " if len(task.metrics) > 1 else ""
        longest = self._subject.longest
        cut = [note for pairs in self._texts for note in cut_notes(pairs.texts, longest)]
        return Comparison(
            n=len(labels),
            metric=f"{mean}{names} × 100 on {task.title}",
            statistic=statistic,
            notes=(*self._train.notes, *self._dev.notes, *cut),
            details={
                METRIC_NAMES[name]: {
                    variant: task_scores(task, labels, own)[1][name]
                    for variant, own in outcomes.items()
                }
                for name in task.metrics
            },
            settings={
                "task": task.name,
                "train_rows": len(self._train),
                "strength": _RIDGE if task.is_regression else _STRENGTH,
                "seed": self._subject.options.seed,
                "longest": longest,
            },
        )


def combine(sides: list[Tensor]) -> Tensor:
    """Features of texts: their vectors; of pairs u, v also |u − v| and u·v, entry by entry.

    Source: Conneau et al. 2017, section 3.1.
    """
    if len(sides) == 1:
        return sides[0]
    first, second = sides
    return torch.cat([first, second, (first - second).abs(), first * second], dim=1)


def _unavailable(subject: Subject) -> str | None:
    if subject.lacks_tokenizer is not None:
        return subject.lacks_tokenizer
    try:
        task = glue_task(subject.options.probe_task)
    except ParameterError as error:
        return str(error)
    return lacks_task(task, subject.options.data)


CHECK = Check(
    name="probe",
    title="Linear probe",
    metric="the benchmark's score of a GLUE task, × 100",
    tells="What a task can still get out of the smaller model while that stays frozen; any of "
    "GLUE's nine tasks.",
    blind="Fine-tuning, which can win back what the embedding lost, is not done; and the probe "
    f"learns from {TRAIN_ROWS:,} rows at most.",
    unavailable=_unavailable,
    prepare=_Prepared,
)
