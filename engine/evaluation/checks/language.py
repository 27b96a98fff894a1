"""What a language model still says: which word is hidden, or how well it foresees the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import ModelError
from engine.evaluation.checks.check import Check, Comparison, Items, Outcome, mean_of
from engine.evaluation.checks.fidelity import read_sentences
from engine.evaluation.encoding import Report, Tokenised, cut_notes, ignore_report, tokenise
from engine.evaluation.scores import bootstrap
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.progress import ProgressCallback

GUESSES = 5
_MOST_SENTENCES = 200  # the guesses of each are kept: a vocabulary of numbers
_TOKENS_A_BATCH = 256  # a head gives a vocabulary of numbers a token
_MOST_TOKENS = 4_096
_CONTEXT = 512
_BLOCK = 64  # tokens in a row that are drawn together: neighbours are hard or easy alike


def hide_middle(texts: Tokenised, mask: int) -> Tokenised:
    """The token in the middle of each text replaced by the mask."""
    hidden = ((*ids[: len(ids) // 2], mask, *ids[len(ids) // 2 + 1 :]) for ids in texts.ids)
    return Tokenised(ids=tuple(hidden), cut=texts.cut)


@torch.inference_mode()
def guess_middle(
    model: Any,  # noqa: ANN401 - of any class of transformers with a head for masked words
    hidden: Tokenised,
    report: Report = ignore_report,
) -> Tensor:
    """Log-probabilities of every token for the middle of each text.

    Args:
        model: A masked language model.
        hidden: From `hide_middle`.
        report: Told after each batch; may raise to stop.

    Returns:
        Shape (m, vocabulary), float32.
    """
    found: Tensor | None = None
    done = 0
    for which, ids in hidden.batches(_TOKENS_A_BATCH):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        guesses = logits[:, ids.shape[1] // 2].float().log_softmax(dim=1)
        if found is None:
            found = torch.empty(len(hidden), guesses.shape[1])
        found[which] = guesses
        done += len(which)
        report(done, len(hidden))
    return torch.empty(0, 0) if found is None else found


def compare_guesses(before: Tensor, after: Tensor) -> dict[str, NDArray[np.float64]]:
    """What is left of a model's guesses, text by text.

    Args:
        before: From `guess_middle`, shape (m, vocabulary).
        after: Of the other model.

    Returns:
        ``"same"``: whether the first guess is; ``"kept"``: the share of the first five that are
        still among them; ``"divergence"``: KL(before ‖ after) in nats.
    """
    first, now = before.topk(GUESSES).indices, after.topk(GUESSES).indices
    kept = (first.unsqueeze(2) == now.unsqueeze(1)).any(2).double().mean(dim=1)
    divergence = (before.exp() * (before - after)).sum(dim=1)
    same = (first[:, 0] == now[:, 0]).double()
    return {
        "same": same.numpy(),
        "kept": kept.numpy(),
        "divergence": divergence.double().numpy(),
    }


@torch.inference_mode()
def next_token_losses(
    model: Any,  # noqa: ANN401 - of any class of transformers with a head for the next token
    ids: Tensor,
    *,
    context: int = _CONTEXT,
    report: Report = ignore_report,
) -> Tensor:
    """How much each token of a running text surprises a model that has read what is before it.

    Args:
        model: A causal language model.
        ids: Shape (length,).
        context: The text is cut into parts of so many tokens, each read alone.
        report: Told after each part; may raise to stop.

    Returns:
        Negative log-likelihoods in nats, float64; the first token of each part has none.
    """
    parts = [part for part in ids.split(context) if len(part) > 1]
    losses: list[Tensor] = []
    for number, part in enumerate(parts):
        logits = model(input_ids=part.unsqueeze(0)).logits[0, :-1].float()
        losses.append(torch.nn.functional.cross_entropy(logits, part[1:], reduction="none"))
        report(number + 1, len(parts))
    return torch.cat(losses).double()


class _Masked:
    def __init__(self, subject: Subject, texts: Tokenised, notes: tuple[str, ...]) -> None:
        self._subject, self._notes = subject, notes
        self._texts = hide_middle(texts, subject.tokenizer.mask_token_id)

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """Log-probabilities of every token where one is hidden."""
        with self._subject.wearing(variant) as model:
            return guess_middle(model, self._texts, report).numpy()

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Agreement with the original's guesses."""
        before = torch.from_numpy(next(iter(outcomes.values())))
        found = {
            name: compare_guesses(before, torch.from_numpy(own)) for name, own in outcomes.items()
        }
        same = {name: own["same"] for name, own in found.items()}
        return Comparison(
            n=len(self._texts),
            metric=f"{_METRIC_MASKED} × 100",
            statistic=mean_of(same),
            agreement=True,
            notes=self._notes,
            details={
                f"of the first {GUESSES} guesses kept, %": {
                    name: 100 * float(own["kept"].mean()) for name, own in found.items()
                },
                "KL to the original, nats": {
                    name: _with_interval(own["divergence"], self._subject.options.seed)
                    for name, own in found.items()
                },
            },
            settings={"text": self._subject.options.text or "built in", "hidden": "middle token"},
        )


