"""Texts through a model: tokenised once, and one vector each for any embedding it wears."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.evaluation.subject import Pooling

TOKENS_A_BATCH = 1_024  # keeps the activations of a batch in the cache of a small processor

Report = Callable[[int, int], None]
"""Told how many steps of how many are done; may raise to stop."""


def ignore_report(done: int, total: int) -> None:
    """Take a report and do nothing with it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokenised:
    """Texts as token numbers, with special tokens, cut where they are too long.

    Attributes:
        ids: Of each text.
        cut: How many texts were too long.
    """

    ids: tuple[tuple[int, ...], ...]
    cut: int = 0

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.ids)

    def batches(self, tokens: int = TOKENS_A_BATCH) -> Iterator[tuple[Tensor, Tensor]]:
        """Texts of one length together, so that nothing is padded.

        Args:
            tokens: Most of a batch, but for one long text.

        Yields:
            Which texts, shape (m,), and their tokens, shape (m, length).
        """
        by_length: dict[int, list[int]] = defaultdict(list)
        for text, ids in enumerate(self.ids):
            by_length[len(ids)].append(text)
        for length, texts in sorted(by_length.items()):
            for part in torch.tensor(texts).split(max(1, tokens // max(1, length))):
                yield part, torch.tensor([self.ids[text] for text in part.tolist()])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenisedPairs:
    """Texts, alone or in pairs, each distinct one tokenised once.

    Attributes:
        texts: The distinct ones.
        sides: Which text stands where: one or two, each of shape (n,).
    """

    texts: Tokenised
    sides: tuple[Tensor, ...]

    def vectors(self, states: Tensor) -> list[Tensor]:
        """The vectors of each side, shape (n, width), out of those of the texts."""
        return [states[side] for side in self.sides]


def tokenise_pairs(
    tokenizer: Any,  # noqa: ANN401 - of any class of transformers
    sides: Sequence[Sequence[str]],
    longest: int,
) -> TokenisedPairs:
    """Tokenise texts, alone or in pairs.

    Args:
        tokenizer: Of transformers.
        sides: One sequence of texts, or two of one length.
        longest: Most tokens of a text.
    """
    distinct = sorted({text for side in sides for text in side})
    place = {text: number for number, text in enumerate(distinct)}
    return TokenisedPairs(
        texts=tokenise(tokenizer, distinct, longest),
        sides=tuple(torch.tensor([place[text] for text in side]) for side in sides),
    )


def cut_notes(texts: Tokenised, longest: int) -> tuple[str, ...]:
    """A sentence on texts that are too long for the model, if any are."""
    if not texts.cut:
        return ()
    noun = "text fills" if texts.cut == 1 else "texts fill"
    return (f"{texts.cut:,} {noun} all {longest} tokens the model reads, and may be cut there.",)


def tokenise(tokenizer: Any, texts: Sequence[str], longest: int) -> Tokenised:  # noqa: ANN401
    """Tokenise texts as a model reads them.

    Args:
        tokenizer: Of transformers.
        texts: At least one token each.
        longest: Most tokens of a text.
    """
    if not texts:
        return Tokenised(ids=())
    ids = tokenizer(list(texts), truncation=True, max_length=longest, verbose=False)["input_ids"]
    full = sum(len(found) == longest for found in ids)
    return Tokenised(ids=tuple(tuple(found) for found in ids), cut=full)


@torch.inference_mode()
def pooled_states(
    model: Any,  # noqa: ANN401 - of any class of transformers
    texts: Tokenised,
    *,
    pooling: Pooling = "mean",
    report: Report = ignore_report,
) -> Tensor:
    """One vector a text, from the last hidden states.

    Args:
        model: Of transformers; its head is left out, of an encoder-decoder so is the decoder.
        texts: Of its tokenizer.
        pooling: ``"mean"`` of all tokens, or the state of the ``"first token"``.
        report: Told after each batch; may raise to stop.

    Returns:
        Shape (m, width), float32.
    """
    inner = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    found: Tensor | None = None
    done = 0
    for which, ids in texts.batches():
        states = inner(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        vectors = states.mean(dim=1) if pooling == "mean" else states[:, 0]
        if found is None:
            found = torch.empty(len(texts), vectors.shape[1])
        found[which] = vectors.float()
        done += len(which)
        report(done, len(texts))
    return torch.empty(0, 0) if found is None else found
