"""Word valence: can a straight cut through the rows still tell pleasant words from unpleasant?"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import MissingDependencyError
from engine.evaluation.checks.check import Check, Comparison, Outcome, mean_of
from engine.evaluation.encoding import Report
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.frequencies.words import WordRows
from engine.progress import ProgressCallback

LEAST_VALENCE = 1.0
"""Words rated closer to 0, of −4 … 4, are left out: people are of two minds about them."""
_FOLDS = 5
_FEWEST = 10  # words of each class, two a fold
_STRENGTH = 0.01  # of the fit against its penalty: best on the bundled model's own rows


class _Prepared:
    def __init__(self, subject: Subject) -> None:
        from sklearn.model_selection import StratifiedKFold

        self._subject = subject
        words = find_words(subject)
        self._rows = torch.tensor([row for row, _ in words])
        self._labels = np.array([positive for _, positive in words])
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=subject.options.seed)
        self._folds = list(folds.split(self._labels, self._labels))

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """Whether each word is told right by a cut fitted to the other folds."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        rows = self._subject.rows(variant, self._rows).double().numpy()
        right = np.zeros(len(rows))
        for done, (train, test) in enumerate(self._folds):
            report(done, _FOLDS)
            cut = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=1000))
            cut.fit(rows[train], self._labels[train])
            right[test] = cut.predict(rows[test]) == self._labels[test]
        report(_FOLDS, _FOLDS)
        return right

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """The share of words told right."""
        positive = int(self._labels.sum())
        n = len(self._labels)
        larger = max(positive, n - positive) / n
        return Comparison(
            n=n,
            metric=_METRIC,
            statistic=mean_of(outcomes),
            notes=(
                f"{positive:,} pleasant and {n - positive:,} unpleasant words are single tokens "
                f"here; always guessing the larger class scores {100 * larger:.1f}.",
            ),
            details={"words": {"pleasant": positive, "unpleasant": n - positive}},
            settings={
                "lexicon": "vaderSentiment",
                "least_valence": LEAST_VALENCE,
                "folds": _FOLDS,
                "strength": _STRENGTH,
                "seed": self._subject.options.seed,
            },
        )


def read_lexicon() -> dict[str, float]:
    """Words of vaderSentiment's lexicon and how pleasant people find them, −4 … 4.

    Raises:
        MissingDependencyError: If it is not installed.

    Source: Hutto, Gilbert, *VADER*, ICWSM 2014.
    """
    try:
        # Its file alone: the package's module imports what goes to the network.
        text = (resources.files("vaderSentiment") / "vader_lexicon.txt").read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise MissingDependencyError(
            "the lexicon of vaderSentiment is not installed; run: pip install vaderSentiment"
        ) from None
    rows = (line.split("\t") for line in text.split("\n") if "\t" in line)
    return {row[0]: float(row[1]) for row in rows if row[0].isalpha()}


def find_words(subject: Subject) -> list[tuple[int, bool]]:
    """Rows that stand for a word of clear valence, and whether it is a pleasant one."""
    rows, found = WordRows(subject.table.tokens), dict[int, bool]()
    for word, valence in read_lexicon().items():
        row = rows.exact(word) if abs(valence) >= LEAST_VALENCE else None
        if row is not None:
            found.setdefault(row, valence > 0)
    return sorted(found.items())


def _unavailable(subject: Subject) -> str | None:
    try:
        words = find_words(subject)
    except MissingDependencyError as error:
        return str(error)
    counts: NDArray[np.int64] = np.bincount([positive for _, positive in words], minlength=2)
    if counts.min() >= _FEWEST:
        return None
    return (
        f"only {counts[1]} pleasant and {counts[0]} unpleasant English words are single rows of "
        f"{subject.table.name}, and {_FEWEST} of each are needed; give a table of English words"
    )


def _prepare(subject: Subject, progress: ProgressCallback) -> _Prepared:
    return _Prepared(subject)


_METRIC = "accuracy, %"
CHECK = Check(
    name="valence",
    title="Word valence",
    metric=_METRIC,
    tells="Whether the rows themselves still hold what single words mean, at least how pleasant "
    "they are.",
    blind="It looks at one property of a few thousand common words and at no sentence, and the "
    "model that reads the rows may be more or less forgiving.",
    unavailable=_unavailable,
    prepare=_prepare,
)
