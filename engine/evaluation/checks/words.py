"""Word similarity: are words still as alike as people say, and do analogies still come out?"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from engine.errors import SourceError
from engine.evaluation.checks.check import Check, Comparison, Items, Outcome
from engine.evaluation.data import BY_DATA, find_data
from engine.evaluation.encoding import Report
from engine.evaluation.scores import metric
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.frequencies.words import WordRows, whole_words
from engine.progress import ProgressCallback

SIMILARITY_SETS = (
    "wordsim353",
    "simlex999",
    "mturk771",
    "rg65",
    "wordsim353-similarity",
    "wordsim353-relatedness",
)
ANALOGIES = "google-analogies"
HEADLINE_PAIRS = 300
"""Sets of at least so many pairs make up the figure; the parts of WordSim-353 are smaller."""
_FEWEST = 20  # pairs of a set that are rows: with fewer its correlation is chance
_QUESTIONS = 2_000  # analogies asked, drawn from all; they are no part of the figure
_BATCH = 256  # of them at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordSet:
    """Pairs of words and how alike people find them.

    Attributes:
        name: Of the set.
        first: One word of each pair.
        second: The other.
        scores: Shape (n,), on the scale of the set.
    """

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Covered:
    """The pairs of a set whose words are rows."""

    name: str
    pairs: int
    rows: Tensor  # (m, 2)
    scores: Tensor

    @property
    def counts(self) -> bool:
        """Whether it is part of the figure."""
        return self.pairs >= HEADLINE_PAIRS and len(self.scores) >= _FEWEST


def words_folder(data: str | Path | None = None) -> Path:
    """Where the word sets are: ``words`` in the data folder or beside it, or the folder itself.

    Args:
        data: As in `engine.evaluation.data.load_split`.

    Raises:
        SourceError: If there are none.
    """
    _, place = find_data("words", [f"{name}.tsv" for name in SIMILARITY_SETS], data)
    if place is None:
        raise SourceError(_ABSENT)
    return place


def read_word_sets(folder: Path) -> list[WordSet]:
    """The similarity sets that a folder holds.

    Args:
        folder: With files ``wordsim353.tsv`` and so on: ``word1``, ``word2``, ``score``,
            tab-separated, one header line.

    Raises:
        SourceError: If one cannot be read.
    """
    found: list[WordSet] = []
    for name in SIMILARITY_SETS:
        rows = _read_rows(folder / f"{name}.tsv", 3)
        if rows:
            first, second, scores = zip(*rows, strict=True)
            try:
                numbers = torch.tensor([float(score) for score in scores], dtype=torch.float64)
            except ValueError as error:
                raise SourceError(f"{folder / name}.tsv: a score is a number ({error})") from error
            if not bool(numbers.isfinite().all()):
                raise SourceError(f"{folder / name}.tsv: a score is a finite number; mend the file")
            found.append(WordSet(name=name, first=first, second=second, scores=numbers))
    return found


def _read_rows(path: Path, columns: int) -> list[list[str]]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    for number, row in enumerate(rows, start=2):
        if len(row) != columns:
            raise SourceError(f"{path}, line {number}: expected {columns} columns, got {len(row)}")
    return rows


class _Analogies:
    """Questions "a is to b as c is to …" whose four words are rows."""

    def __init__(self, folder: Path, subject: Subject) -> None:
        questions = [row[1:] for row in _read_rows(folder / f"{ANALOGIES}.tsv", 5)]
        words = whole_words(subject.table.tokens)
        self.asked = len(questions)
        # Only words can be answers: no marks, numbers or tokens of no text.
        self._rows = torch.tensor(sorted(row for word, row in words.items() if word.isalpha()))
        numbers = enumerate(self._rows.tolist())
        place: dict[int | None, int] = {row: number for number, row in numbers}
        exact = WordRows(subject.table.tokens).exact
        found = [
            [-1 if (row_of := exact(word)) is None else place.get(row_of, -1) for word in row]
            for row in questions
        ]
        whole = [row for row in found if min(row) >= 0]
        known = torch.tensor(whole, dtype=torch.int64).reshape(-1, 4)
        self.known = len(known)
        if len(known) > _QUESTIONS:
            generator = torch.Generator().manual_seed(subject.options.seed)
            known = known[torch.randperm(len(known), generator=generator)[:_QUESTIONS].sort()[0]]
        self._questions = known

    def __len__(self) -> int:
        return len(self._questions)

    def right(self, subject: Subject, variant: Variant, report: Report) -> Tensor:
        """Whether the closest word to b − a + c, these three apart, is the one asked for.

        Source: Mikolov et al. 2013; Levy, Goldberg 2014 (3CosAdd).
        """
        if not len(self):
            return torch.empty(0, dtype=torch.bool)
        unit = normalize(subject.rows(variant, self._rows), dim=1)
        parts: list[Tensor] = []
        for number, part in enumerate(self._questions.split(_BATCH)):
            report(number * _BATCH, len(self))
            a, b, c, d = part.unbind(dim=1)
            cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
            cosines.scatter_(1, part[:, :3], -torch.inf)
            parts.append(cosines.argmax(dim=1) == d)
        return torch.cat(parts)


class _Prepared:
    def __init__(self, subject: Subject, progress: ProgressCallback) -> None:
        folder = words_folder(subject.options.data)
        self._subject = subject
        self._sets = _cover(subject, folder)
        self._analogies = _Analogies(folder, subject)

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """The cosine of every pair, set by set, then whether each analogy came out."""
        report(0, len(self._analogies) or 1)
        pairs = torch.cat([own.rows for own in self._sets])
        first, second = (self._subject.rows(variant, side) for side in pairs.unbind(dim=1))
        cosines = cosine_similarity(first.double(), second.double())
        right = self._analogies.right(self._subject, variant, report)
        return torch.cat([cosines, right.double()]).numpy()

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Rank correlation with what people said, set by set."""
        spearman, details = metric("spearman"), dict[str, Any]()
        cosines: dict[str, dict[str, Outcome]] = {}
        start = 0
        for own in self._sets:
            end = start + len(own.scores)
            cosines[own.name] = {name: found[start:end] for name, found in outcomes.items()}
            details[own.name] = {
                name: spearman(own.scores.numpy(), found)
                for name, found in cosines[own.name].items()
            }
            start = end
        if len(self._analogies):
            details["analogies, % right"] = {
                name: 100 * float(found[start:].mean()) for name, found in outcomes.items()
            }
        counted = [own for own in self._sets if own.counts]
        bounds = np.cumsum([0, *(len(own.scores) for own in counted)])

        def statistic(items: Items) -> list[float]:
            found = np.zeros(len(outcomes))
            for own, first, end in zip(counted, bounds, bounds[1:], strict=False):
                inside = items[(items >= first) & (items < end)] - first
                scores = own.scores.numpy()[inside]
                found += [spearman(scores, each[inside]) for each in cosines[own.name].values()]
            return (found / len(counted)).tolist()

        return Comparison(
            n=int(bounds[-1]),
            metric=_METRIC,
            statistic=statistic,
            notes=self._notes(),
            details=details,
            settings={
                "sets": [own.name for own in counted],
                "questions": len(self._analogies),
                "seed": self._subject.options.seed,
            },
        )

    def _notes(self) -> tuple[str, ...]:
        covered = ", ".join(f"{own.name} {len(own.scores)} of {own.pairs}" for own in self._sets)
        notes = [f"Pairs of which both words are single tokens: {covered}."]
        if len(self._analogies):
            own = self._analogies
            notes.append(
                f"Of {own.asked:,} analogies {own.known:,} are of single tokens; {len(own):,} of "
                "them were asked."
            )
        return tuple(notes)


