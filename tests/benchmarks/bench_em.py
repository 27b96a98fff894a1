"""Times a whole fit and its steps against a textbook EM.

    python -m tests.benchmarks.bench_em
    python -m tests.benchmarks.bench_em --table mpnet --cache FOLDER --textbook-starts 1

The textbook gets ten random starts of twenty steps (fewer are timed and multiplied where asked
for, and the page says so). The engine gets its own whole fit: ten starts, raced on a sample, the
best polished on all rows. Beside it, single steps of both from the same partitions, in turns, so
that whatever else the machine does hits both.
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
from engine import Factorization
from engine.clustering.allocation import spread_evenly
from engine.clustering.coreset import coreset
from engine.clustering.em import EMPlan, em_steps, run_em
from engine.clustering.seeding import direction_kmeans, random_partition
from engine.clustering.statistics import ScatterStatistics
from engine.clustering.subspaces import principal_subspaces
from engine.clustering.weighted_rows import WeightedRows
from engine.provenance import cpu_model, installed_versions
from tests.benchmarks.em_textbook import textbook_steps
from tests.benchmarks.mpnet import fetch_mpnet

K, RATE = 5, 0.4  # the paper's own
STARTS, STEPS = 10, 20
DIMENSIONS = {"minilm": 216, "mpnet": 409}  # j of rate 0.4
PEAK_SIZE, PEAK_REPEATS = 4096, 5
BREAKDOWN_REPEATS = 7
POLISHING_STEPS = 8
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
class Polishing:
    """A step on all rows once the start has nearly settled."""

    seconds: float
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Everything that was timed in one run."""

    fit: Factorization
    fit_seconds: list[float]
    ours: list[TimedStart]
    textbook: list[TimedStart]
    polishing: list[Polishing]
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


def our_costs(points: Tensor, labels: Tensor, j: int) -> Iterator[float]:
    """The engine's steps; measuring the rows counts towards the first."""
    steps = em_steps(WeightedRows.of(points), labels, EMPlan.even(K, j))
    yield from (step.cost for step in steps)


def textbook_costs(points: Tensor, labels: Tensor, j: int) -> Iterator[float]:
    """The textbook's steps."""
    yield from (cost for _, cost in textbook_steps(points.numpy(), labels.numpy(), K, j))


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


