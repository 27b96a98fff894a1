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
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

import engine
from engine.budget import dimension_for_rate
from engine.coding.codes import decoded
from engine.export.models import open_model
from engine.factorization import Factorization, FitRecord
from engine.projection import project_rows
from tests.benchmarks.machine import describe_machine, machine_line

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results"
SHAPES = ((32, 128), (1, 16))
RATE, K = 0.4, 5
BERT_BASE = (30527, 768)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each row of the tables")
    seconds = parser.parse_args().seconds
    tables = {"MiniLM 30522 × 384": _fit(), "random 30527 × 768": _random(*BERT_BASE)}
    layers = [row for name, plans in tables.items() for row in _time_layers(name, *plans, seconds)]
    models = [_time_model(shape, seconds) for shape in SHAPES]
    sizes = _measure_sizes()
    values = {"machine": describe_machine(), "layers": layers, "models": models, "sizes": sizes}
    (RESULTS / "forward.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    text = _table(layers, models, sizes)
    (RESULTS / "forward.md").write_text(text, encoding="utf-8")
    print(text)


def _minilm() -> nn.Module:
    stored = open_model("bundled:minilm")
    assert stored is not None
    return stored.load()[0].eval()


@cache
def _fit() -> tuple[Factorization, Factorization]:
    """The plan and the SVD of its rate, for MiniLM's table."""
    matrix = engine.load_table("bundled:minilm").matrix
    plan = engine.factorize(matrix, k=K, rate=RATE, n_init=1, max_iterations=10)
    return plan, engine.factorize(matrix, method="svd", rate=RATE)


def _random(n: int, d: int) -> tuple[Factorization, Factorization]:
    """The same without a fit: what a forward costs does not depend on what the numbers are."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(n, d, generator=generator)
    record = FitRecord(method="random", config={}, source="", versions={})
    found: list[Factorization] = []
    for k in (K, 1):
        j = dimension_for_rate(n, d, k, RATE)
        labels = torch.randint(k, (n,), generator=generator)
        frames = torch.linalg.qr(torch.randn(k, d, j, generator=generator)).Q
        bases = tuple(frame.T.contiguous() for frame in frames)
        found.append(project_rows(matrix, labels, bases, record))
    return found[0], found[1]


def _svd_pair(svd: Factorization) -> nn.Module:
    """The SVD as people build it: an embedding of the rank, and a linear layer."""
    coordinates, basis = decoded(svd.coordinates[0]), decoded(svd.bases[0])
    up = nn.Linear(*basis.shape, bias=False)
    up.weight = nn.Parameter(basis.T.contiguous())
    return nn.Sequential(nn.Embedding.from_pretrained(coordinates), up)


def _time_layers(
    name: str, plan: Factorization, svd: Factorization, seconds: float
) -> list[dict[str, Any]]:
    n = plan.shape[0]
    layers = {
        "nn.Embedding": nn.Embedding(*plan.shape),
        "SVD pair": _svd_pair(svd),
        "subspaces": engine.SubspaceEmbedding(plan),
        "8 bits": engine.SubspaceEmbedding(plan.quantize(bits=8)),
        "4 bits": engine.SubspaceEmbedding(plan.quantize(bits=4)),
    }
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        for law, draw in (("all distinct", _distinct), ("Zipf", _zipf)):
            batches = [draw(n, shape, seed) for seed in range(8)]
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
    before, after = _minilm(), _minilm()
    engine.replace_embedding(after, _fit()[0])
    calls = {"before": before, "after": after}
    batches = [_zipf(_fit()[0].shape[0], shape, seed) for seed in range(4)]
    return {"tokens": list(shape), "milliseconds": _race(calls, batches, 4 * seconds)}


def _measure_sizes() -> dict[str, Any]:
    """Counted bytes beside the bytes of a file's tensors and of the layer in memory."""
    plan, _ = _fit()
    named = {"32 bits": plan, "8 bits": plan.quantize(bits=8), "4 bits": plan.quantize(bits=4)}
    sizes: dict[str, Any] = {}
    for name, coded in named.items():
        model = _minilm()
        layer = engine.replace_embedding(model, coded).embedding
        with tempfile.TemporaryDirectory() as scratch:
            model.save_pretrained(scratch)
            with safe_open(Path(scratch) / "model.safetensors", framework="pt") as stored:
                keys = [key for key in list(stored.keys()) if "word_embeddings" in key]
                file_bytes = sum(stored.get_tensor(key).nbytes for key in keys)
        held = [*layer.parameters(), *layer.buffers()]
        sizes[name] = {
            "counted": coded.stored_bytes,
            "in the file": file_bytes,
            "in memory": sum(tensor.untyped_storage().nbytes() for tensor in held),
        }
    return sizes


def _table(
    layers: list[dict[str, Any]], models: list[dict[str, Any]], sizes: dict[str, Any]
) -> str:
    names = list(layers[0]["milliseconds"])
    lines = [
        "# Forward pass of a compressed layer",
        "",
        "Made by `python -m tests.benchmarks.bench_forward`: k = 5 subspaces at rate 0.4 beside "
        "the SVD of that rate as an embedding and a linear layer. Median milliseconds, the layers "
        f"by turns; read the ratios. {machine_line()}.",
        "",
        f"| table | tokens | drawn | distinct | {' | '.join(names)} | subspaces ÷ SVD pair |",
        f"| --- | --- | --- | ---: |{' ---: |' * (len(names) + 1)}",
    ]
    for row in layers:
        times = row["milliseconds"]
        ratio = times["subspaces"] / times["SVD pair"]
        cells = [row["table"], " × ".join(map(str, row["tokens"])), row["drawn"]]
        cells += [f"{row['distinct']:,}", *(f"{times[name]:.3f}" for name in names)]
        lines.append(f"| {' | '.join(cells)} | {ratio:.2f} |")
    lines += [
        "",
        "The whole all-MiniLM-L6-v2, tokens by Zipf's law:",
        "",
        "| tokens | dense | subspaces | overhead |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in models:
        before, after = row["milliseconds"]["before"], row["milliseconds"]["after"]
        tokens = " × ".join(map(str, row["tokens"]))
        lines.append(f"| {tokens} | {before:.2f} | {after:.2f} | {after / before - 1:+.1%} |")
    lines += [
        "",
        "Bytes of the layer; in memory with 4 bytes a row that say where it lies:",
        "",
        "| numbers of | counted | in the file | in memory | memory ÷ counted |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, size in sizes.items():
        cells = [name, *(f"{value:,}" for value in size.values())]
        lines.append(f"| {' | '.join(cells)} | {size['in memory'] / size['counted']:.4f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
