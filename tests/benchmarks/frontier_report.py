"""The page and the figure of `bench_frontier`, from what it measured and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.colours import subspace_colour
from engine.evaluation.scores import bootstrap, metric
from tests.benchmarks.bench_frontier import ASKED, FLOOR, MESSI_K, POWER, Measured, Way
from tests.benchmarks.machine import machine_line

PAGES = {
    "minilm": Path("assets/results/frontier.md"),
    "mpnet": Path("assets/results/frontier-mpnet.md"),
}
NAMES = {"minilm": "all-MiniLM-L6-v2", "mpnet": "all-mpnet-base-v2"}
FIXED = ("1.6%", "2.4%", "3.1%")
BUDGETS = (0.016, 0.024, 0.031, 0.05, 0.08, 0.13, 0.2, 0.27, 0.5)
_DROP = 10.7  # of the score, as far as the figure goes
SINGLE, SEVERAL = "coded, k = 1", "coded, k > 1"
_spearman = metric("spearman")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frontier:
    """All that was measured.

    Attributes:
        whole: The table as it is.
        stored: Every way to store it, by rising bytes.
        missing: Ways that are not measured.
        truth: What people said of the pairs, shape (pairs,).
    """

    whole: Measured
    stored: tuple[Measured, ...]
    missing: tuple[Way, ...]
    truth: NDArray[np.float64]

    @classmethod
    def read(cls, work: Path) -> Frontier:
        """From the work folder."""
        found = sorted(map(Measured.read, work.glob("*.json")), key=lambda one: one.stored_bytes)
        asked = json.loads((work / ASKED).read_text(encoding="utf-8"))
        measured = {one.way for one in found}
        missing = tuple(way for one in asked["ways"] if (way := Way(**one)) not in measured)
        whole = next(one for one in found if one.way.line == "whole")
        stored = tuple(one for one in found if one is not whole)
        truth = np.array(asked["truth"])
        return cls(whole=whole, stored=stored, missing=missing, truth=truth)

    def score(self, one: Measured) -> float | None:
        """Spearman × 100 on the dev split, where that was measured."""
        return _spearman(self.truth, np.array(one.cosines)) if one.cosines else one.known

    def share(self, one: Measured) -> float:
        """Of the table's bytes in float32."""
        return one.stored_bytes / self.whole.stored_bytes

    def within(self, budget: float, *, ours: bool) -> list[Measured]:
        """Ours, or the baselines, that are no larger than a share of the table."""
        return [one for one in self.stored if one.way.ours == ours and self.share(one) <= budget]

    def gain(self, ours: Measured, other: Measured) -> str:
        """By how much one scores more than another on the same pairs, with its interval."""
        if not (ours.cosines and other.cosines):
            return "–"
        columns = [np.array(one.cosines) for one in (ours, other)]

        def both(items: NDArray[np.int64]) -> list[float]:
            truth = self.truth[items]
            return [_spearman(truth, column[items]) for column in columns]

        _, gain = bootstrap(both, len(self.truth)).less_than(0)
        return f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


