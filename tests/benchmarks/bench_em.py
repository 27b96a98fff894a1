"""Times EM on the bundled embedding against a textbook implementation.

    python -m tests.benchmarks.bench_em

Both get the same rows, the same random first partitions, the same number of steps and the same
threads; start by start they take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import engine
from engine.clustering.em import WeightedRows, em_steps
from engine.clustering.seeding import random_partition
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import principal_subspaces
from engine.provenance import installed_versions
from tests.benchmarks.em_textbook import textbook_steps
from tests.benchmarks.machine import cpu_model

K, J = 5, 216  # j of rate 0.4
PEAK_SIZE, PEAK_REPEATS = 4096, 5
BREAKDOWN_REPEATS = 7
# Two orders of summation in float32 send a few border rows to the other of two equally close
# subspaces; over twenty steps that moves a start's cost by some 1e-6 of itself, either way.
COST_TOLERANCE = 1e-5
COMMAND = "python -m tests.benchmarks.bench_em"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedStart:
    """One start of one implementation: seconds and cost of every step."""

    step_seconds: list[float]
    costs: list[float]

    @property
    def wall_seconds(self) -> float:
        """Of the whole start."""
        return sum(self.step_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Everything that was timed in one run."""

    ours: list[TimedStart]
    textbook: list[TimedStart]
    breakdown_seconds: dict[str, float]
    peak_flops: float


def time_steps(steps: Iterator[float], count: int) -> TimedStart:
    """Seconds and cost of each of the first steps."""
    seconds, costs = list[float](), list[float]()
    began = time.perf_counter()
    for cost in islice(steps, count):
        now = time.perf_counter()
        seconds.append(now - began)
        costs.append(cost)
        began = now
    return TimedStart(step_seconds=seconds, costs=costs)


def our_costs(points: Tensor, labels: Tensor) -> Iterator[float]:
    """The engine's steps; measuring the rows counts towards the first."""
    yield from (step.cost for step in em_steps(WeightedRows.of(points), labels, (J,) * K))


def textbook_costs(points: Tensor, labels: Tensor) -> Iterator[float]:
    """The textbook's steps."""
    yield from (cost for _, cost in textbook_steps(points.numpy(), labels.numpy(), K, J))


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_peak() -> float:
    """Best float32 matrix-multiply rate of this machine now, flops a second."""
    one, other = (torch.randn(PEAK_SIZE, PEAK_SIZE) for _ in range(2))
    product = torch.empty(PEAK_SIZE, PEAK_SIZE)
    best = min(seconds_of(lambda: torch.mm(one, other, out=product)) for _ in range(PEAK_REPEATS))
    return 2 * PEAK_SIZE**3 / best


