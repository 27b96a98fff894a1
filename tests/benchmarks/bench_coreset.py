"""How large a coreset must be: its cost against that of all rows, beside a uniform sample.

    python -m tests.benchmarks.bench_coreset

For several sets of subspaces (from good fits, bad fits and no fit at all) the cost on the sample
is divided by the cost on all rows; and subspaces fitted to the sample are measured on all rows
against subspaces fitted to all of them.
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
from engine.clustering.allocation import spread_evenly
from engine.clustering.coreset import coreset, uniform_sample
from engine.clustering.em import EMPlan, run_em
from engine.clustering.seeding import direction_kmeans, norm_quantiles, random_partition
from engine.clustering.subspaces import SubspaceSet
from engine.clustering.weighted_rows import WeightedRows, weighted_sum
from engine.frequencies import table_token_counts, token_weights
from engine.rows import read_rows
from tests.benchmarks.machine import describe_machine, machine_line

SIZES = (1000, 2000, 4000, 8000, 16000)
DRAWS = 3
K, J = 5, 76  # rate 0.8
COMMAND = "python -m tests.benchmarks.bench_coreset"


def cost_of(rows: WeightedRows, subspaces: SubspaceSet) -> float:
    """Σ w·dist² of the rows."""
    points = read_rows(rows.points, slice(None))
    _, residuals = subspaces.assign(points, rows.squared_norms)
    return weighted_sum(residuals, rows.weights)


def trial_subspaces(rows: WeightedRows, plan: EMPlan, seed: int) -> list[SubspaceSet]:
    """Sets of subspaces from one step to settled, from three seedings."""
    points = read_rows(rows.points, slice(None))
    found: list[SubspaceSet] = []
    for seeding in (direction_kmeans, norm_quantiles, random_partition):
        labels = seeding(points, plan.k, seed)
        for steps in (1, 15):
            fit = run_em(rows, labels, plan, max_iterations=steps, tolerance=0.0)
            found.append(fit.subspaces)
    return found


def measure(rows: WeightedRows, name: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """Every size of both samples."""
    plan = EMPlan(allocation=spread_evenly(K, J))
    trials = trial_subspaces(rows, plan, options.seed)
    whole = [cost_of(rows, subspaces) for subspaces in trials]
    cells: list[dict[str, object]] = []
    for size in SIZES:
        for kind in ("coreset", "uniform"):
            ratios: list[float] = []
            fitted: list[float] = []
            seconds: list[float] = []
            for draw in range(DRAWS):
                began = time.perf_counter()
                seed = options.seed + 10 * draw
                sample = (
                    coreset(rows, size, plan, seed)
                    if kind == "coreset"
                    else uniform_sample(rows, size, seed)
                )
                seconds.append(time.perf_counter() - began)
                ratios += [
                    cost_of(sample, subspaces) / cost
                    for subspaces, cost in zip(trials, whole, strict=True)
                ]
                labels = direction_kmeans(read_rows(sample.points, slice(None)), K, seed)
                fit = run_em(sample, labels, plan, max_iterations=15, tolerance=0.0)
                fitted.append(cost_of(rows, fit.subspaces) / min(whole))
            off = torch.tensor(ratios).sub(1).abs()
            cells.append(
                {
                    "rows": name,
                    "size": size,
                    "sample": kind,
                    "mean_deviation": float(off.mean()),
                    "largest_deviation": float(off.max()),
                    "fitted_cost": sum(fitted) / len(fitted),
                    "wall_seconds": sum(seconds) / len(seconds),
                }
            )
            print(cells[-1], flush=True)
    return cells


def markdown(cells: list[dict[str, object]], shape: tuple[int, int], command: str) -> str:
    """The figures as a page to be read."""
    lines = [
        "# Size of a coreset against its cost",
        "",
        f"Made by `{command}`: {shape[0]:,} × {shape[1]} rows of all-MiniLM-L6-v2, k = {K}, "
        f"j = {J}; {DRAWS} draws of each size, six sets of subspaces (three seedings, after one "
        f"step and after fifteen). {machine_line()}.",
        "",
        "Deviation: how far Σ w·dist² of the sample is from that of all rows, as a share of it. "
        "Fitted to it: cost on all rows of subspaces fitted to the sample alone (15 steps from "
        "k-means of directions), over the best cost of those fitted to all rows.",
        "",
        "| rows | size | sample | mean deviation | largest | fitted to it | s |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {c['rows']} | {c['size']:,} | {c['sample']} | {c['mean_deviation']:.2%} | "
        f"{c['largest_deviation']:.2%} | {c['fitted_cost']:.3f} | {c['wall_seconds']:.2f} |"
        for c in cells
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, then write ``coreset.json`` and ``coreset.md``."""
    parser = argparse.ArgumentParser(description="Size of a coreset against its cost.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = engine.load_table("bundled:minilm")
    assert isinstance(table.matrix, Tensor)
    weights = token_weights(table_token_counts(table, "en"), power=1.0)
    cells = measure(WeightedRows.of(table.matrix), "all alike", options)
    weighted = WeightedRows.of(table.matrix, weights / weights.max())
    cells += measure(weighted, "weighted by use", options)
    command = shlex.join([*COMMAND.split(), *sys.argv[1:]])
    options.output.mkdir(parents=True, exist_ok=True)
    summary = {"command": command, "seed": options.seed, **describe_machine(), "cells": cells}
    target = options.output / "coreset.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(cells, (table.matrix.shape[0], table.matrix.shape[1]), command)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