def write_report(work: Path, model: str) -> None:
    """Write the page of a model, its figures and its drawing."""
    found, path = Frontier.read(work), PAGES[model]
    parts = (_head(found, model), _fixed(found), _against(found), _all(found, path))
    page = "\n".join(line for part in parts for line in part) + "\n"
    path.write_text(page, encoding="utf-8")
    rows = [_row(found, one) for one in (found.whole, *found.stored)]
    text = json.dumps({"made": machine_line(), "ways": rows}, indent=1, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    cosines = {one.way.file: np.float32(one.cosines) for one in (found.whole, *found.stored)}
    np.savez_compressed(path.with_suffix(".npz"), **cosines)
    draw(found, path.with_suffix(".svg"))
    print(page)


def recall(work: Path, model: str, ways: Iterable[Way]) -> None:
    """Lay what a page was made of into a work folder, where that lacks it: to go on from there.

    A page does not hold the weights of coded subspaces: where those were chosen anew, name the
    lines that are to be measured again.
    """
    path = PAGES[model].with_suffix(".json")
    if not path.is_file():
        return
    rows = json.loads(path.read_text(encoding="utf-8"))["ways"]
    known = {(row["line"], row["asked"], row["bits"], row["k"]): row for row in rows}
    kept = path.with_suffix(".npz")
    cosines = np.load(kept, allow_pickle=False) if kept.is_file() else {}
    for way in ways:
        row = known.get((way.line, way.size, way.bits, way.k))
        if row is None or (work / way.file).exists():
            continue
        scored = tuple(cosines[way.file].tolist()) if way.file in cosines else ()
        found = Measured(
            way=way,
            **{name: row[name] for name in ("stored_bytes", "relative_error", "weighted_error")},
            deciles=tuple(row["deciles"]),
            cosines=scored,
            words=row["words_model"],
            rows=row["words_rows"],
            seconds=row["seconds"],
            known=row["stsb_dev"],
        )
        (work / way.file).write_text(json.dumps(asdict(found)), encoding="utf-8")


def _head(found: Frontier, model: str) -> list[str]:
    option, chosen = ("", "") if model == "minilm" else (f" --model {model}", " with MiniLM")
    return [
        "# Accuracy against stored bytes, nothing retrained",
        "",
        f"Made by `python -m tests.benchmarks.bench_frontier{option}`: {NAMES[model]}, its "
        f"embedding of {found.whole.stored_bytes:,} bytes in float32 replaced by what each way "
        f"stores; seed 0. STS-B dev, {len(found.truth):,} pairs, Spearman × 100, run once for each "
        f"way; the whole table scores {_shown(found.score(found.whole))}. The weighted error "
        f"has weights (expected count per million + {FLOOR:g}) ** {POWER:g}, by which the weighted "
        f"SVD, k subspaces (k = {MESSI_K}) and weighted product quantisation are fitted; coded "
        "subspaces have those that [coded-settings.md](coded-settings.md) chose on STS-B "
        f"train{chosen}. {machine_line()}.",
        "",
        *_unfinished(found),
        f"![Score and weighted error against stored bytes]({PAGES[model].stem}.svg)",
        "",
    ]


def _unfinished(found: Frontier) -> list[str]:
    """What is not measured, or not whole."""
    unscored = sum(not one.is_scored for one in found.stored)
    lines: list[str] = []
    if unscored:
        lines.append(
            f"Of {len(found.stored)} ways {unscored} were measured by their errors alone (–)."
        )
    carried = sum(one.known is not None and not one.cosines for one in found.stored)
    if carried:
        lines.append(
            f"The scores of {carried} ways are of an earlier run on the same pairs, of which "
            "nothing else was kept: they have no intervals."
        )
    if found.missing:
        names = (
            f"{_name(way)} at {way.size}" if way.line in (SINGLE, SEVERAL) else _name(way)
            for way in found.missing
        )
        lines.append(f"Not measured yet: {'; '.join(names)}.")
    return [" ".join(lines), ""] if lines else []


def _fixed(found: Frontier) -> list[str]:
    """One subspace against several at the three budgets fixed before measuring."""
    lines = [
        "## One coded subspace or several",
        "",
        "Differences with bootstrap intervals (95 %, the same pairs for both). Words: mean change "
        "over the sets of at least 300 pairs against the whole table, through the model, and by "
        "the rows themselves.",
        "",
        "| at most | plan | bytes | weighted error | dev | against k = 1 | against whole | "
        "words, model | words, rows |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in FIXED:
        one, several = (
            next(each for each in found.stored if (each.way.line, each.way.size) == (line, size))
            for line in (SINGLE, SEVERAL)
        )
        for each in (one, several):
            gain = "" if each is one else found.gain(several, one)
            lines.append(
                f"| {size} | coded, k = {each.way.k} | {each.stored_bytes:,} | "
                f"{each.weighted_error:.4f} | {_shown(found.score(each))} | {gain} | "
                f"{found.gain(each, found.whole)} | "
                f"{_mean_change(each.words, found.whole.words)} | "
                f"{_mean_change(each.rows, found.whole.rows)} |"
            )
    return [*lines, ""]


def _mean_change(now: dict[str, float], before: dict[str, float]) -> str:
    changes = [now[name] - before[name] for name in now.keys() & before.keys()]
    return f"{np.mean(changes):+.2f}" if changes else "–"


def _against(found: Frontier) -> list[str]:
    """The best of ours against the best baseline within each budget that is measured."""
    lines = [
        "## Ours against the baselines",
        "",
        "Within each size, what has the least weighted error. Score: the highest of all that is "
        "no larger, which dev itself chose, for both alike.",
        "",
        "| at most | ours | weighted error | baseline | weighted error | ours, score | "
        "baseline, score |",
        "| ---: | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    missing = [float(way.size.rstrip("%")) for way in found.missing if way.line == SEVERAL]
    if found.missing:
        lines[2:2] = [
            "Only of what is measured so far: a baseline that is missing above may do better.",
            "",
        ]
    for budget in BUDGETS:
        if any(size <= 100 * budget for size in missing):
            break
        cells = [f"{budget:.1%}"]
        kinds = [found.within(budget, ours=ours) for ours in (True, False)]
        for kind in kinds:
            best = min(kind, key=lambda one: one.weighted_error, default=None)
            cells += ["–", ""] if best is None else [_name(best.way), f"{best.weighted_error:.5f}"]
        for kind in kinds:
            scores = [score for one in kind if (score := found.score(one)) is not None]
            cells.append(_shown(max(scores, default=None)))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _all(found: Frontier, path: Path) -> list[str]:
    lines = [
        "## Everything",
        "",
        "s: seconds of the wall to make it, whatever else ran. Deciles: share of its energy that "
        "the rarest, the middle and the most frequent tenth of "
        f"the tokens lose; all ten are in [{path.stem}.json]({path.stem}.json).",
        "",
        "| stored as | bytes | of float32 | error | weighted error | decile 1 | 5 | 10 | dev | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found.stored:
        shown = " | ".join(f"{one.deciles[index]:.3f}" for index in (0, 4, 9))
        lines.append(
            f"| {_name(one.way)} | {one.stored_bytes:,} | {found.share(one):.2%} | "
            f"{one.relative_error:.4f} | {one.weighted_error:.4f} | {shown} | "
            f"{_shown(found.score(one))} | {one.seconds:.0f} |"
        )
    return lines


def _shown(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _name(way: Way) -> str:
    if way.line.startswith("coded"):
        return f"coded, k = {way.k}"
    if way.line.startswith("int"):
        return way.line.replace("int", f"int{way.bits}") + ("" if "row" in way.line else " of 32")
    if way.line.startswith("product"):
        return f"{way.line} quantisation, {way.size}".replace(
            "product, weighted", "weighted product"
        )
    line = f"k = {way.k}, weighted" if way.line == "messi" else way.line.replace("svd", "SVD")
    return f"{line}, {way.size}, {way.bits} bits"


def _row(found: Frontier, one: Measured) -> dict[str, object]:
    return {
        "name": "whole" if one is found.whole else _name(one.way),
        "line": one.way.line,
        "asked": one.way.size,
        "k": one.way.k,
        "bits": one.way.bits,
        "stored_bytes": one.stored_bytes,
        "relative_error": one.relative_error,
        "weighted_error": one.weighted_error,
        "deciles": one.deciles,
        "stsb_dev": found.score(one),
        "words_model": one.words,
        "words_rows": one.rows,
        "seconds": round(one.seconds, 1),
    }


def draw(found: Frontier, path: Path) -> None:
    """Score and weighted error against bytes, a line a method."""
    from matplotlib.figure import Figure

    whole = found.score(found.whole)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    score, error = figure.subplots(1, 2)
    lines = sorted(
        {one.way.line for one in found.stored}, key=lambda line: (line[:5] != "coded", line)
    )
    for index, line in enumerate(lines):
        points = _lower_hull(one for one in found.stored if one.way.line == line)
        x = [100 * found.share(one) for one in points]
        look: dict[str, Any] = {
            "color": subspace_colour(index, "light"),
            "marker": "o",
            "markersize": 3.5,
        }
        coded = line.startswith("coded")
        look |= {"linewidth": 2.2 if coded else 1.1, "linestyle": "-" if coded else "--"}
        scores = [found.score(one) for one in points]
        score.plot(x, [np.nan if one is None else one for one in scores], label=line, **look)
        error.plot(x, [one.weighted_error for one in points], **look)
    if whole is not None:
        score.axhline(whole, color="#9AA0A6", linewidth=0.8, linestyle=":")
        score.set_ylim(whole - _DROP, whole + 0.5)
    for axes, title in ((score, "STS-B dev, Spearman × 100"), (error, "weighted error")):
        axes.set(xscale="log", xlabel="stored, % of the table in float32", title=title)
        axes.set_xticks(
            [1.6, 2.4, 5, 10, 20, 50, 100], ["1.6", "2.4", "5", "10", "20", "50", "100"]
        )
        axes.minorticks_off()
        axes.grid(visible=True, linewidth=0.3)
    error.set_yscale("log")
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _lower_hull(ways: Iterable[Measured]) -> Sequence[Measured]:
    """Those of a line that no smaller one of it beats."""
    kept: list[Measured] = []
    for one in sorted(ways, key=lambda one: one.stored_bytes):
        if not kept or one.weighted_error < kept[-1].weighted_error:
            kept.append(one)
    return kept
