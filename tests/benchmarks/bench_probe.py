"""Linear probes on all GLUE tasks: the frozen model with its embedding made smaller.

    python -m tests.benchmarks.bench_probe

A cell is one task at one rate and one seed of the fit; the rows of the tasks stay the same. What is
measured already is not measured again: kill it when you like, and give the same command to go on.
``--report`` writes the page of what there is.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import torch

from engine.evaluation import features
from engine.evaluation.checks import CHECKS
from engine.evaluation.measuring import run_check
from engine.evaluation.scores import Interval
from engine.evaluation.subject import CheckOptions, Subject
from engine.evaluation.tasks import GLUE_TASKS, glue_task
from engine.evaluation.variants import Variant, fit_variants, of_factorization
from engine.folders import write_file
from engine.plans import CompressionConfig, fit_plan
from engine.sources import load_table
from engine.table import EmbeddingTable
from tests.benchmarks.machine import describe_machine, machine_line

COMMAND = "python -m tests.benchmarks.bench_probe"
RATES = (0.4, 0.8, 0.2, 0.6)  # in the order of their worth, if the run is cut off
SEEDS = (0, 1, 2)
PLAIN, OURS = "k = 5", "k = 5, best dimensions, weighted"
NAMES = ("SVD", "weighted SVD", PLAIN, OURS)
_KEPT = 1_000  # vectors of texts: the original's and the SVDs' serve every seed


@dataclass(frozen=True, slots=True, order=True)
class CellKey:
    """Which cell."""

    task: str
    rate: float
    seed: int


def keys(tasks: Iterable[str]) -> Iterator[CellKey]:
    """All cells, seed by seed."""
    for seed in SEEDS:
        for rate in RATES:
            for task in tasks:
                yield CellKey(task, rate, seed)


def fit(table: EmbeddingTable, rate: float, seed: int) -> tuple[Variant, ...]:
    """What a cell compares: the original, our plan, both SVDs, and plain subspaces."""
    config = CompressionConfig(rate=rate, k=5, seed=seed, allocation="optimal", weights="en")
    first, ours, *rivals = fit_variants(table, config)
    plain = CompressionConfig(rate=rate, k=5, seed=seed)
    fitted = of_factorization(table, fit_plan(table, plain, None), name=PLAIN, role="compressed")
    return (first, replace(ours, name=OURS), *rivals, fitted)


class Cells:
    """The measured cells, in one file that is written anew after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
        self.found = {
            CellKey(cell["task"], cell["rate"], cell["seed"]): cell["result"] for cell in stored
        }

    def add(self, key: CellKey, result: dict) -> None:
        """Keep one."""
        self.found[key] = result
        cells = [{**asdict(key), "result": self.found[key]} for key in sorted(self.found)]
        summary = {"command": COMMAND, **describe_machine(), "cells": cells}
        text = json.dumps(summary, indent=1) + "\n"
        write_file(self.path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def measure(cells: Cells, model: str, data: Path | None, tasks: list[str]) -> None:
    """Measure what is missing."""
    features.KEPT_FEATURES = _KEPT
    table = load_table(model)
    subjects: dict[str, Subject] = {}
    fitted: tuple[tuple[float, int], tuple[Variant, ...]] | None = None
    for key in keys(tasks):
        if key in cells.found:
            continue
        if fitted is None or fitted[0] != (key.rate, key.seed):
            fitted = (key.rate, key.seed), fit(table, key.rate, key.seed)
        if key.task not in subjects:
            options = CheckOptions(data=None if data is None else str(data), probe_task=key.task)
            subjects[key.task] = Subject(table, options)
        result = run_check(CHECKS["probe"], subjects[key.task], fitted[1])
        cells.add(key, result.as_dict())
        scores = {score.variant: round(score.value.value, 2) for score in result.scores}
        print(key, scores, flush=True)


def _score(result: dict, variant: str) -> dict:
    return next(score for score in result["scores"] if score["variant"] == variant)


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.2f}" if values else "–"


def drops_table(found: dict[CellKey, dict]) -> list[str]:
    """Mean drop over the tasks, where all tasks of a rate are measured at that seed."""
    lines = ["| rate | seed | tasks | " + " | ".join(NAMES) + " |"]
    lines.append("| ---: | ---: | ---: |" + " ---: |" * len(NAMES))
    for rate in sorted(RATES):
        for seed in SEEDS:
            results = [
                result for key, result in found.items() if (key.rate, key.seed) == (rate, seed)
            ]
            if not results:
                continue
            means = [
                _mean([_score(result, name)["drop"]["value"] for result in results])
                for name in NAMES
            ]
            lines.append(f"| {rate:g} | {seed} | {len(results)} | {' | '.join(means)} |")
    return lines


def cells_table(found: dict[CellKey, dict]) -> list[str]:
    """Every cell: the original's score, and each plan's with the interval of its drop."""
    lines = ["| task | rate | seed | n | original | " + " | ".join(NAMES) + " |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |" + " ---: |" * len(NAMES))
    for key, result in sorted(found.items()):
        shown: list[str] = []
        for name in NAMES:
            score = _score(result, name)
            drop = Interval(**score["drop"])
            shown.append(f"{score['value']['value']:.1f} ({drop.low:.1f} … {drop.high:.1f})")
        first = _score(result, "original")["value"]["value"]
        title = glue_task(key.task).title
        lines.append(
            f"| {title} | {key.rate:g} | {key.seed} | {result['n']:,} | {first:.1f} | "
            f"{' | '.join(shown)} |"
        )
    return lines


def page(found: dict[CellKey, dict], command: str) -> str:
    """All as a page to be read."""
    notes = sorted({note for result in found.values() for note in result["notes"]})
    return (
        "\n".join(
            [
                "# Linear probes on GLUE, the model frozen",
                "",
                f"Made by `{command}`: all-MiniLM-L6-v2 with its embedding replaced, logistic "
                "regression (ridge for STS-B) on its mean-pooled states, learnt from up to 2,000 "
                "rows of train and scored on up to 1,500 of dev; points of 100. Weighted plans "
                "weigh tokens by wordfreq's English. Nothing was chosen on these rows. One thread; "
                f"{machine_line()}.",
                "",
                "Mean drop over the tasks that are measured at that rate and seed (of the fit; the "
                "SVDs have none):",
                "",
                *drops_table(found),
                "",
                "Every cell: the score, and in brackets the 95 % interval of its drop (paired "
                "bootstrap over the dev rows; below zero is a gain):",
                "",
                *cells_table(found),
                "",
                *(f"- {note}" for note in notes),
            ]
        )
        + "\n"
    )


def main() -> None:
    """Measure, then write ``probe.json`` and ``probe.md``."""
    names = list(GLUE_TASKS)
    parser = argparse.ArgumentParser(description="Linear probes on GLUE.")
    parser.add_argument("--model", default="bundled:minilm")
    parser.add_argument("--data", type=Path, help="the GLUE folder")
    parser.add_argument("--tasks", default=",".join(names))
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "probe.json"
    cells = Cells(target)
    if not options.report:
        measure(cells, options.model, options.data, options.tasks.split(","))
    given = [argument for argument in sys.argv[1:] if argument != "--report"]
    text = page(cells.found, shlex.join([*COMMAND.split(), *given]))
    target.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
