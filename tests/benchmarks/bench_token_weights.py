"""Which token weights make the weighted error rank plans as accuracy does.

    python -m tests.benchmarks.bench_token_weights --cache FOLDER

Fits many plans, scores each on STS-B *train* pairs and word sets with nothing retrained, and takes
for each weighting the rank correlation over plans of −(weighted error) with the scores. Choices are
made here, so the dev split is never read. Each finished plan is kept in the cache; a killed run
goes on where it was. Empty the cache when the engine's fits have changed.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

import engine
from engine.evaluation.checks.words import words_folder
from engine.provenance import fingerprint_matrix
from tests.benchmarks.machine import describe_machine, machine_line
from tests.benchmarks.stsb import DEFAULT_DATA, read_stsb, read_word_sets
from tests.benchmarks.token_weight_plans import (
    MAX_ITERATIONS,
    Cache,
    Plan,
    Scored,
    Scorer,
    plans,
    run_plan,
)

COMMAND = "python -m tests.benchmarks.bench_token_weights"
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLOORS = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0)
DEFAULT = (0.5, 16.0)
RESAMPLES = 200
BEST = 10  # weightings in the first table
HEADS = {"stsb": "STS-B train", "words": "word sets, encoder", "rows": "word sets, rows"}
SCORES = tuple(HEADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighting:
    """One member of the family: where the counts come from, and what is made of them."""

    source: str
    power: float
    floor: float


def count_sources(text: Path | None) -> dict[str, Tensor]:
    """Counts by name: the default, its parts left out, and a text of one's own."""
    found = {
        "en": engine.token_counts("bundled:minilm", "en"),
        "en, no special tokens": engine.token_counts("bundled:minilm", "en", special_tokens=False),
        "en, words only": engine.token_counts(
            "bundled:minilm", "en", special_tokens=False, punctuation=False
        ),
    }
    if text is not None:
        found[f"text ({text.name})"] = engine.token_counts("bundled:minilm", text)
    return found


def weightings(sources: dict[str, Tensor]) -> Iterator[tuple[Weighting, Tensor]]:
    """The family: no weights once, then every power, floor and source."""
    n = len(sources["en"])
    yield Weighting(source="none", power=0.0, floor=0.0), torch.ones(n, dtype=torch.float64)
    for source, counts in sources.items():
        for power in POWERS[1:]:
            for floor in FLOORS:
                weighting = Weighting(source=source, power=power, floor=floor)
                yield weighting, engine.token_weights(counts, power, floor)


def correlations(
    errors: np.ndarray, scored: list[Scored], name: str, seed: int
) -> dict[str, float | None]:
    """How the errors rank the plans, against one score.

    Over all plans the rate does most of the ranking, so the mean over rates of the correlation
    within each stands beside it. ``spread`` is the standard deviation of the first over resampled
    plans.
    """
    score = np.array([one.scores[name] for one in scored])
    rates = np.array([one.plan.rate for one in scored])
    whole = _rank_correlation(-errors, score)
    generator = np.random.default_rng(seed)
    drawn = [generator.integers(len(scored), size=len(scored)) for _ in range(RESAMPLES)]
    resampled = [_rank_correlation(-errors[pick], score[pick]) for pick in drawn]
    within = [
        _rank_correlation(-errors[rates == rate], score[rates == rate])
        for rate in np.unique(rates)
        if (rates == rate).sum() > 4
    ]
    return {
        "all": whole,
        "spread": float(np.nanstd(resampled)),
        "within_rates": fmean(within) if within else None,
    }


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    # by hand: scipy.stats.spearmanr takes a millisecond a call, and warns where all is one value
    one, two = rankdata(first), rankdata(second)
    one, two = one - one.mean(), two - two.mean()
    length = np.sqrt((one @ one) * (two @ two))
    return float(one @ two / length) if length else float("nan")


def analyse(
    scored: list[Scored], norms: np.ndarray, sources: dict[str, Tensor], seed: int
) -> list[dict]:
    """For each weighting, its rank correlations with each score."""
    residuals = np.stack([one.residuals for one in scored]).astype(np.float64)
    found: list[dict] = []
    for weighting, weights in weightings(sources):
        each = weights.numpy()
        errors = (residuals @ each) / (norms @ each)
        ranked = {
            name: correlations(errors, scored, name, seed)
            for name in SCORES
            if name in scored[0].scores
        }
        found.append({**asdict(weighting), **ranked})
    return found


def both(row: dict) -> float:
    """Mean correlation within rates with sentences and words: what a default should rank high."""
    names = [name for name in ("stsb", "words") if name in row]
    found = [row[name]["within_rates"] for name in names]
    return fmean(-1.0 if one is None else one for one in found)


