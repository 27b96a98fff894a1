"""Accuracy against stored bytes: coded subspaces and every baseline, nothing retrained.

    python -m tests.benchmarks.bench_frontier --work /tmp/frontier
    python -m tests.benchmarks.bench_frontier --model mpnet --cache FOLDER --work /tmp/mpnet

Settings of coded subspaces are those that `bench_coded_settings` chose with MiniLM on STS-B
*train*; the dev split is run once for each way to store the table. Each way is a JSON of its own in
the work folder: kill it when you like, and the same command goes on, in an empty folder from what
the page is made of: ``--anew "coded;whole"`` names lines that are measured again all the same,
``--only "product;int"`` those that are measured now.
``--errors`` measures what is left without the model, which a later run makes up for; ``--report``
makes the page from what there is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import engine
from engine.coding.rounding import round_to_nearest
from engine.folders import write_file
from engine.frequencies import table_token_counts, token_weights
from engine.grid import WEIGHTED_SVD
from engine.residuals import Approximation, energy_lost, squared_residuals
from tests.benchmarks.bench_coded_settings import CHOICE, CodedSetting, Settings
from tests.benchmarks.mpnet import fetch_mpnet
from tests.benchmarks.product_quantising import DecodedRows, product_quantise
from tests.benchmarks.stsb import DEFAULT_DATA, PairScorer, read_stsb, read_word_sets

SHARES = (0.016, 0.024, 0.031, 0.05, 0.08, 0.13, 0.2, 0.27)
"""Of the table in float32; the first three were fixed before anything was measured."""
POWER, FLOOR = 0.5, 16.0  # of the weights of the weighted error and of what is fitted by it
RATES = {4: (0.25, 0.6, 0.8, 0.9), 8: (0.6, 0.9), 32: (0.6, 0.9)}
MESSI_K = 10  # chosen on STS-B train by bench_weighted_accuracy
WIDTHS = (16, 12, 8, 4, 2)  # columns that share a byte in product quantisation
GROUP = 32
ASKED = "asked.json.txt"  # what people said of the pairs, and every way there is
LARGE_SET = 300  # pairs: word sets with fewer say little
MODELS: dict[str, Callable[[Path], Path | None]] = {"minilm": lambda _: None, "mpnet": fetch_mpnet}
"""Where a model lies, given the cache; None is the bundled one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to store the table.

    Attributes:
        line: The method; ways of one line differ in size and bits alone.
        ours: Whether it is one of our plans, else a baseline.
        size: What was asked for, in words.
        k: Number of subspaces; 0 where there are none.
        bits: Of a number; 0 where they differ.
    """

    line: str
    ours: bool
    size: str
    k: int
    bits: int

    @property
    def file(self) -> str:
        """Name of its JSON."""
        return f"{self.line}-{self.size}-{self.bits}".replace(" ", "_").replace("%", "") + ".json"


Maker = Callable[[], Approximation]


def coded_setting(settings: Settings, share: float, *, single: bool) -> CodedSetting:
    """What was chosen at a share; at others the weights chosen for its kind, and k = 4."""
    known = [one.setting.share for one in settings.scored]
    if share in known:
        return settings.chosen(share, single=single)
    k = 1 if single else 4
    power, floor = settings.weights_for(k)
    return CodedSetting(share=share, k=k, power=power, floor=floor)


class Ways:
    """All of them, each with what makes it."""

    def __init__(self, matrix: Tensor, counts: Tensor, settings: Settings) -> None:
        self._matrix, self._counts, self._settings = matrix, counts, settings
        self._weights = token_weights(counts, POWER, FLOOR)

    def __iter__(self) -> Iterator[tuple[Way, Maker]]:
        """Coded first, since they matter most."""
        yield from self._coded()
        yield from self._rounded()
        yield from self._products()
        yield from self._fits()

    def _coded(self) -> Iterator[tuple[Way, Maker]]:
        for share in SHARES:
            for single in (True, False):
                setting = coded_setting(self._settings, share, single=single)
                way = Way(
                    line="coded, k = 1" if single else "coded, k > 1",
                    ours=True,
                    size=f"{share:.1%}",
                    k=setting.k,
                    bits=0,
                )
                yield way, partial(setting.fit, self._matrix, self._counts)

    def _rounded(self) -> Iterator[tuple[Way, Maker]]:
        for name, group in (("int, a step a row", self._matrix.shape[1]), ("int, groups", GROUP)):
            for bits in (2, 3, 4, 8):
                way = Way(line=name, ours=False, size="all", k=0, bits=bits)
                yield way, partial(round_to_nearest, self._matrix, bits=bits, group=group)

    def _products(self) -> Iterator[tuple[Way, Maker]]:
        for name, weights in (("product", None), ("product, weighted", self._weights)):
            for parts in (self._matrix.shape[1] // width for width in WIDTHS):
                way = Way(line=name, ours=False, size=f"{parts} bytes a row", k=0, bits=8)
                yield way, partial(product_quantise, self._matrix, parts=parts, weights=weights)

    def _fits(self) -> Iterator[tuple[Way, Maker]]:
        plans: dict[str, dict[str, Any]] = {
            "svd": {"method": "svd"},
            WEIGHTED_SVD: {"method": "svd", "weights": self._weights},
            "messi": {"k": MESSI_K, "weights": self._weights, "n_init": 1},
        }
        for name, plan in plans.items():
            for bits, rates in RATES.items():
                for rate in rates:
                    k, ours = (MESSI_K, True) if name == "messi" else (1, False)
                    way = Way(line=name, ours=ours, size=f"rate {rate:g}", k=k, bits=bits)
                    coding = {} if bits == 32 else {"bits": bits, "basis_bits": 8}
                    yield way, partial(engine.factorize, self._matrix, rate=rate, **plan, **coding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a way is worth.

    Attributes:
        way: Which.
        stored_bytes: Of everything stored.
        relative_error: ‖A − Â‖² / ‖A‖².
        weighted_error: The same, rows weighted by `POWER` and `FLOOR`.
        deciles: Share of the energy lost by each tenth of the tokens, the rarest first.
        cosines: Of each pair of STS-B dev; none where the model was not run.
        words: Set of words → Spearman × 100 through the model, likewise.
        rows: The same by the rows themselves, of pairs of whole-word tokens.
        seconds: Taken to make it.
        known: Score of an earlier run, of which the cosines were not kept.
    """

    way: Way
    stored_bytes: int
    relative_error: float
    weighted_error: float
    deciles: tuple[float, ...]
    cosines: tuple[float, ...]
    words: dict[str, float]
    rows: dict[str, float]
    seconds: float
    known: float | None = None

    @property
    def is_scored(self) -> bool:
        """Whether the model was run."""
        return bool(self.cosines) or self.known is not None

    @classmethod
    def read(cls, path: Path) -> Measured:
        """From its JSON."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**values, "way": Way(**values["way"])})


class Measurer:
    """Measures ways on the dev split and the word sets."""

    def __init__(self, matrix: Tensor, counts: Tensor, data: Path, folder: Path | None) -> None:
        dev = read_stsb("dev", data)
        sets = [one for one in read_word_sets(data.parent / "words") if len(one.scores) > LARGE_SET]
        self._matrix, self._counts, self._dev = matrix, counts, dev.name
        self._weights = token_weights(counts, POWER, FLOOR)
        self._pairs = PairScorer(dev, folder=folder)
        self._words = PairScorer(*sets, folder=folder)
        self.truth = tuple(dev.scores)

    def measure(
        self, way: Way, stored: Approximation, seconds: float, *, errors: bool = False
    ) -> Measured:
        """Run the checks, or those that need no model."""
        rows = torch.cat([part for _, part in stored.blocks()])
        residuals = squared_residuals(stored, self._matrix)
        cosines = [] if errors else self._pairs.cosines(rows)[self._dev].tolist()
        return Measured(
            way=way,
            stored_bytes=stored.stored_bytes,  # pyright: ignore[reportAttributeAccessIssue]
            relative_error=energy_lost(residuals, self._matrix),
            weighted_error=energy_lost(residuals, self._matrix, self._weights),
            deciles=self._deciles(residuals),
            cosines=tuple(round(cosine, 6) for cosine in cosines),
            words={} if errors else self._words.scores(rows),
            rows=self._words.row_scores(rows),
            seconds=seconds,
        )

    def _deciles(self, residuals: Tensor) -> tuple[float, ...]:
        order = self._counts.argsort()
        energies = self._matrix.double().square().sum(1)
        return tuple(
            float(residuals[part].sum() / energies[part].sum()) for part in order.tensor_split(10)
        )


def measure_all(options: argparse.Namespace) -> None:
    """Measure what is not measured yet, here or by whoever made the page."""
    from tests.benchmarks.frontier_report import recall

    work, folder = options.work, MODELS[options.model](options.cache)
    table = engine.load_table("bundled:minilm" if folder is None else str(folder))
    assert isinstance(table.matrix, Tensor)
    matrix, counts = table.matrix, table_token_counts(table, "en")
    measurer = Measurer(matrix, counts, options.data, folder)
    whole = Way(line="whole", ours=False, size="all", k=0, bits=32)
    ways: Sequence[tuple[Way, Maker]] = [
        (whole, lambda: DecodedRows(rows=matrix, stored_bytes=table.dense_bytes)),
        *Ways(matrix, counts, Settings(CHOICE)),
    ]
    asked = json.dumps({"truth": measurer.truth, "ways": [asdict(way) for way, _ in ways]})
    write_file(work / ASKED, lambda path: path.write_text(asked, encoding="utf-8"))
    again = tuple(options.anew.split(";")) if options.anew else ()
    only = tuple(options.only.split(";"))  # of "": every line begins with it
    recall(work, options.model, [way for way, _ in ways if not way.line.startswith(again)])
    for way, make in ways:
        path = work / way.file
        if not way.line.startswith(only):
            continue
        if path.exists() and (options.errors or Measured.read(path).is_scored):
            continue
        begun = time.monotonic()
        stored = make()
        made = time.monotonic() - begun
        found = measurer.measure(way, stored, made, errors=options.errors)
        text = json.dumps(asdict(found))
        write_file(path, lambda place, text=text: place.write_text(text, encoding="utf-8"))
        print(f"{time.monotonic() - begun:4.0f} s {way} {found.weighted_error:.4f}", flush=True)


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description="Accuracy against stored bytes.")
    parser.add_argument("--model", choices=tuple(MODELS), default="minilm")
    parser.add_argument("--cache", type=Path, help="where mpnet is kept, outside the repository")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="the GLUE folder")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is measured")
    parser.add_argument("--errors", action="store_true", help="leave the model out of what is left")
    parser.add_argument(
        "--anew", default="", help="lines to measure again whatever the page has: coded;whole"
    )
    parser.add_argument("--only", default="", help="lines to measure now: product;int, else all")
    parser.add_argument("--report", action="store_true", help="only make the page anew")
    options = parser.parse_args()
    if options.model == "mpnet" and options.cache is None and not options.report:
        parser.error("--model mpnet needs --cache FOLDER")
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.report:
        measure_all(options)
    from tests.benchmarks.frontier_report import write_report

    write_report(options.work, options.model)


if __name__ == "__main__":
    main()