class _Causal:
    def __init__(self, subject: Subject, ids: Tensor, notes: tuple[str, ...]) -> None:
        self._subject, self._ids, self._notes = subject, ids, notes
        positions = getattr(subject.model.config, "max_position_embeddings", None)
        self._context = min(_CONTEXT, positions) if isinstance(positions, int) else _CONTEXT

    def measure(self, variant: Variant, report: Report) -> Outcome:
        """Summed losses of each block of tokens, and how many there are."""
        with self._subject.wearing(variant) as model:
            losses = next_token_losses(model, self._ids, context=self._context, report=report)
        blocks = losses.split(_BLOCK)
        return np.array([[float(block.sum()), len(block)] for block in blocks])

    def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
        """Perplexity of each."""
        stacked = np.stack(list(outcomes.values()))

        def statistic(items: Items) -> list[float]:
            loss, count = np.moveaxis(stacked[:, items].sum(axis=1), -1, 0)
            return [math.exp(min(one, _LARGEST_EXPONENT)) for one in loss / count]

        return Comparison(
            n=stacked.shape[1],
            metric=_METRIC_CAUSAL,
            statistic=statistic,
            higher_is_better=False,
            notes=(
                f"{int(stacked[0, :, 1].sum()):,} tokens were foreseen; the interval draws blocks "
                f"of {_BLOCK} tokens.",
                *self._notes,
            ),
            settings={
                "text": self._subject.options.text or "built in",
                "tokens": len(self._ids),
                "context": self._context,
            },
        )


def _with_interval(values: NDArray[np.float64], seed: int) -> dict[str, float]:
    (interval,) = bootstrap(lambda items: [values[items].mean()], len(values), seed=seed).values()
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def _prepare(subject: Subject, progress: ProgressCallback) -> _Masked | _Causal:
    sentences, notes = read_sentences(subject.options.text)
    subject.load(progress)
    if subject.model.get_output_embeddings() is None:
        raise ModelError(
            f"{subject.table.name} was loaded without its head, which its files lack; give a model "
            "that can fill in or go on with text"
        )
    if subject.head == "causal":
        text = " ".join(sentences)
        ids = subject.tokenizer(text, verbose=False)["input_ids"][:_MOST_TOKENS]
        return _Causal(subject, torch.tensor(ids), tuple(notes))
    if len(sentences) > _MOST_SENTENCES:
        notes = [f"The first {_MOST_SENTENCES} lines were read."]
    texts = tokenise(subject.tokenizer, sentences[:_MOST_SENTENCES], subject.longest)
    return _Masked(subject, texts, (*notes, *cut_notes(texts, subject.longest)))


def _unavailable(subject: Subject) -> str | None:
    if subject.lacks_tokenizer is not None:
        return subject.lacks_tokenizer
    if subject.head is None:
        return (
            f"{subject.table.name} is loaded as {subject.stored.model_class.__name__}, which has "
            "no head that fills in hidden words or goes on with text; give a language model"
        )
    if subject.head == "masked" and subject.tokenizer.mask_token_id is None:
        return f"the tokenizer of {subject.table.name} has no mask token; give it one"
    return None


_LARGEST_EXPONENT = 700.0  # above it a float ends, and no model says anything
_METRIC_MASKED, _METRIC_CAUSAL = "same first guess", "perplexity"
CHECK = Check(
    name="language",
    title="Language model",
    metric=f"{_METRIC_MASKED} × 100 where words are hidden, {_METRIC_CAUSAL} where the next one is",
    tells="What the model still says: whether its guesses for a hidden word stay, or how well it "
    "foresees the next one; its tied head is measured with it.",
    blind="Not whether the guesses were good, and nothing of tasks that it would be trained for.",
    unavailable=_unavailable,
    prepare=_prepare,
)
