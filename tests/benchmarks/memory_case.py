"""One kind of work in this process: prints the bytes it was said to need and those it took.

python -m tests.benchmarks.memory_case KIND ROWS COLUMNS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from engine import layout, memory, plans, sources, sweep
from engine.compression import CompressionConfig, compress_table
from engine.evaluation.evaluating import evaluate
from engine.export import models
from engine.layout import UmapSettings, umap_layout
from engine.sweep import SweepConfig, run_sweep
from engine.table import EmbeddingTable, RowNumbers

PLAN = CompressionConfig(k=4, rate=0.4, n_init=1)
CODED_PLAN = CompressionConfig(method="coded", max_bytes="15%")
WORK: dict[str, Callable[[EmbeddingTable], object]] = {
    "fit": lambda table: compress_table(table, PLAN),
    "fit in 8 bits": lambda table: compress_table(table, replace(PLAN, bits=8)),
    "weighted fit": lambda table: compress_table(table, replace(PLAN, weights="en")),
    "coded fit": lambda table: compress_table(table, CODED_PLAN),
    "sweep": lambda table: run_sweep(table, SweepConfig(rates=(0.4,), ks=(4,), seeds=(0,))),
    "layout": lambda table: umap_layout(table.matrix, UmapSettings(epochs=5)),
    "model": lambda table: evaluate(table.spec, ["fidelity"]),
}
SEEN_BY = (layout, models, plans, sweep)  # the modules that ask before they work


def make_table(kind: str, n: int, d: int) -> EmbeddingTable:
    """Random rows; where the work needs a model or words, the bundled one."""
    if kind == "model":
        return sources.load_table("bundled:minilm")
    tokens = RowNumbers(n)
    spec = "random"
    if kind == "weighted fit":
        bundled = sources.load_table("bundled:minilm")
        tokens, spec = bundled.tokens[:n], bundled.spec
    matrix = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    return EmbeddingTable(name="random", spec=spec, tokens=tokens, matrix=matrix)


def high_water_bytes() -> int:
    """The most memory this process held since the mark was last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main(kind: str, n: int, d: int) -> None:
    """Warm up, do the work, print."""
    needs: list[float] = []
    for module in SEEN_BY:
        module.check_memory = lambda _, needed, __: needs.append(needed)
    if kind == "model":
        import sentence_transformers  # noqa: F401 - libraries are no part of a model
    else:
        WORK[kind](make_table(kind, 3000, 32))
    table = make_table(kind, n, d)
    assert memory.free_bytes() > table.dense_bytes
    needs.clear()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = high_water_bytes()
    WORK[kind](table)
    print(json.dumps({"estimated": max(needs), "taken": high_water_bytes() - before}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
