"""Forward time, memory and file size of a compressed layer, alone and inside its model.

    python -m tests.benchmarks.bench_forward [--seconds 8]

One run on one machine: `SubspaceEmbedding` (float, 8 and 4 bits) beside `torch.nn.Embedding` and
the SVD of the same rate as a pair of layers, on tokens that are all distinct and on tokens drawn
by Zipf's law, for the bundled MiniLM's table and for a random one of BERT-base's size; then the
whole MiniLM with and without. The layers take turns, so that the machine's noise meets all alike;
times are medians, and the figures to read are the ratios. Writes assets/results/forward.{md,json}.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

import engine
from engine.export.models import load_model
from tests.benchmarks.machine import describe_machine, machine_line

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results"
SHAPES = ((32, 128), (1, 16))
RATE, K, SEED = 0.4, 5, 0
BERT_BASE = (30527, 768)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each row of the tables")
    seconds = parser.parse_args().seconds
    tables = {"MiniLM 30522 × 384": engine.load_table("bundled:minilm").matrix, "30527 × 768": _clustered(BERT_BASE)}
    layers = [row for name, matrix in tables.items() for row in _time_layers(name, matrix, seconds)]
    models = [_time_model(shape, seconds) for shape in SHAPES]
    sizes = _measure_sizes()
    values = {"machine": describe_machine(), "layers": layers, "models": models, "sizes": sizes}
    (RESULTS / "forward.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    text = _table(layers, models, sizes)
    (RESULTS / "forward.md").write_text(text, encoding="utf-8")
    print(text)


def _clustered(shape: tuple[int, int]) -> Tensor:
    """Random rows; what a forward costs does not depend on what they hold."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED)) * 0.03


def _fit(matrix: Tensor) -> tuple[engine.Factorization, engine.Factorization]:
    plan = engine.factorize(matrix, k=K, rate=RATE, seed=SEED, n_init=1, max_iterations=5)
    return plan, engine.factorize(matrix, method="svd", rate=RATE)


def _svd_pair(svd: engine.Factorization) -> nn.Module:
    """The SVD as people build it: an embedding of the rank, and a linear layer."""
    (coordinates,), (basis,) = svd.coordinates, svd.bases
    assert isinstance(coordinates, Tensor) and isinstance(basis, Tensor)
    up = nn.Linear(*basis.shape, bias=False)
    up.weight = nn.Parameter(basis.T.contiguous())
    return nn.Sequential(nn.Embedding.from_pretrained(coordinates), up)


def _time_layers(name: str, matrix: Tensor, seconds: float) -> list[dict[str, Any]]:
    plan, svd = _fit(matrix)
    layers = {
        "nn.Embedding": nn.Embedding.from_pretrained(matrix),
        "SVD pair": _svd_pair(svd),
        "subspaces": engine.SubspaceEmbedding(plan),
        "8 bits": engine.SubspaceEmbedding(plan.quantize(bits=8)),
        "4 bits": engine.SubspaceEmbedding(plan.quantize(bits=4)),
    }
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        for law, draw in (("all distinct", _distinct), ("Zipf", _zipf)):
            batches = [draw(len(matrix), shape, seed) for seed in range(8)]
            calls = {key: (lambda ids, layer=layer: layer(ids)) for key, layer in layers.items()}
            distinct = statistics.mean(len(batch.unique()) for batch in batches)
            rows.append(
                {
                    "table": name,
                    "tokens": list(shape),
                    "drawn": law,
                    "distinct": round(distinct),
                    "milliseconds": _race(calls, batches, seconds),
                }
            )
    return rows


def _distinct(rows: int, shape: tuple[int, int], seed: int) -> Tensor:
    count = shape[0] * shape[1]
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:count].view(shape)


def _zipf(rows: int, shape: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    weights = 1 / torch.arange(1, rows + 1, dtype=torch.float64)
    ranks = torch.multinomial(weights, shape[0] * shape[1], True, generator=generator)
    return torch.randperm(rows, generator=generator)[ranks].view(shape)


def _race(
    calls: Mapping[str, Callable[[Tensor], object]], batches: list[Tensor], seconds: float
) -> dict[str, float]:
    """Median milliseconds of each call; they take turns until the time is up."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end, turn = time.perf_counter() + seconds, 0
    with torch.inference_mode():
        while time.perf_counter() < end or turn < 10:
            batch = batches[turn % len(batches)]
            for name, call in calls.items():
                began = time.perf_counter()
                call(batch)
                taken[name].append(1e3 * (time.perf_counter() - began))
            turn += 1
    return {name: statistics.median(times[2:]) for name, times in taken.items()}


def _time_model(shape: tuple[int, int], seconds: float) -> dict[str, Any]:
    before, after = load_model("bundled:minilm").eval(), load_model("bundled:minilm").eval()
    matrix = engine.load_table("bundled:minilm").matrix
    engine.replace_embedding(after, _fit(matrix)[0])
    calls = {"before": before, "after": after}
    batches = [_zipf(len(matrix), shape, seed) for seed in range(4)]
    return {"tokens": list(shape), "milliseconds": _race(calls, batches, 4 * seconds)}


def _measure_sizes() -> dict[str, Any]:
    """Counted bytes beside the bytes of a file's tensors and of a process's memory."""
    plan, _ = _fit(engine.load_table("bundled:minilm").matrix)
    sizes: dict[str, Any] = {}
    for name, coded in {"32 bits": plan, "8 bits": plan.quantize(bits=8), "4 bits": plan.quantize(bits=4)}.items():
        with tempfile.TemporaryDirectory() as scratch:
            model = load_model("bundled:minilm")
            engine.replace_embedding(model, coded)
            model.save_pretrained(scratch)
            file = Path(scratch) / "model.safetensors"
            with safe_open(file, framework="pt") as stored:
                keys = [key for key in stored.keys() if "word_embeddings" in key]  # noqa: SIM118
                tensors = [stored.get_tensor(key) for key in keys]
            coded.save(Path(scratch) / "plan")
            sizes[name] = {
                "counted": coded.stored_bytes,
                "tensors": sum(tensor.nbytes for tensor in tensors),
                "memory": _layer_memory(Path(scratch) / "plan"),
                "file": file.stat().st_size,
            }
    return sizes


_PROBE = """
import sys, engine
layer = engine.SubspaceEmbedding(engine.Factorization.load(sys.argv[1]))
print(sum(t.untyped_storage().nbytes() for t in [*layer.parameters(), *layer.buffers()]))
"""


def _layer_memory(plan: Path) -> int:
    """Bytes that the layer's tensors hold in memory, what is derived included."""
    command = [sys.executable, "-c", _PROBE, str(plan)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
