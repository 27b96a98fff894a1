"""Sentence fidelity: does the model still say of each sentence what it said before?"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from engine.errors import ParameterError, SourceError
from engine.evaluation.checks.check import Check, Comparison, Outcome, mean_of
from engine.evaluation.encoding import Report, cut_notes, pooled_states, tokenise
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.frequencies import table_token_counts
from engine.frequencies.running_text import lines_of
from engine.progress import Progress, ProgressCallback

_NEIGHBOURS = 10
_FEWEST = 2 * _NEIGHBOURS  # sentences: with fewer, half of them are neighbours whatever happens
_MOST = 1_000  # of a text file
_BANDS = ("rarest tokens of all", "rare tokens", "only common tokens")


class _Prepared:
    def __init__(self, subject: Subject, progress: ProgressCallback) -> None:
        sentences, notes = read_sentences(subject.options.text)
        self._subject = subject
        subject.load(progress)
        self._texts = tokenise(subject.tokenizer, sentences, subject.longest)
        self._notes = [*notes, *cut_notes(self._texts, subject.longest)]
        if subject.is_sentence_encoder and subject.foreign_pooling is not None:
            self._notes.append(
                f"The model makes sentence vectors by {subject.foreign_pooling}; compared is the "
                f"{subject.pooling} of the states before that."
            )
        progress(Progress(phase="Counting tokens", done=0, total=1))
        self._bands = self._rarity()
        progress(Progress(phase="Counting tokens", done=1, total=1))

    def _rarity(self) -> list[NDArray[np.int64]] | None:
        """Sentences by their rarest token, in three parts; None where tokens cannot be counted."""
        try:
            counts = table_token_counts(self._subject.table, "en").numpy()
        except SourceError as error:
            self._notes.append(f"How it varies with rare tokens is not known: {error}.")
            return None
        special = set(self._subject.tokenizer.all_special_ids)
        rarest = [
            min((counts[token] for token in ids if token not in special), default=0.0)
            for ids in self._texts.ids
        ]
        order = np.argsort(np.asarray(rarest), kind="stable")
        return np.array_split(order, len(_BANDS))

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """The sentences' vectors, of length 1, shape (n, width)."""
        pooling = self._subject.pooling
        with self._subject.wearing(variant) as model:
            states = pooled_states(model, self._texts, pooling=pooling, report=report)
        return normalize(states, dim=1).numpy()

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Cosines with the original's vectors, and which neighbours stay."""
        first, *_ = outcomes.values()
        cosines = {
            name: np.ones(len(own)) if own is first else (own * first).sum(axis=1)
            for name, own in outcomes.items()
        }
        details: dict[str, Any] = {
            "neighbours kept": {
                name: _neighbours_kept(first, own) for name, own in outcomes.items()
            }
        }
        if self._bands is not None:
            details["by rarest token"] = {
                band: {name: 100 * float(own[part].mean()) for name, own in cosines.items()}
                for band, part in zip(_BANDS, self._bands, strict=True)
            }
        return Comparison(
            n=len(self._texts),
            metric=_METRIC,
            statistic=mean_of(cosines),
            agreement=True,
            notes=tuple(self._notes),
            details=details,
            settings={
                "text": self._subject.options.text or "built in",
                "pooling": self._subject.pooling,
                "neighbours": min(_NEIGHBOURS, len(self._texts) - 1),
                "longest": self._subject.longest,
            },
        )


def read_sentences(path: str | None) -> tuple[list[str], list[str]]:
    """The user's sentences, or ours, and notes on them.

    Args:
        path: UTF-8 text, plain or gzipped, one sentence a line; or None.

    Raises:
        ParameterError: If there is no such file.
        SourceError: If it cannot be read, or holds too few lines.
    """
    if path is None:
        ours = resources.files("engine.evaluation") / "sentences.txt"
        return ours.read_text("utf-8").split("\n")[:-1], []
    file = Path(path).expanduser()
    if not file.is_file():
        raise ParameterError(f"expected a text file of one sentence a line, found none at {path}")
    lines = [line.strip() for line in islice(lines_of(file), _MOST + 1)]
    if any("\0" in line for line in lines):  # valid UTF-8, but no tokenizer makes words of it
        raise SourceError(
            f"{file.name}: expected text, got zero bytes, as programs and pictures have them; give "
            "a text file in UTF-8, one sentence a line"
        )
    if len(lines) < _FEWEST:
        count = {0: "no line", 1: "1 line"}.get(len(lines), f"{len(lines)} lines")
        raise SourceError(
            f"{file.name} holds {count} of text, and at least {_FEWEST} are needed; give one "
            "sentence a line"
        )
    if len(lines) > _MOST:
        return lines[:_MOST], [f"Of {file.name} the first {_MOST:,} lines were read."]
    return lines, []


def _neighbours_kept(before: Outcome, after: Outcome) -> float:
    """Mean share of each sentence's nearest ones that are still among its nearest."""
    count = min(_NEIGHBOURS, len(before) - 1)
    nearest: list[torch.Tensor] = []
    for vectors in (torch.from_numpy(before), torch.from_numpy(after)):
        cosines = (vectors @ vectors.T).fill_diagonal_(-2.0)  # itself is no neighbour
        nearest.append(cosines.topk(count, dim=1).indices)
    kept = (nearest[0].unsqueeze(2) == nearest[1].unsqueeze(1)).any(2)
    return float(kept.float().mean())


def _unavailable(subject: Subject) -> str | None:
    return subject.lacks_tokenizer


_METRIC = "mean cosine with the original × 100"
CHECK = Check(
    name="fidelity",
    title="Sentence fidelity",
    metric=_METRIC,
    tells="How far the sentence vectors of the smaller model lie from those of the original, on "
    "any text, without labels; and whether rare words are to blame.",
    blind="Not whether what changed matters: a vector may move and still serve its task as well.",
    unavailable=_unavailable,
    prepare=_Prepared,
)
