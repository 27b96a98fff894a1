"""Sentence similarity against stored bytes, nothing retrained: fewer dimensions, bits, or both.

    python -m tests.benchmarks.bench_bytes

Every plan of a small grid is fitted once and measured at 32, 8 and 4 bits, beside plain rounding of
the table; at 32 and 8 bits only at the higher rates, where they are small enough to matter. Which
plan stands for k subspaces within a number of bytes is chosen on a sample of STS-B *train*;
everything then goes through the *dev* split once. The dev scores are what the Compare page draws
(``assets/minilm/accuracy.json``).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import engine
from engine.cell_points import name_group
from engine.coding.codes import CODE_BITS
from engine.coding.rounding import round_to_nearest
from engine.frequencies import table_token_counts, token_weights
from engine.frontier import BytePoint, Family
from engine.grid import PLAIN_BITS
from engine.residuals import Approximation, energy_lost, squared_residuals
from tests.benchmarks.machine import describe_machine, machine_line
from tests.benchmarks.stsb import DEFAULT_DATA, PairScorer, read_stsb
from tests.benchmarks.token_weight_plans import Plan

RATES = {32: (0.6, 0.8, 0.9), 8: (0.6, 0.8, 0.9), 4: (0.1, 0.25, 0.4, 0.6, 0.8, 0.9)}
BASIS_BITS = 8
GROUP = 32
# Chosen on STS-B train by bench_weighted_accuracy.
K, POWER, FLOOR = 10, 0.75, 64.0
BUDGETS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.1264, 0.2, 0.26)  # 0.1264 is int4, a step a row
COMMAND = "python -m tests.benchmarks.bench_bytes"
OURS_AND_RIVAL: tuple[Family, ...] = ("messi", "rounding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One way to store the table, and what it is worth.

    Attributes:
        point: Its place in the chart; the value is the dev score.
        relative_error: ‖A − Â‖² / ‖A‖².
        weighted_error: The same, rows weighted by `POWER` and `FLOOR`.
        train: Score on the sample of STS-B train; None where nothing is chosen by it.
    """

    point: BytePoint
    relative_error: float
    weighted_error: float
    train: float | None


def plans() -> dict[str, Plan]:
    """The lines of the chart, but for their rates."""
    plain = Plan(method="svd", rate=0.0)
    ours = Plan(method="messi", rate=0.0, k=K, power=POWER, floor=FLOOR)
    return {
        "SVD": plain,
        "weighted SVD": replace(plain, power=POWER, floor=FLOOR),
        f"k = {K}, weighted": ours,
        f"k = {K}, weighted, best dimensions": replace(ours, allocation="optimal"),
    }


def ways(
    matrix: Tensor, counts: Tensor, only: float | None, seed: int
) -> Iterator[tuple[BytePoint, Approximation]]:
    """Everything that is measured, one by one, not yet scored.

    Args:
        matrix: Shape (n, d).
        counts: Expected occurrences of each token.
        only: A single rate, or all of them.
        seed: Of the fits.
    """
    blank = BytePoint(
        family="rounding", line="", k=0, bits=0, rate=0.0, stored_bytes=0,
        value=0.0, lowest=0.0, highest=0.0,
    )  # fmt: skip
    columns = matrix.shape[1]
    for bits in sorted(CODE_BITS, reverse=True):
        for group in (columns, GROUP):
            coded = round_to_nearest(matrix, bits=bits, group=group)
            line, size = name_group(group, columns), coded.stored_bytes
            yield replace(blank, line=line, bits=bits, stored_bytes=size), coded
    for line, plan in plans().items():
        blank = replace(blank, family="svd" if plan.k == 1 else "messi", line=line, k=plan.k)
        for rate in RATES[4]:
            if only not in (None, rate):
                continue
            fitted = replace(plan, rate=rate).fit(matrix, counts, seed)
            for bits in (bits for bits, rates in RATES.items() if rate in rates):
                stored = fitted
                if bits != PLAIN_BITS:
                    stored = fitted.quantize(bits=bits, basis_bits=BASIS_BITS)
                size = stored.stored_bytes
                yield replace(blank, bits=bits, rate=rate, stored_bytes=size), stored


def dense_rows(approximation: Approximation) -> Tensor:
    """All its rows, shape (n, d)."""
    return torch.cat([part for _, part in approximation.blocks()])


