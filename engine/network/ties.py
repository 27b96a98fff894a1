"""Layers that share a subspace embedding without parameters of their own for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from engine.errors import EngineError
from engine.network.embedding import SubspaceEmbedding, scale_rows


class NoDenseWeightError(EngineError, AttributeError):
    """Code of a model wants the dense weight of a layer that is kept as factors."""


class _Sharing(nn.Module):
    """Refers to the embedding without holding it: it is saved, moved and counted once."""

    source: SubspaceEmbedding

    def __init__(self, source: SubspaceEmbedding) -> None:
        super().__init__()
        # Past nn.Module, which would register it; a deep copy of the model copies it along.
        object.__setattr__(self, "source", source)


class SharedEmbedding(_Sharing):
    """A second table of the same rows, such as a decoder's that shares its encoder's.

    Attributes:
        source: The embedding that holds the rows.
        padding_idx: As in `SubspaceEmbedding`, of its own.
        scale: As in `SubspaceEmbedding`, of its own.
    """

    def __init__(
        self, source: SubspaceEmbedding, *, padding_idx: int | None, scale: float | Tensor | None
    ) -> None:
        super().__init__(source)
        self.num_embeddings, self.embedding_dim = source.num_embeddings, source.embedding_dim
        self.padding_idx, self.scale = padding_idx, scale

    @property
    def weight(self) -> Tensor:
        """The coordinates of the embedding that holds the rows."""
        return self.source.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """As `SubspaceEmbedding.forward`."""
        return scale_rows(self.source.look_up(input_ids, self.padding_idx), self.scale)


class TiedHead(_Sharing):
    """A linear layer whose weight is the embedding's: logits through the factors.

    Attributes:
        source: The embedding.
        bias: Shape (n,), or None.
    """

    def __init__(self, source: SubspaceEmbedding, *, bias: nn.Parameter | None) -> None:
        super().__init__(source)
        self.in_features, self.out_features = source.embedding_dim, source.num_embeddings
        self.register_parameter("bias", bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits of every token: shape (…, d) → (…, n)."""
        logits = self.source.logits(hidden)
        return logits if self.bias is None else logits + self.bias

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - torch's
        """As ever, but say why there is no weight."""
        if name == "weight":
            raise NoDenseWeightError(
                "this head is tied to an embedding that is kept as k subspaces and has no dense "
                "weight; call the head, or source.logits(hidden), or put the dense layer back "
                "with model.dequantize()"
            )
        return super().__getattr__(name)
