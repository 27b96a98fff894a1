"""The tables and figures of a GLUE run, written from its summary."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.errors import EngineError
from engine.evaluation.glue.cells import CellKey, GlueCell, Stage
from engine.evaluation.glue.drops import DIGITS, WHOLE_STAGES
from engine.evaluation.glue.ensembles import family_of, plan_title
from engine.evaluation.glue.figures import draw_task
from engine.evaluation.glue.missing import STAGE_TITLES
from engine.evaluation.glue.summary import AVERAGE, SUMMARY_FILE, GluePoint, GlueSummary
from engine.evaluation.glue.verdict import say_verdict, show_interval
from engine.evaluation.scores import METRIC_NAMES
from engine.evaluation.tasks import GLUE_TASKS
from engine.folders import write_file
from engine.wording import counted

REPORT_FILE = "glue.md"
TABLE_FILE = "glue.csv"

_INTRODUCTION = (
    "A *drop* is the whole network's score minus that of the network with the smaller embedding, "
    "in points of 100, paired by seed; both had the same training, as in the paper. Below 0 the "
    "smaller one is better. In brackets: where 95 % of resamples of the dev rows put it, the same "
    "rows drawn for both networks. What other seeds of training change is behind ±, the standard "
    "deviation over seeds. A difference is *outside noise* where its interval leaves out 0 and "
    "every seed agrees on the sign; **bold** is what drops less than the SVD, outside noise. The "
    "*best k* (or *plan*) *by training set* is the paper's ensemble: chosen for each task and seed "
    "by the score on training rows."
)

_CODED = (
    "Of *coded* plans not numbers are removed but bytes, beside the table in float32: at 95% they "
    "keep 5 % of them. Their coordinates stay coded in further training; their bases are trained, "
    "rounded at every step to the bits they have."
)


def write_report(summary: GlueSummary, folder: Path) -> list[Path]:
    """Write the tables, the figures and the summary; of the same summary, the same bytes.

    Args:
        summary: Of a run.
        folder: Where to; made where it is missing.

    Returns:
        The files: the text with its tables, every cell as CSV, a figure for the average and for
        each task, the summary.

    Raises:
        MissingDependencyError: If matplotlib is not installed; nothing is written then.
        EngineError: If the disk refuses.
    """
    figures = [task for task in (AVERAGE, *summary.tasks) if _has_points(summary, task)]
    paths = [folder / _figure_name(task) for task in figures]
    report, table, kept = (folder / name for name in (REPORT_FILE, TABLE_FILE, SUMMARY_FILE))
    try:
        for task, path in zip(figures, paths, strict=True):
            draw_task(summary, task, path)
        text = "\n".join(_lines(summary)) + "\n"
        write_file(report, lambda file: file.write_text(text, encoding="utf-8"))
        write_file(table, lambda file: _write_table(summary.cells, file))
        summary.save(kept)
    except OSError as error:
        raise EngineError(
            f"could not write to {folder}: {error.strerror}; free some space or name a folder you "
            "may write to"
        ) from error
    return [report, table, *paths, kept]


def _figure_name(task: str) -> str:
    return f"{task}.svg"


def _has_points(summary: GlueSummary, task: str) -> bool:
    return any(summary.rates(task, stage) for stage in WHOLE_STAGES)


def _lines(summary: GlueSummary) -> Iterator[str]:
    yield from (f"# GLUE: {summary.model}", "", _INTRODUCTION, "")
    if any(family_of(plan).coded for plan in summary.plans):
        yield from (_CODED, "")
    verdict = say_verdict(summary)
    if verdict:
        yield from ("## In words", "", *(f"- {sentence}" for sentence in verdict), "")
    if _has_points(summary, AVERAGE):
        yield from ("## Average", "", *_section(summary, AVERAGE))
    for task in summary.tasks:
        yield from (f"## {GLUE_TASKS[task].title}", "", *_section(summary, task))
    if summary.missing:
        yield from ("## Missing", "", *(f"- {words}" for words in summary.missing), "")
    yield from ("## How it was measured", "")
    rows = [(name, str(value)) for name, value in _flatten(summary.settings)]
    if rows:
        yield from (*_table(("setting", ""), rows, left=2), "")
    seconds = sum(cell.seconds for cell in summary.cells)
    verb = "was" if len(summary.cells) == 1 else "were"
    networks = counted(len(summary.cells), "network")
    yield f"{networks} {verb} measured, in {seconds / 3600:.1f} hours together."
    yield (
        f"All cells are in [{TABLE_FILE}]({TABLE_FILE}). This page is made of them by "
        "`subspace-atlas glue-report FOLDER -o OUT`."
    )


def _section(summary: GlueSummary, task: str) -> Iterator[str]:
    """Of a task, or of the average."""
    name = _figure_name(task)
    title = "the average" if task == AVERAGE else GLUE_TASKS[task].title
    yield from (f"![Accuracy drop against compression rate: {title}]({name})", "")
    if task == AVERAGE:
        yield from (*_averaged(summary), "")
    else:
        yield from (_task_facts(summary, task), "")
        for note in summary.notes.get(task, ()):
            yield from (f"Note: {note}.", "")
    for stage in WHOLE_STAGES:
        rates = summary.rates(task, stage)
        if rates:
            yield from (f"Drop {STAGE_TITLES[stage]}, in points:", "")
            yield from (*_drop_table(summary, task, stage, rates), "")


def _averaged(summary: GlueSummary) -> Iterator[str]:
    for stage, tasks in summary.averaged.items():
        if tasks:
            names = ", ".join(GLUE_TASKS[task].title for task in tasks)
            counts = counted(len(tasks), "task")
            yield f"Average {STAGE_TITLES[stage]}: {counts} ({names})."


def _task_facts(summary: GlueSummary, task: str) -> str:
    facts = GLUE_TASKS[task]
    metrics = " and ".join(METRIC_NAMES[name] for name in facts.metrics)
    rows = max(cell.dev_rows for cell in summary.cells if cell.key.task == task)
    words = f"“{facts.asks.capitalize()}”, by {metrics}, {rows:,} dev rows."
    scores = [
        f"{STAGE_TITLES[stage]} {score:.2f}"
        for stage in WHOLE_STAGES.values()
        if (score := summary.whole_score(task, stage)) is not None
    ]
    return f"{words} The whole network scores {', '.join(scores)}."


def _drop_table(
    summary: GlueSummary, task: str, stage: Stage, rates: Sequence[float]
) -> Iterator[str]:
    curves = {plan: summary.curve(task, stage, plan) for plan in summary.plans}
    rows: list[tuple[str, ...]] = []
    for plan, curve in curves.items():
        found = {point.rate: _cell(point) for point in curve}
        if found:
            seeds = sorted({len(point.seeds) for point in curve})
            cells = (found.get(rate, "–") for rate in rates)
            rows.append((plan_title(plan), "/".join(map(str, seeds)), *cells))
    yield from _table(("plan", "seeds", *(f"{rate:.0%} removed" for rate in rates)), rows)


def _cell(point: GluePoint) -> str:
    gain = point.gain()
    shown = show_interval(point.drop)
    if len(point.by_seed) > 1:
        shown += f" ±{_spread(point.by_seed):.2f}"
    alone = point.stage == "retrained" and gain is not None and gain.of_one_seed
    ahead = gain is not None and gain.less.value > 0 and not gain.inside_noise and not alone
    return f"**{shown}**" if ahead else shown


def _spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample."""
    mean = fmean(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1
) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join([' --- '] * left + [' ---: '] * (len(headings) - left))}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}: {key}" if name else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, "–" if value in ("", None) else value


def _write_table(cells: Sequence[GlueCell], path: Path) -> None:
    wholes = {cell.key: cell.score for cell in cells if not cell.key.plan}
    heads = ("task", "seed", "stage", "plan", "rate", "k", "score", "drop", "train_score")
    facts = ("dev_rows", "parameters", "stored_bytes", "relative_error", "seconds")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, *METRIC_NAMES, *facts, "notes"])
        for cell in cells:
            key = cell.key
            drop = ""
            if key.stage in WHOLE_STAGES:
                whole = CellKey(task=key.task, seed=key.seed, stage=WHOLE_STAGES[key.stage])
                drop = round(wholes[whole] - cell.score, DIGITS) if whole in wholes else ""
            writer.writerow(
                [
                    *(key.task, key.seed, key.stage, key.plan, key.rate, cell.k),
                    *(cell.score, drop, cell.train_score),
                    *(cell.metrics.get(name, "") for name in METRIC_NAMES),
                    *(getattr(cell, name) for name in facts),
                    "; ".join(cell.notes),
                ]
            )
