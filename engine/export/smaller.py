"""A factorization put into a model: the smaller model, what it costs, and its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from engine.errors import EngineError
from engine.export.card import write_card
from engine.export.companions import Origin
from engine.export.cost import (
    MODEL_FIGURES,
    ModelCost,
    UntimedError,
    error_of,
    measure_size,
    share_weights,
    time_forwards,
)
from engine.export.models import quiet_transformers
from engine.factorization import Factorization
from engine.network.replacement import replace_embedding, transformer_of
from engine.progress import ProgressCallback, ignore_progress
from engine.records import RunRecord
from engine.runs import Run, write_run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmallerModel:
    """A model with subspaces for an embedding.

    Attributes:
        model: Of transformers or sentence-transformers; `save_pretrained` works as ever.
        factorization: What its embedding is made of.
        cost: What it takes, and what it took before.
        record: How it was made, with all figures; what ``run.json`` in its folder says.
        origin: Where the model comes from.
        notes: What the user should know, each a full sentence.
    """

    model: nn.Module
    factorization: Factorization
    cost: ModelCost
    record: RunRecord
    origin: Origin
    notes: tuple[str, ...]

    def save(self, folder: str | Path) -> Run:
        """Write the model folder, whole or not at all.

        Args:
            folder: Where to. A run, or a model that was compressed to there and not touched since,
                is replaced.

        Returns:
            The folder as a run.

        Raises:
            ParameterError: If the place is taken.
            EngineError: If the disk refuses.
        """
        return write_run(Path(folder), self.record, self.write)

    def write(self, folder: Path) -> None:
        """Put the model's files into an empty folder: all but the record.

        Raises:
            EngineError: If the disk refuses.
        """
        save_model(self.model, self.origin, folder)
        write_card(self, folder)


def shrink(
    loaded: tuple[nn.Module, tuple[str, ...]],
    factorization: Factorization,
    record: RunRecord,
    *,
    origin: Origin,
    finish: Callable[[SmallerModel], None] = lambda _: None,
    progress: ProgressCallback = ignore_progress,
) -> SmallerModel:
    """Put a factorization into a model and measure it before and after.

    Args:
        loaded: A model of transformers or sentence-transformers, which is changed in place, and
            notes on loading it.
        factorization: Of its input embedding.
        record: How that was made, as `engine.recording.record_compression` gives it.
        origin: Where the model comes from.
        finish: Saves it, say. Whatever it raises, the model is given its dense embedding back.
        progress: Called between forward passes; may raise to stop.

    Raises:
        ModelError: If the embedding cannot be replaced.
        ShapeError: If the factorization is of another shape.
    """
    model, notes = loaded
    inner = transformer_of(model)
    original = share_weights(inner)
    replacement = replace_embedding(model, factorization)
    try:
        cost, untimed = _measure(original, inner, factorization, progress)
        notes = (*notes, *untimed)
        figures = {**record.figures, MODEL_FIGURES: {**cost.as_dict(), "notes": list(notes)}}
        smaller = SmallerModel(
            model=model,
            factorization=factorization,
            cost=cost,
            record=replace(record, figures=figures),
            origin=origin,
            notes=notes,
        )
        finish(smaller)
    except BaseException:  # a model in memory is the user's: it stays as it was
        replacement.undo()
        raise
    return smaller


def _measure(
    original: Any,  # noqa: ANN401 - of transformers
    inner: Any,  # noqa: ANN401 - likewise
    factorization: Factorization,
    progress: ProgressCallback,
) -> tuple[ModelCost, tuple[str, ...]]:
    """What a model takes before and after, and a note where the forward pass was not timed."""
    dense, embedding = original.get_input_embeddings(), inner.get_input_embeddings()
    before = measure_size(original, dense, dense.weight.numel())
    after = measure_size(inner, embedding, factorization.parameters)
    times, notes = None, tuple[str, ...]()
    try:
        times, *seconds = time_forwards(original, share_weights(inner), progress)
        before, after = (
            replace(size, forward_seconds=own)
            for size, own in zip((before, after), seconds, strict=True)
        )
    except UntimedError as error:
        notes = (f"The forward pass was not timed: {error}.",)
    cost = ModelCost(
        before=before,
        after=after,
        times=times,
        dtype=str(dense.weight.dtype).removeprefix("torch."),
        relative_error=error_of(embedding, dense.weight.detach()),
    )
    return cost, notes


def save_model(model: Any, origin: Origin, folder: Path) -> None:  # noqa: ANN401
    """Write a model's weights and configuration, and what belongs to them, into a folder.

    Args:
        model: Of transformers or sentence-transformers.
        origin: Where it comes from.
        folder: An empty folder.

    Raises:
        EngineError: If the disk refuses.
    """
    with quiet_transformers():
        try:
            if hasattr(model, "get_input_embeddings"):
                model.save_pretrained(folder)
            else:  # sentence-transformers has a card of its own, which says nothing of this
                model.save_pretrained(str(folder), create_model_card=False)
            origin.copy_to(folder)
        except SafetensorError as error:  # a full disk comes as either
            raise EngineError(f"could not write the model to {folder}: {error}") from error
