"""Forward time, memory and file size of a compressed layer, alone and inside its model.

    python -m tests.benchmarks.bench_forward [--seconds 8] [--threads 1]

One run on one machine: `SubspaceEmbedding` (float, 8 and 4 bits, and a coded plan) beside
`torch.nn.Embedding` and the SVD of the same rate as a pair of layers, on tokens that are all
distinct and on tokens drawn by Zipf's law, for the bundled MiniLM's table and for a random one of
BERT-base's size; then fitted coded plans beside that SVD, by the size of the batch; then the whole
MiniLM with and without. The layers take turns, so that the machine's noise meets all alike; times
are medians, and the figures to read are the ratios. With one thread it is the processor's time that
is taken: on a machine that others use, the wall's says little. Writes
assets/results/forward.{md,json}.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
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
from tests.engine.coded_plans import coded_plan

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results"
SHAPES = ((32, 128), (1, 16))
RATE, K = 0.4, 5
CODED_SHAPES = ((32, 128), (8, 128), (1, 128), (1, 16))
CODED = tuple((share, k) for share in (0.024, 0.05) for k in (1, 4))  # of the bytes in float32
BERT_BASE = (30527, 768)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each row of the tables")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    seconds = options.seconds
    torch.set_num_threads(options.threads)
    tables = {"MiniLM 30522 × 384": _fit(), "random 30527 × 768": _random(*BERT_BASE)}
    layers = [row for name, plans in tables.items() for row in _time_layers(name, *plans, seconds)]
    values: dict[str, Any] = {
        "machine": describe_machine(),
        "layers": layers,
        "coded": _time_coded(seconds),
        "models": [_time_model(shape, seconds) for shape in SHAPES],
        "sizes": _measure_sizes(),
    }
    (RESULTS / "forward.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    text = "\n".join([*_layer_lines(layers), *_coded_lines(values["coded"]), *_rest_lines(values)])
    (RESULTS / "forward.md").write_text(text + "\n", encoding="utf-8")
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


def _coded(n: int, d: int) -> Factorization:
    """A coded plan of the sizes that fits of MiniLM's table come to at 2.4 % of its bytes.

    Rows of about 12, 130, 230 and 560 bits: half of the columns have one bit, half two.
    """
    sizes = [round(share * n) for share in (0.13, 0.26, 0.39)]
    dimensions = (8, 87, 153, 373)
    return coded_plan(n, d, dimensions, sizes=[*sizes, n - sum(sizes)], most_bits=2)


def _fit_coded() -> dict[str, Factorization]:
    """Coded plans of MiniLM's table, rows weighted by their use in English."""
    table = engine.load_table("bundled:minilm")
    weights = engine.token_weights(engine.token_counts("bundled:minilm", "en"))
    return {
        f"{share:.1%}, k = {k}": engine.factorize(
            table.matrix,
            method="coded",
            k=k,
            max_bytes=int(share * table.dense_bytes),
            weights=weights,
        )
        for share, k in CODED
    }


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
        "coded": engine.SubspaceEmbedding(_coded(*plan.shape)),
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


def _time_coded(seconds: float) -> list[dict[str, Any]]:
    """Fitted plans on tokens that are all distinct: the most there is to decode."""
    svd = _fit()[1]
    layers = {"SVD pair": _svd_pair(svd)}
    layers |= {name: engine.SubspaceEmbedding(plan) for name, plan in _fit_coded().items()}
    calls = {key: (lambda ids, layer=layer: layer(ids)) for key, layer in layers.items()}
    rows: list[dict[str, Any]] = []
    for shape in CODED_SHAPES:
        batches = [_distinct(svd.shape[0], shape, seed) for seed in range(8)]
        rows.append({"tokens": list(shape), "milliseconds": _race(calls, batches, seconds)})
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
                began = _now()
                call(batch)
                taken[name].append(1e3 * (_now() - began))
            turn += 1
    return {name: statistics.median(times[2:]) for name, times in taken.items()}


def _now() -> float:
    """Seconds of the processor where one thread does all, else of the wall."""
    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


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
    named["coded"] = _coded(*plan.shape)
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


def _layer_lines(layers: list[dict[str, Any]]) -> list[str]:
    names = list(layers[0]["milliseconds"])
    command = shlex.join(["python", "-m", "tests.benchmarks.bench_forward", *sys.argv[1:]])
    clock = "the processor" if torch.get_num_threads() == 1 else "the wall"
    lines = [
        "# Forward pass of a compressed layer",
        "",
        f"Made by `{command}`: k = 5 subspaces at rate 0.4 beside the SVD of that rate as an "
        "embedding and a linear layer; the coded plan is of the size of a fit at 2.4 % of "
        f"MiniLM's bytes. Median milliseconds of {clock}, the layers by turns; read the ratios. "
        f"{machine_line()}.",
        "",
        f"| table | tokens | drawn | distinct | {' | '.join(names)} | subspaces ÷ SVD pair | "
        "coded ÷ SVD pair |",
        f"| --- | --- | --- | ---: |{' ---: |' * (len(names) + 2)}",
    ]
    for row in layers:
        times = row["milliseconds"]
        ratios = [times[name] / times["SVD pair"] for name in ("subspaces", "coded")]
        cells = [row["table"], " × ".join(map(str, row["tokens"])), row["drawn"]]
        cells += [f"{row['distinct']:,}", *(f"{times[name]:.3f}" for name in names)]
        cells += [f"{ratio:.2f}" for ratio in ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _coded_lines(coded: list[dict[str, Any]]) -> list[str]:
    names = list(coded[0]["milliseconds"])
    ratios = [f"{name} ÷ SVD pair" for name in names[1:]]
    lines = [
        "Coded plans fitted to MiniLM's table, by their share of its bytes in float32, beside the "
        "same SVD pair; tokens all distinct:",
        "",
        f"| tokens | {' | '.join([*names, *ratios])} |",
        f"| --- |{' ---: |' * (len(names) + len(ratios))}",
    ]
    for row in coded:
        times = row["milliseconds"]
        cells = [" × ".join(map(str, row["tokens"])), *(f"{times[name]:.3f}" for name in names)]
        cells += [f"{times[name] / times['SVD pair']:.2f}" for name in names[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _rest_lines(values: dict[str, Any]) -> list[str]:
    lines = [
        "The whole all-MiniLM-L6-v2, tokens by Zipf's law:",
        "",
        "| tokens | dense | subspaces | overhead |",
        "| --- | ---: | ---: | ---: |",
    ]
    for row in values["models"]:
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
    for name, size in values["sizes"].items():
        cells = [name, *(f"{value:,}" for value in size.values())]
        lines.append(f"| {' | '.join(cells)} | {size['in memory'] / size['counted']:.4f} |")
    return lines


if __name__ == "__main__":
    main()
