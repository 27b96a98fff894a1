"""Rows as points on a page: PCA at once, UMAP when asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.clustering.statistics import ScatterStatistics
from engine.errors import ParameterError
from engine.memory import check_memory, layout_bytes
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.rows import RowMatrix, compute_dtype, each_block

_PCA_WIDTH = 50  # UMAP's neighbour search gains nothing from more columns and pays for each
_CHUNK_ROWS = 8192
_LARGEST_MAP = 100_000  # points a browser still pans; above, a stated sample is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class UmapSettings:
    """What decides a UMAP layout.

    Attributes:
        neighbours: Neighbours each row is attracted to.
        min_dist: How tightly points may sit, in map units.
        epochs: Rounds of the optimiser.
        seed: Decides every random choice.
        dimensions: Columns of the layout: 2 for a plane, 3 for space.
    """

    neighbours: int = 15
    min_dist: float = 0.1
    epochs: int = 100
    seed: int = 0
    dimensions: int = 2

    def __post_init__(self) -> None:
        """Check what UMAP would refuse in words of its own.

        Raises:
            ParameterError: If a setting is out of range.
        """
        if self.neighbours < 2 or self.epochs < 1 or not 0 <= self.min_dist <= 1:
            raise ParameterError(
                f"UMAP needs neighbours >= 2, epochs >= 1 and 0 <= min_dist <= 1, got "
                f"{self.neighbours}, {self.epochs} and {self.min_dist:g}"
            )
        if self.dimensions not in (2, 3):
            raise ParameterError(f"a map has 2 or 3 dimensions, got {self.dimensions}")
        if not 0 <= self.seed < 2**32:
            raise ParameterError(f"UMAP needs a seed of 0 to {2**32 - 1:,}, got {self.seed:,}")


def drawn_rows(n: int) -> Tensor:
    """Rows that a map of n draws: all of them, or an even sample of 100,000.

    Returns:
        Row numbers, shape (m,), int64, rising.
    """
    if n <= _LARGEST_MAP:
        return torch.arange(n)
    return torch.linspace(0, n - 1, _LARGEST_MAP, dtype=torch.float64).long()


def pca_layout(matrix: RowMatrix, dimensions: int = 2) -> Tensor:
    """Coordinates along the directions of greatest variance.

    Args:
        matrix: Shape (n, d).
        dimensions: Columns of the layout; filled up with zeros past d.

    Returns:
        Shape (n, dimensions), float32; each column's entry of greatest size is positive, so that
        a map never comes out mirrored.

    Cost: 2·n·d² flops and one d × d eigen-solve.
    """
    centre = _mean_row(matrix)
    statistics = ScatterStatistics(1, matrix.shape[1])
    zeros = torch.zeros(_CHUNK_ROWS, dtype=torch.int64)
    for _, part in each_block(matrix, _CHUNK_ROWS):
        statistics.update(part - centre, zeros[: len(part)])
    _, vectors = torch.linalg.eigh(statistics.scatter[0])
    directions = vectors.flip(1)[:, :dimensions].to(centre.dtype)
    columns = torch.empty(len(matrix), directions.shape[1], dtype=centre.dtype)
    for rows, part in each_block(matrix, _CHUNK_ROWS):
        columns[rows] = (part - centre) @ directions
    extremes = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True))
    columns = columns * torch.where(extremes < 0, -1.0, 1.0)
    layout = torch.zeros(len(matrix), dimensions, dtype=torch.float32)
    layout[:, : columns.shape[1]] = columns.float()
    return layout


def umap_layout(
    matrix: RowMatrix,
    settings: UmapSettings | None = None,
    *,
    progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """A UMAP layout of the rows, from their first 50 principal components.

    Args:
        matrix: Shape (n, d).
        settings: Neighbours, tightness, epochs, seed and dimensions.
        progress: Called at every epoch; raises `engine.Cancelled` to stop. The neighbour search
            before the first epoch cannot be interrupted from inside.

    Returns:
        Shape (n, dimensions), float32. The same seed gives the same layout on one machine. Rows
        that are all equal come out as one point.

    Raises:
        ParameterError: If there are too few rows for a neighbourhood.
        MemoryShortageError: If it would need more memory than is free.

    Source: McInnes, Healy, Melville, *UMAP*, arXiv 1802.03426.
    """
    settings = settings or UmapSettings()
    if len(matrix) < 5:
        raise ParameterError(f"a UMAP layout needs at least 5 rows, got {len(matrix)}; use PCA")
    check_memory(
        f"A UMAP map of {len(matrix):,} rows",
        layout_bytes(len(matrix)),
        "look at the PCA map, keep fewer rows, or close other programs",
    )
    progress(Progress(phase="Reducing to principal components", done=0, total=1))
    # UMAP starts from as many columns as it is to give.
    width = max(settings.dimensions, min(_PCA_WIDTH, matrix.shape[1]))
    reduced = pca_layout(matrix, width)
    if not bool(reduced.any()):
        return reduced[:, : settings.dimensions]  # UMAP would divide by their spread, which is 0
    progress(Progress(phase="Loading UMAP and finding neighbours", done=0, total=1))
    from umap import UMAP

    epochs = _EpochSink(progress, settings.epochs)
    model = UMAP(
        n_neighbors=min(settings.neighbours, len(matrix) - 1),
        min_dist=settings.min_dist,
        n_epochs=settings.epochs,
        n_components=settings.dimensions,
        init="pca",
        random_state=settings.seed,
        n_jobs=1,  # a fixed seed needs it, and saying so spares umap's warning
        tqdm_kwds={
            "file": epochs,
            "disable": False,
            "mininterval": 0.05,
            "bar_format": "{n_fmt}/{total_fmt}",
        },
    )
    return torch.from_numpy(model.fit_transform(reduced.numpy())).float()


class _EpochSink:
    """The file UMAP's progress bar writes to: every write becomes a report, which may cancel."""

    def __init__(self, progress: ProgressCallback, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs

    def write(self, text: str) -> int:
        counts = re.search(r"(\d+)/\d+", text)
        if counts:
            done = min(int(counts[1]), self._epochs)
            self._progress(Progress(phase="Arranging the map", done=done, total=self._epochs))
        return len(text)

    def flush(self) -> None:
        pass


def _mean_row(matrix: RowMatrix) -> Tensor:
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for _, part in each_block(matrix, _CHUNK_ROWS):
        total += part.double().sum(dim=0)
    return (total / len(matrix)).to(compute_dtype(matrix))
