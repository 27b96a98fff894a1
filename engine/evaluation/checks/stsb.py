"""STS-B as it is, nothing trained: are sentences still as alike as people say they are?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch.nn.functional import cosine_similarity

from engine.evaluation.checks.check import Check, Comparison, Items, Outcome
from engine.evaluation.data import lacks_task, load_split
from engine.evaluation.encoding import Report, cut_notes, pooled_states, tokenise_pairs
from engine.evaluation.scores import metric
from engine.evaluation.subject import Subject
from engine.evaluation.tasks import GLUE_TASKS
from engine.evaluation.variants import Variant
from engine.progress import ProgressCallback


class _Prepared:
    def __init__(self, subject: Subject, progress: ProgressCallback) -> None:
        self._subject = subject
        self._split = load_split(GLUE_TASKS["stsb"], "dev", data=subject.options.data)
        subject.load(progress)
        sides = (self._split.first, self._split.second)
        self._pairs = tokenise_pairs(subject.tokenizer, sides, subject.longest)

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """The cosine of each pair."""
        pooling = self._subject.pooling
        with self._subject.wearing(variant) as model:
            states = pooled_states(model, self._pairs.texts, pooling=pooling, report=report)
        first, second = self._pairs.vectors(states)
        return cosine_similarity(first, second).numpy()

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Rank correlation of the cosines with what people said."""
        labels, longest = self._split.labels, self._subject.longest
        spearman = metric("spearman")

        def statistic(items: Items) -> list[float]:
            return [spearman(labels[items], cosines[items]) for cosines in outcomes.values()]

        pearson = metric("pearson")
        return Comparison(
            n=len(self._split),
            metric=_METRIC,
            statistic=statistic,
            notes=(*self._split.notes, *cut_notes(self._pairs.texts, longest)),
            details={
                "Pearson × 100": {
                    name: pearson(labels, np.asarray(own)) for name, own in outcomes.items()
                }
            },
            settings={"split": "dev", "pooling": self._subject.pooling, "longest": longest},
        )


def _unavailable(subject: Subject) -> str | None:
    if subject.lacks_tokenizer is not None:
        return subject.lacks_tokenizer
    if not subject.is_sentence_encoder:
        return (
            f"{subject.table.name} is no sentence encoder: it has no modules.json of "
            "sentence-transformers, and without training its sentence vectors mean little; use "
            "fidelity or probe"
        )
    if subject.foreign_pooling is not None:
        return (
            f"{subject.table.name} makes sentence vectors by {subject.foreign_pooling}, and this "
            "check knows the mean and the first token alone; use fidelity or probe"
        )
    return lacks_task(GLUE_TASKS["stsb"], subject.options.data, splits=("dev",))


_METRIC = "Spearman × 100"
CHECK = Check(
    name="stsb",
    title="Sentence similarity (STS-B)",
    metric=_METRIC,
    tells="How well cosines of sentence vectors agree with people, on 1,500 pairs of everyday "
    "sentences: what a sentence encoder is made for.",
    blind="Captions and headlines are of common words: text with many rare ones may lose more.",
    unavailable=_unavailable,
    prepare=_Prepared,
)
