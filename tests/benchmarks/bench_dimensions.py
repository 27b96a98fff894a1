"""Error at equal parameters: one subspace, k of one dimension, k with the dimensions that pay.

    python -m tests.benchmarks.bench_dimensions

Every k is fitted at every rate by `engine.factorize` as it stands; the table shows the k of least
error, and what ``k="auto"`` would have taken.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

import engine
from tests.benchmarks.machine import describe_machine, machine_line

RATES = (0.2, 0.4, 0.6, 0.8)
KS = (3, 4, 5, 6, 8, 10)
COMMAND = "python -m tests.benchmarks.bench_dimensions"


def fit(matrix: Tensor, options: argparse.Namespace, **plan: object) -> dict[str, object]:
    """One plan and its figures."""
    began = time.perf_counter()
    found = engine.factorize(matrix, seed=options.seed, n_init=options.starts, **plan)  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    figures: dict[str, object] = {
        **plan,
        "k": found.k,
        "relative_error": found.relative_error(matrix),
        "parameters": found.parameters,
        "dimensions": list(found.dimensions),
        "rows": list(found.sizes),
        "wall_seconds": seconds,
    }
    print({name: figures[name] for name in (*plan, "k", "relative_error", "wall_seconds")})
    return figures


def measure(matrix: Tensor, options: argparse.Namespace) -> list[dict[str, object]]:
    """Every plan at every rate."""
    cells: list[dict[str, object]] = []
    for rate in RATES:
        cells.append(fit(matrix, options, method="svd", rate=rate))
        for allocation in ("uniform", "optimal"):
            for k in KS:
                cells.append(fit(matrix, options, k=k, rate=rate, allocation=allocation))
        chosen = fit(matrix, options, k=list(KS), rate=rate, allocation="optimal")
        cells.append({**chosen, "auto": True})
    return cells


def markdown(cells: list[dict[str, object]], shape: tuple[int, int], command: str) -> str:
    """The figures as a page to be read."""

    def least(rate: float, allocation: str) -> dict[str, object]:
        found = [c for c in cells if c["rate"] == rate and c.get("allocation") == allocation]
        return min(found, key=lambda cell: float(str(cell["relative_error"])))

    lines = [
        "# Error at equal parameters",
        "",
        f"Made by `{command}`: {shape[0]:,} × {shape[1]} rows of all-MiniLM-L6-v2; relative error "
        f"‖A − Â‖² / ‖A‖². {machine_line()}.",
        "",
        f"k is the one of least error among {', '.join(map(str, KS))}; no plan stores more numbers "
        "than the rate allows.",
        "",
        "| rate | SVD | k of one dimension | k, dimensions that pay | its dimensions (rows) | "
        'k="auto" | s |',
        "| ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for rate in RATES:
        svd = next(c for c in cells if c["rate"] == rate and c.get("method") == "svd")
        uniform, optimal = least(rate, "uniform"), least(rate, "optimal")
        auto = next(c for c in cells if c["rate"] == rate and c.get("auto"))
        pairs = zip(optimal["dimensions"], optimal["rows"], strict=True)  # type: ignore[call-overload]
        places = ", ".join(f"{j} ({n:,})" for j, n in sorted(pairs))
        lines.append(
            f"| {rate} | {svd['relative_error']:.4f} | {uniform['relative_error']:.4f} "
            f"(k = {uniform['k']}) | **{optimal['relative_error']:.4f}** (k = {optimal['k']}) | "
            f"{places} | {auto['relative_error']:.4f} (k = {auto['k']}) | "
            f"{optimal['wall_seconds']:.1f} |"
        )
    lines += [
        "",
        "| rate | k | one dimension | dimensions that pay |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for rate in RATES:
        for k in KS:
            row = {
                str(c["allocation"]): c["relative_error"]
                for c in cells
                if c["rate"] == rate and c["k"] == k and "allocation" in c and "auto" not in c
            }
            lines.append(f"| {rate} | {k} | {row['uniform']:.4f} | {row['optimal']:.4f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, then write ``dimensions.json`` and ``dimensions.md``."""
    parser = argparse.ArgumentParser(description="Error at equal parameters.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    matrix = engine.load_table("bundled:minilm").matrix
    assert isinstance(matrix, Tensor)
    cells = measure(matrix, options)
    command = shlex.join([*COMMAND.split(), *sys.argv[1:]])
    options.output.mkdir(parents=True, exist_ok=True)
    summary = {"command": command, "seed": options.seed, **describe_machine(), "cells": cells}
    target = options.output / "dimensions.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(cells, (matrix.shape[0], matrix.shape[1]), command)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
