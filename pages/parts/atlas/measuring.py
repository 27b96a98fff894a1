"""What is known of every token beyond the plan: how often it is used, what its neighbours do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine import EmbeddingTable
from pages.parts import state
from pages.parts.atlas.colourings import Colouring, by_subspace
from pages.parts.state import View


def colourings(
    table: EmbeddingTable, view: View | None, kind: str, rows: NDArray[np.int64]
) -> list[Colouring]:
    """All ways to colour the drawn rows of a map."""
    norm = Colouring(name="Norm", title="length of the row", values=state.row_norms(table)[rows])
    if view is None:
        return [norm]
    return [
        by_subspace(),
        Colouring(
            name="Error",
            title="error of the row",
            values=view.row_errors[rows],
            write="{:.0%}".format,
        ),
        norm,
    ]
