"""What a replaced embedding matrix is worth: sentence and word similarity, nothing retrained.

    python -m tests.benchmarks.stsb --split train

Sentences go through the bundled all-MiniLM-L6-v2 (mean pooling); the score is the Spearman
correlation, × 100, of the cosines with what people said: the check `stsb` of `engine.evaluation`,
for any pairs and any matrix.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from engine.evaluation.checks.words import read_word_sets as read_sets
from engine.evaluation.data import SplitName, load_split
from engine.evaluation.encoding import pooled_states, tokenise_pairs
from engine.evaluation.scores import metric
from engine.evaluation.tasks import GLUE_TASKS
from engine.frequencies.words import WordRows
from engine.sources.bundled import bundled_files

DEFAULT_DATA = Path(os.environ.get("SUBSPACE_ATLAS_DATA", "../shared/data/glue"))
WORD_SETS = ("wordsim353", "simlex999", "mturk771", "rg65")
LONGEST = 256  # tokens, as MiniLM's sentence_bert_config.json says; no text here has as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs of texts with a similarity score each, on any scale."""

    name: str
    first: list[str]
    second: list[str]
    scores: list[float]

    def sample(self, count: int, seed: int) -> Pairs:
        """So many pairs drawn with a fixed seed; all of them if there are fewer."""
        chosen = sorted(
            random.Random(seed).sample(range(len(self.scores)), min(count, len(self.scores)))
        )
        return Pairs(
            name=self.name,
            first=[self.first[index] for index in chosen],
            second=[self.second[index] for index in chosen],
            scores=[self.scores[index] for index in chosen],
        )


def read_stsb(split: SplitName, data: Path = DEFAULT_DATA) -> Pairs:
    """The pairs of STS-B's ``train`` or ``dev`` split, from the GLUE folder."""
    found = load_split(GLUE_TASKS["stsb"], split, data=data)
    return Pairs(
        name=f"stsb {split}",
        first=list(found.first),
        second=list(found.second),
        scores=found.labels.tolist(),
    )


def read_word_sets(folder: Path) -> list[Pairs]:
    """The word-similarity sets that are there; a folder without any is an empty list."""
    return [
        Pairs(
            name=words.name,
            first=list(words.first),
            second=list(words.second),
            scores=words.scores.tolist(),
        )
        for words in read_sets(folder)
        if words.name in WORD_SETS
    ]


class PairScorer:
    """Scores embedding matrices of a model on fixed pairs.

    Args:
        sets: The pairs.
        folder: Of the model; the bundled one when left out.
    """

    def __init__(self, *sets: Pairs, folder: Path | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        folder = bundled_files("minilm").folder if folder is None else folder
        self._model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
        self._embedding: Tensor = self._model.get_input_embeddings().weight
        self.original = self._embedding.detach().clone()
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._sets = sets
        self._pairs = [
            tokenise_pairs(tokenizer, (pairs.first, pairs.second), LONGEST) for pairs in sets
        ]
        vocabulary = tokenizer.get_vocab()
        exact = WordRows(sorted(vocabulary, key=vocabulary.__getitem__)).exact
        self._tokens = [
            [(exact(a), exact(b)) for a, b in zip(pairs.first, pairs.second, strict=True)]
            for pairs in sets
        ]

    @torch.inference_mode()
    def cosines(self, matrix: Tensor) -> dict[str, Tensor]:
        """Of each pair of each set, by the sentence embeddings that the matrix leads to."""
        self._embedding.copy_(matrix)
        found: dict[str, Tensor] = {}
        for pairs, tokenised in zip(self._sets, self._pairs, strict=True):
            states = pooled_states(self._model, tokenised.texts)
            found[pairs.name] = cosine_similarity(*tokenised.vectors(states))
        return found

    def scores(self, matrix: Tensor) -> dict[str, float]:
        """Spearman × 100 of each set, by those cosines."""
        found = self.cosines(matrix)
        return {pairs.name: _spearman(found[pairs.name], pairs.scores) for pairs in self._sets}

    @torch.inference_mode()
    def row_scores(self, matrix: Tensor) -> dict[str, float]:
        """The same by the matrix's own rows, for word sets; pairs of whole-word tokens only."""
        found: dict[str, float] = {}
        for pairs, tokens in zip(self._sets, self._tokens, strict=True):
            kept = [index for index, pair in enumerate(tokens) if None not in pair]
            first, second = (matrix[[tokens[index][side] for index in kept]] for side in (0, 1))
            scores = [pairs.scores[index] for index in kept]
            found[pairs.name] = _spearman(cosine_similarity(first, second), scores)
        return found


def _spearman(cosines: Tensor, scores: list[float]) -> float:
    return metric("spearman")(np.array(scores), cosines.numpy())


def main() -> None:
    """Print the uncompressed model's score."""
    parser = argparse.ArgumentParser(description="Scores the bundled model on STS-B.")
    parser.add_argument("--split", choices=("train", "dev"), default="train")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    options = parser.parse_args()
    begun = time.monotonic()
    scorer = PairScorer(read_stsb(options.split, options.data))
    ready = time.monotonic()
    for name, score in scorer.scores(scorer.original).items():
        done = time.monotonic()
        print(f"{name}: {score:.2f} ({ready - begun:.1f} s to load, {done - ready:.1f} s to score)")


if __name__ == "__main__":
    main()
