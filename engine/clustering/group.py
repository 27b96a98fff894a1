"""The processes that fit together: one alone, or several, each with its own rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor


class Group(Protocol):
    """Processes that hold different rows of one table and the same subspaces.

    Every method is called by all of them at the same time and gives all of them the same.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many processes there are."""
        ...

    def add_up(self, parts: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes; shapes are the same everywhere."""
        ...

    def gather(self, part: Tensor) -> list[Tensor]:
        """The tensors of all processes, by rank; they may differ in length alone."""
        ...

    def share(self, parts: Iterable[Tensor]) -> None:
        """Replace each tensor by that of rank 0; shapes are the same everywhere."""
        ...


class Alone:
    """One process with all the rows."""

    rank = 0
    size = 1

    def add_up(self, parts: Iterable[Tensor]) -> None:
        """Nothing to add."""

    def gather(self, part: Tensor) -> list[Tensor]:
        """Its own tensor."""
        return [part]

    def share(self, parts: Iterable[Tensor]) -> None:
        """Nothing to share."""


ALONE = Alone()
