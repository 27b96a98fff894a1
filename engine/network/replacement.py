"""`replace_embedding`: a factorization in the place of a model's embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from engine.errors import ShapeError
from engine.factorization import Factorization
from engine.network.embedding import SubspaceEmbedding
from engine.network.persistence import attach, detach
from engine.network.surgery import Swap, check_replaceable


class Replacement:
    """A replaced embedding.

    Attributes:
        embedding: The layer in use now.
    """

    def __init__(self, model: nn.Module, swap: Swap) -> None:
        self.embedding = swap.embedding
        self._model = model
        self._swap = swap
        self._weight = swap.release_weight()

    def undo(self) -> None:
        """Put the old layer back, the very same parameter, with all that was tied to it.

        It follows the model to the device and dtype that this was moved to meanwhile.

        Raises:
            ModelError: If that was done before, or the model was made dense by ``dequantize()``.
        """
        self._swap.undo(self._weight)
        with torch.no_grad():
            new = self.embedding
            self._weight.data = self._weight.to(device=new.weight.device, dtype=new.dtype)
        detach(self._model)


def replace_embedding(model: nn.Module, factorization: Factorization) -> Replacement:
    """Put a factorization in the place of a model's input embedding.

    What is tied to the embedding (a head, a decoder's table) stays tied and is counted once; a
    tied head keeps its bias. `save_pretrained` then writes the smaller model, which loads by
    ``from_pretrained`` after ``import engine``.

    Args:
        model: A transformers model, or a sentence-transformers one; changed in place.
        factorization: Of that embedding's weight.

    Returns:
        A handle; its ``undo()`` puts the old layer back.

    Raises:
        ModelError: If the model's embedding is of a kind that cannot be replaced; nothing has
            changed then.
        ShapeError: If the factorization is of another shape.
    """
    inner = transformer_of(model)
    old = check_replaceable(inner).weight
    if tuple(old.shape) != factorization.shape:
        raise ShapeError(
            f"the embedding of {type(inner).__name__} has shape {tuple(old.shape)}, the "
            f"factorization is of {factorization.shape}; factorize this model's own embedding"
        )

    def make(padding_idx: int | None, scale: Any) -> SubspaceEmbedding:  # noqa: ANN401
        made = SubspaceEmbedding(factorization, padding_idx=padding_idx, scale=scale)
        made.requires_grad_(old.requires_grad)
        return made.to(device=old.device, dtype=old.dtype)

    swap = Swap(inner, make)
    attach(inner, swap)
    return Replacement(inner, swap)


def transformer_of(model: nn.Module) -> nn.Module:
    """The transformers model in a sentence-transformers one; any other as it is."""
    if not hasattr(model, "get_input_embeddings") and isinstance(model, nn.Sequential):
        for part in model:
            inner = getattr(part, "auto_model", None)
            if isinstance(inner, nn.Module):
                return inner
    return model