def _cover(subject: Subject, folder: Path) -> list[_Covered]:
    """What of each set are rows; sets with too few are left out."""
    find, found = WordRows(subject.table.tokens).exact, list[_Covered]()
    for words in read_word_sets(folder):
        rows = [(find(a), find(b)) for a, b in zip(words.first, words.second, strict=True)]
        kept = [number for number, pair in enumerate(rows) if None not in pair]
        if len(kept) >= _FEWEST:
            found.append(
                _Covered(
                    name=words.name,
                    pairs=len(rows),
                    rows=torch.tensor([rows[number] for number in kept]),
                    scores=words.scores[kept],
                )
            )
    return sorted(found, key=lambda own: not own.counts)  # those of the figure first


def _unavailable(subject: Subject) -> str | None:
    try:
        folder = words_folder(subject.options.data)
    except SourceError as error:
        return str(error)
    if any(own.counts for own in _cover(subject, folder)):
        return None
    return (
        f"hardly any word of the sets in {folder.name} is a single row of {subject.table.name}, or "
        f"no set has {HEADLINE_PAIRS} pairs; give a table of English words"
    )


_ABSENT = (
    "the word sets are not here. Get them from github.com/mfaruqui/eval-word-vectors (WordSim-353, "
    "SimLex-999, MTurk-771, RG-65) and github.com/tmikolov/word2vec (questions-words.txt), save "
    "each as NAME.tsv (wordsim353, simlex999, mturk771, rg65: word1, word2, score; "
    "google-analogies: section, a, b, c, d) with a header line, and name their folder "
    f"{BY_DATA}"
)
_METRIC = "mean Spearman × 100"
CHECK = Check(
    name="words",
    title="Word similarity",
    metric=_METRIC,
    tells="Whether cosines between rows still agree with people on which words are alike, and in "
    "the details whether analogies come out.",
    blind="Only words that are single tokens, and only the rows: what layers above make of them is "
    "not seen.",
    unavailable=_unavailable,
    prepare=_Prepared,
)
