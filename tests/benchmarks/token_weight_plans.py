"""The plans of `bench_token_weights`: fitted, scored, and kept in a cache."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from torch import Tensor

import engine
from engine.folders import write_file
from tests.benchmarks.stsb import Pairs, PairScorer

MAX_ITERATIONS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One fit; the weights are (count + floor) ** power, none when power is None."""

    method: str
    rate: float
    k: int = 1
    power: float | None = None
    floor: float = 0.0
    allocation: str = "uniform"

    @property
    def name(self) -> str:
        """What the table calls it."""
        size = self.method if self.method == "svd" else f"k={self.k} {self.allocation}"
        weights = "plain" if self.power is None else f"p={self.power:g} f={self.floor:g}"
        return f"{size}, {weights}, rate {self.rate:g}"

    def fit(self, matrix: Tensor, counts: Tensor, seed: int) -> engine.Factorization:
        """Factorize by this plan."""
        options: dict[str, object] = {"method": self.method, "rate": self.rate, "seed": seed}
        if self.method != "svd":
            options |= {"k": self.k, "n_init": 1, "max_iterations": MAX_ITERATIONS}
            if self.allocation != "uniform":
                options["allocation"] = self.allocation
        if self.power is not None:
            options["weights"] = engine.token_weights(counts, self.power, self.floor)
        return engine.factorize(matrix, **options)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """A plan, how well it did, and the squared residual of each row, shape (n,)."""

    plan: Plan
    scores: dict[str, float]
    sets: dict[str, float]
    relative_error: float
    fit_seconds: float
    score_seconds: float
    residuals: np.ndarray


def plans() -> list[Plan]:
    """All plans; those with an optimal allocation once the facade takes one.

    Fits with floors of 0 and 0.1 are meant: they give rare rows up, which a good weighting must
    see as the loss that it is.
    """
    weights = ((None, 0.0), (0.25, 16.0), (0.5, 16.0), (0.5, 0.1), (1.0, 16.0), (1.0, 0.0))
    found = [
        Plan(method="svd", rate=rate, power=power, floor=floor)
        for rate in (0.4, 0.6, 0.8, 0.9)
        for power, floor in weights
    ]
    allocations = ["uniform"]
    if "allocation" in inspect.signature(engine.factorize).parameters:
        allocations.append("optimal")
    fitted: list[tuple[int, float, float | None, float]] = [
        *((k, rate, None, 0.0) for k in (3, 5, 10, 20) for rate in (0.6, 0.8)),
        *((k, rate, 0.5, 16.0) for k in (5, 20) for rate in (0.6, 0.8, 0.9)),
        *((10, rate, 0.5, 0.1) for rate in (0.6, 0.8, 0.9)),
        *((20, rate, 1.0, 0.0) for rate in (0.6, 0.8)),
        (5, 0.4, None, 0.0),
        (5, 0.4, 0.5, 16.0),
    ]
    found.extend(
        Plan(method="messi", rate=rate, k=k, power=power, floor=floor, allocation=allocation)
        for allocation in allocations
        for k, rate, power, floor in fitted
    )
    return found


class Cache:
    """Scored plans in a folder: a JSON file and the residuals of each."""

    def __init__(self, folder: Path, setting: object) -> None:
        self._folder = folder
        self._setting = setting

    def _path(self, plan: Plan) -> Path:
        key = json.dumps([asdict(plan), self._setting], sort_keys=True)
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}.json"

    def find(self, plan: Plan) -> Scored | None:
        """What is kept of a plan."""
        path = self._path(plan)
        if not path.is_file():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept.pop("plan")
        residuals = np.load(path.with_suffix(".npy"), allow_pickle=False)
        return Scored(plan=plan, residuals=residuals, **kept)

    def keep(self, scored: Scored) -> None:
        """Write a plan down; the JSON last, as the mark that all is there."""
        path = self._path(scored.plan)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".npy"), scored.residuals)
        fields = {
            "plan": asdict(scored.plan),
            "scores": scored.scores,
            "sets": scored.sets,
            "relative_error": scored.relative_error,
            "fit_seconds": scored.fit_seconds,
            "score_seconds": scored.score_seconds,
        }
        text = json.dumps(fields, indent=1)
        write_file(path, lambda target: target.write_text(text, encoding="utf-8"))


class Scorer:
    """Sentences and words behind one call."""

    def __init__(self, sentences: Pairs, words: list[Pairs]) -> None:
        self._scorer = PairScorer(sentences, *words)
        self._sentences, self._words = sentences.name, [pairs.name for pairs in words]
        self.original = self._scorer.original

    def __call__(self, matrix: Tensor) -> tuple[dict[str, float], dict[str, float]]:
        """The three scores, and those of each set behind them."""
        encoded, rows = self._scorer.scores(matrix), self._scorer.row_scores(matrix)
        scores = {"stsb": encoded[self._sentences]}
        if self._words:
            scores["words"] = fmean(encoded[name] for name in self._words)
            scores["rows"] = fmean(rows[name] for name in self._words)
        by_rows = {f"{name} rows": rows[name] for name in self._words}
        return scores, {**encoded, **by_rows}


def run_plan(plan: Plan, matrix: Tensor, counts: Tensor, seed: int, score: Scorer) -> Scored:
    """Fit a plan and score it."""
    begun = time.monotonic()
    fitted = plan.fit(matrix, counts, seed)
    fit_seconds = time.monotonic() - begun
    rebuilt = fitted.reconstruct()
    begun = time.monotonic()
    scores, sets = score(rebuilt)
    return Scored(
        plan=plan,
        scores=scores,
        sets=sets,
        relative_error=fitted.relative_error(matrix),
        fit_seconds=fit_seconds,
        score_seconds=time.monotonic() - begun,
        residuals=(matrix - rebuilt).double().square().sum(dim=1).float().numpy(),
    )