def measure_breakdown(points: Tensor, labels: Tensor, j: int) -> dict[str, float]:
    """Median seconds of the parts of a full step."""
    statistics = ScatterStatistics(K, points.shape[1])
    statistics.update(points, labels)
    even = spread_evenly(K, j)
    subspaces = principal_subspaces(statistics, even, points.dtype)
    norms = WeightedRows.of(points).squared_norms
    parts: dict[str, Callable[[], object]] = {
        "scatter": lambda: ScatterStatistics(K, points.shape[1]).update(points, labels),
        "eigen-solve": lambda: principal_subspaces(statistics, even, points.dtype),
        "assign": lambda: subspaces.assign(points, norms),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(BREAKDOWN_REPEATS):
        for name, work in parts.items():
            times[name].append(seconds_of(work))
    return {name: median(seconds) for name, seconds in times.items()}


def measure_polishing(points: Tensor, j: int, seed: int) -> list[Polishing]:
    """Steps on all rows from subspaces found on a sample, with the flops that each did.

    Only rows that moved are summed again, so only those are counted.
    """
    n, d = points.shape
    rows, plan = WeightedRows.of(points), EMPlan.even(K, j)
    sample = coreset(rows, n // 2, plan, seed)
    assert isinstance(sample.points, Tensor)
    labels = direction_kmeans(sample.points, K, seed)
    raced = run_em(sample, labels, plan, max_iterations=10, tolerance=0.0)
    steps = em_steps(rows, raced.subspaces, plan)
    before = next(steps)
    found: list[Polishing] = []
    for _ in range(POLISHING_STEPS):
        began = time.perf_counter()
        step = next(steps)
        seconds = time.perf_counter() - began
        moved = int((step.labels != before.labels).sum())
        flops = 2 * n * d * K * min(j, d - j) + 4 * moved * d**2
        found.append(Polishing(seconds=seconds, flops=flops))
        before = step
    return found


def measure(points: Tensor, options: argparse.Namespace) -> Measurements:
    """Time both implementations, taking turns."""
    j = DIMENSIONS[options.table]
    peaks = [measure_peak()]
    partitions = [random_partition(points, K, options.seed + s) for s in range(STARTS)]
    time_steps(our_costs(points, partitions[0], j), 1)  # pages in, thread pools started
    ours, textbook, fits = list[TimedStart](), list[TimedStart](), list[float]()
    best: Factorization | None = None
    for index, labels in enumerate(partitions[: options.textbook_starts]):
        if index < options.fits:
            began = time.perf_counter()
            best = engine.factorize(points, k=K, j=j, n_init=STARTS, seed=options.seed)
            fits.append(time.perf_counter() - began)
            print(f"whole fit: {fits[-1]:.2f} s, cost {best.cost_history[-1]:.6f}", flush=True)
        ours.append(time_steps(our_costs(points, labels, j), options.steps))
        print(f"start {index}: ours {ours[-1].wall_seconds:.2f} s", flush=True)
        textbook.append(time_steps(textbook_costs(points, labels, j), options.steps))
        print(f"start {index}: textbook {textbook[-1].wall_seconds:.2f} s", flush=True)
        peaks.append(measure_peak())
    assert best is not None
    return Measurements(
        fit=best,
        fit_seconds=fits,
        ours=ours,
        textbook=textbook,
        polishing=measure_polishing(points, j, options.seed),
        breakdown_seconds=measure_breakdown(points, partitions[0], j),
        peak_flops=max([*peaks, measure_peak()]),
    )


def summarise(points: Tensor, measured: Measurements, options: argparse.Namespace) -> dict:
    """All figures of a run as plain values, what they were measured on included."""
    (n, d), j = points.shape, DIMENSIONS[options.table]
    full_flops = 2 * n * d**2 + 2 * n * d * K * min(j, d - j)
    full_step = median(start.step_seconds[0] for start in measured.ours)
    steps = {
        name: median(s for start in starts for s in start.step_seconds)
        for name, starts in (("ours", measured.ours), ("textbook", measured.textbook))
    }
    timed = [start.wall_seconds for start in measured.textbook]
    textbook_fit = sum(timed) * STARTS / len(timed) * STEPS / options.steps
    shares = [part.flops / part.seconds / measured.peak_flops for part in measured.polishing]
    return {
        "command": shlex.join([*COMMAND.split(), *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "logical_cpus": os.cpu_count(),
        "threads": options.threads,
        "versions": installed_versions() | {"scipy": metadata.version("scipy")},
        "sizes": {"rows": n, "columns": d, "k": K, "j": j, "dtype": str(points.dtype)},
        "table": options.table,
        "seed": options.seed,
        "steps": options.steps,
        "whole_fit": {
            "ours_seconds": measured.fit_seconds,
            "ours_cost": measured.fit.cost_history[-1],
            "textbook_starts_timed": len(timed),
            "textbook_seconds": textbook_fit,
            "textbook_best_cost": min(start.costs[-1] for start in measured.textbook),
            "speedup": textbook_fit / median(measured.fit_seconds),
        },
        "starts": [asdict(start) for start in measured.fit.record.starts],
        "step_seconds": steps,
        "step_speedup": steps["textbook"] / steps["ours"],
        "full_step_seconds": full_step,
        "full_step_share_of_peak": full_flops / full_step / measured.peak_flops,
        "polishing_seconds": [part.seconds for part in measured.polishing],
        "polishing_share_of_peak": median(shares),
        "breakdown_seconds": measured.breakdown_seconds,
        "peak_gflops": measured.peak_flops / 1e9,
        "same_start_costs": {
            "ours": [start.costs[-1] for start in measured.ours],
            "textbook": [start.costs[-1] for start in measured.textbook],
        },
        "largest_cost_excess": max(
            ours.costs[-1] / textbook.costs[-1] - 1
            for ours, textbook in zip(measured.ours, measured.textbook, strict=True)
        ),
    }


def markdown(summary: dict) -> str:
    """The figures as a page to be read."""
    sizes, step, fit = summary["sizes"], summary["step_seconds"], summary["whole_fit"]
    parts = summary["breakdown_seconds"]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    costs = summary["same_start_costs"]
    model = {"minilm": "all-MiniLM-L6-v2", "mpnet": "all-mpnet-base-v2"}[summary["table"]]
    scaled = ""
    if fit["textbook_starts_timed"] < STARTS or summary["steps"] < STEPS:
        scaled = (
            f", {fit['textbook_starts_timed']} of {summary['steps']} steps timed and multiplied"
        )
    lines = [
        "# EM against the textbook",
        "",
        f"Made by `{summary['command']}` on {summary['date']}: {sizes['rows']:,} × "
        f"{sizes['columns']} rows of {model}, {sizes['dtype'].removeprefix('torch.')}, "
        f"k = {sizes['k']}, j = {sizes['j']} (rate {RATE}), seed {summary['seed']}, "
        f"{summary['threads']} threads, both in one run and in turns.",
        "",
        f"{summary['cpu']}, {summary['logical_cpus']} logical CPUs; {versions}.",
        "",
        "Textbook: `scipy.linalg.null_space` of each basis for the distances, "
        "`np.linalg.svd(part, full_matrices=False)` for each part "
        "(`tests/benchmarks/em_textbook.py`).",
        "",
        "| | engine | textbook | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| whole fit (s): ten starts raced and polished; ten random starts of twenty "
        f"steps{scaled} | {median(fit['ours_seconds']):.1f} | {fit['textbook_seconds']:.0f} | "
        f"{fit['speedup']:.0f} × |",
        f"| cost at its end, least of those run | {fit['ours_cost']:.5f} | "
        f"{fit['textbook_best_cost']:.5f} | |",
        f"| one step from a random partition, median (s) | {step['ours']:.3f} | "
        f"{step['textbook']:.3f} | {summary['step_speedup']:.1f} × |",
        "",
        f"The engine's whole fit took {', '.join(f'{s:.1f}' for s in fit['ours_seconds'])} s.",
        "",
        "**A polishing step** (all rows, from subspaces raced on a sample; only moved rows are "
        f"summed again) takes {median(summary['polishing_seconds']):.3f} s: with "
        "2nd·Σ min(j, d−j) and 4d² a moved row that is "
        f"**{summary['polishing_share_of_peak']:.0%}** of the "
        f"{summary['peak_gflops']:.0f} GFLOP/s that a float32 {PEAK_SIZE}³ matrix product reaches "
        f"in the same run. A first step, all rows summed, takes "
        f"{summary['full_step_seconds']:.3f} s: {summary['full_step_share_of_peak']:.0%}. Parts "
        "of a step, each timed alone: "
        + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in parts.items())
        + ".",
        "",
        "From the same random partitions, steps alone (cost at the end; the engine's largest "
        f"excess {summary['largest_cost_excess']:+.1e} of the textbook's, float32 sums in another "
        "order):",
        "",
        "| start | engine | textbook |",
        "| ---: | ---: | ---: |",
        *(
            f"| {index} | {ours:.6f} | {textbook:.6f} |"
            for index, (ours, textbook) in enumerate(
                zip(costs["ours"], costs["textbook"], strict=True)
            )
        ),
        "",
        "The engine's starts (costs on the sample are lower than on all rows):",
        "",
        "| seeding | cost | on | steps | s |",
        "| --- | ---: | --- | ---: | ---: |",
        *(
            f"| {start['seeding']} | {start['cost']:.5f} | "
            f"{'the sample' if start['sampled'] else 'all rows'} | "
            f"{len(start['cost_history'])} | {start['wall_seconds']:.2f} |"
            for start in summary["starts"]
        ),
    ]
    return "\n".join(lines) + "\n"


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times EM against a textbook implementation.")
    parser.add_argument("--table", choices=tuple(DIMENSIONS), default="minilm")
    parser.add_argument("--cache", type=Path, help="where mpnet is kept, outside the repository")
    parser.add_argument("--textbook-starts", type=int, default=STARTS, help="the first so many")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--fits", type=int, default=3, help="whole fits of the engine, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    if not 1 <= options.textbook_starts <= STARTS or options.steps < 1 or options.fits < 1:
        parser.error("need 1 to 10 textbook starts, at least one step and one fit")
    if options.table == "mpnet" and options.cache is None:
        parser.error("--table mpnet needs --cache FOLDER")
    return options


def main() -> None:
    """Measure, then write ``em-benchmark.json`` and ``.md``, or ``em-benchmark-mpnet``."""
    options = parse_options()
    torch.set_num_threads(options.threads)
    spec, name = "bundled:minilm", "em-benchmark"
    if options.table == "mpnet":
        spec, name = str(fetch_mpnet(options.cache)), "em-benchmark-mpnet"
    points = engine.load_table(spec).matrix
    assert isinstance(points, Tensor)
    with threadpool_limits(options.threads):
        summary = summarise(points, measure(points, options), options)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / f"{name}.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(summary)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
