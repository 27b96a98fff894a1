"""What a replaced embedding matrix is worth: sentence and word similarity, nothing retrained.

    python -m tests.benchmarks.stsb --split train

Sentences go through the bundled all-MiniLM-L6-v2 (mean pooling); the score is the Spearman
correlation, × 100, of the cosines with what people said. Sentences are tokenised once, those of one
length go together, so that nothing is padded and another matrix takes seconds.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import normalize

from engine.sources.bundled import bundled_files

DEFAULT_DATA = Path(os.environ.get("SUBSPACE_ATLAS_DATA", "../shared/data/glue"))
WORD_SETS = ("wordsim353", "simlex999", "mturk771", "rg65")
LONGEST = 256  # tokens, as the model's own sentence_bert_config.json says
TOKENS_A_BATCH = 1_024  # keeps the activations of a batch in the cache of a small processor


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


def read_stsb(split: str, data: Path = DEFAULT_DATA) -> Pairs:
    """The pairs of STS-B's ``train`` or ``dev`` split, from the GLUE folder."""
    path = data / "stsb" / f"{split}.tsv"
    if not path.is_file():
        raise SystemExit(f"there is no {path}; give the GLUE folder by --data")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    return Pairs(
        name=f"stsb {split}",
        first=[row[1] for row in rows],
        second=[row[2] for row in rows],
        scores=[float(row[3]) for row in rows],
    )


def read_word_sets(folder: Path) -> list[Pairs]:
    """The word-similarity sets that are there; a folder without any is an empty list."""
    found: list[Pairs] = []
    for name in WORD_SETS:
        path = folder / f"{name}.tsv"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").split("\n")[1:]
            rows = [line.split("\t") for line in lines if line]
            found.append(
                Pairs(
                    name=name,
                    first=[row[0] for row in rows],
                    second=[row[1] for row in rows],
                    scores=[float(row[2]) for row in rows],
                )
            )
    return found


class PairScorer:
    """Scores embedding matrices of the bundled model on fixed pairs."""

    def __init__(self, *sets: Pairs) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        folder = bundled_files("minilm").folder
        self._model = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()
        self._embedding: Tensor = self._model.get_input_embeddings().weight
        self.original = self._embedding.detach().clone()
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._sets = sets
        texts = sorted({text for pairs in sets for text in (*pairs.first, *pairs.second)})
        self._row_of = {text: row for row, text in enumerate(texts)}
        encoded = (
            tokenizer(texts, truncation=True, max_length=LONGEST)["input_ids"] if texts else []
        )
        self._batches = list(_batches_of_one_length(encoded))
        whole = tokenizer.get_vocab()
        self._tokens = [
            [(whole.get(a.lower()), whole.get(b.lower())) for a, b in _words(pairs)]
            for pairs in sets
        ]

    @torch.inference_mode()
    def scores(self, matrix: Tensor) -> dict[str, float]:
        """Spearman × 100 of each set, by the sentence embeddings that the matrix leads to."""
        self._embedding.copy_(matrix)
        pooled = torch.empty(len(self._row_of), self._model.config.hidden_size)
        for rows, ids in self._batches:
            hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))
            pooled[rows] = hidden.last_hidden_state.mean(dim=1)
        unit = normalize(pooled, dim=1)
        found: dict[str, float] = {}
        for pairs in self._sets:
            first = unit[[self._row_of[text] for text in pairs.first]]
            second = unit[[self._row_of[text] for text in pairs.second]]
            found[pairs.name] = _spearman((first * second).sum(dim=1), pairs.scores)
        return found

    @torch.inference_mode()
    def row_scores(self, matrix: Tensor) -> dict[str, float]:
        """The same by the matrix's own rows, for word sets; pairs of whole-word tokens only."""
        unit = normalize(matrix, dim=1)
        found: dict[str, float] = {}
        for pairs, tokens in zip(self._sets, self._tokens, strict=True):
            kept = [index for index, pair in enumerate(tokens) if None not in pair]
            first, second = (unit[[tokens[index][side] for index in kept]] for side in (0, 1))
            cosines = (first * second).sum(dim=1)
            found[pairs.name] = _spearman(cosines, [pairs.scores[index] for index in kept])
        return found


def _words(pairs: Pairs) -> list[tuple[str, str]]:
    return list(zip(pairs.first, pairs.second, strict=True))


def _batches_of_one_length(encoded: list[list[int]]) -> list[tuple[Tensor, Tensor]]:
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, ids in enumerate(encoded):
        by_length[len(ids)].append(row)
    return [
        (part, torch.tensor([encoded[row] for row in part.tolist()]))
        for length, rows in sorted(by_length.items())
        for part in torch.tensor(rows).split(max(1, TOKENS_A_BATCH // length))
    ]


def _spearman(cosines: Tensor, scores: list[float]) -> float:
    return 100 * float(spearmanr(cosines.numpy(), scores).statistic)


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