def measure_breakdown(points: Tensor, labels: Tensor) -> dict[str, float]:
    """Median seconds of the parts of a full step."""
    statistics = ScatterStatistics(K, points.shape[1])
    statistics.update(points, labels)
    subspaces = principal_subspaces(statistics.scatter, (J,) * K, points.dtype)
    norms = WeightedRows.of(points).squared_norms
    parts: dict[str, Callable[[], object]] = {
        "scatter": lambda: ScatterStatistics(K, points.shape[1]).update(points, labels),
        "eigen-solve": lambda: principal_subspaces(statistics.scatter, (J,) * K, points.dtype),
        "assign": lambda: subspaces.assign(points, norms),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(BREAKDOWN_REPEATS):
        for name, work in parts.items():
            times[name].append(seconds_of(work))
    return {name: median(seconds) for name, seconds in times.items()}


def measure(points: Tensor, options: argparse.Namespace) -> Measurements:
    """Time both implementations, taking turns."""
    peaks = [measure_peak()]
    partitions = [random_partition(points, K, options.seed + s) for s in range(options.starts)]
    time_steps(our_costs(points, partitions[0]), 1)  # pages in, thread pools started
    ours, textbook = list[TimedStart](), list[TimedStart]()
    for index, labels in enumerate(partitions):
        ours.append(time_steps(our_costs(points, labels), options.steps))
        print(f"start {index}: ours {ours[-1].wall_seconds:.2f} s", flush=True)
        if index < options.textbook_starts:
            textbook.append(time_steps(textbook_costs(points, labels), options.steps))
            print(f"start {index}: textbook {textbook[-1].wall_seconds:.2f} s", flush=True)
    breakdown = measure_breakdown(points, partitions[0])
    peaks.append(measure_peak())
    return Measurements(
        ours=ours, textbook=textbook, breakdown_seconds=breakdown, peak_flops=max(peaks)
    )


def summarise(points: Tensor, measured: Measurements, options: argparse.Namespace) -> dict:
    """All figures of a run as plain values, what they were measured on included."""
    n, d = points.shape
    step_flops = 2 * n * d**2 + 2 * n * d * K * min(J, d - J)
    full_step = median(start.step_seconds[0] for start in measured.ours)
    steps = {
        name: median(s for start in starts for s in start.step_seconds)
        for name, starts in (("ours", measured.ours), ("textbook", measured.textbook))
    }
    pairs = list(zip(measured.ours, measured.textbook, strict=False))
    excess = [ours.costs[-1] / textbook.costs[-1] - 1 for ours, textbook in pairs]
    fits = [sum(s.wall_seconds for s in side) for side in zip(*pairs, strict=True)]
    return {
        "command": shlex.join([*COMMAND.split(), *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "logical_cpus": os.cpu_count(),
        "threads": options.threads,
        "versions": installed_versions() | {"scipy": metadata.version("scipy")},
        "sizes": {"rows": n, "columns": d, "k": K, "j": J, "dtype": str(points.dtype)},
        "seed": options.seed,
        "starts": options.starts,
        "textbook_starts": len(measured.textbook),
        "steps": options.steps,
        "step_seconds": steps,
        "step_speedup": steps["textbook"] / steps["ours"],
        "full_step_seconds": full_step,
        "full_step_speedup": steps["textbook"] / full_step,
        "fit_seconds": {"starts": len(pairs), "ours": fits[0], "textbook": fits[1]},
        "fit_speedup": fits[1] / fits[0],
        "breakdown_seconds": measured.breakdown_seconds,
        "step_flops": step_flops,
        "peak_gflops": measured.peak_flops / 1e9,
        "share_of_peak": step_flops / full_step / measured.peak_flops,
        "final_costs": {
            "ours": [start.costs[-1] for start in measured.ours],
            "textbook": [start.costs[-1] for start in measured.textbook],
        },
        "cost_tolerance": COST_TOLERANCE,
        "largest_cost_excess": max(excess),
        "no_start_costs_more": max(excess) <= COST_TOLERANCE,
        "best_costs": {
            "ours": min(ours.costs[-1] for ours, _ in pairs),
            "textbook": min(textbook.costs[-1] for _, textbook in pairs),
        },
        "all_steps": {
            "ours": [asdict(start) for start in measured.ours],
            "textbook": [asdict(start) for start in measured.textbook],
        },
    }


def markdown(summary: dict) -> str:
    """The figures as a page to be read."""
    sizes, step, fit = summary["sizes"], summary["step_seconds"], summary["fit_seconds"]
    parts = summary["breakdown_seconds"]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    costs = summary["final_costs"]
    lines = [
        "# EM against the textbook",
        "",
        f"Made by `{summary['command']}` on {summary['date']}: {sizes['rows']:,} × "
        f"{sizes['columns']} rows of all-MiniLM-L6-v2, {sizes['dtype'].removeprefix('torch.')}, "
        f"k = {sizes['k']}, j = {sizes['j']}, {summary['steps']} steps a start, seeds from "
        f"{summary['seed']}, {summary['threads']} threads, both in one run and in turns, from the "
        "same random partitions.",
        "",
        f"{summary['cpu']}, {summary['logical_cpus']} logical CPUs; {versions}.",
        "",
        "Textbook: `scipy.linalg.null_space` of each basis for the distances, "
        "`np.linalg.svd(part, full_matrices=False)` for each part "
        "(`tests/benchmarks/em_textbook.py`).",
        "",
        "| | engine | textbook | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| one step, median (s) | {step['ours']:.3f} | {step['textbook']:.3f} | "
        f"{summary['step_speedup']:.1f} × |",
        f"| first step of a start, nothing carried over, median (s) | "
        f"{summary['full_step_seconds']:.3f} | {step['textbook']:.3f} | "
        f"{summary['full_step_speedup']:.1f} × |",
        f"| {fit['starts']} starts of {summary['steps']} steps (s) | {fit['ours']:.1f} | "
        f"{fit['textbook']:.1f} | {summary['fit_speedup']:.1f} × |",
        f"| cost of the best start | {summary['best_costs']['ours']:.6f} | "
        f"{summary['best_costs']['textbook']:.6f} | |",
        "",
        f"A full step is 2nd² + 2nd·Σ min(j, d−j) = {summary['step_flops'] / 1e9:.1f} GFLOP; in "
        f"{summary['full_step_seconds']:.3f} s that is **{summary['share_of_peak']:.0%}** of the "
        f"{summary['peak_gflops']:.0f} GFLOP/s that a float32 {PEAK_SIZE}³ matrix product reaches "
        "in the same run. Its parts, each timed alone: "
        + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in parts.items())
        + ". Later steps are cheaper: only rows that moved are counted again.",
        "",
        f"Largest excess of the engine's final cost over the textbook's: "
        f"{summary['largest_cost_excess']:+.1e} of it, "
        + ("within" if summary["no_start_costs_more"] else "**beyond**")
        + f" the {summary['cost_tolerance']:.0e} allowed for two orders of summation in float32.",
        "",
        "| start | engine | textbook |",
        "| ---: | ---: | ---: |",
        *(
            f"| {index} | {ours:.6f} | {textbook:.6f} |"
            for index, (ours, textbook) in enumerate(
                zip(costs["ours"], costs["textbook"], strict=False)
            )
        ),
    ]
    return "\n".join(lines) + "\n"


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times EM against a textbook implementation.")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--textbook-starts", type=int, default=10, help="the first so many")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    if not 1 <= options.textbook_starts <= options.starts or options.steps < 1:
        parser.error("need 1 <= textbook starts <= starts and at least one step")
    return options


def main() -> None:
    """Measure, then write ``em-benchmark.json`` and ``em-benchmark.md``."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    points = engine.load_table("bundled:minilm").matrix
    with threadpool_limits(options.threads):
        summary = summarise(points, measure(points, options), options)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "em-benchmark.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(summary)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