def markdown(summary: dict) -> str:
    """The tables as a page to be read."""
    names = [name for name in SCORES if name in summary["original"]]
    uncompressed = (f"{HEADS[name]} {summary['original'][name]:.2f}" for name in names)
    best = sorted(summary["weightings"], key=both, reverse=True)[:BEST]
    lines = [
        "# Token weights: does the weighted error rank plans as accuracy does?",
        "",
        f"`{summary['command']}`: all-MiniLM-L6-v2, {len(summary['plans'])} plans, one start each, "
        f"at most {MAX_ITERATIONS} steps, seed {summary['seed']}, nothing retrained. Scores are "
        f"Spearman × 100 on {summary['pairs']:,} pairs of STS-B **train** drawn with seed "
        f"{summary['pair_seed']} (the dev split is never read here), and means over "
        "WordSim-353, SimLex-999, MTurk-771 and RG-65, by the encoder's embedding of the word and "
        "by the matrix's own rows (pairs of whole-word tokens). Uncompressed: "
        f"{', '.join(uncompressed)}.",
        "",
        f"{summary['machine']}.",
        "",
        "## Rank correlation over plans of −(weighted error) with each score",
        "",
        "Weights are (count + floor) ** power, counts and floor per million tokens. *All*: over "
        "all plans, ± the standard deviation over resampled plans. *Within*: the mean over rates "
        "of the correlation among plans of one rate, the harder test. The default is bold.",
        "",
        f"The {len(best)} best by the mean of *within* for STS-B and for words by the encoder:",
        "",
        *weighting_table(best, names),
        "",
        "All of them:",
        "",
        *weighting_table(summary["weightings"], names),
        "",
        "## Plans",
        "",
        "p and f are the power and floor of the weights that the fit used.",
        "",
        "| plan | error | " + " | ".join(HEADS[name] for name in names) + " |",
        "| --- | ---: | " + " | ".join("---:" for _ in names) + " |",
    ]
    for row in sorted(summary["plans"], key=lambda row: (row["rate"], -row["scores"]["stsb"])):
        cells = [f"{row['scores'][name]:.2f}" for name in names]
        lines.append(f"| {row['name']} | {row['relative_error']:.4f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def weighting_table(rows: list[dict], names: list[str]) -> list[str]:
    """Lines of a table, one weighting each."""
    heads = " | ".join(f"{HEADS[name]}, all | within" for name in names)
    rule = " | ".join("---: | ---:" for _ in names)
    lines = [f"| source | power | floor | {heads} |", f"| --- | ---: | ---: | {rule} |"]
    for row in rows:
        cells = [row["source"], f"{row['power']:g}", f"{row['floor']:g}"]
        for name in names:
            within = row[name]["within_rates"]
            cells.append(f"{row[name]['all']:.3f} ± {row[name]['spread']:.3f}")
            cells.append("–" if within is None else f"{within:.3f}")
        if (row["source"], row["power"], row["floor"]) == ("en", *DEFAULT):
            cells = [f"**{cell}**" for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    parser.add_argument("--words", type=Path, help="the word sets (words/ beside the GLUE folder)")
    parser.add_argument("--cache", type=Path, required=True, help="a folder outside the repository")
    parser.add_argument("--text", type=Path, help="count tokens in this text, too")
    parser.add_argument("--pairs", type=int, default=1_500, help="of STS-B train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="regular expression for plan names")
    parser.add_argument("--list", action="store_true", help="print the plans and end")
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    return parser.parse_args()


def command_line(options: argparse.Namespace) -> str:
    """The command as another machine would give it: choices spelt out, folders by their role."""
    said = ["--cache", "FOLDER", "--pairs", str(options.pairs), "--seed", str(options.seed)]
    said += ["--threads", str(options.threads)]
    said += ["--text", options.text.name] if options.text else []
    said += ["--only", options.only] if options.only else []
    return f"{COMMAND} {shlex.join(said)}"


def run_all(chosen: list[Plan], cache: Cache, run: Callable[[Plan], Scored]) -> list[Scored]:
    """Every plan, from the cache where it is there."""
    done: list[Scored] = []
    for number, plan in enumerate(chosen, start=1):
        scored = cache.find(plan)
        if scored is None:
            scored = run(plan)
            cache.keep(scored)
        done.append(scored)
        scores = " ".join(f"{name} {score:.2f}" for name, score in scored.scores.items())
        print(
            f"{number}/{len(chosen)} {plan.name}: error {scored.relative_error:.4f}, {scores} "
            f"(fit {scored.fit_seconds:.1f} s, score {scored.score_seconds:.1f} s)",
            flush=True,
        )
    return done


def main() -> None:
    """Fit, score, rank; then write ``token-weights.json`` and ``token-weights.md``."""
    options = parse_options()
    chosen = [plan for plan in plans() if re.search(options.only, plan.name)]
    if len(chosen) < 3:
        raise SystemExit(f"{len(chosen)} plans match --only {options.only!r}; ranks need 3 or more")
    if options.list:
        print(*(plan.name for plan in chosen), f"{len(chosen)} plans", sep="\n")
        return
    torch.set_num_threads(options.threads)
    sentences = read_stsb("train", options.data).sample(options.pairs, options.seed)
    words = read_word_sets(options.words or words_folder(options.data))
    score = Scorer(sentences, words)
    matrix = engine.load_table("bundled:minilm").matrix
    assert torch.equal(matrix, score.original), "the table is not the model's own embedding"
    sources = count_sources(options.text)
    setting = [
        fingerprint_matrix(matrix),
        fingerprint_matrix(sources["en"][:, None]),
        *(options.pairs, options.seed),
        *(pairs.name for pairs in words),
    ]
    cache = Cache(options.cache, setting)
    original, _ = score(matrix)
    done = run_all(
        chosen, cache, lambda plan: run_plan(plan, matrix, sources["en"], options.seed, score)
    )
    norms = matrix.double().square().sum(dim=1).numpy()
    summary = {
        "command": command_line(options),
        **describe_machine(),
        "machine": machine_line(),
        "seed": options.seed,
        "pairs": len(sentences.scores),
        "pair_seed": options.seed,
        "original": original,
        "weightings": analyse(done, norms, sources, options.seed),
        "plans": [
            {
                **asdict(one.plan),
                "name": one.plan.name,
                "relative_error": one.relative_error,
                "scores": one.scores,
                "sets": one.sets,
                "fit_seconds": one.fit_seconds,
                "score_seconds": one.score_seconds,
            }
            for one in done
        ],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "token-weights.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = markdown(summary)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
