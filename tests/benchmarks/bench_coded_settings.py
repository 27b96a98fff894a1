"""Which token weights, and which k, coded subspaces want: chosen on STS-B train.

    python -m tests.benchmarks.bench_coded_settings

Weights first, at 2.4 % of the bytes, for k = 1 and k = 4 by themselves; then k at each of the three
budgets, every k with the weights chosen for its kind. Nothing of the dev split is read. What is
measured already is not measured again: kill it when you like, and give the same command to go on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

import engine
from engine.folders import write_file
from engine.frequencies import table_token_counts, token_weights
from tests.benchmarks.machine import describe_machine, machine_line
from tests.benchmarks.stsb import DEFAULT_DATA, PairScorer, read_stsb

COMMAND = "python -m tests.benchmarks.bench_coded_settings"
CHOICE = Path("assets/results/coded-settings.json")
SHARES = (0.016, 0.024, 0.031)
WEIGHTS = tuple((power, floor) for power in (0.5, 0.75) for floor in (0.1, 4.0, 16.0, 64.0))
KS = (1, 2, 4, 8)
_FIRST = 0.024  # the share at which weights are chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedSetting:
    """A coded plan: weights are (count per million + floor) ** power."""

    share: float
    k: int
    power: float
    floor: float

    def fit(self, matrix: Tensor, counts: Tensor) -> engine.Factorization:
        """Fit it within its share of the table in float32."""
        return engine.factorize(
            matrix,
            method="coded",
            k=self.k,
            max_bytes=int(self.share * 4 * matrix.numel()),
            weights=token_weights(counts, self.power, self.floor),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A setting and its score on STS-B train."""

    setting: CodedSetting
    stored_bytes: int
    train: float


class Settings:
    """All that was scored, in one file that is written anew after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.summary: dict[str, object] = {}
        self.scored: list[Scored] = []
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self.summary = stored["summary"]
            self.scored = [
                Scored(**{**one, "setting": CodedSetting(**one["setting"])})
                for one in stored["scored"]
            ]

    def keep_only(self, *, pairs: int, seed: int) -> None:
        """Begin anew where what is there was scored on other pairs."""
        if self.scored and (self.summary["pairs"], self.summary["seed"]) != (pairs, seed):
            self.scored = []

    def find(self, setting: CodedSetting) -> Scored | None:
        """What is known of a setting."""
        return next((one for one in self.scored if one.setting == setting), None)

    def add(self, scored: Scored, summary: dict[str, object]) -> None:
        """Keep one more."""
        self.scored.append(scored)
        self.summary = summary
        values = {"summary": summary, "scored": [asdict(one) for one in self.scored]}
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        write_file(self._path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def weights_for(self, k: int) -> tuple[float, float]:
        """Power and floor that score best: of k = 1, or of more."""
        kind = 1 if k == 1 else 4
        tried = [
            one for one in self.scored if one.setting.k == kind and one.setting.share == _FIRST
        ]
        best = max(tried, key=lambda one: one.train).setting
        return best.power, best.floor

    def chosen(self, share: float, *, single: bool) -> CodedSetting:
        """What scores best within a share of the bytes, of k = 1 or of k > 1."""
        within = [
            one
            for one in self.scored
            if one.setting.share == share
            and (one.setting.k == 1) == single
            and (one.setting.power, one.setting.floor) == self.weights_for(one.setting.k)
        ]
        return max(within, key=lambda one: one.train).setting


def to_score(settings: Settings) -> Iterator[CodedSetting]:
    """Weights first; then every k with its own."""
    for power, floor in WEIGHTS:
        for k in (1, 4):
            yield CodedSetting(share=_FIRST, k=k, power=power, floor=floor)
    for share in SHARES:
        for k in KS:
            power, floor = settings.weights_for(k)
            yield CodedSetting(share=share, k=k, power=power, floor=floor)


def markdown(settings: Settings) -> str:
    """The scores as a page to be read."""
    summary = settings.summary
    lines = [
        "# Settings of coded subspaces, chosen on STS-B train",
        "",
        f"Made by `{summary['command']}`: all-MiniLM-L6-v2, its embedding replaced, nothing "
        f"retrained; Spearman × 100 on {summary['pairs']:,} pairs of STS-B train (uncompressed "
        f"{summary['uncompressed']:.2f}). Weights are (count per million + floor) ** power. "
        f"{summary['made']}.",
        "",
    ]
    for share in SHARES:
        for single in (True, False):
            one = settings.chosen(share, single=single)
            lines.append(
                f"- At {share:.1%}, {'k = 1' if single else 'k > 1'}: k = {one.k}, power "
                f"{one.power:g}, floor {one.floor:g}."
            )
    lines += ["", "| share | k | power | floor | train |", "| ---: | ---: | ---: | ---: | ---: |"]
    for one in sorted(settings.scored, key=lambda one: (one.setting.share, -one.train)):
        setting = one.setting
        lines.append(
            f"| {setting.share:.1%} | {setting.k} | {setting.power:g} | {setting.floor:g} | "
            f"{one.train:.2f} |"
        )
    return "\n".join(lines) + "\n"


def measure(settings: Settings, options: argparse.Namespace) -> None:
    """Score what is not scored yet."""
    table = engine.load_table("bundled:minilm")
    assert isinstance(table.matrix, Tensor)
    counts = table_token_counts(table, "en")
    train = read_stsb("train", options.data).sample(options.pairs, options.seed)
    scorer = PairScorer(train)
    settings.keep_only(pairs=len(train.scores), seed=options.seed)
    summary = {
        "command": shlex.join([*COMMAND.split(), *sys.argv[1:]]),
        "seed": options.seed,
        **describe_machine(),
        "made": machine_line(),
        "pairs": len(train.scores),
        "uncompressed": scorer.scores(scorer.original)[train.name],
    }
    for setting in to_score(settings):
        if settings.find(setting) is not None:
            continue
        begun = time.monotonic()
        fitted = setting.fit(table.matrix, counts)
        rows = torch.cat([part for _, part in fitted.blocks()])
        score = scorer.scores(rows)[train.name]
        found = Scored(setting=setting, stored_bytes=fitted.stored_bytes, train=round(score, 3))
        settings.add(found, summary)
        print(f"{time.monotonic() - begun:4.0f} s {found}", flush=True)


def main() -> None:
    """Score, then write the page."""
    parser = argparse.ArgumentParser(description="Settings of coded subspaces.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    parser.add_argument("--pairs", type=int, default=5749, help="of STS-B train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=CHOICE, help="the JSON file")
    options = parser.parse_args()
    settings = Settings(options.output)
    measure(settings, options)
    page = markdown(settings)
    options.output.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
