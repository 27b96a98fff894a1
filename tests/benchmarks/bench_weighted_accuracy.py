"""Sentence similarity of compressed models, nothing retrained: what token weights are worth.

    python -m tests.benchmarks.bench_weighted_accuracy

Every plan of a small grid (k, power and floor of the weights) is scored on a sample of STS-B
*train*; the setting with the highest mean over the rates is taken for all, and only it and the
baselines go through the *dev* split, once.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

import engine
from engine.frequencies import table_token_counts
from tests.benchmarks.machine import describe_machine, machine_line
from tests.benchmarks.stsb import DEFAULT_DATA, PairScorer, read_stsb
from tests.benchmarks.token_weight_plans import Plan

RATES = (0.6, 0.8, 0.9)
KS = (10, 20, 40)
WEIGHTS = ((0.5, 4.0), (0.5, 16.0), (0.75, 16.0), (0.75, 64.0), (1.0, 16.0), (1.0, 64.0))
COMMAND = "python -m tests.benchmarks.bench_weighted_accuracy"


def baselines(power: float, floor: float, k: int) -> list[Plan]:
    """What the chosen setting is shown beside, at every rate."""
    weights = {"power": power, "floor": floor}
    found: list[Plan] = []
    for rate in RATES:
        found += [
            Plan(method="svd", rate=rate),
            Plan(method="svd", rate=rate, **weights),
            Plan(method="messi", rate=rate, k=5),
            Plan(method="messi", rate=rate, k=k, allocation="optimal"),
            Plan(method="messi", rate=rate, k=k, **weights),
            Plan(method="messi", rate=rate, k=k, allocation="optimal", **weights),
        ]
    return found


def choose(
    matrix: Tensor, counts: Tensor, scorer: PairScorer, seed: int
) -> tuple[Plan, list[dict[str, object]]]:
    """The setting of the grid with the highest mean train score, and all of them."""
    cells: list[dict[str, object]] = []
    settings = [
        Plan(method="messi", rate=0.0, k=k, allocation="optimal", power=power, floor=floor)
        for k in KS
        for power, floor in WEIGHTS
    ]
    for setting in settings:
        scores: list[float] = []
        for rate in RATES:
            plan = replace(setting, rate=rate)
            fitted = plan.fit(matrix, counts, seed)
            scores += scorer.scores(fitted.reconstruct()).values()
        cells.append(
            {
                "k": setting.k,
                "power": setting.power,
                "floor": setting.floor,
                "scores": scores,
                "mean": fmean(scores),
            }
        )
        print(cells[-1], flush=True)
    best = max(range(len(cells)), key=lambda index: float(str(cells[index]["mean"])))
    return settings[best], cells


def markdown(summary: dict, command: str) -> str:
    """The figures as a page to be read."""
    chosen, dev = summary["chosen"], summary["dev"]
    lines = [
        "# Sentence similarity with token weights, nothing retrained",
        "",
        f"Made by `{command}`: all-MiniLM-L6-v2, its embedding replaced by each plan's "
        "reconstruction; Spearman × 100. Weights are (expected count per million + floor) ** "
        f"power, counts from wordfreq's English. {machine_line()}.",
        "",
        f"The setting was chosen on {summary['pairs']:,} pairs of STS-B train (uncompressed "
        f"{summary['train_uncompressed']:.2f}), by its mean over the rates: k = {chosen['k']}, "
        f"power {chosen['power']:g}, floor {chosen['floor']:g}, dimensions that pay. The dev split "
        f"({summary['dev_pairs']:,} pairs, uncompressed {summary['dev_uncompressed']:.2f}) was run "
        "once, with that and the baselines:",
        "",
        "| plan | " + " | ".join(f"rate {rate:g}" for rate in RATES) + " |",
        "| --- |" + " ---: |" * len(RATES),
    ]
    names: dict[str, list[str]] = {}
    for cell in dev:
        names.setdefault(cell["name"], []).append(f"{cell['score']:.2f}")
    lines += [f"| {name} | {' | '.join(scores)} |" for name, scores in names.items()]
    lines += [
        "",
        "The grid on STS-B train, dimensions that pay:",
        "",
        "| k | power | floor | " + " | ".join(f"{rate:g}" for rate in RATES) + " | mean |",
        "| ---: | ---: | ---: |" + " ---: |" * (len(RATES) + 1),
    ]
    lines += [
        f"| {cell['k']} | {cell['power']:g} | {cell['floor']:g} | "
        + " | ".join(f"{score:.2f}" for score in cell["scores"])
        + f" | {cell['mean']:.2f} |"
        for cell in sorted(summary["train"], key=lambda cell: -cell["mean"])
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Choose, measure, then write ``weighted-accuracy.json`` and ``weighted-accuracy.md``."""
    parser = argparse.ArgumentParser(description="Sentence similarity with token weights.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    parser.add_argument("--pairs", type=int, default=2000, help="of STS-B train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = engine.load_table("bundled:minilm")
    matrix = table.matrix
    assert isinstance(matrix, Tensor)
    counts = table_token_counts(table, "en")
    train = PairScorer(read_stsb("train", options.data).sample(options.pairs, options.seed))
    chosen, cells = choose(matrix, counts, train, options.seed)
    assert chosen.power is not None
    pairs = read_stsb("dev", options.data)
    dev = PairScorer(pairs)
    found: list[dict[str, object]] = []
    for plan in baselines(chosen.power, chosen.floor, chosen.k):
        fitted = plan.fit(matrix, counts, options.seed)
        (score,) = dev.scores(fitted.reconstruct()).values()
        name = plan.name.rpartition(", rate")[0]
        found.append({"name": name, "rate": plan.rate, "score": score, "true_rate": fitted.rate})
        print(found[-1], flush=True)
    command = shlex.join([*COMMAND.split(), *sys.argv[1:]])
    summary = {
        "command": command,
        "seed": options.seed,
        **describe_machine(),
        "pairs": options.pairs,
        "dev_pairs": len(pairs.scores),
        "train_uncompressed": next(iter(train.scores(train.original).values())),
        "dev_uncompressed": next(iter(dev.scores(dev.original).values())),
        "chosen": {"k": chosen.k, "power": chosen.power, "floor": chosen.floor},
        "train": cells,
        "dev": found,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "weighted-accuracy.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(summary, command)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