def chosen(stored: list[Stored], family: Family, budget: float) -> Stored | None:
    """The one of a family with the highest train score of those within so many bytes."""
    scored = [
        (one.train, one)
        for one in stored
        if one.train is not None and one.point.family == family and one.point.stored_bytes <= budget
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def answers(stored: list[Stored], dense: int) -> list[str]:
    """What was asked: is fewer dimensions and fewer bits worth more than fewer bits alone?"""
    lines: list[str] = []
    for name, reach in (("int4, a step a row", 1.0), ("int2, groups of 32", 1.01)):
        rival = next(one.point for one in stored if one.point.name == name)
        # int2 in groups leaves a hair less than the plans beside it: 8 % of the table for both.
        ours = chosen(stored, "messi", reach * rival.stored_bytes)
        if ours is None:
            continue
        point = ours.point
        lines.append(
            f"- Within {reach * rival.stored_bytes / dense:.2%} of the bytes {name} scores "
            f"{rival.value:.2f} and k subspaces {point.value:.2f} "
            f"({point.value - rival.value:+.2f}; {point.stored_bytes / dense:.2%})."
        )
    svds = [one.point for one in stored if one.point.line == "weighted SVD"]
    listed = ", ".join(
        f"{point.value:.2f} at {point.stored_bytes / dense:.2%}"
        for point in sorted(svds, key=lambda point: point.stored_bytes)
        if point.bits == 4
    )
    lines.append(f"- The weighted SVD at 4 bits, which nothing chose, scores {listed}.")
    return lines


def markdown(summary: dict[str, Any], stored: list[Stored], dense: int) -> str:
    """The figures as a page to be read."""
    lines = [
        "# Sentence similarity against stored bytes, nothing retrained",
        "",
        f"Made by `{summary['command']}`: all-MiniLM-L6-v2, its embedding table of {dense:,} bytes "
        f"in float32 replaced by what each plan stores; Spearman × 100. Weights are (expected "
        f"count per million + {FLOOR:g}) ** {POWER:g}, bases at {BASIS_BITS} bits wherever "
        f"coordinates have 8 or 4. {machine_line()}.",
        "",
        f"Within each size, the plan of k = {K} and the way to round were chosen by their score on "
        f"{summary['pairs']:,} pairs of STS-B train (uncompressed "
        f"{summary['train_uncompressed']:.2f}); the dev split ({summary['dev_pairs']:,} pairs, "
        f"uncompressed {summary['dev_uncompressed']:.2f}) was then run once over everything.",
        "",
        "| at most | k subspaces, chosen on train | bytes | dev | plain rounding | bytes | dev |",
        "| ---: | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for share in BUDGETS:
        cells = [f"{share:.4g}"]
        for family in OURS_AND_RIVAL:
            one = chosen(stored, family, share * dense)
            if one is None:
                cells += ["–", "", ""]
                continue
            point = one.point
            rate = "" if family == "rounding" else f", rate {point.rate:g}"
            cells += [
                f"{point.name}{rate}", f"{point.stored_bytes / dense:.2%}", f"{point.value:.2f}"
            ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        *answers(stored, dense),
        "",
        "Everything, by bytes:",
        "",
        "| stored as | rate | bytes | of float32 | error | weighted error | train | dev |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in sorted(stored, key=lambda one: one.point.stored_bytes):
        point = one.point
        lines.append(
            f"| {point.name} | {point.rate:g} | {point.stored_bytes:,} | "
            f"{point.stored_bytes / dense:.2%} | {one.relative_error:.4f} | "
            f"{one.weighted_error:.4f} | {'' if one.train is None else f'{one.train:.2f}'} | "
            f"{point.value:.2f} |"
        )
    return "\n".join(lines) + "\n"


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Stored], int]:
    """Fit, store and score everything."""
    table = engine.load_table("bundled:minilm")
    matrix = table.matrix
    assert isinstance(matrix, Tensor)
    counts = table_token_counts(table, "en")
    weights = token_weights(counts, POWER, FLOOR)
    pairs = read_stsb("dev", options.data)
    if options.dev_pairs:
        pairs = pairs.sample(options.dev_pairs, options.seed)
    train = read_stsb("train", options.data).sample(options.pairs, options.seed)
    scorer, chooser = PairScorer(pairs), PairScorer(train)
    begun = time.monotonic()
    stored: list[Stored] = []
    for point, approximation in ways(matrix, counts, options.rate, options.seed):
        residuals = squared_residuals(approximation, matrix)
        rows = dense_rows(approximation)
        (dev,) = scorer.scores(rows).values()
        candidate = point.family != "svd"
        one = Stored(
            point=replace(point, value=dev, lowest=dev, highest=dev),
            relative_error=energy_lost(residuals, matrix),
            weighted_error=energy_lost(residuals, matrix, weights),
            train=chooser.scores(rows)[train.name] if candidate else None,
        )
        stored.append(one)
        print(f"{time.monotonic() - begun:5.0f} s {one}", flush=True)
    summary = {
        "command": shlex.join([*COMMAND.split(), *sys.argv[1:]]),
        "seed": options.seed,
        **describe_machine(),
        "seconds": round(time.monotonic() - begun),
        "pairs": len(train.scores),
        "dev_pairs": len(pairs.scores),
        "train_uncompressed": chooser.scores(chooser.original)[train.name],
        "dev_uncompressed": scorer.scores(scorer.original)[pairs.name],
    }
    return summary, stored, 4 * matrix.numel()


def main() -> None:
    """Measure, then write ``bytes.json`` and ``bytes.md``."""
    parser = argparse.ArgumentParser(description="Sentence similarity against stored bytes.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    parser.add_argument("--pairs", type=int, default=1000, help="of STS-B train")
    parser.add_argument("--dev-pairs", type=int, default=0, help="of STS-B dev; 0 for all")
    parser.add_argument("--rate", type=float, help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    summary, stored, dense = measure(options)
    cells = [
        {
            "name": one.point.name,
            "rate": one.point.rate,
            "stored_bytes": one.point.stored_bytes,
            "relative_error": one.relative_error,
            "weighted_error": one.weighted_error,
            "train": one.train,
            "dev": one.point.value,
        }
        for one in stored
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "bytes.json"
    text = json.dumps({**summary, "cells": cells}, indent=1, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")
    page = markdown(summary, stored, dense)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
